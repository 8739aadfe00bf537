#include "lib/kv/mend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/kv/admit.h"
#include "lib/kv/manifest_mend.h"
#include "lib/kv/synced.h"

#define PIECE (1U << 20)

int kv_mend_look(const char *path, const char *shown, char **ret_lost, struct error *err)
{
	bool ignored;

	return admit_database(path, shown, KV_ACCEPT_LOG, ret_lost, &ignored, err);
}

bool kv_mend_is_unsure(const char *path)
{
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct synced_state synced = {0};
	const int result = dir < 0 ? 0 : synced_read(dir, &synced);

	array_clear(&synced.closed);
	return result == -ENOENT || result == -EBADMSG;
}

int kv_mend_manifest(const char *path, const char *shown, bool apply, char **ret_text, struct error *err)
{
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct manifest_mend mend;

	if (dir < 0)
		return error_set(err, -errno, "%s: %s", shown, strerror(errno));
	int result = manifest_mend_look(dir, shown, &mend, err);
	if (result == 0 && mend.text && apply) {
		result = manifest_mend_apply(path, &mend);
		if (result < 0)
			error_set(err, result, "%s: the list of tables cannot be written: %s", shown, error_text(result));
	}
	if (result == 0)
		*ret_text = steal_ptr(mend.text);
	manifest_mend_clear(&mend);
	return result;
}

static int copy_content(int from, int to)
{
	AUTO_FREE uint8_t *piece = xmalloc(PIECE);

	for (;;) {
		ssize_t got = read(from, piece, PIECE);
		if (got < 0 && errno == EINTR)
			continue;
		int result = got > 0 ? file_write_all(to, piece, (size_t)got) : got < 0 ? -errno : 0;
		if (got <= 0 || result < 0)
			return result;
	}
}

/* Logs, the manifest and the like are written in place, so a link would not keep them. */
static int keep_file(int from_dir, int to_dir, const char *name)
{
	const char *dot = strrchr(name, '.');

	if (dot && strcmp(dot, ".sst") == 0)
		return linkat(from_dir, name, to_dir, name, 0) < 0 ? -errno : 0;
	AUTO_CLOSE int from = file_open_inside(from_dir, name, O_RDONLY, 0);
	if (from < 0)
		return from;
	AUTO_CLOSE int to = file_open_inside(to_dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (to < 0)
		return to;
	int result = copy_content(from, to);
	return result == 0 && fsync(to) < 0 ? -errno : result;
}

int kv_mend_keep(const char *path, const char *copy)
{
	if (mkdir(copy, 0700) < 0)
		return -errno;
	AUTO_CLOSE int to = open(copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *from = opendir(path);
	int result = to < 0 || !from ? -errno : 0, more;
	const char *name;

	while (result == 0 && (more = file_next_entry(from, &name)) != 0)
		result = more < 0 ? more : keep_file(dirfd(from), to, name);
	if (from)
		closedir(from);
	if (result == 0 && fsync(to) < 0)
		result = -errno;
	/* A part of a database must not be taken for one. */
	if (result < 0 && file_empty_dir(copy) == 0)
		(void)rmdir(copy);
	return result;
}

int kv_mend_log(const char *path)
{
	return synced_forget(path);
}
