#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>

#include "lib/store/lock_record.h"
#include "tests/unit/lock_place.h"

static void a_record_is_read_as_it_was_written(void **state)
{
	struct place place;
	struct lock_record read;
	uint64_t beat;

	place_make(&place);
	AUTO_FREE char *name = xasprintf("owner.%s", place.record.word);
	close(write_foreign(&place, &place.record));
	assert_int_equal(lock_record_read(place.dir.fd, name, true, &read, &beat), 0);
	assert_int_equal(beat, 5);
	assert_memory_equal(&read, &place.record, sizeof(read));
	assert_int_equal(lock_record_read(place.dir.fd, FREE, true, &read, &beat), -ENOENT);
	assert_int_equal(truncate(place.path, 0), -1);
	AUTO_CLOSE int fd = lock_record_open(place.dir.fd, name, O_RDWR, true);
	assert_int_equal(pwrite(fd, "\n", 1, 20), 1);
	assert_int_equal(lock_record_read(place.dir.fd, name, true, &read, &beat), -EBADMSG);
	place_clear(&place);
}

struct asker {
	int fd;
	atomic_bool ends;
};

static void *ask_all_the_time(void *arg)
{
	struct asker *asker = arg;

	for (uint64_t beat = 1; !atomic_load(&asker->ends); beat++)
		if (lock_record_write_beat(asker->fd, beat) < 0)
			abort();
	return NULL;
}

/* Whose mark is written over by others who ask knows nothing. */
static void what_others_ask_about_too_is_no_copy(void **state)
{
	struct place place;
	pthread_t thread;

	place_make(&place);
	struct lock_record record = by_another_way(&place);
	AUTO_FREE char *name = xasprintf("owner.%s", record.word);
	AUTO_CLOSE int fd = write_foreign(&place, &record); /* open in this process, which the record names */
	struct asker asker = {.fd = fd};
	assert_int_equal(pthread_create(&thread, NULL, ask_all_the_time, &asker), 0);
	for (int i = 0; i < 300; i++) {
		const int copied = lock_record_is_copy(place.dir.fd, name, true, &record);
		assert_true(copied == 0 || copied == -EAGAIN);
	}
	atomic_store(&asker.ends, true);
	pthread_join(thread, NULL);
	assert_int_equal(lock_record_is_copy(place.dir.fd, name, true, &record), 0);
	place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_read_as_it_was_written),
		cmocka_unit_test(what_others_ask_about_too_is_no_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
