#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/identity_store.h"

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

static void resize(struct view *view, const char *path, uint64_t size)
{
	struct setattr change = {.mask = SET_SIZE, .size = size};
	struct attr attr;

	assert_int_equal(view_setattr(view, at(view, path), &change, &attr), 0);
}

/* As long as files may be: what is computed follows what is in them. */
static void test_files_of_nothing_but_holes(void **state)
{
	struct place *place = *state;
	struct view *view = head(place->store, "data");
	uint8_t identity[IDENTITY_LEN], again[IDENTITY_LEN], sha256[IDENTITY_LEN];
	struct identity_cost cost;

	put(view, "", "small", "x");
	put(view, "", "ends", "begin");
	make(view, "", "empty", S_IFREG | 0644, NULL);
	assert_int_equal(view_sync(view), 0);
	resize(view, "small", 1ULL << 62);
	resize(view, "empty", 1ULL << 62);
	write_file(view, ROOT_INO, "ends", (1ULL << 62) - 3, "end", 3);
	take(place->store, "data", "v1");
	store_view_put(place->store, view);

	assert_int_equal(store_snapshot(place->store, "data", "v1", &view), 0);
	assert_int_equal(identity_measure(place->store, view, false, identity, &cost), 0);
	assert_int_equal(cost.nodes, 3);
	assert_int_equal(identity_measure(place->store, view, true, again, &cost), 0);
	assert_memory_equal(identity, again, IDENTITY_LEN);
	assert_int_equal(identity_file(place->store, view, at(view, "ends"), NULL, NULL, sha256), -EFBIG);
	assert_int_equal(identity_file(place->store, view, at(view, "small"), NULL, NULL, sha256), -EFBIG);
	store_view_put(place->store, view);
}

/* A hole and zeros that were written are the same content; the SHA-256 that people ask for is of every byte. */
static void test_zeros_are_zeros(void **state)
{
	struct place *place = *state;
	struct view *view = head(place->store, "data");
	AUTO_FREE uint8_t *data = xcalloc(1, 3U << 20);
	uint8_t hole[IDENTITY_LEN], zeros[IDENTITY_LEN], reference[IDENTITY_LEN];
	struct digest *digest = digest_new();

	memcpy(data + (2U << 20), "text", 4);
	write_file(view, ROOT_INO, "file", 2U << 20, "text", 4);
	resize(view, "file", 3U << 20);
	(void)taken(place->store, "hole", hole);
	write_file(view, ROOT_INO, "file", 0, data, 3U << 20);
	(void)taken(place->store, "zeros", zeros);
	assert_memory_equal(hole, zeros, IDENTITY_LEN);
	store_view_put(place->store, view);

	digest_once(digest, data, 3U << 20, reference);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(store_snapshot(place->store, "data", i ? "zeros" : "hole", &view), 0);
		assert_int_equal(identity_file(place->store, view, at(view, "file"), NULL, NULL, hole), 0);
		assert_memory_equal(hole, reference, IDENTITY_LEN);
		assert_int_equal(identity_file(place->store, view, at(view, "file"), NULL, NULL, hole), 0);
		assert_memory_equal(hole, reference, IDENTITY_LEN);
		store_view_put(place->store, view);
	}
	digest_free(digest);
}

static bool at_once(void *arg)
{
	return true;
}

/* What takes long asks whether to go on. */
static void test_hashing_can_be_cancelled(void **state)
{
	struct place *place = *state;
	struct view *view = head(place->store, "data");
	uint8_t sha256[IDENTITY_LEN];

	put(view, "", "holes", "x");
	assert_int_equal(view_sync(view), 0);
	resize(view, "holes", 200ULL << 30);
	assert_int_equal(identity_file(place->store, view, at(view, "holes"), at_once, NULL, sha256), -ECANCELED);
	store_view_put(place->store, view);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_enters_and_what_does_not, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hard_links_in_several_directories, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_sparse_and_empty_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files_of_nothing_but_holes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_zeros_are_zeros, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hashing_can_be_cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_head_is_computed_and_not_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_tree_in_another_store, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_digest, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
