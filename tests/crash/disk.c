/*
 * Disks that forget. Each file of this filesystem is a disk, for a loop device. A disk keeps what was flushed; what was written since the
 * last flush may be lost, each block by itself, as the cache of a real disk loses it when the power fails.
 *
 *   disk MOUNTPOINT MIB                 one disk, named 0, of zeros; in the background; ends when it is unmounted
 *   echo cut 0 1 SEED > control         makes disk 1: what a power cut at this moment leaves of disk 0, which goes on
 *   echo fail 0 write 2 > control       the next two writes of disk 0 get EIO and are lost; "flush": the same for flushes, with all that
 *                                       was written since the last flush
 *   rm 1
 *
 * All is in memory; disks share the blocks that they have in common, so that a cut costs little. One thread.
 */
#include <errno.h>
#include <fuse.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"

#define BLOCK 4096U
#define DISKS 64

struct block {
	unsigned refs;
	uint8_t data[BLOCK];
};

/* A block as it was written, and where. */
struct written {
	size_t at;
	struct block *block;
};

struct disk {
	bool there;
	struct block **flushed, **current; /* NULL: zeros */
	ARRAY(struct written) unflushed;   /* in order */
	unsigned failing_writes, failing_flushes;
};

static struct disk disks[DISKS];
static size_t blocks;

static struct block *get(struct block *block)
{
	if (block)
		block->refs++;
	return block;
}

static void put(struct block *block)
{
	if (block && --block->refs == 0)
		free(block);
}

static void set(struct block **place, struct block *block)
{
	struct block *old = *place;

	*place = get(block);
	put(old);
}

static struct disk *find(const char *name)
{
	char *end;
	unsigned long number = strtoul(name, &end, 10);

	return end != name && *end == '\0' && number < DISKS ? &disks[number] : NULL;
}

static void make(struct disk *disk)
{
	*disk = (struct disk){.there = true};
	disk->flushed = xcalloc(blocks, sizeof(*disk->flushed));
	disk->current = xcalloc(blocks, sizeof(*disk->current));
}

static void forget_unflushed(struct disk *disk)
{
	for (size_t i = 0; i < disk->unflushed.count; i++)
		put(disk->unflushed.items[i].block);
	disk->unflushed.count = 0;
}

static void destroy(struct disk *disk)
{
	forget_unflushed(disk);
	array_clear(&disk->unflushed);
	for (size_t i = 0; i < blocks; i++) {
		put(disk->flushed[i]);
		put(disk->current[i]);
	}
	free(disk->flushed);
	free(disk->current);
	*disk = (struct disk){0};
}

static uint64_t next_random(uint64_t *random)
{
	*random += 0x9e3779b97f4a7c15;
	uint64_t mixed = (*random ^ *random >> 30) * 0xbf58476d1ce4e5b9;
	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
	return mixed ^ mixed >> 31;
}

/* Of what was not flushed there is left: nothing, all, what came before some moment, or any part. */
static void cut(const struct disk *from, struct disk *to, uint64_t seed)
{
	uint64_t random = seed, kind = next_random(&random) % 8, share = next_random(&random) % 101;
	size_t until = from->unflushed.count * share / 100;

	make(to);
	for (size_t i = 0; i < blocks; i++)
		to->flushed[i] = get(from->flushed[i]);
	for (size_t i = 0; i < from->unflushed.count; i++) {
		const struct written *written = &from->unflushed.items[i];
		bool kept = kind == 0 ? false : kind == 1 ? true : kind < 4 ? i < until : next_random(&random) % 100 < share;
		if (kept)
			set(&to->flushed[written->at], written->block);
	}
	for (size_t i = 0; i < blocks; i++)
		to->current[i] = get(to->flushed[i]);
}

static int control(char *text)
{
	char from[16], to[16], what[16];
	unsigned long long number;

	if (sscanf(text, "cut %15s %15s %llu", from, to, &number) == 3) {
		struct disk *source = find(from), *made = find(to);
		if (!source || !source->there || !made || made->there)
			return -EINVAL;
		cut(source, made, number);
		return 0;
	}
	struct disk *disk = sscanf(text, "fail %15s %15s %llu", from, what, &number) == 3 ? find(from) : NULL;
	if (!disk || !disk->there)
		return -EINVAL;
	unsigned *failing = strcmp(what, "write") == 0 ? &disk->failing_writes : &disk->failing_flushes;
	*failing = (unsigned)number;
	return 0;
}

/* --- answers to the kernel --- */

/* The path is NULL once a disk is unlinked that a loop device still holds (hard_remove). */
static struct disk *at_path(const char *path)
{
	return path ? find(path + 1) : NULL;
}

static int do_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	*st = (struct stat){.st_mode = S_IFREG | 0600, .st_nlink = 1};
	if (path && strcmp(path, "/") == 0)
		*st = (struct stat){.st_mode = S_IFDIR | 0700, .st_nlink = 2};
	else if (!path || strcmp(path, "/control") != 0) {
		const struct disk *disk = at_path(path);
		if (!disk || !disk->there)
			return -ENOENT;
		st->st_size = (off_t)(blocks * BLOCK);
	}
	return 0;
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	return strcmp(path, "/control") == 0 ? 0 : -EPERM;
}

static int do_open(const char *path, struct fuse_file_info *fi)
{
	return 0;
}

static int do_unlink(const char *path)
{
	struct disk *disk = at_path(path);

	if (!disk || !disk->there)
		return -ENOENT;
	destroy(disk);
	return 0;
}

static int do_read(const char *path, char *out, size_t size, off_t offset, struct fuse_file_info *fi)
{
	const struct disk *disk = at_path(path);

	if (!disk || !disk->there)
		return -EIO;
	for (size_t done = 0, step; done < size; done += step) {
		size_t at = (size_t)offset + done, inside = at % BLOCK;
		step = MIN(size - done, BLOCK - inside);
		if (at / BLOCK >= blocks)
			return (int)done;
		const struct block *block = disk->current[at / BLOCK];
		if (block)
			memcpy(out + done, block->data + inside, step);
		else
			memset(out + done, 0, step);
	}
	return (int)size;
}

static int do_write(const char *path, const char *data, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct disk *disk = at_path(path);

	if (path && strcmp(path, "/control") == 0) {
		char text[128] = "";
		memcpy(text, data, MIN(size, sizeof(text) - 1));
		int result = control(text);
		return result < 0 ? result : (int)size;
	}
	if (!disk || !disk->there || (size_t)offset + size > blocks * BLOCK)
		return -EIO;
	if (disk->failing_writes > 0) {
		disk->failing_writes--;
		return -EIO;
	}
	for (size_t done = 0, step; done < size; done += step) {
		size_t at = ((size_t)offset + done) / BLOCK, inside = ((size_t)offset + done) % BLOCK;
		struct block *fresh = xcalloc(1, sizeof(*fresh));
		step = MIN(size - done, BLOCK - inside);
		if (disk->current[at] && step < BLOCK)
			memcpy(fresh->data, disk->current[at]->data, BLOCK);
		memcpy(fresh->data + inside, data + done, step);
		set(&disk->current[at], fresh);
		array_add(&disk->unflushed, (struct written){.at = at, .block = get(fresh)});
	}
	return (int)size;
}

static int do_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	struct disk *disk = at_path(path);

	if (!disk || !disk->there)
		return 0;
	int result = disk->failing_flushes > 0 ? -EIO : 0;
	for (size_t i = 0; i < disk->unflushed.count; i++) {
		const struct written *written = &disk->unflushed.items[i];
		if (result == 0)
			set(&disk->flushed[written->at], written->block);
		else
			set(&disk->current[written->at], disk->flushed[written->at]);
	}
	forget_unflushed(disk);
	disk->failing_flushes -= result < 0;
	return result;
}

static int do_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *fi,
		      enum fuse_readdir_flags flags)
{
	for (unsigned i = 0; i < DISKS; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%u", i);
		if (disks[i].there && fill(buf, name, NULL, 0, 0))
			break;
	}
	return 0;
}

static void *do_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
	conn->max_write = 1U << 20;
	config->direct_io = 1;
	config->hard_remove = 1; /* a loop device may let go of its file a moment after losetup -d */
	config->attr_timeout = config->entry_timeout = 0;
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct fuse_operations operations = {
		.init = do_init, .getattr = do_getattr, .truncate = do_truncate, .open = do_open, .unlink = do_unlink,
		.read = do_read, .write = do_write, .fsync = do_fsync, .readdir = do_readdir,
	};
	char name[] = "disk", single[] = "-s";

	if (argc != 3) {
		fprintf(stderr, "usage: disk MOUNTPOINT MIB\n");
		return 2;
	}
	blocks = strtoul(argv[2], NULL, 10) * ((1U << 20) / BLOCK);
	make(&disks[0]);
	char *arguments[] = {name, single, argv[1], NULL};
	return fuse_main(3, arguments, &operations, NULL);
}
