/* What a view must see (K1 to K10), breach by breach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>

#include "tests/unit/check_store.h"

static void break_record(struct fixture *fixture)
{
	put_xattr(fixture, FILE_F, FORMAT_VERSION + 1);
}

static void break_inode(struct fixture *fixture)
{
	put_xattr(fixture, NOBODY, FORMAT_VERSION);
}

static void break_overlap(struct fixture *fixture)
{
	put_extent(fixture, 0, 8193, CHUNK_NONE);
	put_file(fixture, 2, 8193 + 4096);
}

static void break_allocated(struct fixture *fixture)
{
	put_file(fixture, 2, 8191);
}

static void break_inline(struct fixture *fixture)
{
	put_inode(fixture, NOBODY, &(struct inode_record){.mode = S_IFREG | 0644, .nlink = 1, .size = 3, .allocated = 3, .is_inline = true,
							  .content = fixture->epoch});
	put_entry(fixture, DIR_B, "n", NOBODY, DT_REG);
}

static void break_chunk(struct fixture *fixture)
{
	put_extent(fixture, 8192, 4096, 123456);
}

static void break_type(struct fixture *fixture)
{
	put_entry(fixture, DIR_A, "f", FILE_F, DT_LNK);
}

static void break_entry(struct fixture *fixture)
{
	put_entry(fixture, DIR_A, "nobody", NOBODY, DT_REG);
}

static void break_last_entry(struct fixture *fixture)
{
	put_entry(fixture, DIR_A, "nobody", INO_MAX, DT_REG);
}

/* Of inodes one behind the other, the one is there. */
static void break_entry_between(struct fixture *fixture)
{
	put_entry(fixture, DIR_A, "nobody", NOBODY - 1, DT_REG);
	put_inode(fixture, NOBODY, &(struct inode_record){.mode = S_IFREG | 0644, .nlink = 1, .parent = DIR_B});
	put_entry(fixture, DIR_B, "n", NOBODY, DT_REG);
}

static void break_links(struct fixture *fixture)
{
	put_file(fixture, 3, 8192);
}

static void break_directory_links(struct fixture *fixture)
{
	put_dir(fixture, ROOT_INO, ROOT_INO, 2);
}

static void break_parent(struct fixture *fixture)
{
	put_dir(fixture, DIR_A, DIR_B, 2);
}

static void break_names(struct fixture *fixture)
{
	put_entry(fixture, DIR_B, "a", DIR_A, DT_DIR);
	put_dir(fixture, DIR_B, ROOT_INO, 3);
	put_dir(fixture, DIR_A, DIR_B, 2);
}

static void break_reachable(struct fixture *fixture)
{
	put_dir(fixture, DIR_C, DIR_D, 3);
	put_dir(fixture, DIR_D, DIR_C, 3);
	put_entry(fixture, DIR_C, "d", DIR_D, DT_DIR);
	put_entry(fixture, DIR_D, "c", DIR_C, DT_DIR);
}

static void break_touched(struct fixture *fixture)
{
	touched_remove(fixture->batch, fixture->family, fixture->epoch, DIR_A);
}

static const struct breach breaches[] = {
	{"K1", 1, break_record, false},
	{"K2", 1, break_inode, false},
	{"K3", 1, break_overlap, false},
	{"K4", 1, break_allocated, false},
	{"K4", 1, break_inline, false},
	{"K5", 1, break_chunk, false},
	{"K6", 1, break_type, false},
	{"K6", 1, break_entry, false},
	{"K6", 1, break_last_entry, false},
	{"K6", 1, break_entry_between, false},
	{"K7", 1, break_links, false},
	{"K7", 1, break_directory_links, false},
	{"K8", 1, break_parent, false},
	{"K8", 1, break_names, false},
	{"K9", 2, break_reachable, false},
	{"K10", 1, break_touched, false},
};

static void test_whole_metadata_is_found_whole(void **state)
{
	struct fixture fixture;

	set_up(&fixture);
	struct check_counts counts = check(&fixture, NULL);
	assert_int_equal(counts.problems, 0);
	assert_int_equal(counts.views, 1);
	assert_int_equal(counts.inodes, 4);
	kv_batch_free(fixture.batch);
	place_clear(&fixture.place);
}

static void test_each_breach_is_found_by_its_rule_alone(void **state)
{
	play_breaches(breaches, ARRAY_SIZE(breaches));
}

static void take_snapshots(struct fixture *fixture, unsigned count)
{
	static unsigned number;
	struct error err = {0};

	for (unsigned i = 0; i < count; i++) {
		AUTO_FREE char *name = xasprintf("s%u", number++);
		const struct snapshot_name wanted = {.dataset = "d", .name = name};
		if (snapshot_create(fixture->place.store, &wanted, 1, NULL, 0, &err) < 0)
			fail_msg("%s", err.text);
	}
}

/* However many snapshots see a record, it is looked at once, and what is wrong with it is told once. */
static void test_snapshots_that_see_the_same_are_looked_at_together(void **state)
{
	struct fixture fixture;

	set_up(&fixture);
	const struct check_counts before = check(&fixture, NULL);
	take_snapshots(&fixture, 100);
	struct check_counts counts = check(&fixture, NULL);
	assert_int_equal(counts.views, 101);
	assert_int_equal(counts.inodes, 101 * before.inodes);
	/* a snapshot has a record in the catalogue */
	assert_true(counts.records <= before.records + 3 * 100);
	break_links(&fixture);
	write_batch(&fixture);
	struct expected expected = {.rule = "K7"};
	const struct check_options options = {.problem = expect_problem, .arg = &expected};
	struct error err = {0};
	assert_int_equal(check_run(fixture.place.store, &options, &counts, &err), 0);
	assert_int_equal(counts.problems, 1);
	assert_non_null(strstr(expected.text, "100 more"));
	kv_batch_free(fixture.batch);
	place_clear(&fixture.place);
}

/* The file changes with each snapshot; one of its states is wrong. */
static void test_of_many_states_the_wrong_one_is_named(void **state)
{
	struct fixture fixture;
	struct error err = {0};

	set_up(&fixture);
	for (unsigned i = 0; i < 20; i++) {
		put_extent(&fixture, 8192 + 4096 * (i + 1ULL), 4096, CHUNK_NONE);
		put_file(&fixture, 2, 8192 + 4096 * (i + 1ULL) - (i == 12));
		write_batch(&fixture);
		take_snapshots(&fixture, 1);
		struct dataset_record record = head_record(&fixture);
		fixture.epoch = record.epoch;
		dataset_record_clear(&record);
	}
	struct expected expected = {.rule = "K4"};
	const struct check_options options = {.problem = expect_problem, .arg = &expected};
	struct check_counts counts;
	assert_int_equal(check_run(fixture.place.store, &options, &counts, &err), 0);
	assert_int_equal(counts.problems, 1);
	assert_non_null(strstr(expected.text, "have 61440 bytes, and 61439 are counted"));
	assert_null(strstr(expected.text, "more"));
	kv_batch_free(fixture.batch);
	place_clear(&fixture.place);
}

static int note_without_path(void *arg, const struct check_problem *problem)
{
	unsigned *told = arg;

	*told += problem->ino == NOBODY && !*problem->path;
	return 0;
}

/* Of a file without a name every directory is looked through, also of those that are named in one another. */
static void test_directories_that_lie_in_themselves_end_the_search_for_a_path(void **state)
{
	struct fixture fixture;
	unsigned told = 0;
	const struct check_options options = {.problem = note_without_path, .arg = &told};
	struct check_counts counts = {0};
	struct error err = {0};

	set_up(&fixture);
	put_entry(&fixture, DIR_B, "a", DIR_A, DT_DIR);
	put_entry(&fixture, DIR_A, "b", DIR_B, DT_DIR);
	put_inode(&fixture, NOBODY, &(struct inode_record){.mode = S_IFREG | 0644, .nlink = 1, .parent = DIR_A});
	write_batch(&fixture);
	if (check_run(fixture.place.store, &options, &counts, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(told > 0);
	kv_batch_free(fixture.batch);
	place_clear(&fixture.place);
}

/* More records were not looked at since it was asked: it goes over what it has gathered. */
static int stop_behind_the_records(void *arg, const struct check_counts *counts)
{
	uint64_t *records = arg;
	const bool same = counts->records > 0 && counts->records == *records;

	*records = counts->records;
	return same ? -ECANCELED : 0;
}

static void test_check_can_be_stopped_in_all_that_takes_long(void **state)
{
	struct fixture fixture;
	uint64_t records = 0;
	const struct check_options options = {.problem = note_without_path, .progress = stop_behind_the_records, .arg = &records};
	struct check_counts counts = {0};
	struct error err = {0};

	set_up(&fixture);
	for (uint64_t i = 0; i < 9000; i++) {
		AUTO_FREE char *name = xasprintf("f%llu", (unsigned long long)i);

		put_inode(&fixture, NOBODY + i, &(struct inode_record){.mode = S_IFREG | 0644, .nlink = 1, .parent = DIR_B});
		put_entry(&fixture, DIR_B, name, NOBODY + i, DT_REG);
	}
	put_family(&fixture, fixture.epoch + 1, NOBODY + 9000);
	write_batch(&fixture);
	assert_int_equal(check_run(fixture.place.store, &options, &counts, &err), -ECANCELED);
	kv_batch_free(fixture.batch);
	place_clear(&fixture.place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_metadata_is_found_whole),
		cmocka_unit_test(test_each_breach_is_found_by_its_rule_alone),
		cmocka_unit_test(test_snapshots_that_see_the_same_are_looked_at_together),
		cmocka_unit_test(test_of_many_states_the_wrong_one_is_named),
		cmocka_unit_test(test_check_can_be_stopped_in_all_that_takes_long),
		cmocka_unit_test(test_directories_that_lie_in_themselves_end_the_search_for_a_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
