#include "lib/transfer/target_mark.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "lib/base/file.h"

#define XATTR "user.corpusfs.export"
#define FILE_NAME ".corpusfs-export"

bool target_mark_is_name(const char *name)
{
	return strcmp(name, FILE_NAME) == 0;
}

/* Which export it is. A path may be longer than an attribute: its digest would do, but its beginning and length do as well. */
static char *mark_of(const struct export *export)
{
	const char *path = export->options->path;

	return xasprintf("%s %u %zu %.1000s", store_superblock(export->store)->uuid, view_number(export->view), strlen(path), path);
}

static bool says(const char *mark, const void *data, ssize_t len)
{
	return len == (ssize_t)strlen(mark) && memcmp(mark, data, (size_t)len) == 0;
}

/* 1: it is there and says the same; 0: there is none; -EINVAL: it says something else. */
static int read_mark(int fd, const char *mark)
{
	char data[2048];
	ssize_t len = fgetxattr(fd, XATTR, data, sizeof(data));
	AUTO_CLOSE int file = -1;

	if (len < 0) {
		file = openat(fd, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (file < 0)
			return 0;
		len = read(file, data, sizeof(data));
	}
	return says(mark, data, len) ? 1 : -EINVAL;
}

/* The name may be one of the view's. */
static bool may_be_file(struct export *export)
{
	struct attr attr;

	return view_lookup(export->view, export->top.ino, FILE_NAME, &attr) == -ENOENT;
}

/* Where neither can be made, the export goes on; it cannot be gone on with. */
static void write_mark(int fd, const char *mark, bool may_be_file)
{
	AUTO_CLOSE int file = -1;

	if (fsetxattr(fd, XATTR, mark, strlen(mark), 0) == 0 || !may_be_file)
		return;
	file = openat(fd, FILE_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file >= 0 && write(file, mark, strlen(mark)) != (ssize_t)strlen(mark))
		(void)!unlinkat(fd, FILE_NAME, 0);
}

static int check_empty(int fd, bool *ret_empty)
{
	DIR *stream = file_entries(fd);
	bool empty = true;
	const char *name;
	int more = 0;

	if (!stream)
		return -errno;
	/* A new filesystem comes with a directory of its own. */
	while (empty && (more = file_next_entry(stream, &name)) > 0)
		empty = strcmp(name, "lost+found") == 0;
	closedir(stream);
	*ret_empty = empty;
	return MIN(more, 0);
}

static int refuse(const char *target, bool is_marked, struct error *err)
{
	if (is_marked)
		error_set(err, -ENOTEMPTY, "%s holds a part of another export", target);
	else
		error_set(err, -ENOTEMPTY, "%s is not empty", target);
	error_hint(err, "name a directory that is empty or not there yet");
	return -ENOTEMPTY;
}

int target_mark_begin(struct export *export, int fd, bool *ret_goes_on, struct error *err)
{
	const char *target = export->options->target;
	AUTO_FREE char *mark = mark_of(export);
	const bool file = may_be_file(export);
	bool is_empty = false;
	int r, has;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return error_set(err, -EBUSY, "another export or restore writes to %s", target);
	impersonate_begin(&export->transfer.caller);
	r = check_empty(fd, &is_empty);
	has = r == 0 && !is_empty ? read_mark(fd, mark) : 0;
	if (r == 0 && is_empty)
		write_mark(fd, mark, file);
	impersonate_end(&export->transfer.caller);
	if (r < 0)
		return error_set(err, r, "%s: %s", target, error_text(r));
	if (!is_empty && has != 1)
		return refuse(target, has < 0, err);
	*ret_goes_on = has == 1;
	return 0;
}

void target_mark_end(struct export *export, int fd)
{
	const bool file = may_be_file(export);
	struct stat st;

	impersonate_begin(&export->transfer.caller);
	(void)!fremovexattr(fd, XATTR);
	/* The directory has its times already. */
	if (file && fstat(fd, &st) == 0 && unlinkat(fd, FILE_NAME, 0) == 0)
		(void)!futimens(fd, (const struct timespec[]){st.st_atim, st.st_mtim});
	impersonate_end(&export->transfer.caller);
}
