/*
 * One process at a time writes a store. Two things see to that.
 *
 * flock(2) on STORE/lock. The kernel gives it back when its owner dies, so it needs no judgement and no waiting; the file says who:
 * "PID COMMAND\n". It is shared by all who see the directory through the same filesystem in the same kernel. It is not shared, and two
 * processes can both get it, where one of them comes through another filesystem: a bind of FUSE, virtiofs or 9p from a virtual machine and
 * its host, NFS that keeps locks to itself.
 *
 * So there is also a record (lock_record.h) of who has the store open, in a file whose name carries a random word:
 *
 *   owner.free --lock_take: rename--> owner.WORD, record written --lock_release: rename--> owner.free
 *                                       | owner dead or silent: rename, by the next who takes it
 *                                       v
 *                                     owner.OTHER-WORD, which still holds the record of WORD
 *                                       | owner silent: the database gets another name (L4)
 *                                       v
 *                                     owner.OTHER-WORD, record written
 *
 *   L1  rename(2) of the file decides between two who want it at once: the second finds no file of the old name.
 *   L2  The record of a process that lives is not taken. If it was written in this kernel, the process table tells: at once. If this
 *       machine has started anew since, and nobody else can reach its disks, the writer is dead: at once. Else only the beat tells, which
 *       the owner's thread lets grow every second: a record whose beat stands still for 15 seconds is taken. Where the writer lives, we
 *       write into the beat and look at the file that the process has open: if it is not there, this directory is a copy.
 *   L3  Before each write batch and each table file, and after each sync, the owner reads the word (lock_check; on filesystems that may be
 *       shared, at most every 100 ms for batches that are not synced). If it finds another, it writes nothing more, and it reports that
 *       to whoever waits for the disk. A sync is only reported when the word was there after it; and who takes the store writes the word
 *       before he reads the log. So what was reported to be on disk is in the log that he reads.
 *   L4  Between reading the word and the write there is a window: a process can be stopped there, its machine can sleep, for any time. So
 *       who takes a store from an owner that is not certainly dead (15 seconds of silence) first gives the database's directory another
 *       name. Then nothing of the old owner leads there any more: neither files that it makes, nor those that it removes, since all are
 *       opened by name. What it has open is its log and its list of files, which the new owner has read and does not read again. The
 *       directory for files under construction has the same end in its name as the database (store_dir_ingest).
 *   L5  A record whose content does not fit its name counts as that of a silent owner. So the new owner writes his record only when the
 *       database has its other name: if he dies before, the next one renames it. If he fails before, he gives the record back.
 *
 * What happens when...
 *   the owner is killed (-9)       the next who comes takes the store at once; from another host after 15 seconds.
 *   it is stopped, or its machine  on this machine: it keeps the store, whatever the time. From another host, the store is taken after 15
 *   sleeps, for long               seconds. When it goes on, it finds the other word, at the next beat or write, and has lost the store.
 *   clocks differ or jump          nothing: only CLOCK_MONOTONIC of the one who waits is used, and only for how long he waits.
 *   power fails                    the next start of the machine takes the store at once. If the record's name was on disk and its content
 *                                  was not, after 1 second, as from a silent owner (L5).
 *   the record is deleted          its owner finds that out at the next beat and writes nothing more, as if it had been taken.
 *   caches show old content        on filesystems that may be shared, records are read and written past the cache (O_DIRECT), or opened
 *                                  anew for each look where that cannot be. What the server itself delays is added to L3's promise.
 *   a store is copied while open   the copy carries the record of a living process. It is free at once where we may look at what that
 *                                  process has open, else after 15 seconds.
 *   the disk is full               the record's blocks are there since the store was made; renaming needs none.
 */
#include "lib/store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/store/lock_file.h"
#include "lib/store/lock_record.h"

#define WHO_MAX 256
#define BEAT_MS 1000
#define PATIENCE_MS 15000
#define NOTICE_MS 2000
#define LOOK_US 50000
#define CHECK_MS 100
#define TAKE_TRIES 100
#define TORN_MS 1000

struct lock {
	int dir, fd; /* the store's directory, STORE/lock */
	char *path;  /* the store's, for people */
	struct lock_options options;

	struct lock_record record;
	char name[LOCK_RECORD_NAME_MAX];
	int record_fd;
	char before[LOCK_RECORD_LEN]; /* of the record, for lock_undo; empty: it was not whole */
	pthread_t keeper;
	bool kept; /* the record is ours, and the thread runs */
	int result; /* how closing the store went */

	pthread_mutex_t mutex; /* guards `stop`, and `lost_to` until `lost` is set */
	pthread_cond_t change;
	bool stop;
	char lost_to[WHO_MAX];
	atomic_bool lost;
	atomic_uint_fast64_t checked_ms; /* when the word was last there; of shared filesystems, where looking is a request to a server */
};

/* --- the record: taking it --- */

static void describe(const struct lock_record *record, char who[WHO_MAX])
{
	snprintf(who, WHO_MAX, "process %d (%s) on %s", (int)record->pid, record->command, record->host);
}

/* A record as one look finds it. */
struct look {
	int result; /* of lock_record_read */
	struct lock_record record;
	uint64_t beat;
};

static struct look look_at(const struct lock *lock, const char *name)
{
	struct look look = {0};

	look.result = lock_record_read(lock->dir, name, lock->record.local, &look.record, &look.beat);
	/* The name has changed hands and the content not yet (L5). */
	if (look.result == 0 && strcmp(look.record.word, name + strlen(LOCK_RECORD_PREFIX)) != 0)
		look.result = -EBADMSG;
	return look;
}

/* Waits for a change of the record: true as soon as there is one, false when patience is over. */
static bool changes(const struct lock *lock, const char *name, const struct look *before)
{
	/* Between taking a name and writing the record there is little time; a power cut may have kept the one and lost the other. */
	const unsigned patience = before->result == -EBADMSG ? MIN(TORN_MS, lock->options.patience_ms) : lock->options.patience_ms;
	const uint64_t begun = clock_ms();
	bool told = false;

	while (clock_ms() - begun < patience) {
		struct look now = look_at(lock, name);
		if (now.result != before->result || (now.result == 0 && now.beat != before->beat))
			return true;
		if (!told && clock_ms() - begun >= NOTICE_MS && lock->options.notice) {
			AUTO_FREE char *text = xasprintf("%s may be in use elsewhere: waiting up to %u s for a sign of life", lock->path,
			                                 patience / 1000);
			lock->options.notice(lock->options.arg, text);
			told = true;
		}
		clock_pause_us(LOOK_US);
	}
	return false;
}

static int used_elsewhere(const struct lock *lock, const struct lock_record *record, const char *more, struct error *err)
{
	char who[WHO_MAX];

	describe(record, who);
	error_set(err, -EBUSY, "the store %s is in use by %s%s", lock->path, who, more);
	error_hint(err, "it came to the store by another way than this command, so unmount there");
	return -EBUSY;
}

/* Not only the last: one that died before it had written a record leaves that of the one before. */
static bool is_known_dead(const struct lock *lock, pid_t pid)
{
	const pid_t *dead = lock->options.dead;

	while (dead && *dead && *dead != pid)
		dead++;
	return dead && *dead;
}

/* 0: the record's writer is dead, or (*silent) seems to be (L2). -EBUSY; -EAGAIN: it has changed, look again. */
static int check_dead(const struct lock *lock, const char *name, bool *silent, struct error *err)
{
	struct look look = look_at(lock, name);
	enum lock_writer writer = LOCK_WRITER_UNKNOWN;

	if (look.result == -ENOENT)
		return -EAGAIN;
	if (look.result < 0 && look.result != -EBADMSG)
		return error_set(err, look.result, "%s/%s: %s", lock->path, name, strerror(-look.result));
	if (look.result == 0)
		writer = lock_record_writer(&look.record, &lock->record);
	if (writer != LOCK_WRITER_UNKNOWN && is_known_dead(lock, look.record.pid))
		return 0;
	if (writer == LOCK_WRITER_DEAD)
		return 0;
	if (writer != LOCK_WRITER_UNKNOWN) {
		int copied = lock_record_is_copy(lock->dir, name, lock->record.local, &look.record);
		if (copied >= 0)
			return copied ? 0 : used_elsewhere(lock, &look.record, "", err);
		look = look_at(lock, name); /* asking has changed the beat */
	}
	if (changes(lock, name, &look)) {
		struct look now = look_at(lock, name);
		return look.result == 0 && now.result == 0 ? used_elsewhere(lock, &now.record, "", err) : -EAGAIN;
	}
	if (look.result == 0)
		writer = lock_record_writer(&look.record, &lock->record);
	if (writer == LOCK_WRITER_STOPPED)
		return used_elsewhere(lock, &look.record, ", which is stopped", err);
	*silent = *silent || writer != LOCK_WRITER_DEAD;
	return 0;
}

static int make_first(const struct lock *lock)
{
	AUTO_CLOSE int fd = lock_record_open(lock->dir, LOCK_RECORD_FREE, O_RDWR | O_CREAT | O_EXCL, lock->record.local);
	const struct lock_record nobody = {0};

	if (fd < 0)
		return fd == -EEXIST ? 0 : fd;
	int result = lock_record_write(fd, &nobody);
	return result < 0 ? result : lock_record_write_beat(fd, 0);
}

/* The file is ours by its name now: by its content, too. */
static int write_record(struct lock *lock)
{
	struct stat st;

	lock->record_fd = lock_record_open(lock->dir, lock->name, O_RDWR, lock->record.local);
	int result = lock->record_fd < 0 ? lock->record_fd : 0;
	if (result == 0 && lock_record_save(lock->record_fd, lock->before) < 0)
		lock->before[0] = '\0';
	if (result == 0)
		result = lock_record_write(lock->record_fd, &lock->record);
	if (result == 0)
		result = lock_record_write_beat(lock->record_fd, 0);
	/* The word must be seen by the last owner before we read his log (L3). */
	if (result == 0 && !lock->record.local && fsync(lock->record_fd) < 0)
		result = -errno;
	/* We were slow, and another has taken us for dead. */
	if (result == 0 && fstatat(lock->dir, lock->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		result = errno == ENOENT ? -EBUSY : -errno;
	return result;
}

/* The first of the names has become ours by rename (L5). */
static int make_ours(struct lock *lock, const struct lock_records *names, bool silent, struct error *err)
{
	const struct store_dir dir = {.fd = lock->dir, .path = lock->path};
	int result = fault_point("lock.taken");

	if (result == 0 && silent)
		result = store_dir_rename_database(&dir, err);
	if (result == 0)
		result = fault_point("lock.database-renamed");
	for (size_t i = 1; i < names->count && result == 0; i++)
		unlinkat(lock->dir, names->items[i].text, 0);
	if (result == 0)
		result = write_record(lock);
	if (result < 0)
		(void)!renameat(lock->dir, lock->name, lock->dir, names->items[0].text);
	return result;
}

/* -EAGAIN: somebody else was faster, or is at it. */
static int try_to_take(struct lock *lock, struct error *err)
{
	AUTO_ARRAY struct lock_records names = {0};
	int result = lock_records_list(lock->dir, &names);
	bool silent = false;
	struct stat st;

	if (result == 0 && names.count == 0) {
		result = make_first(lock);
		return result == 0 ? -EAGAIN : error_set(err, result, "cannot lock the store %s: %s", lock->path, error_text(result));
	}
	for (size_t i = 0; i < names.count && result == 0; i++)
		if (strcmp(names.items[i].text, LOCK_RECORD_FREE) != 0)
			result = check_dead(lock, names.items[i].text, &silent, err);
	if (result < 0)
		return result;
	result = fault_point("lock.before-rename");
	if (result == 0 && renameat(lock->dir, names.items[0].text, lock->dir, lock->name) < 0)
		result = errno == ENOENT ? -EAGAIN : -errno;
	/* A rename over a network may have been done though its answer was lost. */
	if (result == -EAGAIN && fstatat(lock->dir, lock->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		result = 0;
	if (result == -EAGAIN)
		return result;
	if (result == 0)
		result = make_ours(lock, &names, silent, err);
	if (result < 0)
		error_default(err, result, "cannot lock the store %s", lock->path);
	return result;
}

static int take_record(struct lock *lock, struct error *err)
{
	int result = fault_point("lock.before-look");

	result = result < 0 ? result : -EAGAIN;
	for (int i = 0; i < TAKE_TRIES && result == -EAGAIN; i++)
		result = try_to_take(lock, err);
	return result == -EAGAIN ? error_set(err, -EBUSY, "the store %s is being opened by others", lock->path) : result;
}

/* --- the record: keeping it --- */

static void describe_taker(const struct lock *lock, char who[WHO_MAX])
{
	AUTO_ARRAY struct lock_records names = {0};
	int ignored = lock_records_list(lock->dir, &names);

	(void)ignored;
	snprintf(who, WHO_MAX, "somebody who did not say who");
	/* Whoever it was may have gone again: his record stays under the free name. */
	for (size_t i = 0; i < names.count; i++) {
		struct lock_record record;
		uint64_t beat;
		if (lock_record_read(lock->dir, names.items[i].text, lock->record.local, &record, &beat) == 0 &&
		    strcmp(record.word, lock->record.word) != 0)
			describe(&record, who);
	}
}

static int note_lost(struct lock *lock)
{
	char who[WHO_MAX];

	describe_taker(lock, who);
	pthread_mutex_lock(&lock->mutex);
	if (!atomic_load(&lock->lost)) {
		memcpy(lock->lost_to, who, sizeof(who));
		atomic_store(&lock->lost, true);
	}
	pthread_cond_broadcast(&lock->change);
	pthread_mutex_unlock(&lock->mutex);
	return -EROFS;
}

int lock_check(struct lock *lock, bool now)
{
	const uint64_t time = lock->record.local ? 0 : clock_ms();

	if (atomic_load(&lock->lost))
		return -EROFS;
	if (!now && !lock->record.local && time - atomic_load(&lock->checked_ms) < CHECK_MS)
		return 0;
	int result = lock_record_check(lock->record_fd, lock->dir, lock->name, &lock->record);
	if (result == 0)
		atomic_store(&lock->checked_ms, time);
	return result == -ESTALE ? note_lost(lock) : result;
}

const char *lock_lost_to(struct lock *lock)
{
	return atomic_load(&lock->lost) ? lock->lost_to : NULL;
}

/* False when it is time to stop. */
static bool wait_beat(struct lock *lock)
{
	struct timespec until = clock_after_ms(lock->options.beat_ms);
	int waited = 0;

	pthread_mutex_lock(&lock->mutex);
	while (!lock->stop && !atomic_load(&lock->lost) && waited == 0)
		waited = pthread_cond_clockwait(&lock->change, &lock->mutex, CLOCK_MONOTONIC, &until);
	bool stop = lock->stop;
	pthread_mutex_unlock(&lock->mutex);
	return !stop;
}

static void *keeper_main(void *arg)
{
	struct lock *lock = arg;
	struct stat st;

	for (uint64_t beat = 1; wait_beat(lock); beat++) {
		if (fstatat(lock->dir, lock->name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
			note_lost(lock);
		if (lock_check(lock, true) == -EROFS)
			break;
		/* The second block says nothing of whose it is: a beat that comes too late does no harm to a new owner's record. */
		int ignored = lock_record_write_beat(lock->record_fd, beat);
		(void)ignored;
	}
	if (lock_lost_to(lock) && lock->options.lost)
		lock->options.lost(lock->options.arg, lock->lost_to);
	return NULL;
}

/* --- both --- */

static struct lock *lock_new(const struct store_dir *dir, const struct lock_options *options)
{
	struct lock *lock = xcalloc(1, sizeof(*lock));

	lock->dir = dir->fd;
	lock->path = xstrdup(dir->path);
	lock->fd = lock->record_fd = -1;
	lock->options = *options;
	lock->options.beat_ms = options->beat_ms ? options->beat_ms : BEAT_MS;
	lock->options.patience_ms = options->patience_ms ? options->patience_ms : PATIENCE_MS;
	pthread_mutex_init(&lock->mutex, NULL);
	pthread_cond_init(&lock->change, NULL);
	return lock;
}

static void lock_free(struct lock *lock)
{
	if (lock->record_fd >= 0)
		close(lock->record_fd);
	lock_file_release(lock->fd, lock->kept, lock->result);
	pthread_cond_destroy(&lock->change);
	pthread_mutex_destroy(&lock->mutex);
	free(lock->path);
	free(lock);
}

int lock_take(const struct store_dir *dir, const struct lock_options *options, struct lock **ret_lock, struct error *err)
{
	static const struct lock_options defaults = {0};
	struct lock *lock = lock_new(dir, options ? options : &defaults);
	const bool is_kept = lock->options.dead && lock->options.locked_fd >= 0;
	int result = is_kept ? lock_file_again(dir, lock->options.locked_fd, LOCK_EX, &lock->fd, err) : lock_file_take(dir, &lock->fd, err);

	if (result == 0) {
		result = lock_record_of_us(lock->fd, &lock->record);
		snprintf(lock->name, sizeof(lock->name), LOCK_RECORD_PREFIX "%s", lock->record.word);
	}
	if (result == 0)
		result = take_record(lock, err);
	if (result == 0) {
		result = -pthread_create(&lock->keeper, NULL, keeper_main, lock);
		lock->kept = result == 0;
	}
	/* Not before: where flock is not shared, the file may name another owner. */
	if (result == 0)
		lock_file_write_owner(lock->fd);
	if (result < 0) {
		error_default(err, result, "cannot lock the store %s", dir->path);
		lock_release(lock);
		return result;
	}
	*ret_lock = lock;
	return 0;
}

int lock_fd(const struct lock *lock)
{
	return lock->fd;
}

static void stop_keeper(struct lock *lock)
{
	if (!lock->kept)
		return;
	pthread_mutex_lock(&lock->mutex);
	lock->stop = true;
	pthread_cond_broadcast(&lock->change);
	pthread_mutex_unlock(&lock->mutex);
	pthread_join(lock->keeper, NULL);
}

void lock_set_result(struct lock *lock, int result)
{
	lock->result = result;
}

void lock_release(struct lock *lock)
{
	if (!lock)
		return;
	stop_keeper(lock);
	if (lock->record_fd >= 0 && lock_check(lock, true) == 0)
		(void)!renameat(lock->dir, lock->name, lock->dir, LOCK_RECORD_FREE);
	lock_free(lock);
}

void lock_undo(struct lock *lock)
{
	if (!lock)
		return;
	stop_keeper(lock);
	/* Nobody has been told that the store is ours, so nobody misses the record while it is neither ours nor free. */
	if (lock->before[0] && lock_check(lock, true) == 0)
		(void)!lock_record_restore(lock->record_fd, lock->before);
	(void)!renameat(lock->dir, lock->name, lock->dir, LOCK_RECORD_FREE);
	/* what was kept for us is kept for the next one, too */
	lock->kept = lock->kept && !lock->options.dead;
	lock_free(lock);
}

void lock_remove(struct lock *lock)
{
	stop_keeper(lock);
	unlinkat(lock->dir, lock->name, 0);
	unlinkat(lock->dir, LOCK_NAME, 0);
	lock_free(lock);
}
