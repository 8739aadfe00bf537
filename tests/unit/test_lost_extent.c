/* A file that has lost an extent: whatever reads it past the mount says so too, and takes nothing for a hole (I9). test_holes and test_export have the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/backup.h"
#include "lost_extent.h"
#include "repository_place.h"
#include "stream_store.h"

static int setup(void **state)
{
	static struct place place;
	const struct snapshot_name name = {.dataset = "d", .name = "s"};
	struct error err = {0};

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "d", 0755, 0, 0, 1, &err), 0);
	lose_a_piece(&place);
	assert_int_equal(snapshot_create(place.store, &name, 1, "", 0, &err), 0);
	*state = &place;
	return 0;
}

static int teardown(void **state)
{
	place_clear(*state);
	return 0;
}

static void it_has_no_digest_and_its_snapshot_no_identity(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	struct view *view = view_called(store, "d@s");
	uint8_t digest[IDENTITY_LEN];
	struct attr attr;

	assert_int_equal(view_lookup(view, ROOT_INO, "sparse", &attr), 0);
	assert_int_equal(identity_compute(store, view, never, NULL, digest), -EIO);
	assert_int_equal(identity_file(store, view, attr.ino, never, NULL, digest), -EIO);
	store_view_put(store, view);
}

static void it_is_not_sent(void **state)
{
	AUTO_CLOSE int fd = memfd_create("stream", MFD_CLOEXEC);
	const struct send_options options = {.dataset = "d", .snapshot = "s", .fd = fd, .stopped = never};
	struct send_result result;
	struct error err = {0};

	assert_int_equal(send_run(((struct place *)*state)->store, &options, &result, &err), -EIO);
}

static int ignore_entry(void *arg, const struct diff_entry *entry)
{
	return 0;
}

/* At its end the head has something else; what was lost would be called the same. */
static void it_is_not_compared(void **state)
{
	const struct diff_options options[] = {{0}, {.flags = DIFF_CONTENT}};
	struct store *store = ((struct place *)*state)->store;
	struct view *a = view_called(store, "d@s"), *b = open_head(store, "d");

	write_file(b, ROOT_INO, "sparse", 500 << 20, "SECOND", 6);
	assert_int_equal(view_sync(b), 0);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		assert_int_equal(diff_views(store, a, b, &options[i], ignore_entry, NULL), -EIO);
	store_view_put(store, a);
	store_view_put(store, b);
}

static void note_problem(void *arg, const char *path, int code, const char *text)
{
	assert_string_equal(path, "sparse");
	assert_int_equal(code, -EIO);
	(*(unsigned *)arg)++;
}

static void it_is_not_in_a_backup_which_says_so(void **state)
{
	struct repository_place repository;
	struct backup_result result;
	struct error err = {0};
	unsigned problems = 0;

	repository_place_make(&repository);
	const struct backup_options options = {.transfer = {.problem = note_problem, .arg = &problems}, .repository = repository.repository, .place = "place",
	                                       .dataset = "d", .snapshot = "s", .type = BACKUP_FULL};
	int r = backup_run(((struct place *)*state)->store, &options, &result, &err);
	if (r < 0)
		print_error("%s\n", err.text);
	assert_int_equal(r, 0);
	assert_int_equal(problems, 1);
	assert_int_equal(result.transfer.problems, 1);
	assert_string_equal(result.identity, "");
	repository_place_clear(&repository);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_has_no_digest_and_its_snapshot_no_identity),
		cmocka_unit_test(it_is_not_sent),
		cmocka_unit_test(it_is_not_compared),
		cmocka_unit_test(it_is_not_in_a_backup_which_says_so),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
