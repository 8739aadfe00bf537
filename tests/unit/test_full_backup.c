/* Full backups share nothing: not with one another when pruned, nor with one that was cut off and is a backup all the same, nor with incremental ones.
 * And which backup is the newest, where clocks are set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/repository/origin.h"
#include "backup_scene.h"

/* --- a clock that is set --- */

static time_t behind; /* seconds */

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	const int r = (int)syscall(SYS_clock_gettime, clock, ret_now);

	if (clock == CLOCK_REALTIME)
		ret_now->tv_sec -= behind;
	return r;
}

/* --- pruned --- */

static size_t prune_and_count_copies(struct scene *scene)
{
	struct prune_options options = {.repository = scene->repository.repository, .max_unused = 5};
	struct prune_counts counts;
	struct error err = {0};

	assert_int_equal(repository_lock_take(options.repository, true, &options.lock, &err), 0);
	assert_int_equal(prune_run(&options, &counts, &err), 0);
	repository_lock_release(options.lock);
	assert_int_equal(repository_load_index(options.repository, false, &err), 0);
	return blob_index_count(options.repository->index);
}

/* Half of what it goes on with is in no backup. */
static void test_full_backup_keeps_copies_of_its_own_however_often_it_is_pruned(void **state)
{
	struct scene *scene = *state;
	struct backup_result first, second;
	size_t copies;

	assert_int_equal(run_backup(scene, &first), 0);
	take_later(scene);
	scene->failing.put = PUT_FAILS;
	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "later", &second), -ETIMEDOUT);
	scene->failing.put = PUT_GOES_WELL;
	assert_int_equal(run_backup(scene, &second), 0);
	assert_true(second.counts.data_blobs < first.counts.data_blobs);
	copies = prune_and_count_copies(scene);
	assert_true(copies > 2 * first.counts.data_blobs);
	assert_int_equal(prune_and_count_copies(scene), copies);
}

/* --- what is not needed --- */

static void test_full_backup_of_a_named_snapshot_needs_no_other_backup(void **state)
{
	struct scene *scene = *state;
	struct backup_result first, second;
	char path[600];

	assert_int_equal(run_backup(scene, &first), 0);
	scene->failing.snapshots_fail = true;
	assert_int_equal(run_backup_of(scene, BACKUP_INCREMENTAL, "s", &second), -EIO);
	assert_int_equal(run_backup(scene, &second), 0);
	assert_int_equal(second.counts.data_blobs, first.counts.data_blobs);
	assert_int_equal(place_count(&scene->repository, "snapshots", path), 2);
}

/* --- before the lock is settled --- */

/* The index is listed to see whether it changed, to be read, and once more when others' locks would be seen. */
static void test_nothing_is_put_where_something_was_removed_meanwhile(void **state)
{
	struct scene *scene = *state;
	struct backup_result first, second;
	char path[600];
	size_t packs;

	assert_int_equal(run_backup(scene, &first), 0);
	take_later(scene);
	packs = count_packs(scene);
	scene->failing.gone = OBJECT_INDEX;
	scene->failing.gone_at = 3;
	assert_int_equal(run_backup_of(scene, BACKUP_INCREMENTAL, "later", &second), -EBUSY);
	assert_int_equal(count_packs(scene), packs);
	assert_int_equal(place_count(&scene->repository, "snapshots", path), 1);
	assert_int_equal(place_count(&scene->repository, "locks", path), 0);
	scene->failing.gone_at = 0;
	assert_int_equal(run_backup_of(scene, BACKUP_INCREMENTAL, "later", &second), 0);
	assert_string_equal(second.base, first.name);
}

/* --- going on --- */

/* Data blobs that the first one wrote, whose snapshot file could not be put. */
static uint64_t be_cut_off(struct scene *scene, int put, size_t backups)
{
	struct backup_result result;
	char path[600];

	scene->failing.put = put;
	assert_int_equal(run_backup(scene, &result), -ETIMEDOUT);
	scene->failing.put = PUT_GOES_WELL;
	assert_int_equal(place_count(&scene->repository, "snapshots", path), backups);
	assert_true(result.counts.data_blobs > 10);
	return result.counts.data_blobs;
}

static uint64_t data_blobs_of_next(struct scene *scene)
{
	struct backup_result result;

	assert_int_equal(run_backup(scene, &result), 0);
	return result.counts.data_blobs;
}

static void test_full_backup_goes_on_with_what_was_cut_off(void **state)
{
	const uint64_t blobs = be_cut_off(*state, PUT_FAILS, 0);

	assert_int_equal(data_blobs_of_next(*state), 1); /* what is said of it */
	assert_int_equal(data_blobs_of_next(*state), blobs);
}

/* Killed just before, it is gone on with. */
static void test_full_backup_has_its_mark_until_it_is_a_backup(void **state)
{
	struct scene *scene = *state;
	struct backup_result result;

	assert_int_equal(run_backup(scene, &result), 0);
	assert_int_equal(scene->failing.marks, 1);
	assert_int_equal(count_marks(scene->place.store), 0);
}

static void test_full_backup_does_not_go_on_with_a_backup(void **state)
{
	const uint64_t blobs = be_cut_off(*state, PUT_IS_NOT_ANSWERED, 1);

	assert_int_equal(data_blobs_of_next(*state), blobs);
}

/* And still goes on with what came later. */
static void test_full_backup_tells_what_is_a_backup_from_what_is_none(void **state)
{
	const uint64_t blobs = be_cut_off(*state, PUT_IS_NOT_ANSWERED, 1);

	assert_int_equal(be_cut_off(*state, PUT_FAILS, 1), blobs);
	assert_int_equal(data_blobs_of_next(*state), 1);
}

static void test_full_backup_begins_anew_where_a_backup_cannot_be_looked_at(void **state)
{
	struct scene *scene = *state;
	struct snapshot_file damaged = {.time = {1700000000, 0}, .host = xstrdup("host"), .user = xstrdup("user"), .tree = blob_id_of("lost", 4)};
	const uint64_t blobs = be_cut_off(scene, PUT_FAILS, 0);
	struct error err = {0};
	char name[BLOB_ID_TEXT];

	array_add(&damaged.tags, xstrdup("corpusfs"));
	assert_int_equal(snapshot_file_write(scene->repository.repository, &damaged, name, &err), 0);
	snapshot_file_clear(&damaged);
	assert_int_equal(data_blobs_of_next(scene), blobs);
}

static void go_on_beside_incremental_ones(struct scene *scene, bool share)
{
	const struct backup_options incremental = {.type = BACKUP_INCREMENTAL, .share = share, .snapshot = "later"};
	struct backup_result result;
	uint64_t blobs;

	blobs = data_blobs_of_next(scene);
	take_later(scene);
	scene->failing.put = PUT_FAILS;
	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "later", &result), -ETIMEDOUT);
	scene->failing.put = PUT_GOES_WELL;
	assert_true(result.counts.data_blobs > blobs + 10);
	blobs = result.counts.data_blobs - blobs;
	assert_int_equal(run_with(scene, incremental, &result), 0);
	assert_int_equal(result.counts.data_blobs, blobs + 1); /* what is said of it */
	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "later", &result), 0);
	assert_int_equal(result.counts.data_blobs, 1);
	assert_int_equal(run_with(scene, incremental, &result), 0);
	assert_int_equal(result.counts.data_blobs, 1); /* it is a backup now */
}

static void test_incremental_backup_relies_on_nothing_that_a_full_one_goes_on_with(void **state)
{
	go_on_beside_incremental_ones(*state, false);
}

static void test_publishing_relies_on_nothing_that_a_full_backup_goes_on_with(void **state)
{
	go_on_beside_incremental_ones(*state, true);
}

/* --- what is the newest --- */

static void add_backup_of(struct scene *scene, const char *host, struct timespec time, uint32_t view, char *ret_name)
{
	struct snapshot_file file = {.time = time, .host = xstrdup(host), .user = xstrdup("user"), .tree = blob_id_of("", 0)};
	struct error err = {0};

	array_add(&file.tags, backup_dataset_tag(scene->place.store, 1));
	array_add(&file.tags, xasprintf("view=%u", view));
	assert_int_equal(snapshot_file_write(scene->repository.repository, &file, ret_name, &err), 0);
	snapshot_file_clear(&file);
}

static int run_new(struct scene *scene)
{
	struct backup_result result;

	return run_with(scene, (struct backup_options){.type = BACKUP_FULL, .snapshot = "s", .is_new = true}, &result);
}

static void test_clock_that_is_set_between_a_snapshot_and_its_backup_is_noticed(void **state)
{
	const struct origin here = origin_of_process();
	struct scene *scene = *state;
	struct backup_result result;
	struct snapshot_info info;
	char name[BLOB_ID_TEXT];
	struct timespec time;

	assert_int_equal(snapshot_get(scene->place.store, "d", "s", &info), 0);
	assert_int_equal(info.dataset_id, 1);
	time = info.taken;
	time.tv_nsec++;
	behind = 3600;
	assert_int_equal(run_new(scene), -ETIME);
	behind = 0;
	add_backup_of(scene, here.host, time, info.view + 1, name); /* of a later snapshot, by somebody else */
	add_backup_of(scene, "elsewhere", time, info.view - 1, name); /* of a copy of the store */
	assert_int_equal(run_new(scene), 0);
	assert_int_equal(run_backup(scene, &result), 0);
	assert_string_equal(result.misdated, "");
	add_backup_of(scene, here.host, time, info.view - 1, name);
	assert_int_equal(run_new(scene), -ETIME);
	assert_int_equal(run_backup(scene, &result), 0);
	assert_string_equal(result.misdated, name);
	snapshot_info_clear(&info);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_full_backup_keeps_copies_of_its_own_however_often_it_is_pruned, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_backup_of_a_named_snapshot_needs_no_other_backup, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_put_where_something_was_removed_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_backup_goes_on_with_what_was_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_backup_has_its_mark_until_it_is_a_backup, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_backup_does_not_go_on_with_a_backup, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_backup_tells_what_is_a_backup_from_what_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_backup_begins_anew_where_a_backup_cannot_be_looked_at, setup, teardown),
		cmocka_unit_test_setup_teardown(test_incremental_backup_relies_on_nothing_that_a_full_one_goes_on_with, setup, teardown),
		cmocka_unit_test_setup_teardown(test_publishing_relies_on_nothing_that_a_full_backup_goes_on_with, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clock_that_is_set_between_a_snapshot_and_its_backup_is_noticed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
