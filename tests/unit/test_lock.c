#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>

#include "lib/base/clock.h"
#include "lib/store/lock.h"
#include "lib/store/lock_file.h"
#include "tests/unit/lock_place.h"
#include "tests/unit/sleeping_child.h"

static const struct lock_options quick = {.beat_ms = 10, .patience_ms = 300};
/* For what must not wait for a beat: if it did, the test would not end in time. */
static const struct lock_options patient = {.beat_ms = 10, .patience_ms = 600000};

static struct lock *take_with(struct place *place, const struct lock_options *options)
{
	struct error err = {0};
	struct lock *lock = NULL;
	int result = lock_take(&place->dir, options, &lock, &err);

	if (result < 0)
		print_error("lock_take: %s\n", err.text);
	assert_int_equal(result, 0);
	return lock;
}

static struct lock *take(struct place *place)
{
	return take_with(place, &patient);
}

static int refusal(struct place *place, const struct lock_options *options, struct error *err)
{
	struct lock *lock = NULL;
	int result = lock_take(&place->dir, options, &lock, err);

	assert_null(lock);
	return result;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* The word, pid and time of start of a process that lives and has no record open. */
static void written_by(struct lock_record *record, pid_t pid)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int)pid);
	AUTO_BUF text = BUF_INIT;
	unsigned long started;

	assert_int_equal(file_read(path, 4096, &text), 0);
	buf_add_u8(&text, 0);
	assert_int_equal(sscanf(strrchr((const char *)text.data, ')') + 1,
				" %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lu", &started),
			 1);
	record->pid = pid;
	record->started = started;
}

static void a_free_store_is_taken_and_given_back(void **state)
{
	struct place place;

	place_make(&place);
	struct lock *lock = take(&place);
	assert_true(has(&place, "db"));
	assert_false(has(&place, FREE));
	assert_int_equal(lock_check(lock, true), 0);
	assert_null(lock_lost_to(lock));
	assert_int_equal(lock_file_owner(place.dir.fd), getpid());
	lock_release(lock);
	assert_true(has(&place, FREE));
	assert_int_equal(lock_file_owner(place.dir.fd), 0);
	lock = take(&place);
	lock_release(lock);
	place_clear(&place);
}

/* Room for a text, so that the next owner can say who he is when the disk is full. */
static void who_gives_a_store_back_leaves_a_text(void **state)
{
	struct place place;
	struct stat st;

	place_make(&place);
	for (int i = 0; i < 2; i++) {
		struct lock *lock = take(&place);
		assert_int_equal(lock_file_result(place.dir.fd), -ENOTCONN);
		lock_set_result(lock, i == 0 ? 0 : -ENOSPC);
		lock_release(lock);
		assert_int_equal(lock_file_result(place.dir.fd), i == 0 ? 0 : -ENOSPC);
		assert_int_equal(fstat(place.lock_fd, &st), 0);
		assert_true(st.st_size > 0);
	}
	place_clear(&place);
}

static void the_living_are_not_taken_from(void **state)
{
	struct place place;
	struct error err = {0};
	pid_t child = sleeping_child();

	place_make(&place);
	struct lock_record record = by_another_way(&place);
	written_by(&record, child);
	AUTO_CLOSE int fd = write_foreign(&place, &record);
	/* The child cannot let it beat: stopped, it keeps the store all the same. */
	kill(child, SIGSTOP);
	assert_int_equal(waitpid(child, NULL, WUNTRACED), child);
	assert_int_equal(refusal(&place, &quick, &err), -EBUSY);
	assert_non_null(strstr(err.text, "stopped"));
	end_child(child);
	struct lock *lock = take(&place);
	assert_true(has(&place, "db"));
	lock_release(lock);
	place_clear(&place);
}

static void who_has_the_same_file_open_is_told_at_once(void **state)
{
	struct place place;
	struct error err = {0};

	place_make(&place);
	struct lock_record record = by_another_way(&place);
	AUTO_CLOSE int fd = write_foreign(&place, &record); /* open in this process, which the record names */
	assert_int_equal(refusal(&place, &patient, &err), -EBUSY);
	assert_non_null(strstr(err.text, record.host));
	place_clear(&place);
}

static void a_copy_of_an_open_store_is_free(void **state)
{
	struct place original, copy;

	place_make(&original);
	place_make(&copy);
	struct lock_record record = by_another_way(&original);
	AUTO_CLOSE int fd = write_foreign(&original, &record);
	close(write_foreign(&copy, &record));
	struct lock *lock = take(&copy);
	assert_true(has(&copy, "db"));
	lock_release(lock);
	place_clear(&original);
	place_clear(&copy);
}

static void the_dead_are_taken_from_at_once(void **state)
{
	struct place place;
	struct lock_record records[4];
	pid_t child = sleeping_child();

	place_make(&place);
	end_child(child);
	records[0] = by_another_way(&place); /* its pid is nobody's now */
	records[0].pid = child;
	records[1] = by_another_way(&place); /* its pid is somebody else's now */
	records[1].started++;
	records[2] = place.record; /* of the same lock file: flock would have kept us out */
	records[3] = of_another_host(&place); /* of this machine, before it was started anew */
	memcpy(records[3].host, place.record.host, sizeof(records[3].host));
	memcpy(records[3].machine, place.record.machine, sizeof(records[3].machine));
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		if (i == 3 && !(place.record.machine[0] && place.record.local))
			continue;
		close(write_foreign(&place, &records[i]));
		struct lock *lock = take(&place);
		assert_true(has(&place, "db"));
		lock_release(lock);
	}
	place_clear(&place);
}

/* The one before the last may have written the record, and still be seen. */
static void those_that_run_no_more_are_taken_from_although_they_are_seen(void **state)
{
	struct place place;
	struct error err = {0};
	pid_t child = sleeping_child();
	const pid_t others[] = {4711, 0}, dead[] = {4711, child, 0};
	struct lock_options options = quick;

	place_make(&place);
	struct lock_record record = by_another_way(&place);
	written_by(&record, child);
	AUTO_CLOSE int fd = write_foreign(&place, &record);
	kill(child, SIGSTOP);
	assert_int_equal(waitpid(child, NULL, WUNTRACED), child);
	options.locked_fd = -1;
	options.dead = others;
	assert_int_equal(refusal(&place, &options, &err), -EBUSY);
	options.dead = dead;
	lock_release(take_with(&place, &options));
	end_child(child);
	place_clear(&place);
}

static void who_goes_on_does_not_take_another_store_for_his(void **state)
{
	struct place place, other;
	struct error err = {0};
	const pid_t dead[] = {4711, 0};
	struct lock_options options = patient;
	AUTO_CLOSE int fd = -1;

	place_make(&place);
	place_make(&other);
	lock_release(take(&other));
	assert_int_equal(lock_file_take(&place.dir, &fd, &err), 0);
	options.dead = dead;
	options.locked_fd = fd;
	assert_int_equal(refusal(&other, &options, &err), -ESTALE);
	assert_non_null(strstr(err.text, "not the store"));
	lock_release(take(&other));
	AUTO_FREE char *found = lock_file_place(fd);
	assert_string_equal(found, place.dir.path);
	lock_undo(take_with(&place, &options)); /* it could not open the store: another one will, and nobody else may come between */
	assert_int_equal(refusal(&place, &quick, &err), -EBUSY);
	lock_release(take_with(&place, &options));
	assert_int_equal(unlinkat(place.dir.fd, LOCK_NAME, 0), 0);
	assert_null(lock_file_place(fd));
	assert_int_equal(refusal(&place, &options, &err), -ESTALE);
	place_clear(&place);
	place_clear(&other);
}

static void *beat(void *arg)
{
	int fd = *(int *)arg;

	for (uint64_t i = 6; lock_record_write_beat(fd, i) == 0; i++)
		clock_pause_us(5000);
	return NULL;
}

static void another_host_keeps_what_beats(void **state)
{
	struct place place;
	struct error err = {0};
	pthread_t thread;

	place_make(&place);
	struct lock_record record = of_another_host(&place);
	int fd = write_foreign(&place, &record), copy = dup(fd);
	assert_int_equal(pthread_create(&thread, NULL, beat, &fd), 0);
	assert_int_equal(refusal(&place, &patient, &err), -EBUSY);
	assert_non_null(strstr(err.text, "elsewhere"));
	/* Closed under it, which ends it. */
	assert_int_equal(dup2(place.dir.fd, fd), fd);
	pthread_join(thread, NULL);
	close(fd);
	close(copy);
	/* Silence: it is taken, and whoever was there is not certainly dead. */
	const uint64_t begun = clock_ms();
	struct lock *lock = take_with(&place, &quick);
	assert_false(has(&place, "db"));
	assert_true(clock_ms() - begun >= quick.patience_ms);
	lock_release(lock);
	place_clear(&place);
}

/* What became of lock_take in a program of its own: its result, or the signal that killed it. */
static int take_in_a_child(struct place *place, const char *fault)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		setenv("CORPUSFS_FAULT", fault, 1);
		execl("/proc/self/exe", "test", place->path, (char *)NULL);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static int take_as_a_child(const char *path)
{
	struct store_dir dir;
	struct lock *lock = NULL;

	if (store_dir_open(path, &dir, NULL) < 0)
		return 0;
	const int result = lock_take(&dir, &quick, &lock, NULL);
	lock_release(lock);
	store_dir_close(&dir);
	return -result;
}

static void who_dies_while_taking_from_the_silent_leaves_none_of_their_files_where_they_were(void **state)
{
	static const char *const points[] = {"lock.taken", "lock.database-renamed"};

	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		struct place place;
		place_make(&place);
		struct lock_record record = of_another_host(&place);
		AUTO_CLOSE int fd = write_foreign(&place, &record);
		assert_int_equal(take_in_a_child(&place, points[i]), SIGKILL);
		struct lock *lock = take_with(&place, &quick);
		assert_false(has(&place, "db"));
		lock_release(lock);
		place_clear(&place);
	}
}

static void who_fails_to_take_from_the_silent_gives_the_record_back(void **state)
{
	struct place place;

	place_make(&place);
	struct lock_record record = of_another_host(&place);
	AUTO_CLOSE int fd = write_foreign(&place, &record);
	AUTO_FREE char *name = xasprintf("owner.%s", record.word);
	assert_int_equal(take_in_a_child(&place, "lock.taken:eio"), -EIO);
	assert_true(has(&place, name) && has(&place, "db"));
	assert_int_equal(lock_record_check(fd, place.dir.fd, name, &record), 0);
	assert_int_equal(take_in_a_child(&place, "lock.database-renamed:eio"), -EIO);
	assert_true(has(&place, name) && !has(&place, "db"));
	struct lock *lock = take_with(&place, &quick);
	lock_release(lock);
	place_clear(&place);
}

struct told {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	char text[256];
};

static void on_lost(void *arg, const char *text)
{
	struct told *told = arg;

	pthread_mutex_lock(&told->mutex);
	snprintf(told->text, sizeof(told->text), "%s", text);
	pthread_cond_signal(&told->cond);
	pthread_mutex_unlock(&told->mutex);
}

static struct lock *take_and_tell(struct place *place, struct told *told)
{
	struct lock_options options = {.beat_ms = 10, .patience_ms = 300, .lost = on_lost, .arg = told};
	struct lock *lock;

	assert_int_equal(lock_take(&place->dir, &options, &lock, NULL), 0);
	return lock;
}

static void wait_told(struct told *told)
{
	pthread_mutex_lock(&told->mutex);
	while (!told->text[0])
		pthread_cond_wait(&told->cond, &told->mutex);
	pthread_mutex_unlock(&told->mutex);
}

/* The name under which the lock has its record. */
static void find_record(struct place *place, char name[64])
{
	char command[256];

	snprintf(command, sizeof(command), "cd %s && ls -d owner.*", place->path);
	FILE *pipe = popen(command, "r");
	assert_non_null(fgets(name, 64, pipe));
	name[strcspn(name, "\n")] = '\0';
	pclose(pipe);
}

static void who_finds_another_word_has_lost(void **state)
{
	struct told told = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct place place;
	char name[64];

	place_make(&place);
	struct lock *lock = take_and_tell(&place, &told);
	find_record(&place, name);
	/* As lock_take of another host would do after silence. */
	struct lock_record other = of_another_host(&place);
	AUTO_FREE char *new_name = xasprintf("owner.%s", other.word);
	/* under both names until it is written: the keeper may look at any moment, and is to find who it is */
	assert_int_equal(linkat(place.dir.fd, name, place.dir.fd, new_name, 0), 0);
	AUTO_CLOSE int fd = lock_record_open(place.dir.fd, new_name, O_RDWR, true);
	assert_int_equal(lock_record_write(fd, &other), 0);
	assert_int_equal(unlinkat(place.dir.fd, name, 0), 0);
	assert_int_equal(lock_check(lock, true), -EROFS);
	assert_non_null(strstr(lock_lost_to(lock), "elsewhere"));
	wait_told(&told);
	assert_non_null(strstr(told.text, "elsewhere"));
	lock_release(lock);
	/* Nothing was given back that is the other's. */
	assert_true(has(&place, new_name));
	assert_false(has(&place, FREE));
	place_clear(&place);
}

static void who_finds_no_record_has_lost(void **state)
{
	struct told told = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct place place;
	char name[64];

	place_make(&place);
	struct lock *lock = take_and_tell(&place, &told);
	find_record(&place, name);
	assert_int_equal(unlinkat(place.dir.fd, name, 0), 0);
	wait_told(&told);
	assert_int_equal(lock_check(lock, true), -EROFS);
	lock_release(lock);
	place_clear(&place);
}

static void *take_on_a_thread(void *arg)
{
	struct lock *lock = NULL;

	return lock_take(arg, &quick, &lock, NULL) == 0 ? lock : NULL;
}

/* Each with a lock file of its own, as through different filesystems, but the same records. */
static void of_several_at_once_one_gets_it(void **state)
{
	struct place place;
	pthread_t threads[8];

	place_make(&place);
	for (int round = 0; round < 20; round++) {
		struct store_dir dirs[8];
		size_t got = 0;
		struct lock *locks[8];

		for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
			dirs[i] = place.dir;
			/* flock is no obstacle: the file is another one each time */
			unlinkat(place.dir.fd, "lock", 0);
			assert_int_equal(pthread_create(&threads[i], NULL, take_on_a_thread, &dirs[i]), 0);
		}
		for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
			void *lock;
			pthread_join(threads[i], &lock);
			if (lock)
				locks[got++] = lock;
		}
		size_t good = 0;
		for (size_t i = 0; i < got; i++)
			good += lock_check(locks[i], true) == 0;
		assert_int_equal(good, 1);
		for (size_t i = 0; i < got; i++)
			lock_release(locks[i]);
	}
	place_clear(&place);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_free_store_is_taken_and_given_back),
		cmocka_unit_test(who_gives_a_store_back_leaves_a_text),
		cmocka_unit_test(the_living_are_not_taken_from),
		cmocka_unit_test(who_has_the_same_file_open_is_told_at_once),
		cmocka_unit_test(a_copy_of_an_open_store_is_free),
		cmocka_unit_test(the_dead_are_taken_from_at_once),
		cmocka_unit_test(those_that_run_no_more_are_taken_from_although_they_are_seen),
		cmocka_unit_test(who_goes_on_does_not_take_another_store_for_his),
		cmocka_unit_test(another_host_keeps_what_beats),
		cmocka_unit_test(who_dies_while_taking_from_the_silent_leaves_none_of_their_files_where_they_were),
		cmocka_unit_test(who_fails_to_take_from_the_silent_gives_the_record_back),
		cmocka_unit_test(who_finds_another_word_has_lost),
		cmocka_unit_test(who_finds_no_record_has_lost),
		cmocka_unit_test(of_several_at_once_one_gets_it),
	};

	if (argc == 2)
		return take_as_a_child(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
