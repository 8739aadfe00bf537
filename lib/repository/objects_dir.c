/*
 * A directory as a store of objects, in the layout of restic's local backend: config, keys/, snapshots/, index/, locks/, data/00/ to data/ff/.
 *
 * An object is written under another name ("NAME-tmp-RANDOM", which nobody lists), brought to the disk, given its own name if that is free,
 * and then the directory is brought to the disk. A crash leaves a name that nobody knows, or the whole object.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/direct_file.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/repository/blob_id.h"
#include "lib/repository/objects.h"
#include "lib/repository/open_packs.h"
#include "lib/repository/seal.h"

#define PATH_LEN (64 + 64)
#define PACK_FOLDERS 256U
/* Less is not worth a second descriptor. */
#define DIRECT_MIN (64U << 10)

struct objects_dir {
	struct objects objects;
	int dir;
	struct open_packs *packs; /* that were read */
	struct open_packs *direct_packs; /* likewise, past the page cache */
};

static int dir_of(const struct objects *objects)
{
	return ((const struct objects_dir *)objects)->dir;
}

/* The folder that the object stands in: "", "keys", "data/3f". */
static void folder_of(enum object_kind kind, const char *name, char out[PATH_LEN])
{
	if (kind == OBJECT_PACK)
		(void)snprintf(out, PATH_LEN, "%s/%.2s", object_folder(kind), name);
	else
		(void)snprintf(out, PATH_LEN, "%s", object_folder(kind));
}

static void pack_folder(unsigned number, char out[PATH_LEN])
{
	(void)snprintf(out, PATH_LEN, "%s/%02x", object_folder(OBJECT_PACK), number);
}

static int open_folder(const struct objects *objects, const char *folder)
{
	int fd = openat(dir_of(objects), *folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

static int create(struct objects *objects)
{
	int r = 0;

	for (unsigned kind = 0; kind < OBJECT_KINDS && r == 0; kind++)
		if (*object_folder(kind) && !object_folder_comes_later(kind) && mkdirat(dir_of(objects), object_folder(kind), 0700) < 0 && errno != EEXIST)
			r = -errno;
	for (unsigned i = 0; i < PACK_FOLDERS && r == 0; i++) {
		char folder[PATH_LEN];

		pack_folder(i, folder);
		if (mkdirat(dir_of(objects), folder, 0700) < 0 && errno != EEXIST)
			r = -errno;
	}
	if (r == 0 && syncfs(dir_of(objects)) < 0)
		r = -errno;
	return r;
}

/* Gives the file its name, if nobody has it. */
static int name_it(int folder, const char *temporary, const char *name)
{
	if (renameat2(folder, temporary, folder, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A filesystem that cannot rename so. */
	if (linkat(folder, temporary, folder, name, 0) < 0)
		return -errno;
	return unlinkat(folder, temporary, 0) < 0 ? -errno : 0;
}

static int write_file(int folder, const char *temporary, const void *data, size_t len)
{
	AUTO_CLOSE int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
	int r;

	if (fd < 0)
		return -errno;
	r = direct_write(fd, data, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

/* Brings the name to the disk. Where that fails, the name must not stay: who looks would take the object for one that lasts. */
static int keep_name(int folder, const char *name)
{
	int r = fault_point("object-after-rename");

	if (r == 0 && fsync(folder) == 0)
		return 0;
	/* The disk may have kept the name, whatever is said of it now. */
	return unlinkat(folder, name, 0) < 0 && errno != ENOENT ? -ENOTRECOVERABLE : -EIO;
}

/* For good: its name is on the disk when it returns 0. */
static int make_folder(const struct objects *objects, enum object_kind kind, const char *name)
{
	AUTO_CLOSE int above = open_folder(objects, kind == OBJECT_PACK ? object_folder(kind) : "");

	if (above < 0)
		return above;
	if (mkdirat(dir_of(objects), name, 0700) < 0 && errno != EEXIST)
		return -errno;
	return fsync(above) < 0 ? -errno : 0;
}

static int put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	char folder_name[PATH_LEN], temporary[PATH_LEN];
	const char *file = kind == OBJECT_CONFIG ? "config" : name;
	uint64_t random;
	int r;

	folder_of(kind, name, folder_name);
	AUTO_CLOSE int folder = open_folder(objects, folder_name);
	if (folder == -ENOENT && (kind == OBJECT_PACK || object_folder_comes_later(kind))) {
		/* restic makes folders of packs when they are needed, and knows none of heads and holds. */
		r = make_folder(objects, kind, folder_name);
		if (r < 0)
			return r;
		folder = open_folder(objects, folder_name);
	}
	if (folder < 0)
		return folder;
	seal_random(&random, sizeof(random));
	(void)snprintf(temporary, sizeof(temporary), "%s-tmp-%016llx", file, (unsigned long long)random);
	r = write_file(folder, temporary, data, len);
	if (r == 0)
		r = fault_point("object-before-rename");
	if (r == 0)
		r = name_it(folder, temporary, file);
	if (r == 0)
		return keep_name(folder, file);
	(void)unlinkat(folder, temporary, 0);
	return r;
}

static int open_object_with(const struct objects *objects, enum object_kind kind, const char *name, int flags)
{
	char folder_name[PATH_LEN];

	folder_of(kind, name, folder_name);
	AUTO_CLOSE int folder = open_folder(objects, folder_name);
	if (folder < 0)
		return folder;
	return file_open_inside(folder, kind == OBJECT_CONFIG ? "config" : name, O_RDONLY | flags, 0);
}

static int open_object(const struct objects *objects, enum object_kind kind, const char *name)
{
	return open_object_with(objects, kind, name, 0);
}

static int read_at(int fd, uint64_t offset, size_t len, uint8_t *to)
{
	while (len > 0) {
		ssize_t got = pread(fd, to, len, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		to += got;
		offset += (uint64_t)got;
		len -= (size_t)got;
	}
	return 0;
}

static int open_pack(void *arg, const char *name)
{
	return open_object(arg, OBJECT_PACK, name);
}

static struct open_packs *packs_of(const struct objects *objects)
{
	return ((const struct objects_dir *)objects)->packs;
}

static int open_direct_pack(void *arg, const char *name)
{
	return open_object_with(arg, OBJECT_PACK, name, O_DIRECT);
}

/* Who reads much of packs reads all of it once. What this cannot do, the usual way does, or says why not. */
static bool get_directly(struct objects *objects, const char *name, uint64_t offset, size_t len, void *out)
{
	struct open_packs *packs = ((const struct objects_dir *)objects)->direct_packs;
	int fd, r;

	if (len < DIRECT_MIN || !direct_can_read(out, len, offset))
		return false;
	fd = open_packs_take(packs, name, open_direct_pack, objects);
	if (fd < 0)
		return false;
	r = direct_read(fd, out, len, offset);
	open_packs_give(packs, fd);
	return r == 0;
}

static int get_of_pack(struct objects *objects, const char *name, uint64_t offset, size_t len, void *out)
{
	int fd, r;

	if (get_directly(objects, name, offset, len, out))
		return 0;
	fd = open_packs_take(packs_of(objects), name, open_pack, objects);

	if (fd < 0)
		return fd;
	r = read_at(fd, offset, len, out);
	open_packs_give(packs_of(objects), fd);
	return r;
}

static int get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	if (kind == OBJECT_PACK)
		return get_of_pack(objects, name, offset, len, out);
	AUTO_CLOSE int fd = open_object(objects, kind, name);
	return fd < 0 ? fd : read_at(fd, offset, len, out);
}

static int size(struct objects *objects, enum object_kind kind, const char *name, uint64_t *ret_size)
{
	AUTO_CLOSE int fd = open_object(objects, kind, name);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

/* Calls `each` for every regular file of the folder: ends with what it returns, if that is not 0. What is not seen is taken for removed by some. */
typedef int (*file_fn)(void *arg, int folder, const char *name, const struct stat *st);

static int look_through(const struct objects *objects, const char *folder_name, file_fn each, void *arg)
{
	int fd = open_folder(objects, folder_name), r = 0;
	struct dirent *entry;
	struct stat st;
	DIR *stream;

	if (fd < 0)
		return fd;
	stream = fdopendir(fd);
	if (!stream) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, entry = readdir(stream))) {
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			r = errno == ENOENT ? 0 : -errno;
		else if (S_ISREG(st.st_mode))
			r = each(arg, fd, entry->d_name, &st);
	}
	if (!entry && r == 0)
		r = -errno;
	closedir(stream);
	return r;
}

/* The same for all folders that objects of the kind stand in. */
static int look_through_all(const struct objects *objects, enum object_kind kind, file_fn each, void *arg)
{
	int r = 0;

	if (kind != OBJECT_PACK) {
		r = look_through(objects, object_folder(kind), each, arg);
		return r == -ENOENT && object_folder_comes_later(kind) ? 0 : r;
	}
	/* Of its folders, restic makes some only when they are needed. */
	AUTO_CLOSE int above = open_folder(objects, object_folder(kind));
	if (above < 0)
		return above;
	for (unsigned i = 0; i < PACK_FOLDERS && r == 0; i++) {
		char folder[PATH_LEN];

		pack_folder(i, folder);
		r = look_through(objects, folder, each, arg);
		if (r == -ENOENT)
			r = 0;
	}
	return r;
}

static int check_pack_folders(struct objects *objects, char ret_folder[OBJECT_FOLDER_TEXT])
{
	for (unsigned i = 0; i <= PACK_FOLDERS; i++) {
		char folder[PATH_LEN];

		if (i == 0)
			(void)snprintf(folder, sizeof(folder), "%s", object_folder(OBJECT_PACK));
		else
			pack_folder(i - 1, folder);
		AUTO_CLOSE int fd = open_folder(objects, folder);
		if (fd >= 0)
			continue;
		(void)snprintf(ret_folder, OBJECT_FOLDER_TEXT, "%.*s", OBJECT_FOLDER_TEXT - 1, folder);
		return fd;
	}
	return 0;
}

struct listing {
	objects_list_fn each;
	void *arg;
};

static int list_file(void *arg, int folder, const char *name, const struct stat *st)
{
	const struct listing *listing = arg;
	struct blob_id id;

	(void)folder;
	return blob_id_parse(name, &id) < 0 ? 0 : listing->each(listing->arg, name, (uint64_t)st->st_size);
}

static int list(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg)
{
	struct listing listing = {each, arg};

	return look_through_all(objects, kind, list_file, &listing);
}

/* --- what was begun and never put --- */

struct cleaning {
	time_t before;
	bool dry_run;
	struct objects_left *left;
};

/* The name of an object, "-tmp-" and a number: restic's names, and ours. */
static bool is_temporary(const char *name)
{
	const char *mark = strstr(name, "-tmp-");
	char object[BLOB_ID_TEXT] = "";
	struct blob_id id;

	if (!mark || mark - name >= (ptrdiff_t)sizeof(object))
		return false;
	memcpy(object, name, (size_t)(mark - name));
	mark += strlen("-tmp-");
	return (strcmp(object, "config") == 0 || blob_id_parse(object, &id) == 0) && *mark && strspn(mark, "0123456789abcdef") == strlen(mark);
}

static int clean_file(void *arg, int folder, const char *name, const struct stat *st)
{
	const struct cleaning *cleaning = arg;

	if (!is_temporary(name) || st->st_mtim.tv_sec >= cleaning->before)
		return 0;
	if (!cleaning->dry_run && unlinkat(folder, name, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	cleaning->left->count++;
	cleaning->left->bytes += (uint64_t)st->st_size;
	return 0;
}

static int clean(struct objects *objects, time_t before, bool dry_run, struct objects_left *ret_left)
{
	struct cleaning cleaning = {before, dry_run, ret_left};
	int r = 0;

	for (unsigned kind = 0; kind < OBJECT_KINDS && r == 0; kind++)
		r = look_through_all(objects, kind, clean_file, &cleaning);
	return r;
}

static int remove_object(struct objects *objects, enum object_kind kind, const char *name)
{
	char folder_name[PATH_LEN];

	if (kind == OBJECT_PACK) {
		open_packs_forget(packs_of(objects), name);
		open_packs_forget(((const struct objects_dir *)objects)->direct_packs, name);
	}
	folder_of(kind, name, folder_name);
	AUTO_CLOSE int folder = open_folder(objects, folder_name);
	if (folder < 0)
		return folder;
	if (unlinkat(folder, kind == OBJECT_CONFIG ? "config" : name, 0) < 0)
		return -errno;
	return fsync(folder) < 0 ? -errno : 0;
}

static void close_dir(struct objects *objects)
{
	open_packs_free(packs_of(objects));
	open_packs_free(((const struct objects_dir *)objects)->direct_packs);
	close(dir_of(objects));
	free(objects);
}

static const struct objects_place directory = {
	.create = create, .put = put, .put_new = put, .get = get, .size = size, .list = list,
	.check_pack_folders = check_pack_folders, .remove = remove_object, .clean = clean, .close = close_dir,
};

struct objects *objects_dir_open(int dir)
{
	struct objects_dir *place = xcalloc(1, sizeof(*place));

	place->objects.place = &directory;
	place->dir = dir;
	place->packs = open_packs_new();
	place->direct_packs = open_packs_new();
	return &place->objects;
}
