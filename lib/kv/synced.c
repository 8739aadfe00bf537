#include "lib/kv/synced.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/kv/file_numbers.h"
#include "lib/kv/log_file.h"
#include "lib/kv/manifest.h"
#include "lib/kv/manifest_copy.h"

#define SLOT_LEN 4096
#define SLOT_COUNT 2
#define SLOT_HEAD 8
#define CLOSED_MAX 128
#define SAME_TIME_S 2 /* some filesystems count time in seconds */

#define NOT_BEGUN UINT64_MAX

/* The change `first`, and all that have a greater number, are in this log or in a later one. NOT_BEGUN: the log has none yet. */
struct logged {
	uint64_t log, first;
};

struct synced {
	int dir, fd;
	pthread_mutex_t lock; /* guards all below; a leaf */
	struct synced_state state;
	struct logged last, newest; /* the last two logs that were found; log 0: there is none */
	int log_fd;                 /* the newest; -1: none was found yet */
	uint64_t log_bytes, written; /* when last looked */
	int64_t dir_changed;         /* when the directory had last changed when its logs were listed; 0: too short ago to tell */
	ARRAY(struct synced_log) closed; /* found by look number `look`; becomes state.closed with the first note that comes after it */
	uint64_t look;
	bool changed; /* since the last synced_keep */
};

/* --- slots --- */

static void encode(const struct synced_state *state, struct buf *slot)
{
	struct buf body = BUF_INIT;

	buf_add_le64(&body, state->count);
	buf_add_le64(&body, state->manifest);
	buf_add_le64(&body, state->manifest_bytes);
	buf_add_le64(&body, state->sequence);
	buf_add_le64(&body, state->log);
	buf_add_le64(&body, (uint64_t)state->time);
	buf_add_le32(&body, (uint32_t)state->closed.count);
	for (size_t i = 0; i < state->closed.count; i++) {
		buf_add_le64(&body, state->closed.items[i].number);
		buf_add_le64(&body, state->closed.items[i].bytes);
	}
	struct buf checked = BUF_INIT;
	buf_add_le32(&checked, (uint32_t)body.len);
	buf_add(&checked, body.data, body.len);
	buf_add_le32(slot, crc32c_add(0, checked.data, checked.len));
	buf_add(slot, checked.data, checked.len);
	buf_clear(&checked);
	buf_clear(&body);
}

/* False for a slot that is not whole. */
static bool decode(const uint8_t *slot, struct synced_state *ret_state)
{
	struct reader reader = reader_over(slot, SLOT_LEN);
	const uint32_t checksum = read_le32(&reader);
	const uint8_t *checked = reader.at;
	const uint32_t len = read_le32(&reader);
	struct synced_state state = {0};

	if (len > SLOT_LEN - SLOT_HEAD || crc32c_add(0, checked, sizeof(len) + len) != checksum)
		return false;
	reader = reader_over(slot + SLOT_HEAD, len);
	state.count = read_le64(&reader);
	state.manifest = read_le64(&reader);
	state.manifest_bytes = read_le64(&reader);
	state.sequence = read_le64(&reader);
	state.log = read_le64(&reader);
	state.time = (int64_t)read_le64(&reader);
	for (uint32_t left = read_le32(&reader); left > 0 && !reader.bad; left--) {
		struct synced_log log = {.number = read_le64(&reader), .bytes = read_le64(&reader)};
		array_add(&state.closed, log);
	}
	if (reader.bad || reader.left > 0) {
		array_clear(&state.closed);
		return false;
	}
	*ret_state = state;
	return true;
}

int synced_read(int dir, struct synced_state *ret_state)
{
	struct synced_state newest = {0}, state;
	AUTO_BUF file = BUF_INIT;
	int result = file_read_inside(dir, SYNCED_NAME, (size_t)SLOT_COUNT * SLOT_LEN, &file);
	bool found = false;

	if (result < 0)
		return result == -EFBIG || result == -EUCLEAN ? -EBADMSG : result;
	for (size_t at = 0; at + SLOT_LEN <= file.len; at += SLOT_LEN) {
		if (!decode(file.data + at, &state))
			continue;
		if (found && state.count < newest.count) {
			array_clear(&state.closed);
			continue;
		}
		array_clear(&newest.closed);
		newest = state;
		found = true;
	}
	if (!found)
		return -EBADMSG;
	*ret_state = newest;
	return 0;
}

/*
 * Caller holds the lock. Errors are no matter: SYNCED then says less than it could. But the slot may be torn, so the next attempt goes to the
 * same one, and the other stays whole.
 */
static void write_slot(struct synced *synced)
{
	AUTO_BUF slot = BUF_INIT;

	synced->state.count++;
	encode(&synced->state, &slot);
	synced->changed = true;
	if (file_write_at(synced->fd, slot.data, slot.len, synced->state.count % SLOT_COUNT * SLOT_LEN) < 0)
		synced->state.count--;
}

/* --- logs --- */

static uint64_t bytes_of(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static int open_log(int dir, uint64_t number)
{
	char name[32];

	snprintf(name, sizeof(name), "%06" PRIu64 ".log", number);
	return file_open_inside(dir, name, O_RDONLY, 0);
}

/* Nanoseconds since 1970; 0: too short ago, so that a change that follows may give the same. */
static int64_t changed_at(int dir)
{
	struct timespec now = clock_now();
	struct stat st;

	if (fstat(dir, &st) < 0 || now.tv_sec - st.st_mtim.tv_sec < SAME_TIME_S)
		return 0;
	return st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
}

/* A record begins with the number of its first change. */
static uint64_t first_change(int fd)
{
	const uint8_t *record;
	uint64_t first = NOT_BEGUN;
	size_t len;
	const int own = bytes_of(fd) > 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (own < 0)
		return NOT_BEGUN;
	struct log_file *file = log_file_over(own);
	if (log_file_next(file, &record, &len) > 0) {
		struct reader reader = reader_over(record, len);
		const uint64_t number = read_le64(&reader);
		first = reader.bad ? NOT_BEGUN : number;
	}
	log_file_close(file);
	return first;
}

/* Caller holds the lock. */
static void begin_newest(struct synced *synced)
{
	if (synced->newest.first == NOT_BEGUN)
		synced->newest.first = first_change(synced->log_fd);
}

/* S2, of a change that is not before state.sequence. Caller holds the lock. */
static uint64_t log_of(struct synced *synced, uint64_t sequence)
{
	begin_newest(synced);
	if (sequence >= synced->newest.first)
		return synced->newest.log;
	return sequence >= synced->last.first ? synced->last.log : synced->state.log;
}

/* All but the newest are closed, and have the length that they will have. Caller holds the lock. */
static void take_logs(struct synced *synced, const struct file_numbers *logs)
{
	begin_newest(synced);
	synced->last = synced->newest;
	array_reset(&synced->closed);
	for (size_t i = logs->count > CLOSED_MAX ? logs->count - CLOSED_MAX : 0; i + 1 < logs->count; i++) {
		AUTO_CLOSE int fd = open_log(synced->dir, logs->items[i]);
		/* One that has just been removed is not needed any more. */
		if (fd < 0)
			continue;
		array_add(&synced->closed, (struct synced_log){logs->items[i], bytes_of(fd)});
		if (logs->items[i] > synced->last.log)
			synced->last = (struct logged){logs->items[i], first_change(fd)};
	}
	synced->look++;
	if (synced->log_fd >= 0)
		close(synced->log_fd);
	synced->newest = (struct logged){*array_last(logs), NOT_BEGUN};
	synced->log_fd = open_log(synced->dir, synced->newest.log);
	synced->log_bytes = bytes_of(synced->log_fd);
}

/* Caller holds the lock. */
static void find_logs(struct synced *synced)
{
	struct file_numbers logs = {0};
	const int64_t changed = changed_at(synced->dir);

	if (synced->dir_changed != 0 && changed == synced->dir_changed)
		return;
	if (file_numbers_list(synced->dir, "", ".log", &logs) == 0) {
		synced->dir_changed = changed;
		if (logs.count > 0 && *array_last(&logs) > synced->newest.log)
			take_logs(synced, &logs);
	}
	array_clear(&logs);
}

/* Caller holds the lock. */
static void look(struct synced *synced, uint64_t written)
{
	const bool has_grown = bytes_of(synced->log_fd) >= synced->log_bytes + (written - MIN(synced->written, written));

	if (!has_grown)
		find_logs(synced);
	synced->log_bytes = bytes_of(synced->log_fd);
	synced->written = MAX(synced->written, written);
}

uint64_t synced_look(struct synced *synced, uint64_t written)
{
	pthread_mutex_lock(&synced->lock);
	look(synced, written);
	const uint64_t number = synced->look;
	pthread_mutex_unlock(&synced->lock);
	return number;
}

void synced_note(struct synced *synced, uint64_t look_number, uint64_t written, uint64_t sequence)
{
	pthread_mutex_lock(&synced->lock);
	/* what was written and synced at once may have begun a log */
	look(synced, written);
	const bool closed = synced->closed.count > 0 && look_number == synced->look, further = sequence > synced->state.sequence;
	const uint64_t log = log_of(synced, MAX(sequence, synced->state.sequence));
	if (closed) {
		array_reset(&synced->state.closed);
		array_append(&synced->state.closed, synced->closed.items, synced->closed.count);
		array_reset(&synced->closed);
	}
	if (further || closed || log != synced->state.log) {
		synced->state.sequence = MAX(sequence, synced->state.sequence);
		synced->state.log = log;
		synced->state.time = clock_now().tv_sec;
		write_slot(synced);
	}
	pthread_mutex_unlock(&synced->lock);
}

/* --- the file --- */

/* A new file, so that a former owner of the database who wakes up late writes into one that nobody reads. */
static int make_file(const char *path, const struct synced_state *state)
{
	AUTO_FREE char *name = xasprintf("%s/" SYNCED_NAME, path);
	AUTO_BUF file = BUF_INIT;

	encode(state, &file);
	while (file.len < (size_t)SLOT_COUNT * SLOT_LEN)
		buf_add_u8(&file, 0);
	return file_replace(name, file.data, file.len, 0644);
}

int synced_forget(const char *path)
{
	return make_file(path, &(struct synced_state){0});
}

/* Not the edit that RocksDB is just writing: after a crash it may stay half there, which is no damage. Of a manifest that is not understood, all. */
static uint64_t whole_part(int dir, const char *name, uint64_t bytes)
{
	struct manifest manifest = {0};
	AUTO_BUF content = BUF_INIT;

	if (file_read_inside(dir, name, MANIFEST_BYTES_MAX, &content) == 0 && manifest_of_bytes(content.data, content.len, &manifest) == 0)
		bytes = manifest.whole;
	manifest_clear(&manifest);
	return bytes;
}

/* RocksDB syncs each edit before it relies on it; here it is synced once more, so that S1 needs nobody's word. */
static int sync_manifest(struct synced *synced, uint64_t *ret_number, uint64_t *ret_bytes)
{
	char name[MANIFEST_NAME_MAX];
	int result = manifest_current(synced->dir, name, ret_number);

	if (result < 0)
		return result;
	AUTO_CLOSE int fd = file_open_inside(synced->dir, name, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	*ret_bytes = bytes_of(fd);
	if (fdatasync(fd) < 0)
		return -errno;
	pthread_mutex_lock(&synced->lock);
	const bool is_known = *ret_number == synced->state.manifest && *ret_bytes == synced->state.manifest_bytes;
	pthread_mutex_unlock(&synced->lock);
	if (!is_known)
		*ret_bytes = whole_part(synced->dir, name, *ret_bytes);
	return 0;
}

int synced_open(const char *path, uint64_t sequence, struct synced **ret_synced)
{
	struct synced *synced = xcalloc(1, sizeof(*synced));
	int result;

	synced->log_fd = synced->fd = -1;
	pthread_mutex_init(&synced->lock, NULL);
	synced->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	result = synced->dir < 0 ? -errno : sync_manifest(synced, &synced->state.manifest, &synced->state.manifest_bytes);
	if (result == 0)
		result = make_file(path, &synced->state);
	if (result == 0) {
		synced->fd = file_open_inside(synced->dir, SYNCED_NAME, O_RDWR, 0);
		result = MIN(synced->fd, 0);
	}
	if (result < 0) {
		synced_close(synced);
		return result;
	}
	find_logs(synced);
	/* RocksDB has put what older logs had into tables. */
	array_reset(&synced->closed);
	synced->last = (struct logged){0, NOT_BEGUN};
	synced->newest.first = sequence + 1;
	*ret_synced = synced;
	return 0;
}

void synced_close(struct synced *synced)
{
	if (!synced)
		return;
	if (synced->dir >= 0)
		close(synced->dir);
	if (synced->fd >= 0)
		close(synced->fd);
	if (synced->log_fd >= 0)
		close(synced->log_fd);
	array_clear(&synced->state.closed);
	array_clear(&synced->closed);
	pthread_mutex_destroy(&synced->lock);
	free(synced);
}

int synced_keep(struct synced *synced)
{
	uint64_t number = 0, bytes = 0;
	int result = sync_manifest(synced, &number, &bytes);

	pthread_mutex_lock(&synced->lock);
	const bool is_new = result == 0 && (synced->state.manifest != number || synced->state.manifest_bytes != bytes);
	if (is_new) {
		synced->state.manifest = number;
		synced->state.manifest_bytes = bytes;
	}
	find_logs(synced);
	const uint64_t log = log_of(synced, synced->state.sequence);
	if (is_new || log != synced->state.log) {
		synced->state.log = log;
		write_slot(synced);
	}
	const bool changed = synced->changed;
	synced->changed = false;
	pthread_mutex_unlock(&synced->lock);
	if (changed && fdatasync(synced->fd) < 0) {
		result = result < 0 ? result : -errno;
		pthread_mutex_lock(&synced->lock);
		synced->changed = true;
		pthread_mutex_unlock(&synced->lock);
	}
	return result;
}
