#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/fs.h>

#include "tests/unit/names.h"

static void rename_moves_and_replaces(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	uint64_t a = make_dir(view, ROOT_INO, "a"), b = make_dir(view, ROOT_INO, "b"), sub = make_dir(view, a, "sub"), parent;
	uint64_t file = make_file(view, a, "f"), other = make_file(view, b, "g");
	struct attr attr;

	assert_int_equal(view_rename(view, a, "f", b, "g", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(view_rename(view, a, "f", b, "g", 0), 0);
	assert_int_equal(ino_of(view, a, "f"), 0);
	assert_int_equal(ino_of(view, b, "g"), file);
	assert_int_equal(view_getattr(view, other, &attr), -ESTALE);
	assert_int_equal(view_rename(view, a, "sub", b, "moved", 0), 0);
	assert_int_equal(nlink_of(view, a), 2);
	assert_int_equal(nlink_of(view, b), 3);
	assert_int_equal(view_parent(view, sub, &parent), 0);
	assert_int_equal(parent, b);
	assert_int_equal(view_rename(view, b, "moved", ROOT_INO, "a", 0), 0);
	assert_int_equal(nlink_of(view, ROOT_INO), 4);
	assert_int_equal(nlink_of(view, b), 2);
	assert_int_equal(view_getattr(view, a, &attr), -ESTALE);
	assert_int_equal(view_rename(view, b, "g", b, "h", RENAME_NOREPLACE), 0);
	assert_int_equal(view_rename(view, b, "h", b, "h", 0), 0);
	assert_int_equal(ino_of(view, b, "h"), file);
}

static void rename_keeps_the_rules(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	uint64_t a = make_dir(view, ROOT_INO, "a"), b = make_dir(view, a, "b"), full = make_dir(view, ROOT_INO, "full");
	uint64_t file = make_file(view, full, "f");
	struct attr attr;

	make_file(view, ROOT_INO, "plain");
	assert_int_equal(view_rename(view, ROOT_INO, "a", b, "c", 0), -EINVAL);
	assert_int_equal(view_rename(view, ROOT_INO, "a", a, "c", 0), -EINVAL);
	assert_int_equal(view_rename(view, ROOT_INO, "full", a, "b", RENAME_EXCHANGE), 0);
	assert_int_equal(view_rename(view, ROOT_INO, "a", a, "b", RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(view_rename(view, a, "b", ROOT_INO, "a", RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(view_rename(view, ROOT_INO, "a", ROOT_INO, "plain", 0), -ENOTDIR);
	assert_int_equal(view_rename(view, ROOT_INO, "plain", ROOT_INO, "a", 0), -EISDIR);
	assert_int_equal(view_rename(view, ROOT_INO, "full", ROOT_INO, "a", 0), -ENOTEMPTY);
	assert_int_equal(view_rename(view, ROOT_INO, "none", ROOT_INO, "a", 0), -ENOENT);
	assert_int_equal(view_rename(view, ROOT_INO, "a", ROOT_INO, "none", RENAME_EXCHANGE), -ENOENT);
	assert_int_equal(view_rename(view, ROOT_INO, "a", ROOT_INO, "x", RENAME_WHITEOUT), -EINVAL);
	assert_int_equal(view_rename(view, ROOT_INO, "a", ROOT_INO, "..", 0), -EINVAL);
	/* two names of one inode: nothing happens */
	assert_int_equal(view_link(view, file, ROOT_INO, "twin", &attr), 0);
	assert_int_equal(view_rename(view, ROOT_INO, "twin", full, "f", 0), 0);
	assert_int_equal(ino_of(view, ROOT_INO, "twin"), file);
	assert_int_equal(nlink_of(view, file), 2);
}

static void exchange_swaps_a_file_and_a_directory(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	uint64_t a = make_dir(view, ROOT_INO, "a"), dir = make_dir(view, a, "dir"), file = make_file(view, ROOT_INO, "file"), parent;

	assert_int_equal(view_rename(view, a, "dir", ROOT_INO, "file", RENAME_EXCHANGE), 0);
	assert_int_equal(ino_of(view, a, "dir"), file);
	assert_int_equal(ino_of(view, ROOT_INO, "file"), dir);
	assert_int_equal(nlink_of(view, a), 2);
	assert_int_equal(nlink_of(view, ROOT_INO), 4);
	assert_int_equal(view_parent(view, dir, &parent), 0);
	assert_int_equal(parent, ROOT_INO);
}

static void a_replacing_file_is_committed_first(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "new");
	char out[8];

	make_file(store->view, ROOT_INO, "old");
	assert_int_equal(inode_write(inode, 0, "content", 7, 0), 0);
	assert_int_equal(view_rename(store->view, ROOT_INO, "new", ROOT_INO, "old", 0), 0);
	assert_int_equal(inode->record.size, 7);
	assert_int_equal(inode_read(inode, 0, 8, out), 7);
	inode_close(inode);
}

/* Writes the record of a committed inode anew, with another parent. */
static void set_parent(struct tree_store *store, uint64_t ino, uint64_t parent)
{
	struct tree_key key = tree_key_at(tree_stem_inode(1, ino), 1);
	struct kv_batch *batch = kv_batch_new();
	struct inode_record record;
	AUTO_BUF old = BUF_INIT, fresh = BUF_INIT;

	assert_int_equal(kv_get(store->kv, KV_TREE, key.bytes, key.len, &old), 0);
	assert_int_equal(inode_record_decode(old.data, old.len, &record), 0);
	record.parent = parent;
	inode_record_encode(&record, &fresh);
	kv_batch_put(batch, KV_TREE, key.bytes, key.len, fresh.data, fresh.len);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	kv_batch_free(batch);
}

/* Of three directories below each other the upper ones are made each other's parent. */
static void a_damaged_chain_of_parents_is_an_error_and_no_endless_loop(void **state)
{
	struct tree_store *store = *state;
	uint64_t a = make_dir(store->view, ROOT_INO, "a"), b = make_dir(store->view, a, "b"), c = make_dir(store->view, b, "c");

	make_dir(store->view, ROOT_INO, "moved");
	set_parent(store, a, b);
	tree_store_close(store);
	tree_store_open(store, false);
	assert_int_equal(view_rename(store->view, ROOT_INO, "moved", c, "moved", 0), -EIO);
	assert_int_equal(view_rename(store->view, ROOT_INO, "moved", c, "c", RENAME_EXCHANGE), -ENOENT);
	assert_int_equal(view_rename(store->view, ROOT_INO, "moved", ROOT_INO, "kept", 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(rename_moves_and_replaces),
		TREE_TEST(rename_keeps_the_rules),
		TREE_TEST(exchange_swaps_a_file_and_a_directory),
		TREE_TEST(a_replacing_file_is_committed_first),
		TREE_TEST(a_damaged_chain_of_parents_is_an_error_and_no_endless_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
