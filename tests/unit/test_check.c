#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>

#include "tests/unit/dataset_store.h"
#include "lib/store/datasets.h"
#include "lib/verify/check.h"

/*
 * The tree, as records: root/{a/f, b/, g}, where f and g are one file of two extents, with an attribute.
 */
enum { DIR_A = 1000, DIR_B, FILE_F, DIR_C, DIR_D, NOBODY };

struct fixture {
	struct place place;
	uint32_t family;
	uint64_t epoch;
	struct kv_batch *batch;
};

static void put_record(struct fixture *fixture, struct tree_key stem, struct buf *value)
{
	struct tree_key key = tree_key_at(stem, fixture->epoch);

	kv_batch_put(fixture->batch, KV_TREE, key.bytes, key.len, value->data, value->len);
	buf_clear(value);
}

static void put_inode(struct fixture *fixture, uint64_t ino, const struct inode_record *record)
{
	struct buf value = BUF_INIT;

	inode_record_encode(record, &value);
	put_record(fixture, tree_stem_inode(fixture->family, ino), &value);
}

static void put_dir(struct fixture *fixture, uint64_t ino, uint64_t parent, uint32_t nlink)
{
	put_inode(fixture, ino, &(struct inode_record){.mode = S_IFDIR | 0755, .nlink = nlink, .parent = parent});
}

static void put_file(struct fixture *fixture, uint32_t nlink, uint64_t allocated)
{
	put_inode(fixture, FILE_F,
		  &(struct inode_record){.mode = S_IFREG | 0644, .nlink = nlink, .size = 20000, .allocated = allocated, .parent = DIR_A});
}

static void put_entry(struct fixture *fixture, uint64_t dir, const char *name, uint64_t ino, uint8_t type)
{
	struct buf value = BUF_INIT;

	entry_record_encode(&(struct entry_record){.ino = ino, .type = type}, &value);
	put_record(fixture, tree_stem_entry(fixture->family, dir, name), &value);
}

static void put_extent(struct fixture *fixture, uint64_t offset, uint32_t length, uint64_t chunk)
{
	struct buf value = BUF_INIT;

	extent_record_encode(&(struct extent_record){.length = length, .chunk = chunk}, &value);
	put_record(fixture, tree_stem_extent(fixture->family, FILE_F, offset), &value);
}

static void put_xattr(struct fixture *fixture, uint64_t ino, uint8_t version)
{
	struct buf value = BUF_INIT;

	buf_add_u8(&value, version);
	put_record(fixture, tree_stem_xattr(fixture->family, ino, "user.a"), &value);
}

static void put_whole_tree(struct fixture *fixture)
{
	put_dir(fixture, ROOT_INO, ROOT_INO, 4);
	put_dir(fixture, DIR_A, ROOT_INO, 2);
	put_dir(fixture, DIR_B, ROOT_INO, 2);
	put_file(fixture, 2, 8192);
	put_entry(fixture, ROOT_INO, "a", DIR_A, DT_DIR);
	put_entry(fixture, ROOT_INO, "b", DIR_B, DT_DIR);
	put_entry(fixture, ROOT_INO, "g", FILE_F, DT_REG);
	put_entry(fixture, DIR_A, "f", FILE_F, DT_REG);
	put_extent(fixture, 0, 4096, CHUNK_NONE);
	put_extent(fixture, 8192, 4096, CHUNK_NONE);
	put_xattr(fixture, FILE_F, FORMAT_VERSION);
}

/* --- one breach of each rule --- */

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

static const struct breach {
	const char *rule;
	unsigned count;
	void (*make)(struct fixture *fixture);
} breaches[] = {
	{"K1", 1, break_record}, {"K2", 1, break_inode},      {"K3", 1, break_overlap},         {"K4", 1, break_allocated}, {"K4", 1, break_inline},
	{"K5", 1, break_chunk},  {"K6", 1, break_type},       {"K6", 1, break_entry},           {"K6", 1, break_last_entry}, {"K7", 1, break_links},
	{"K7", 1, break_directory_links}, {"K8", 1, break_parent}, {"K8", 1, break_names}, {"K9", 2, break_reachable},
};

/* --- */

struct expected {
	const char *rule, *snapshot;
};

static int expect_problem(void *arg, const struct check_problem *problem)
{
	const struct expected *expected = arg;

	if (!expected->rule || strcmp(problem->rule, expected->rule) != 0)
		fail_msg("%s instead of %s: inode %llu: %s", problem->rule, expected->rule ? expected->rule : "none",
			 (unsigned long long)problem->ino, problem->text);
	assert_string_equal(problem->dataset, "d");
	return 0;
}

static struct check_counts check(struct fixture *fixture, const char *rule)
{
	struct expected expected = {.rule = rule};
	struct check_options options = {.problem = expect_problem, .arg = &expected};
	struct check_counts counts = {0};
	struct error err = {0};

	if (check_run(fixture->place.store, &options, &counts, &err) < 0)
		fail_msg("%s", err.text);
	return counts;
}

static void write_batch(struct fixture *fixture)
{
	assert_int_equal(kv_write(store_kv(fixture->place.store), fixture->batch, 0), 0);
	kv_batch_clear(fixture->batch);
}

static void set_up(struct fixture *fixture)
{
	struct error err = {0};

	*fixture = (struct fixture){.batch = kv_batch_new()};
	place_init(&fixture->place);
	if (dataset_create(fixture->place.store, "d", 0755, 0, 0, 0, &err) < 0)
		fail_msg("%s", err.text);
	struct view *view = open_head(fixture->place.store, "d");
	struct line line = view_line(view);
	fixture->family = view_family(view);
	fixture->epoch = line.items[line.count - 1].last;
	line_clear(&line);
	store_view_put(fixture->place.store, view);
	put_whole_tree(fixture);
	write_batch(fixture);
}

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
	for (size_t i = 0; i < ARRAY_SIZE(breaches); i++) {
		struct fixture fixture;
		set_up(&fixture);
		breaches[i].make(&fixture);
		write_batch(&fixture);
		assert_int_equal(check(&fixture, breaches[i].rule).problems, breaches[i].count);
		kv_batch_free(fixture.batch);
		place_clear(&fixture.place);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_metadata_is_found_whole),
		cmocka_unit_test(test_each_breach_is_found_by_its_rule_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
