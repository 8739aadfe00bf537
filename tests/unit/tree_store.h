/* A store with one dataset, for the tests of lib/tree; cmocka.h comes before this header. */
#ifndef CORPUSFS_TEST_TREE_STORE_H
#define CORPUSFS_TEST_TREE_STORE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/tree/files/files.h"
#include "lib/tree/inodes/inode.h"

#define MIB (1UL << 20)

struct tree_store {
	char dir[512], db[520], ingest[520];
	struct pool *pool;
	struct kv *kv;
	struct chunks *chunks;
	struct tree *tree;
	struct view *view;
	uint64_t budget;
	void *journal; /* NULL: none */
	size_t journal_bytes;
	unsigned idle_ms; /* long: commits only when the test says so */
};

static inline void tree_store_open(struct tree_store *store, bool create)
{
	struct kv_options kv_options = { .create = create, .cache_bytes = 8 * MIB, .memtable_bytes = 16 * MIB, .threads = 1 };
	struct chunks_options chunk_options = {
		.min = 4096, .average = 8192, .max = 16384, .ingest_dir = store->ingest, .cache_bytes = MIB
	};
	struct tree_options tree_options = { .space_path = store->dir,
					     .reserve_bytes = 1,
					     .write_buffer_bytes = store->budget,
					     .inode_cache_entries = 16,
					     .idle_ms = store->idle_ms,
					     .commit_ms = store->idle_ms,
					     .journal = store->journal,
					     .journal_bytes = store->journal_bytes };
	struct interval interval = { 1, 1 };
	struct line line = { &interval, 1 }, none = { 0 };
	struct view_options view_options = {
		.dataset = 1, .family = 1, .view = 1, .epoch = 1, .level = 1, .line = &line, .shared = &none
	};
	struct error err;

	store->pool = pool_new(1);
	assert_int_equal(kv_open(store->db, &kv_options, &store->kv, &err), 0);
	assert_int_equal(chunks_open(store->kv, store->pool, &chunk_options, &store->chunks, &err), 0);
	if (create) {
		struct kv_batch *batch = kv_batch_new();

		view_make_root(batch, 1, 1, S_IFDIR | 0755, 0, 0);
		assert_int_equal(kv_write(store->kv, batch, 0), 0);
		kv_batch_free(batch);
	}
	assert_int_equal(tree_new(store->kv, store->chunks, store->pool, &tree_options, &store->tree), 0);
	assert_int_equal(view_open(store->tree, &view_options, &store->view), 0);
}

static inline void tree_store_close(struct tree_store *store)
{
	view_close(store->view);
	tree_free(store->tree);
	chunks_close(store->chunks);
	kv_close(store->kv);
	pool_free(store->pool);
}

static inline void tree_store_place(struct tree_store *store)
{
	const char *top = getenv("TMPDIR");
	int len = snprintf(store->dir, sizeof(store->dir), "%s/corpusfs-tree-XXXXXX", top ? top : "/var/tmp");

	assert_true(len > 0 && (size_t)len < sizeof(store->dir));
	assert_non_null(mkdtemp(store->dir));
	snprintf(store->db, sizeof(store->db), "%s/db", store->dir);
	snprintf(store->ingest, sizeof(store->ingest), "%s/ingest", store->dir);
}

static inline void tree_store_make(struct tree_store *store)
{
	tree_store_place(store);
	store->budget = store->budget ? store->budget : 64 * MIB;
	store->idle_ms = store->idle_ms ? store->idle_ms : 1000000;
	tree_store_open(store, true);
}

static inline void tree_store_remove(const struct tree_store *store)
{
	AUTO_FREE char *command = xasprintf("rm -rf %s", store->dir);

	assert_int_equal(system(command), 0);
}

static inline int tree_setup(void **state)
{
	struct tree_store *store = xcalloc(1, sizeof(*store));

	tree_store_make(store);
	*state = store;
	return 0;
}

static inline int tree_teardown(void **state)
{
	struct tree_store *store = *state;

	tree_store_close(store);
	tree_store_remove(store);
	free(store);
	return 0;
}

static inline struct inode *new_file(struct tree_store *store, const char *name)
{
	struct create create = { .mode = S_IFREG | 0644 };
	struct inode *inode;
	struct attr attr;

	assert_int_equal(view_create(store->view, ROOT_INO, name, &create, &attr, &inode), 0);
	return inode;
}

static inline struct inode *open_file(struct tree_store *store, const char *name)
{
	struct inode *inode;
	struct attr attr;

	assert_int_equal(view_lookup(store->view, ROOT_INO, name, &attr), 0);
	assert_int_equal(inode_open(store->view, attr.ino, &inode), 0);
	return inode;
}

static inline void set_size(struct inode *inode, uint64_t size)
{
	struct setattr change = { .mask = SET_SIZE, .size = size };
	struct attr attr;

	assert_int_equal(view_setattr(inode_view(inode), inode_ino(inode), &change, &attr), 0);
	assert_int_equal(attr.size, size);
}

static inline void fill_noise(uint8_t *data, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		data[i] = (uint8_t)(seed >> 56);
	}
}

#define TREE_TEST(function) cmocka_unit_test_setup_teardown(function, tree_setup, tree_teardown)

#endif
