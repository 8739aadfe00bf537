#include "lib/verify/repair_content.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/chunk/wanted.h"
#include "lib/transfer/source_walk.h"
#include "lib/verify/damage.h"

#define WINDOW (2 * (size_t)CHUNK_LEN_MAX)

struct repair {
	const struct repair_content_options *options;
	struct wanted *wanted;
	uint8_t *window;
	struct repair_content_sum sum;
};

static int tell(struct repair *repair)
{
	const struct repair_content_options *options = repair->options;

	return options->progress && options->progress(options->arg, repair->sum.files, repair->sum.bytes) ? -ECANCELED : 0;
}

/* A file that cannot be read is counted, and the others are looked at. */
static int look_at_file(struct repair *repair, int fd)
{
	size_t have = 0, used;
	ssize_t got = 1;
	int result = 0;

	repair->sum.files++;
	while (result == 0 && got > 0) {
		got = read(fd, repair->window + have, WINDOW - have);
		if (got < 0) {
			repair->sum.unread++;
			return 0;
		}
		have += (size_t)got;
		repair->sum.bytes += (uint64_t)got;
		if (got > 0 && have < WINDOW)
			continue;
		result = wanted_look(repair->wanted, repair->window, have, got == 0, repair->options->apply, &used);
		memmove(repair->window, repair->window + used, have - used);
		have -= used;
		if (result == 0)
			result = tell(repair);
	}
	return result;
}

static int look_at_name(struct repair *repair, struct source_walk *walk, const struct source_dir *dir, const char *name)
{
	struct stat st = {0};
	int fd, result;

	impersonate_begin(repair->options->who);
	fd = fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)
	             ? openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
	             : -1;
	impersonate_end(repair->options->who);
	if (fd < 0 && S_ISDIR(st.st_mode))
		source_walk_below(walk, name);
	else if (fd < 0 && S_ISREG(st.st_mode))
		repair->sum.unread++;
	if (fd < 0)
		return 0;
	result = look_at_file(repair, fd);
	close(fd);
	return result;
}

static int look_at_dir(struct repair *repair, struct source_walk *walk, const struct source_dir *dir)
{
	int fd = fcntl(dir->fd, F_DUPFD_CLOEXEC, 3), result = 0;
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!stream) {
		if (fd >= 0)
			close(fd);
		repair->sum.unread++;
		return 0;
	}
	while (result == 0 && wanted_left(repair->wanted) > 0 && (entry = readdir(stream)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			result = look_at_name(repair, walk, dir, entry->d_name);
	closedir(stream);
	return result;
}

static int look_at_tree(struct repair *repair)
{
	struct source_walk *walk = source_walk_new(repair->options->source, repair->options->who);
	struct source_dir *dir;
	int result = 0, next;

	while (result == 0 && wanted_left(repair->wanted) > 0 && (next = source_walk_next(walk, &dir)) != 0) {
		if (next < 0)
			repair->sum.unread++;
		else
			result = look_at_dir(repair, walk, dir);
	}
	source_walk_free(walk);
	return result;
}

/* Damaged chunks for which none stands. */
static uint64_t unhealed(struct store *store)
{
	AUTO_FREE struct chunk_damage *list = NULL;
	const size_t count = chunks_list_damage(store_chunks(store), &list);
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += list[i].replacement == CHUNK_NONE;
	return sum;
}

int repair_content(struct store *store, const struct repair_content_options *options, struct repair_content_sum *ret_sum, struct error *err)
{
	AUTO_FREE uint64_t *ids = NULL;
	const size_t count = damage_ids(store, &ids);
	struct repair repair = {.options = options};
	struct stat st;
	int result = options->apply ? store_check_writable(store, err) : 0;

	if (result < 0)
		return result;
	result = fstat(options->source, &st) < 0 ? -errno : wanted_new(store_chunks(store), ids, count, &repair.wanted);
	if (result == 0) {
		repair.window = xmalloc(WINDOW);
		result = S_ISDIR(st.st_mode) ? look_at_tree(&repair) : look_at_file(&repair, options->source);
		repair.sum.healed = wanted_found(repair.wanted);
		repair.sum.healed_bytes = wanted_found_bytes(repair.wanted);
		repair.sum.left = unhealed(store);
		if (!options->apply)
			repair.sum.left -= MIN(repair.sum.left, repair.sum.healed);
	}
	free(repair.window);
	wanted_free(repair.wanted);
	if (result == -ECANCELED)
		return error_set(err, result, "the repair was stopped; what it has healed stays healed");
	if (result < 0)
		return error_set(err, result, "content cannot be repaired: %s", error_text(result));
	*ret_sum = repair.sum;
	return 0;
}
