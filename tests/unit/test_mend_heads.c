/* Names and links of a head that have lost records, mended: what check finds afterwards, and that nothing is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>

#include "tests/unit/check_store.h"
#include "lib/verify/mend_heads.h"

struct told {
	unsigned count;
	char texts[16][HEAD_MEND_TEXT_MAX];
};

static int note(void *arg, const struct head_mend *mend)
{
	struct told *told = arg;

	assert_string_equal(mend->dataset, "d");
	assert_true(told->count < 16);
	snprintf(told->texts[told->count++], HEAD_MEND_TEXT_MAX, "%llu %s", (unsigned long long)mend->ino, mend->text);
	return 0;
}

static struct head_mends mend(struct fixture *fixture, bool apply, struct told *told)
{
	struct head_mends mends;
	struct error err = {0};

	*told = (struct told){0};
	assert_int_equal(store_close(fixture->place.store), 0);
	if (mend_heads(fixture->place.path, apply, note, told, &mends, &err) < 0)
		fail_msg("%s", err.text);
	place_open(&fixture->place);
	return mends;
}

static void remove_record(struct fixture *fixture, struct tree_key stem)
{
	struct tree_key key = tree_key_at(stem, fixture->epoch);

	kv_batch_delete(fixture->batch, KV_TREE, key.bytes, key.len);
}

static int ignore_problem(void *arg, const struct check_problem *problem)
{
	unsigned *heads = arg;

	*heads += problem->snapshot[0] == 0;
	return 0;
}

/* What check says of heads; the snapshot that is kept is as it was. */
static unsigned problems_of_heads(struct fixture *fixture)
{
	unsigned heads = 0;
	const struct check_options options = {.problem = ignore_problem, .arg = &heads};
	struct check_counts counts;
	struct error err = {0};

	assert_int_equal(check_run(fixture->place.store, &options, &counts, &err), 0);
	return heads;
}

static uint64_t lookup(struct fixture *fixture, uint64_t dir, const char *name, struct attr *ret_attr)
{
	struct view *view = open_head(fixture->place.store, "d");
	int result = view_lookup(view, dir, name, ret_attr);

	store_view_put(fixture->place.store, view);
	assert_int_equal(result, 0);
	return ret_attr->ino;
}

/* Shown first, then done, then nothing is left to do. Rolled back, it is as it was. */
static void mend_and_undo(struct fixture *fixture, unsigned count, const char *text)
{
	struct told told, shown;
	struct error err = {0};

	write_batch(fixture);
	const unsigned before = problems_of_heads(fixture);
	assert_true(before > 0);
	assert_int_equal(mend(fixture, false, &shown).count, count);
	assert_int_equal(problems_of_heads(fixture), before);
	struct head_mends mends = mend(fixture, true, &told);
	assert_int_equal(told.count, mends.count);
	assert_non_null(strstr(shown.texts[0], text));
	assert_non_null(strstr(told.texts[0], text));
	assert_int_equal(problems_of_heads(fixture), 0);
	assert_int_equal(mend(fixture, true, &told).count, 0);
	struct snapshot_info info;
	assert_int_equal(snapshot_get(fixture->place.store, "d", mends.undo, &info), 0);
	snapshot_info_clear(&info);
	if (dataset_rollback(fixture->place.store, "d", mends.undo, true, NULL, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(problems_of_heads(fixture), before);
	mends = mend(fixture, true, &told);
	assert_int_equal(mends.count, told.count);
	assert_int_equal(problems_of_heads(fixture), 0);
}

static void end(struct fixture *fixture)
{
	kv_batch_free(fixture->batch);
	place_clear(&fixture->place);
}

static void test_link_counts_and_parents_become_right(void **state)
{
	struct fixture fixture;

	set_up(&fixture);
	put_dir(&fixture, ROOT_INO, ROOT_INO, 7);
	put_dir(&fixture, DIR_A, DIR_B, 2);
	put_file(&fixture, 5, 8192);
	mend_and_undo(&fixture, 3, "1 the link count becomes 4 instead of 7");
	end(&fixture);
}

static void test_what_has_no_name_is_in_lost_found(void **state)
{
	struct fixture fixture;
	struct attr attr;

	set_up(&fixture);
	put_entry(&fixture, DIR_B, "dir", DIR_C, DT_DIR);
	put_dir(&fixture, DIR_B, ROOT_INO, 3);
	put_dir(&fixture, DIR_C, DIR_B, 2);
	write_batch(&fixture);
	remove_record(&fixture, tree_stem_entry(fixture.family, DIR_B, "dir"));
	remove_record(&fixture, tree_stem_entry(fixture.family, DIR_A, "f"));
	remove_record(&fixture, tree_stem_entry(fixture.family, ROOT_INO, "g"));
	mend_and_undo(&fixture, 3, "1001 the link count becomes 2 instead of 3");
	const uint64_t lost = lookup(&fixture, ROOT_INO, "lost+found", &attr);
	assert_int_equal(attr.nlink, 3);
	assert_int_equal(lookup(&fixture, lost, "#1002", &attr), FILE_F);
	assert_int_equal(attr.nlink, 1);
	assert_int_equal(attr.size, 20000);
	assert_int_equal(lookup(&fixture, lost, "#1003", &attr), DIR_C);
	end(&fixture);
}

/* The gap between what is left of the content is not read as zeros. */
static void test_what_has_no_inode_record_gets_one(void **state)
{
	struct fixture fixture;
	struct inode *inode;
	struct attr attr;
	uint8_t bytes[4096];

	set_up(&fixture);
	put_entry(&fixture, DIR_A, "only", DIR_D, DT_REG);
	remove_record(&fixture, tree_stem_inode(fixture.family, FILE_F));
	remove_record(&fixture, tree_stem_inode(fixture.family, DIR_A));
	remove_record(&fixture, tree_stem_entry(fixture.family, DIR_A, "only"));
	write_batch(&fixture);
	struct told told;
	assert_int_equal(mend(&fixture, true, &told).count, 2);
	assert_int_equal(lookup(&fixture, ROOT_INO, "a", &attr), DIR_A);
	assert_int_equal(attr.mode, S_IFDIR | 0700);
	assert_int_equal(lookup(&fixture, DIR_A, "f", &attr), FILE_F);
	assert_int_equal(attr.mode, S_IFREG | 0600);
	assert_int_equal(attr.nlink, 2);
	assert_int_equal(attr.size, 12288);
	struct view *view = open_head(fixture.place.store, "d");
	assert_int_equal(inode_open(view, FILE_F, &inode), 0);
	assert_int_equal(inode_read(inode, 8192, sizeof(bytes), bytes), sizeof(bytes));
	assert_int_equal(inode_read(inode, 4096, sizeof(bytes), bytes), -EIO);
	inode_close(inode);
	store_view_put(fixture.place.store, view);
	end(&fixture);
}

/* A lost root, and a file of somebody's that is called lost+found. */
static void test_a_lost_root_is_made_anew(void **state)
{
	struct fixture fixture;
	struct attr attr;
	struct told told;

	set_up(&fixture);
	remove_record(&fixture, tree_stem_inode(fixture.family, ROOT_INO));
	remove_record(&fixture, tree_stem_entry(fixture.family, ROOT_INO, "a"));
	remove_record(&fixture, tree_stem_entry(fixture.family, ROOT_INO, "b"));
	remove_record(&fixture, tree_stem_entry(fixture.family, ROOT_INO, "g"));
	put_entry(&fixture, ROOT_INO, "lost+found", FILE_F, DT_REG);
	write_batch(&fixture);
	assert_true(mend(&fixture, true, &told).count > 0);
	assert_int_equal(problems_of_heads(&fixture), 0);
	const uint64_t lost = lookup(&fixture, ROOT_INO, "lost+found-2", &attr);
	assert_int_equal(lookup(&fixture, lost, "#1000", &attr), DIR_A);
	assert_int_equal(lookup(&fixture, lost, "#1001", &attr), DIR_B);
	assert_int_equal(lookup(&fixture, ROOT_INO, "lost+found", &attr), FILE_F);
	assert_int_equal(mend(&fixture, false, &told).count, 0);
	end(&fixture);
}

/* Nothing is cleared away that is not noted to be; what is noted is no matter of the repair. */
static void test_a_file_without_links_is_not_cleared_away(void **state)
{
	struct fixture fixture;
	struct attr attr;
	struct told told;

	set_up(&fixture);
	put_inode(&fixture, NOBODY, &(struct inode_record){.mode = S_IFREG | 0644});
	write_batch(&fixture);
	assert_int_equal(mend(&fixture, true, &told).count, 1);
	assert_int_equal(problems_of_heads(&fixture), 0);
	assert_int_equal(lookup(&fixture, lookup(&fixture, ROOT_INO, "lost+found", &attr), "#1005", &attr), NOBODY);
	end(&fixture);
}

static void test_a_whole_head_is_left_alone(void **state)
{
	struct fixture fixture;
	struct told told;

	set_up(&fixture);
	const uint64_t records = count_records(fixture.place.store);
	struct head_mends mends = mend(&fixture, true, &told);
	assert_int_equal(mends.count, 0);
	assert_string_equal(mends.undo, "");
	assert_int_equal(count_records(fixture.place.store), records);
	end(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_link_counts_and_parents_become_right),
		cmocka_unit_test(test_what_has_no_name_is_in_lost_found),
		cmocka_unit_test(test_what_has_no_inode_record_gets_one),
		cmocka_unit_test(test_a_lost_root_is_made_anew),
		cmocka_unit_test(test_a_file_without_links_is_not_cleared_away),
		cmocka_unit_test(test_a_whole_head_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
