#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/chunk/digest.h"
#include "lib/store/digests.h"
#include "lib/identity/identity.h"
#include "tests/unit/dataset_store.h"

#define LARGE (5U << 20)

static int setup(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));
	struct error err;

	place_init(place);
	assert_int_equal(dataset_create(place->store, "data", 0755, 0, 0, 1, &err), 0);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	struct place *place = *state;

	place_clear(place);
	free(place);
	return 0;
}

/* --- the definition once more, through the public functions --- */

static void add32(struct digest *digest, uint32_t value)
{
	digest_update(digest, &value, sizeof(value)); /* tests run on little-endian machines */
}

static void add64(struct digest *digest, uint64_t value)
{
	digest_update(digest, &value, sizeof(value));
}

static void reference_node(struct view *view, uint64_t ino, uint8_t *out);

struct listing {
	struct view *view;
	struct digest *digest;
};

static int reference_entry(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct listing *listing = arg;
	uint8_t node[DIGEST_LEN];

	reference_node(listing->view, ino, node);
	add32(listing->digest, (uint32_t)strlen(name));
	digest_update(listing->digest, name, strlen(name));
	digest_update(listing->digest, node, sizeof(node));
	return 0;
}

static void reference_content(struct view *view, const struct attr *attr, uint8_t *out)
{
	struct digest *digest = digest_new();
	AUTO_FREE uint8_t *data = xmalloc(attr->size + 1);
	struct inode *inode;

	assert_int_equal(inode_open(view, attr->ino, &inode), 0);
	assert_int_equal(inode_read(inode, 0, attr->size, data), attr->size);
	inode_close(inode);
	digest_once(digest, data, attr->size, out);
	digest_free(digest);
}

static void reference_node(struct view *view, uint64_t ino, uint8_t *out)
{
	struct digest *digest = digest_new();
	struct attr attr;

	assert_int_equal(view_getattr(view, ino, &attr), 0);
	if (S_ISDIR(attr.mode)) {
		struct listing listing = {view, digest};
		digest_update(digest, "corpusfs-dir", 13);
		add32(digest, attr.mode);
		assert_int_equal(view_list(view, ino, "", reference_entry, &listing), 0);
	} else if (S_ISLNK(attr.mode)) {
		AUTO_BUF target = BUF_INIT;
		assert_int_equal(view_readlink(view, ino, &target), 0);
		digest_update(digest, "corpusfs-symlink", 17);
		add32(digest, 0120777);
		add64(digest, target.len);
		digest_update(digest, target.data, target.len);
	} else if (S_ISREG(attr.mode)) {
		uint8_t content[DIGEST_LEN];
		reference_content(view, &attr, content);
		digest_update(digest, "corpusfs-file", 14);
		add32(digest, attr.mode);
		add64(digest, attr.size);
		digest_update(digest, content, sizeof(content));
	} else {
		digest_update(digest, "corpusfs-special", 17);
		add32(digest, attr.mode);
		add64(digest, 0);
	}
	digest_final(digest, out);
	digest_free(digest);
}

/* --- helpers --- */

static void take(struct store *store, const char *dataset, const char *name)
{
	struct snapshot_name target = {dataset, name};
	struct error err = {0};

	assert_int_equal(snapshot_create(store, &target, 1, NULL, 0, &err), 0);
}

/* Computed as the background does, checked against the reference. */
static struct identity_cost check(struct store *store, const char *name, uint8_t *out)
{
	uint8_t reference[IDENTITY_LEN], identity[IDENTITY_LEN];
	struct identity_cost cost;
	struct view *view;
	struct error err;

	assert_int_equal(store_view_by_name(store, name, &view, &err), 0);
	assert_int_equal(identity_measure(store, view, false, identity, &cost), 0);
	reference_node(view, ROOT_INO, reference);
	assert_memory_equal(identity, reference, IDENTITY_LEN);
	store_view_put(store, view);
	if (out)
		memcpy(out, identity, IDENTITY_LEN);
	return cost;
}

static struct identity_cost taken(struct store *store, const char *name, uint8_t *out)
{
	AUTO_FREE char *full = xasprintf("data@%s", name);

	take(store, "data", name);
	return check(store, full, out);
}

static uint64_t at(struct view *view, const char *path)
{
	struct attr attr;

	assert_int_equal(view_resolve(view, path, &attr), 0);
	return attr.ino;
}

static void make(struct view *view, const char *dir, const char *name, uint32_t mode, const char *target)
{
	struct create create = {.mode = mode, .target = target};
	struct attr attr;

	assert_int_equal(view_create(view, at(view, dir), name, &create, &attr, NULL), 0);
}

static void put(struct view *view, const char *dir, const char *name, const char *text)
{
	write_file(view, at(view, dir), name, 0, text, strlen(text));
}

static struct view *head(struct store *store, const char *dataset)
{
	struct view *view;

	assert_int_equal(store_head(store, dataset, &view), 0);
	return view;
}

/* 10 directories of 20 files: a one-chunk file, a small one, and one of several chunks among them. */
static void fill(struct store *store)
{
	struct view *view = head(store, "data");
	AUTO_FREE uint8_t *data = xmalloc(100000);

	for (unsigned d = 0; d < 10; d++) {
		char dir[16];
		snprintf(dir, sizeof(dir), "d%u", d);
		make(view, "", dir, S_IFDIR | 0755, NULL);
		for (unsigned f = 0; f < 20; f++) {
			char name[16];
			size_t len = f % 3 == 0 ? 100 : f % 3 == 1 ? 4000 : 100000;
			snprintf(name, sizeof(name), "f%u", f);
			fill_random(d * 20 + f, data, len);
			write_file(view, at(view, dir), name, 0, data, len);
		}
	}
	store_view_put(store, view);
}

/* --- tests --- */

static void test_cost_follows_what_changed(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	struct setattr mode = {.mask = SET_MODE, .mode = 0600};
	uint8_t first[IDENTITY_LEN], same[IDENTITY_LEN], other[IDENTITY_LEN];
	struct attr attr;

	fill(store);
	struct identity_cost cost = taken(store, "v1", first);
	assert_false(cost.partial);
	assert_int_equal(cost.directories, 11);
	assert_int_equal(cost.nodes, 200);
	cost = taken(store, "v2", same);
	assert_true(cost.partial);
	assert_int_equal(cost.directories + cost.nodes + cost.contents, 0);
	assert_memory_equal(first, same, IDENTITY_LEN);

	struct view *view = head(store, "data");
	put(view, "d3", "f2", "changed");
	cost = taken(store, "v3", other);
	assert_memory_not_equal(first, other, IDENTITY_LEN);
	assert_true(cost.partial);
	assert_int_equal(cost.directories, 2);
	assert_int_equal(cost.nodes, 1);
	assert_int_equal(cost.contents, 1);

	/* attributes alone: no content is read */
	assert_int_equal(view_setattr(view, at(view, "d3/f2"), &mode, &attr), 0);
	cost = taken(store, "v4", other);
	assert_int_equal(cost.nodes, 1);
	assert_int_equal(cost.contents, 0);

	/* a new directory in a directory: it, and those above */
	make(view, "d5", "sub", S_IFDIR | 0700, NULL);
	cost = taken(store, "v5", other);
	assert_int_equal(cost.directories, 3);
	assert_int_equal(cost.nodes, 0);
	store_view_put(store, view);
}

static void test_what_enters_and_what_does_not(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	struct view *view = head(store, "data");
	uint8_t base[IDENTITY_LEN], now[IDENTITY_LEN];
	struct attr attr;

	make(view, "", "dir", S_IFDIR | 0755, NULL);
	make(view, "", "link", S_IFLNK | 0777, "target");
	make(view, "dir", "fifo", S_IFIFO | 0644, NULL);
	put(view, "dir", "file", "content");
	put(view, "", "other", "more");
	(void)taken(store, "base", base);

	struct setattr owner = {.mask = SET_UID | SET_GID | SET_MTIME | SET_ATIME, .uid = 7, .gid = 8, .mtime = {1, 2}, .atime = {3, 4}};
	assert_int_equal(view_setattr(view, at(view, "dir/file"), &owner, &attr), 0);
	assert_int_equal(view_setattr(view, at(view, "dir"), &owner, &attr), 0);
	assert_int_equal(view_xattr_set(view, at(view, "dir/file"), "user.x", "1", 1, 0), 0);
	(void)taken(store, "owner", now);
	assert_memory_equal(base, now, IDENTITY_LEN);

	/* there and back */
	assert_int_equal(view_rename(view, at(view, "dir"), "file", ROOT_INO, "moved", 0), 0);
	(void)taken(store, "moved", now);
	assert_memory_not_equal(base, now, IDENTITY_LEN);
	assert_int_equal(view_rename(view, ROOT_INO, "moved", at(view, "dir"), "file", 0), 0);
	(void)taken(store, "back", now);
	assert_memory_equal(base, now, IDENTITY_LEN);

	/* a link count is nothing, another name is something */
	assert_int_equal(view_link(view, at(view, "dir/file"), ROOT_INO, "twin", &attr), 0);
	(void)taken(store, "twin", now);
	assert_memory_not_equal(base, now, IDENTITY_LEN);
	assert_int_equal(view_unlink(view, ROOT_INO, "twin"), 0);
	(void)taken(store, "single", now);
	assert_memory_equal(base, now, IDENTITY_LEN);

	struct setattr mode = {.mask = SET_MODE, .mode = 0750};
	assert_int_equal(view_setattr(view, at(view, "dir"), &mode, &attr), 0);
	(void)taken(store, "mode", now);
	assert_memory_not_equal(base, now, IDENTITY_LEN);
	mode.mode = 0755;
	assert_int_equal(view_setattr(view, at(view, "dir"), &mode, &attr), 0);

	assert_int_equal(view_unlink(view, ROOT_INO, "link"), 0);
	make(view, "", "link", S_IFLNK | 0777, "targeT");
	(void)taken(store, "target", now);
	assert_memory_not_equal(base, now, IDENTITY_LEN);
	assert_int_equal(view_unlink(view, ROOT_INO, "link"), 0);
	make(view, "", "link", S_IFIFO | 0777, NULL);
	(void)taken(store, "type", now);
	assert_memory_not_equal(base, now, IDENTITY_LEN);
	store_view_put(store, view);
}

/* Written to through a name whose directory the record does not know. */
static void test_hard_links_in_several_directories(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	struct view *view = head(store, "data");
	uint8_t before[IDENTITY_LEN], after[IDENTITY_LEN];
	struct attr attr;

	make(view, "", "a", S_IFDIR | 0755, NULL);
	make(view, "", "b", S_IFDIR | 0755, NULL);
	make(view, "b", "c", S_IFDIR | 0755, NULL);
	put(view, "a", "file", "one");
	assert_int_equal(view_link(view, at(view, "a/file"), at(view, "b/c"), "file", &attr), 0);
	(void)taken(store, "v1", before);
	put(view, "b/c", "file", "two");
	struct identity_cost cost = taken(store, "v2", after);
	assert_false(cost.partial);
	assert_memory_not_equal(before, after, IDENTITY_LEN);
	assert_int_equal(view_unlink(view, at(view, "a"), "file"), 0);
	(void)taken(store, "v3", before);
	put(view, "b/c", "file", "two, and more");
	(void)taken(store, "v4", after);
	assert_memory_not_equal(before, after, IDENTITY_LEN);
	store_view_put(store, view);
}

static void test_large_sparse_and_empty_files(void **state)
{
	struct store *store = ((struct place *)*state)->store;
	struct view *view = head(store, "data");
	AUTO_FREE uint8_t *data = xmalloc(LARGE);
	struct setattr size = {.mask = SET_SIZE, .size = 3 * LARGE};
	struct inode *inode;
	struct attr attr;

	fill_random(5, data, LARGE);
	write_file(view, ROOT_INO, "large", 0, data, LARGE);
	write_file(view, ROOT_INO, "sparse", LARGE, data, 100000);
	write_file(view, ROOT_INO, "short", 5000, data, 10);
	make(view, "", "empty", S_IFREG | 0644, NULL);
	assert_int_equal(view_setattr(view, at(view, "sparse"), &size, &attr), 0);
	make(view, "", "hole", S_IFREG | 0644, NULL);
	size.size = 1000;
	assert_int_equal(view_setattr(view, at(view, "hole"), &size, &attr), 0);
	assert_int_equal(inode_open(view, at(view, "large"), &inode), 0);
	assert_int_equal(inode_allocate(inode, 0, LARGE, 200000), 0);
	inode_close(inode);
	(void)taken(store, "v1", NULL);
	/* the same extents, fewer bytes of them; then zeros in their place */
	size.size = LARGE - 50000;
	assert_int_equal(view_setattr(view, at(view, "large"), &size, &attr), 0);
	(void)taken(store, "v2", NULL);
	size.size = LARGE + 200000;
	assert_int_equal(view_setattr(view, at(view, "large"), &size, &attr), 0);
	(void)taken(store, "v3", NULL);
	store_view_put(store, view);
}

static void test_head_is_computed_and_not_kept(void **state)
{
	struct place *place = *state;
	uint8_t identity[IDENTITY_LEN], snapshot[IDENTITY_LEN];
	uint64_t keys;

	fill(place->store);
	(void)taken(place->store, "v1", snapshot);
	struct view *view = head(place->store, "data");
	put(view, "d1", "new", "text");
	keys = count_keys(place->store, KV_CATALOG);
	(void)check(place->store, "data", identity);
	assert_memory_not_equal(identity, snapshot, IDENTITY_LEN);
	assert_int_equal(count_keys(place->store, KV_CATALOG), keys);
	assert_int_equal(identity_known(place->store, view, identity), -ENODATA);
	assert_int_equal(view_unlink(view, at(view, "d1"), "new"), 0);
	(void)check(place->store, "data", identity);
	assert_memory_equal(identity, snapshot, IDENTITY_LEN);
	store_view_put(place->store, view);
}

static bool never(void *arg)
{
	(*(unsigned *)arg)++;
	return false;
}

static bool always(void *arg)
{
	return true;
}

static void test_background_does_one_after_the_other(void **state)
{
	struct place *place = *state;
	uint8_t identity[IDENTITY_LEN];
	unsigned polls = 0;
	struct view *view;

	fill(place->store);
	take(place->store, "data", "v1");
	take(place->store, "data", "v2");
	assert_int_equal(identity_step(place->store, always, NULL), -ECANCELED);
	assert_int_equal(identity_step(place->store, never, &polls), 1);
	assert_true(polls > 0);
	assert_int_equal(store_snapshot(place->store, "data", "v1", &view), 0);
	assert_int_equal(identity_known(place->store, view, identity), 0);
	store_view_put(place->store, view);
	assert_int_equal(identity_step(place->store, NULL, NULL), 1);
	assert_int_equal(identity_step(place->store, NULL, NULL), 0);
	place_reopen(place);
	assert_int_equal(identity_step(place->store, NULL, NULL), 0);
	(void)check(place->store, "data@v2", NULL);
}

static bool destroy_v1(void *arg)
{
	struct error err;
	struct snapshot_info info;

	if (snapshot_get(arg, "data", "v1", &info) == 0) {
		snapshot_info_clear(&info);
		assert_int_equal(snapshot_destroy(arg, "data", "v1", &err), 0);
	}
	return false;
}

static void test_snapshot_may_be_destroyed_while_it_is_computed(void **state)
{
	struct place *place = *state;
	uint64_t keys = count_keys(place->store, KV_CATALOG);

	fill(place->store);
	take(place->store, "data", "v1");
	assert_int_equal(identity_step(place->store, destroy_v1, place->store), 1);
	collect(place->store, true, false);
	/* the counter of snapshots and the collector's own state may be new; no digest is left */
	assert_in_range(count_keys(place->store, KV_CATALOG), keys, keys + 3);
	assert_int_equal(identity_step(place->store, NULL, NULL), 0);
}

static void test_digests_of_the_destroyed_are_removed(void **state)
{
	struct place *place = *state;
	struct error err;

	fill(place->store);
	struct view *view = head(place->store, "data");
	for (unsigned i = 0; i < 5; i++) {
		char name[16];
		snprintf(name, sizeof(name), "v%u", i);
		put(view, "d1", "f2", name);
		(void)taken(place->store, name, NULL);
	}
	store_view_put(place->store, view);
	for (unsigned i = 1; i < 5; i++) {
		char name[16];
		snprintf(name, sizeof(name), "v%u", i);
		assert_int_equal(snapshot_destroy(place->store, "data", name, &err), 0);
	}
	collect(place->store, false, false);
	uint64_t keys = count_keys(place->store, KV_CATALOG);
	struct identity_cost cost = taken(place->store, "again", NULL);
	assert_true(cost.partial);
	assert_int_equal(cost.directories, 2);
	/* one snapshot, its identity and its three new digests */
	assert_in_range(count_keys(place->store, KV_CATALOG), keys, keys + 5);
	assert_int_equal(dataset_destroy(place->store, "data", DATASET_DESTROY_SNAPSHOTS, &err), 0);
	collect(place->store, false, false);
	struct kv_iter *iter = kv_iter_new(store_kv(place->store), KV_CATALOG, "H", 1, "I", 1);
	kv_iter_first(iter);
	assert_false(kv_iter_valid(iter));
	kv_iter_free(iter);
}

static void test_same_tree_in_another_store(void **state)
{
	struct place *place = *state, other;
	struct store_parameters chunks = {.chunk_min = 16384, .chunk_average = 32768, .chunk_max = 65536};
	AUTO_FREE uint8_t *data = xmalloc(100000);
	uint8_t here[IDENTITY_LEN], there[IDENTITY_LEN];
	struct error err;

	fill(place->store);
	(void)taken(place->store, "v1", here);
	place_make(&other);
	assert_int_equal(store_init(other.path, &chunks, &err), 0);
	place_open(&other);
	assert_int_equal(dataset_create(other.store, "data", 0755, 1, 1, 0, &err), 0);
	struct view *view = head(other.store, "data");
	for (unsigned d = 10; d-- > 0;) {
		char dir[16];
		snprintf(dir, sizeof(dir), "d%u", d);
		make(view, "", dir, S_IFDIR | 0755, NULL);
		for (unsigned f = 20; f-- > 0;) {
			char name[16];
			size_t len = f % 3 == 0 ? 100 : f % 3 == 1 ? 4000 : 100000;
			snprintf(name, sizeof(name), "f%u", f);
			fill_random(d * 20 + f, data, len);
			write_file(view, at(view, dir), name, len / 2, data + len / 2, len - len / 2);
			if (f % 5 == 0)
				(void)check(other.store, "data", NULL);
			write_file(view, at(view, dir), name, 0, data, len / 2);
		}
		take(other.store, "data", dir);
	}
	store_view_put(other.store, view);
	(void)taken(other.store, "last", there);
	assert_memory_equal(here, there, IDENTITY_LEN);
	place_clear(&other);
}

static void test_file_digest(void **state)
{
	struct place *place = *state;
	uint8_t sha256[IDENTITY_LEN], reference[IDENTITY_LEN];
	struct attr attr;
	struct view *view;

	fill(place->store);
	take(place->store, "data", "v1");
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(i ? store_snapshot(place->store, "data", "v1", &view) : store_head(place->store, "data", &view), 0);
		for (unsigned f = 0; f < 3; f++) {
			char path[16];
			snprintf(path, sizeof(path), "d4/f%u", f);
			assert_int_equal(view_resolve(view, path, &attr), 0);
			reference_content(view, &attr, reference);
			assert_int_equal(identity_file(place->store, view, attr.ino, NULL, NULL, sha256), 0);
			assert_memory_equal(sha256, reference, IDENTITY_LEN);
		}
		assert_int_equal(identity_file(place->store, view, ROOT_INO, NULL, NULL, sha256), -ENODATA);
		assert_int_equal(identity_file(place->store, view, 123456, NULL, NULL, sha256), -ESTALE);
		store_view_put(place->store, view);
	}
}

/* --- random --- */

#define DEPTH 3

/* "dX/dY/", up to DEPTH, some of which may not be there. */
static void random_dir(uint64_t *random, char *out, size_t size)
{
	unsigned depth = (unsigned)(next_random(random) % (DEPTH + 1));
	size_t len = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < depth; i++)
		len += (size_t)snprintf(out + len, size - len, "%sd%u", i ? "/" : "", (unsigned)(next_random(random) % 3));
}

static void random_change(struct view *view, uint64_t *random)
{
	char dir[64], other[64], name[8], to[8];
	struct attr in, into, attr;
	unsigned which = (unsigned)(next_random(random) % 12);
	int result = 0;

	random_dir(random, dir, sizeof(dir));
	random_dir(random, other, sizeof(other));
	if (view_resolve(view, dir, &in) < 0 || view_resolve(view, other, &into) < 0 || !S_ISDIR(in.mode) || !S_ISDIR(into.mode))
		return;
	snprintf(name, sizeof(name), "%c%u", next_random(random) % 3 ? 'f' : 'd', (unsigned)(next_random(random) % 3));
	snprintf(to, sizeof(to), "%c%u", name[0], (unsigned)(next_random(random) % 3));
	bool there = view_lookup(view, in.ino, name, &attr) == 0;

	if (which < 3 && name[0] == 'd' && !there) {
		make(view, dir, name, S_IFDIR | 0755, NULL);
	} else if (which < 5 && name[0] == 'f' && (!there || S_ISREG(attr.mode))) {
		uint8_t data[9000];
		size_t len = 1 + next_random(random) % sizeof(data);
		fill_random(next_random(random) % 20, data, len);
		write_file(view, in.ino, name, next_random(random) % 5000, data, len);
	} else if (which == 5 && there) {
		struct setattr mode = {.mask = SET_MODE, .mode = 0700 + (uint32_t)(next_random(random) % 64)};
		assert_int_equal(view_setattr(view, attr.ino, &mode, &attr), 0);
	} else if (which == 6 && there) {
		result = S_ISDIR(attr.mode) ? view_rmdir(view, in.ino, name) : view_unlink(view, in.ino, name);
	} else if (which < 9) {
		result = view_rename(view, in.ino, name, into.ino, to, 0);
	} else if (which == 9 && there && !S_ISDIR(attr.mode)) {
		result = view_link(view, attr.ino, into.ino, to, &attr);
	} else if (which == 10 && there && S_ISREG(attr.mode)) {
		struct setattr size = {.mask = SET_SIZE, .size = next_random(random) % 9000};
		assert_int_equal(view_setattr(view, attr.ino, &size, &attr), 0);
	} else if (which == 11 && name[0] == 'f' && !there) {
		make(view, dir, name, S_IFLNK | 0777, to);
	}
	assert_true(result <= 0);
}

#define KEPT 6

/* Whether the snapshot looked at was computed from another one. */
static bool random_round(struct place *place, unsigned round, uint64_t *random, char (*names)[32])
{
	struct store *store = place->store;
	struct view *view = head(store, "data");
	unsigned slot = round % KEPT, chance = (unsigned)(next_random(random) % 8);
	char name[32];
	struct error err;

	for (uint64_t i = next_random(random) % 12; i > 0; i--)
		random_change(view, random);
	store_view_put(store, view);
	if (names[slot][0])
		assert_int_equal(snapshot_destroy(store, "data", names[slot], &err), 0);
	snprintf(names[slot], sizeof(names[slot]), "s%u", round);
	take(store, "data", names[slot]);
	if (chance == 0)
		collect(store, next_random(random) % 2, false);
	if (chance != 1) /* some stay without */
		snprintf(name, sizeof(name), "data@%s", names[next_random(random) % MIN(round + 1, KEPT)]);
	else
		snprintf(name, sizeof(name), "data@%s", names[slot]);
	bool partial = check(store, name, NULL).partial;
	if (chance == 2)
		assert_int_equal(dataset_rollback(store, "data", names[next_random(random) % MIN(round + 1, KEPT)], false, NULL, &err), 0);
	if (chance == 3)
		place_reopen(place);
	if (chance == 4) {
		snprintf(name, sizeof(name), "clone%u", round);
		assert_int_equal(dataset_clone(store, "data", names[slot], name, &err), 0);
		view = head(store, name);
		random_change(view, random);
		store_view_put(store, view);
		take(store, name, "s");
		snprintf(name, sizeof(name), "clone%u@s", round);
		(void)check(store, name, NULL);
	}
	if (chance == 5)
		(void)check(store, "data", NULL);
	return partial;
}

static void test_partial_equals_full_over_random_changes(void **state)
{
	struct place *place = *state;
	char names[KEPT][32] = {{0}};
	uint64_t random = 42;
	unsigned partial = 0;

	for (unsigned round = 0; round < 250; round++)
		partial += random_round(place, round, &random, names);
	assert_in_range(partial, 50, 250);
	collect(place->store, false, false);
	for (unsigned i = 0; i < KEPT; i++) {
		AUTO_FREE char *name = xasprintf("data@%s", names[i]);
		(void)check(place->store, name, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cost_follows_what_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_enters_and_what_does_not, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hard_links_in_several_directories, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_sparse_and_empty_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_head_is_computed_and_not_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_background_does_one_after_the_other, setup, teardown),
		cmocka_unit_test_setup_teardown(test_snapshot_may_be_destroyed_while_it_is_computed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_digests_of_the_destroyed_are_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_tree_in_another_store, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_digest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_partial_equals_full_over_random_changes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
