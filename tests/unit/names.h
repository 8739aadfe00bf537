/* Names in a view, made and looked up, for the tests of lib/tree; cmocka.h comes before this header. */
#ifndef CORPUSFS_TEST_NAMES_H
#define CORPUSFS_TEST_NAMES_H

#include <errno.h>

#include "tests/unit/tree_store.h"

static inline uint64_t make(struct view *view, uint64_t dir, const char *name, uint32_t mode)
{
	struct create create = {.mode = mode, .uid = 1, .gid = 2, .target = S_ISLNK(mode) ? "target" : NULL};
	struct attr attr;

	assert_int_equal(view_create(view, dir, name, &create, &attr, NULL), 0);
	assert_int_equal(attr.mode, mode);
	return attr.ino;
}

static inline uint64_t make_dir(struct view *view, uint64_t dir, const char *name)
{
	return make(view, dir, name, S_IFDIR | 0755);
}

static inline uint64_t make_file(struct view *view, uint64_t dir, const char *name)
{
	return make(view, dir, name, S_IFREG | 0644);
}

static inline uint64_t ino_of(struct view *view, uint64_t dir, const char *name)
{
	struct attr attr;
	int r = view_lookup(view, dir, name, &attr);

	assert_true(r == 0 || r == -ENOENT);
	return r == 0 ? attr.ino : 0;
}

static inline uint32_t nlink_of(struct view *view, uint64_t ino)
{
	struct attr attr;

	assert_int_equal(view_getattr(view, ino, &attr), 0);
	return attr.nlink;
}

#endif
