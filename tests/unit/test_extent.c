#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/tree/freeze/freeze.h"
#include "lib/tree/inodes/extent_edit.h"
#include "tests/unit/tree_store.h"

#define SPACE 4000

/* The model: what each byte of the file is mapped to. */
struct model {
	uint64_t chunk[SPACE];
	uint32_t at[SPACE];
	bool mapped[SPACE];
};

static void assert_same(struct view *view, uint64_t ino, const struct model *model, uint64_t allocated)
{
	struct extent_list list = { 0 };
	struct model seen = { 0 };
	uint64_t sum = 0, end = 0;

	assert_int_equal(extents_load(view, ino, 0, UINT64_MAX, EXTENTS_ALL, &list), 0);
	for (size_t i = 0; i < list.count; i++) {
		const struct extent *extent = &list.items[i];

		assert_true(extent->offset >= end);
		end = extent->offset + extent->record.length;
		assert_true(end <= SPACE);
		sum += extent->record.length;
		for (uint32_t j = 0; j < extent->record.length; j++) {
			seen.mapped[extent->offset + j] = true;
			seen.chunk[extent->offset + j] = extent->record.chunk;
			seen.at[extent->offset + j] = extent->record.chunk == CHUNK_NONE ? 0 : extent->record.chunk_offset + j;
		}
	}
	assert_int_equal(sum, allocated);
	assert_memory_equal(seen.mapped, model->mapped, sizeof(seen.mapped));
	for (size_t i = 0; i < SPACE; i++) {
		if (seen.mapped[i]) {
			assert_int_equal(seen.chunk[i], model->chunk[i]);
			assert_int_equal(seen.at[i], model->at[i]);
		}
	}
	array_clear(&list);
}

/* Some new extents, with gaps, for [first, end). */
static void random_extents(struct extent_list *list, struct model *model, uint64_t first, uint64_t end)
{
	memset(model->mapped + first, false, end - first);
	for (uint64_t at = first; at < end;) {
		uint32_t length = 1 + (uint32_t)rand() % 100;
		struct extent extent = { .offset = at };

		length = MIN(length, (uint32_t)(end - at));
		extent.record.length = length;
		if (rand() % 4)
			extent.record = (struct extent_record){ length, 1 + (uint64_t)rand() % 1000, (uint32_t)rand() % 1000 };
		if (rand() % 3) {
			array_add(list, extent);
			for (uint32_t j = 0; j < length; j++) {
				model->mapped[at + j] = true;
				model->chunk[at + j] = extent.record.chunk;
				model->at[at + j] = extent.record.chunk == CHUNK_NONE ? 0 : extent.record.chunk_offset + j;
			}
		}
		at += length;
	}
}

static void random_edit(struct inode *inode, struct model *model)
{
	struct view *view = inode->view;
	struct kv_batch *batch = kv_batch_new();
	struct extent_edit edit;
	uint64_t at = (uint64_t)rand() % SPACE;
	int ranges = 1 + rand() % 4;

	mutex_take(&inode->lock);
	rwlock_read(&view->epoch_lock);
	edit = extent_edit_begin(inode, batch);
	while (ranges-- > 0 && at < SPACE) {
		uint64_t end = at + 1 + (uint64_t)rand() % 300;
		struct extent_list list = { 0 };

		end = MIN(end, SPACE);
		random_extents(&list, model, at, end);
		assert_int_equal(extent_edit_replace(&edit, at, end, list.items, list.count), 0);
		array_clear(&list);
		at = end + (rand() % 2 ? 0 : (uint64_t)rand() % 50);
	}
	extent_edit_end(&edit);
	inode_record_put(inode, batch);
	assert_int_equal(kv_write(view->tree->kv, batch, 0), 0);
	inode_written(inode);
	rwlock_give(&view->epoch_lock);
	mutex_give(&inode->lock);
	kv_batch_free(batch);
}

static void test_edits_as_a_map_of_bytes(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "file");
	struct model *model = xcalloc(1, sizeof(*model));

	srand(3);
	for (int i = 0; i < 400; i++) {
		random_edit(inode, model);
		assert_same(store->view, inode->ino, model, inode->record.allocated);
	}
	inode_close(inode);
	free(model);
}

static void test_a_snapshot_keeps_its_extents(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "file");
	struct model *model = xcalloc(1, sizeof(*model)), *old = xcalloc(1, sizeof(*old));
	struct line none = { 0 }, shared = { 0 }, line;
	struct view_options options = { .dataset = 1, .family = 1, .view = 2, .line = &shared, .shared = &none };
	uint64_t allocated;
	struct freeze *freeze;
	struct view *snapshot;

	srand(4);
	for (int i = 0; i < 50; i++)
		random_edit(inode, model);
	*old = *model;
	allocated = inode->record.allocated;

	line_add(&shared, 1, 1);
	line = view_line(store->view);
	line_add(&line, 2, 2);
	assert_int_equal(freeze_begin(&store->view, 1, &freeze), 0);
	freeze_set_shared(freeze, store->view, &shared);
	freeze_set_epoch(freeze, store->view, &line, 2);
	freeze_end(freeze);
	assert_int_equal(view_open(store->tree, &options, &snapshot), 0);
	for (int i = 0; i < 100; i++) {
		random_edit(inode, model);
		assert_same(store->view, inode->ino, model, inode->record.allocated);
		assert_same(snapshot, inode->ino, old, allocated);
	}
	view_close(snapshot);
	line_clear(&line);
	line_clear(&shared);
	inode_close(inode);
	free(model);
	free(old);
}

static void test_the_last_extent_before_an_offset(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "file");
	struct extent zeros[] = { { .offset = 100, .record = { .length = 50 } }, { .offset = 1000, .record = { .length = EXTENT_LEN_MAX } } };
	struct kv_batch *batch = kv_batch_new();
	struct extent_list list = { 0 };
	struct extent found;

	assert_int_equal(extents_replace(inode, batch, 0, UINT64_MAX, zeros, 2), 0);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	assert_int_equal(extents_before(store->view, inode->ino, 100, &found), -2);
	assert_int_equal(extents_before(store->view, inode->ino, 1000, &found), 0);
	assert_int_equal(found.offset, 100);
	assert_int_equal(extents_before(store->view, inode->ino, UINT64_MAX, &found), 0);
	assert_int_equal(found.offset, 1000);
	assert_int_equal(extents_load(store->view, inode->ino, 999 + EXTENT_LEN_MAX, UINT64_MAX, EXTENTS_ALL, &list), 0);
	assert_int_equal(list.count, 1);
	inode->record.allocated = 0; /* the record was never written */
	inode_close(inode);
	array_clear(&list);
	kv_batch_free(batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(test_edits_as_a_map_of_bytes),
		TREE_TEST(test_a_snapshot_keeps_its_extents),
		TREE_TEST(test_the_last_extent_before_an_offset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
