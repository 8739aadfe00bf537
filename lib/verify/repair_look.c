#include "lib/verify/repair_look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/transfer/archive_in.h"
#include "lib/transfer/source_walk.h"
#include "lib/verify/content_run.h"

#define BLOCK ((size_t)1 << 20)

struct outside {
	struct repair_look *look;
	const struct impersonate *who;
	struct content_run run;
	uint8_t *block;
	uint64_t place_bytes; /* of all places */
};

static int tell(struct repair_look *look)
{
	return look->progress && look->progress(look->arg, look->files, look->bytes) ? -ECANCELED : 0;
}

static bool is_done(const struct repair_look *look)
{
	return wanted_left(look->wanted) == 0;
}

/* A file that cannot be read is counted, and the others are looked at. From the start, wherever the descriptor stands. */
static int look_at_file(struct outside *outside, int fd)
{
	struct repair_look *look = outside->look;
	off_t at = 0;
	ssize_t got = 1;
	int result = 0;

	look->files++;
	while (result == 0 && !is_done(look)) {
		got = pread(fd, outside->block, BLOCK, at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		at += got;
		look->bytes += (uint64_t)got;
		result = content_run_add(&outside->run, outside->block, (size_t)got);
		if (result == 0)
			result = tell(look);
	}
	if (result == 0 && got == 0)
		return content_run_end(&outside->run);
	content_run_drop(&outside->run);
	look->unread += got < 0;
	return result;
}

/* --- places --- */

/* Of the places, those of files with this name: [*ret_first, *ret_end). */
static void places_of_name(const struct repair_look *look, const char *name, size_t *ret_first, size_t *ret_end)
{
	size_t low = 0, high = look->place_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (strcmp(look->places[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (high = low; high < look->place_count && strcmp(look->places[high].name, name) == 0; high++)
		;
	*ret_first = low;
	*ret_end = high;
}

static uint64_t place_bytes(const struct repair_look *look)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < look->place_count; i++)
		sum += look->places[i].length;
	return sum;
}

static int try_place(struct outside *outside, int fd, const struct repair_place *place)
{
	AUTO_FREE uint8_t *data = xmalloc(place->length);
	ssize_t got = pread(fd, data, place->length, (off_t)place->offset);

	outside->look->bytes += got > 0 ? (uint64_t)got : 0;
	return got == (ssize_t)place->length ? wanted_look_whole(outside->look->wanted, data, place->length) : 0;
}

/* All of them only where that takes no more than reading the file once more. */
static int try_places(struct outside *outside, int fd, const char *name)
{
	const struct repair_look *look = outside->look;
	size_t i = 0, end = look->place_count;
	struct stat st;
	int result = 0;

	if (end == 0 || fstat(fd, &st) < 0)
		return 0;
	if (outside->place_bytes > (uint64_t)st.st_size)
		places_of_name(look, name, &i, &end);
	for (; i < end && result == 0 && !is_done(look); i++)
		if (look->places[i].offset + look->places[i].length <= (uint64_t)st.st_size)
			result = try_place(outside, fd, &look->places[i]);
	return result;
}

/* --- directories --- */

static int look_at_name(struct outside *outside, struct source_walk *walk, const struct source_dir *dir, const char *name)
{
	struct stat st = {0};
	int fd = -1, result;

	impersonate_begin(outside->who);
	const bool known = fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (known && S_ISREG(st.st_mode))
		fd = openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	impersonate_end(outside->who);
	if (fd < 0 && S_ISDIR(st.st_mode))
		source_walk_below(walk, name);
	else if (fd < 0 && (!known || S_ISREG(st.st_mode)))
		outside->look->unread++;
	if (fd < 0)
		return 0;
	result = look_at_file(outside, fd);
	if (result == 0)
		result = try_places(outside, fd, name);
	close(fd);
	return result;
}

static int look_at_dir(struct outside *outside, struct source_walk *walk, const struct source_dir *dir)
{
	DIR *stream = source_dir_entries(dir, outside->who);
	const char *name;
	int result = 0, more = 0;

	if (!stream) {
		outside->look->unread++;
		return 0;
	}
	while (result == 0 && !is_done(outside->look) && (more = file_next_entry(stream, &name)) > 0)
		result = look_at_name(outside, walk, dir, name);
	outside->look->unread += more < 0;
	closedir(stream);
	return result;
}

static int look_at_tree(struct outside *outside, int source)
{
	struct source_walk *walk = source_walk_new(source, outside->who);
	struct source_dir *dir;
	int result = 0, next;

	while (result == 0 && !is_done(outside->look) && (next = source_walk_next(walk, &dir)) != 0) {
		if (next < 0)
			outside->look->unread++;
		else
			result = look_at_dir(outside, walk, dir);
	}
	source_walk_free(walk);
	return result;
}

/* --- archives --- */

static int look_into_member(struct repair_look *look, struct content_run *run, struct archive_in *archive)
{
	uint64_t offset, end = 0;
	const void *data;
	size_t len;
	int r = 0, result = 0;

	look->files++;
	while (result == 0 && !is_done(look) && (r = archive_in_data(archive, &data, &len, &offset)) == 1) {
		/* what lies behind a hole is a run of its own, as it is in a store */
		if (offset != end)
			result = content_run_end(run);
		if (result == 0)
			result = content_run_add(run, data, len);
		look->bytes += len;
		end = offset + len;
		if (result == 0)
			result = tell(look);
	}
	if (result == 0 && r == 0)
		return content_run_end(run);
	content_run_drop(run);
	/* the pieces before it were proven each by itself */
	if (result == 0 && r < 0) {
		look->unread++;
		error_set(&look->problem, r, "%s", archive_in_problem(archive));
	}
	return result;
}

int repair_look_member(struct repair_look *look, struct archive_in *archive)
{
	struct content_run run;
	int result;

	content_run_init(&run, look->wanted);
	result = look_into_member(look, &run, archive);
	content_run_clear(&run);
	return result;
}

/* Behind what is damaged of an archive nothing is looked for. */
static int look_at_members(struct repair_look *look, struct archive_in *archive)
{
	struct archive_found found;
	int result = 0, r = 0;

	while (result == 0 && !is_done(look) && look->problem.code == 0 && (r = archive_in_next(archive, &found)) == 1) {
		if (found.problem)
			look->unread++;
		else if (S_ISREG(found.member.mode) && !found.member.hardlink)
			result = repair_look_member(look, archive);
	}
	if (result == 0 && r < 0) {
		look->unread++;
		error_set(&look->problem, r, "%s", archive_in_problem(archive));
	}
	return result;
}

static bool is_stopped(void *arg, uint64_t position, uint64_t size)
{
	struct repair_look *look = arg;

	(void)position;
	(void)size;
	return tell(look) != 0;
}

static int room_to_keep(void *arg, size_t len)
{
	(void)arg;
	(void)len;
	return 0;
}

/* `must`: it is nothing if it is no archive. */
static int look_at_archive(struct repair_look *look, int source, int keep, bool must)
{
	struct archive_in_options options = {.fd = source, .keep = {.dir = keep, .room = room_to_keep}, .keep_name = "the temporary directory",
					     .stopped = is_stopped, .arg = look};
	struct archive_in *archive = NULL;
	struct error err = {0};
	int result = archive_in_new(&options, &archive, &err);

	if (result == -ECANCELED)
		return result;
	if (result < 0 && (must || result != -EBADMSG)) {
		look->unread++;
		look->problem = err;
	}
	if (result < 0)
		return 0;
	result = look_at_members(look, archive);
	archive_in_free(archive);
	return result;
}

int repair_look_outside(struct repair_look *look, int source, int keep, const struct impersonate *who)
{
	struct outside outside = {.look = look, .who = who};
	struct stat st;
	int result = 0;

	if (fstat(source, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return look_at_archive(look, source, keep, true);
	content_run_init(&outside.run, look->wanted);
	outside.block = xmalloc(BLOCK);
	outside.place_bytes = place_bytes(look);
	result = S_ISDIR(st.st_mode) ? look_at_tree(&outside, source) : look_at_file(&outside, source);
	if (result == 0 && S_ISREG(st.st_mode))
		result = try_places(&outside, source, look->name ? look->name : "");
	content_run_clear(&outside.run);
	free(outside.block);
	if (result == 0 && S_ISREG(st.st_mode) && !is_done(look))
		result = look_at_archive(look, source, keep, false);
	return result;
}
