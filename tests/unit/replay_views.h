/* The memory of a journal, and the views of a replay, for the tests of both; tests/unit/tree_store.h is included. */
#ifndef CORPUSFS_TEST_REPLAY_VIEWS_H
#define CORPUSFS_TEST_REPLAY_VIEWS_H

#include <sys/mman.h>

#include "lib/tree/content/replay.h"
#include "tests/unit/tree_store.h"

#define SEGMENTS 5
#define MEMORY (SEGMENTS * 8 * MIB)

static inline void *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(memory != MAP_FAILED);
	return memory;
}

static inline int find(void *arg, uint32_t number, struct view **ret_view)
{
	struct tree_store *store = arg;

	*ret_view = store->view;
	return number == 1 ? 0 : -ESTALE;
}

static inline void put(void *arg, struct view *view)
{
}

/* Reads as far as the longest file goes. */
static inline void assert_content(struct inode *inode, const uint8_t *bytes, uint32_t len, uint32_t most)
{
	AUTO_FREE uint8_t *out = xmalloc(most);
	struct attr attr;

	inode_attr(inode, &attr);
	assert_int_equal(attr.size, len);
	assert_int_equal(inode_read(inode, 0, most, out), len);
	assert_memory_equal(out, bytes, len);
}

#endif
