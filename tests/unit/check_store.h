/*
 * For the tests of the check: a store of one dataset whose tree is written as records, and breaches of what must hold.
 *
 * The tree, as records: root/{a/f, b/, g}, where f and g are one file of two extents, with an attribute.
 */
#ifndef CORPUSFS_TESTS_CHECK_STORE_H
#define CORPUSFS_TESTS_CHECK_STORE_H

#include "tests/unit/dataset_store.h"
#include "lib/store/catalog_records.h"
#include "lib/store/datasets.h"
#include "lib/tree/records/touched.h"
#include "lib/verify/check.h"

enum { DIR_A = 1000, DIR_B, FILE_F, DIR_C, DIR_D, NOBODY };

struct fixture {
	struct place place;
	uint32_t family;
	uint64_t epoch;
	struct kv_batch *batch;
};

static UNUSED void put_record(struct fixture *fixture, struct tree_key stem, struct buf *value)
{
	struct tree_key key = tree_key_at(stem, fixture->epoch);
	struct tree_key_parts parts;

	kv_batch_put(fixture->batch, KV_TREE, key.bytes, key.len, value->data, value->len);
	assert_int_equal(tree_key_parse(key.bytes, key.len, &parts), 0);
	touched_put(fixture->batch, parts.family, parts.epoch, parts.ino);
	buf_clear(value);
}

static UNUSED void put_inode(struct fixture *fixture, uint64_t ino, const struct inode_record *record)
{
	struct buf value = BUF_INIT;

	inode_record_encode(record, &value);
	put_record(fixture, tree_stem_inode(fixture->family, ino), &value);
}

static UNUSED void put_dir(struct fixture *fixture, uint64_t ino, uint64_t parent, uint32_t nlink)
{
	put_inode(fixture, ino, &(struct inode_record){.mode = S_IFDIR | 0755, .nlink = nlink, .parent = parent});
}

static UNUSED void put_file(struct fixture *fixture, uint32_t nlink, uint64_t allocated)
{
	put_inode(fixture, FILE_F,
		  &(struct inode_record){.mode = S_IFREG | 0644, .nlink = nlink, .size = 20000, .allocated = allocated, .parent = DIR_A});
}

static UNUSED void put_entry(struct fixture *fixture, uint64_t dir, const char *name, uint64_t ino, uint8_t type)
{
	struct buf value = BUF_INIT;

	entry_record_encode(&(struct entry_record){.ino = ino, .type = type}, &value);
	put_record(fixture, tree_stem_entry(fixture->family, dir, name), &value);
}

static UNUSED void put_extent(struct fixture *fixture, uint64_t offset, uint32_t length, uint64_t chunk)
{
	struct buf value = BUF_INIT;

	extent_record_encode(&(struct extent_record){.length = length, .chunk = chunk}, &value);
	put_record(fixture, tree_stem_extent(fixture->family, FILE_F, offset), &value);
}

static UNUSED void put_xattr(struct fixture *fixture, uint64_t ino, uint8_t version)
{
	struct buf value = BUF_INIT;

	buf_add_u8(&value, version);
	put_record(fixture, tree_stem_xattr(fixture->family, ino, "user.a"), &value);
}

static UNUSED void put_whole_tree(struct fixture *fixture)
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

static UNUSED void write_batch(struct fixture *fixture)
{
	assert_int_equal(kv_write(store_kv(fixture->place.store), fixture->batch, 0), 0);
	kv_batch_clear(fixture->batch);
}

static UNUSED void put_family(struct fixture *fixture, uint64_t next_epoch, uint64_t next_ino)
{
	struct small_key key = catalog_key_u32('F', fixture->family);
	AUTO_BUF value = BUF_INIT;

	family_record_encode(&(struct family_record){next_epoch, next_ino}, &value);
	catalog_record_put(fixture->batch, &key, value.data, value.len);
}

/* The head's record, changed, as the store finds it when it is opened anew. */
static UNUSED struct dataset_record head_record(struct fixture *fixture)
{
	struct small_key key = catalog_key_name('D', "d");
	struct dataset_record record;
	AUTO_BUF value = BUF_INIT;

	assert_int_equal(catalog_record_get(store_kv(fixture->place.store), &key, &value), 0);
	assert_int_equal(dataset_record_decode(value.data, value.len, &record), 0);
	return record;
}

struct expected {
	const char *rule;
	char text[CHECK_TEXT_MAX]; /* told last */
};

static UNUSED int expect_problem(void *arg, const struct check_problem *problem)
{
	struct expected *expected = arg;

	snprintf(expected->text, sizeof(expected->text), "%s", problem->text);
	if (!expected->rule || strcmp(problem->rule, expected->rule) != 0)
		fail_msg("%s instead of %s: inode %llu: %s", problem->rule, expected->rule ? expected->rule : "none",
			 (unsigned long long)problem->ino, problem->text);
	assert_true(problem->dataset[0] == 0 || strcmp(problem->dataset, "d") == 0 || strcmp(problem->dataset, "e") == 0);
	return 0;
}

static UNUSED struct check_counts check(struct fixture *fixture, const char *rule)
{
	struct expected expected = {.rule = rule};
	struct check_options options = {.problem = expect_problem, .arg = &expected};
	struct check_counts counts = {0};
	struct error err = {0};

	if (check_run(fixture->place.store, &options, &counts, &err) < 0)
		fail_msg("%s", err.text);
	return counts;
}

static UNUSED void set_up(struct fixture *fixture)
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
	put_family(fixture, fixture->epoch + 1, 2000);
	write_batch(fixture);
	/* the store itself must know which numbers are taken */
	place_reopen(&fixture->place);
}

/* One breach of a rule, which only that rule may find. */
struct breach {
	const char *rule;
	unsigned count;
	void (*make)(struct fixture *fixture);
	bool opened_anew;
};

static UNUSED void play_breaches(const struct breach *breaches, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct fixture fixture;
		set_up(&fixture);
		breaches[i].make(&fixture);
		write_batch(&fixture);
		if (breaches[i].opened_anew)
			place_reopen(&fixture.place);
		assert_int_equal(check(&fixture, breaches[i].rule).problems, breaches[i].count);
		kv_batch_free(fixture.batch);
		place_clear(&fixture.place);
	}
}

#endif
