/* For the tests of what reads files: one that has lost an extent. */
#ifndef CORPUSFS_TESTS_LOST_EXTENT_H
#define CORPUSFS_TESTS_LOST_EXTENT_H

#include "lib/tree/records/extent.h"
#include "tests/unit/dataset_store.h"

/* In dataset "d" the file "sparse" of two pieces, far apart, of which the first is lost. */
static UNUSED void lose_a_piece(struct place *place)
{
	struct kv_batch *batch = kv_batch_new();
	struct view *view = open_head(place->store, "d");
	struct extent extent;
	struct tree_key key;
	struct attr attr;

	write_file(view, ROOT_INO, "sparse", 0, "first", 5);
	write_file(view, ROOT_INO, "sparse", 500 << 20, "second", 6);
	assert_int_equal(view_sync(view), 0);
	assert_int_equal(view_lookup(view, ROOT_INO, "sparse", &attr), 0);
	assert_int_equal(extents_before(view, attr.ino, 1, &extent), 0);
	key = tree_key_at(tree_stem_extent(view_family(view), attr.ino, extent.offset), extent.epoch);
	kv_batch_delete(batch, KV_TREE, key.bytes, key.len);
	assert_int_equal(kv_write(store_kv(place->store), batch, 0), 0);
	kv_batch_free(batch);
	store_view_put(place->store, view);
}

#endif
