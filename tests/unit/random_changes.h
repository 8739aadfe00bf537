/* For tests of what differs and of what is sent: random changes of a dataset's head. Names come from a small pool, so that they are used again. */
#ifndef CORPUSFS_TESTS_RANDOM_CHANGES_H
#define CORPUSFS_TESTS_RANDOM_CHANGES_H

#include "tests/unit/dataset_store.h"

static UNUSED uint64_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

static UNUSED void write_some(struct view *view, uint64_t ino, uint64_t *seed)
{
	uint8_t data[30000];
	struct inode *inode;
	uint64_t offset = random_next(seed) % 3 ? 0 : random_next(seed) % 40000;
	size_t len = 1 + random_next(seed) % (random_next(seed) % 2 ? 100 : sizeof(data));
	uint64_t pattern = random_next(seed) % 4;

	for (size_t i = 0; i < len; i++)
		data[i] = pattern == 0 ? 0 : (uint8_t)(i * (pattern + 2) + i / 4096);
	assert_int_equal(inode_open(view, ino, &inode), 0);
	assert_int_equal(inode_write(inode, offset, data, len, 0), 0);
	inode_close(inode);
}

struct pick {
	uint64_t dir, ino;
	char name[NAME_LEN_MAX + 1];
	uint8_t type;
	uint64_t *seed;
	unsigned seen;
};

static UNUSED int pick_entry(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct pick *pick = arg;

	if (random_next(pick->seed) % ++pick->seen == 0) {
		pick->ino = ino;
		pick->type = type;
		snprintf(pick->name, sizeof(pick->name), "%s", name);
	}
	return 0;
}

/* A random name somewhere in the tree; false: an empty directory was met. */
static UNUSED bool pick_name(struct view *view, uint64_t *seed, struct pick *ret_pick)
{
	uint64_t dir = ROOT_INO;

	for (;;) {
		*ret_pick = (struct pick){.dir = dir, .seed = seed};
		assert_int_equal(view_list(view, dir, "", pick_entry, ret_pick), 0);
		if (ret_pick->seen == 0)
			return false;
		if (ret_pick->type != DT_DIR || random_next(seed) % 3 == 0)
			return true;
		dir = ret_pick->ino;
	}
}

static UNUSED uint64_t pick_dir(struct view *view, uint64_t *seed)
{
	struct pick pick;

	if (random_next(seed) % 4 == 0 || !pick_name(view, seed, &pick))
		return ROOT_INO;
	return pick.type == DT_DIR ? pick.ino : pick.dir;
}

static UNUSED void create_some(struct view *view, uint64_t *seed, const char *name)
{
	static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO};
	struct create create = {.mode = types[random_next(seed) % ARRAY_SIZE(types)] | 0644};
	struct attr attr;

	create.target = S_ISLNK(create.mode) ? (random_next(seed) % 2 ? "one" : "two") : NULL;
	int result = view_create(view, pick_dir(view, seed), name, &create, &attr, NULL);
	if (result == 0 && S_ISREG(create.mode))
		write_some(view, attr.ino, seed);
	assert_true(result == 0 || result == -EEXIST);
}

static UNUSED void set_some(struct view *view, uint64_t *seed, uint64_t ino)
{
	struct setattr change = {.mask = SET_MODE, .mode = random_next(seed) % 2 ? 0600 : 0755};
	struct attr attr;

	switch (random_next(seed) % 3) {
	case 0: assert_int_equal(view_setattr(view, ino, &change, &attr), 0); break;
	case 1: assert_int_equal(view_xattr_set(view, ino, "user.a", "1234", random_next(seed) % 4, 0), 0); break;
	default:
		change = (struct setattr){.mask = SET_MTIME, .mtime = {1000 + (time_t)(random_next(seed) % 3), 5}};
		assert_int_equal(view_setattr(view, ino, &change, &attr), 0);
	}
}

/* One random change; names come from a small pool, so that they are used again. */
static UNUSED void change_something(struct view *view, uint64_t *seed)
{
	struct pick pick, other;
	struct attr attr;
	char name[16];
	int result = 0;

	snprintf(name, sizeof(name), "n%u", (unsigned)(random_next(seed) % 12));
	if (random_next(seed) % 3 == 0 || !pick_name(view, seed, &pick)) {
		create_some(view, seed, name);
		return;
	}
	switch (random_next(seed) % 8) {
	case 0:
	case 1:
		if (pick.type == DT_REG)
			write_some(view, pick.ino, seed);
		break;
	case 2: result = pick.type == DT_DIR ? view_rmdir(view, pick.dir, pick.name) : view_unlink(view, pick.dir, pick.name); break;
	case 3:
	case 4: result = view_rename(view, pick.dir, pick.name, pick_dir(view, seed), name, 0); break;
	case 5:
		if (pick.type != DT_DIR)
			result = view_link(view, pick.ino, pick_dir(view, seed), name, &attr);
		break;
	case 6: set_some(view, seed, pick.ino); break;
	default:
		if (pick_name(view, seed, &other))
			result = view_rename(view, pick.dir, pick.name, other.dir, other.name, 2 /* RENAME_EXCHANGE */);
	}
	if (result != 0 && result != -ENOTEMPTY && result != -EEXIST && result != -EINVAL && result != -EISDIR && result != -ENOTDIR)
		fail_msg("an operation failed: %s", strerror(-result));
}

static UNUSED void change_much(struct store *store, const char *dataset, uint64_t *seed, unsigned count)
{
	struct view *view;

	assert_int_equal(store_head(store, dataset, &view), 0);
	for (unsigned i = 0; i < count; i++)
		change_something(view, seed);
	store_view_put(store, view);
}

#endif
