/* For the tests of identities: a store with a dataset "data", and the definition once more, by the functions that anybody may call. */
#ifndef CORPUSFS_TESTS_IDENTITY_STORE_H
#define CORPUSFS_TESTS_IDENTITY_STORE_H

#include "lib/chunk/digest.h"
#include "lib/identity/identity.h"
#include "lib/store/digests.h"
#include "tests/unit/dataset_store.h"

#define LARGE (5U << 20)

static UNUSED int setup(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));
	struct error err;

	place_init(place);
	assert_int_equal(dataset_create(place->store, "data", 0755, 0, 0, 1, &err), 0);
	*state = place;
	return 0;
}

static UNUSED int teardown(void **state)
{
	struct place *place = *state;

	place_clear(place);
	free(place);
	return 0;
}

/* --- the definition once more, through the public functions --- */

static UNUSED void add32(struct digest *digest, uint32_t value)
{
	digest_update(digest, &value, sizeof(value)); /* tests run on little-endian machines */
}

static UNUSED void add64(struct digest *digest, uint64_t value)
{
	digest_update(digest, &value, sizeof(value));
}

static UNUSED void reference_node(struct view *view, uint64_t ino, uint8_t *out);

struct listing {
	struct view *view;
	struct digest *digest;
};

static UNUSED int reference_entry(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct listing *listing = arg;
	uint8_t node[DIGEST_LEN];

	reference_node(listing->view, ino, node);
	add32(listing->digest, (uint32_t)strlen(name));
	digest_update(listing->digest, name, strlen(name));
	digest_update(listing->digest, node, sizeof(node));
	return 0;
}

static UNUSED uint64_t zeros_end(const uint8_t *data, uint64_t size, uint64_t at)
{
	while (at < size && data[at] == 0)
		at++;
	return at;
}

static UNUSED void add_piece(struct digest *list, const uint8_t *data, uint64_t begin, uint64_t end)
{
	struct digest *digest = digest_new();
	uint8_t piece[DIGEST_LEN];

	if (begin < end) {
		digest_once(digest, data + begin, end - begin, piece);
		add64(list, begin);
		digest_update(list, piece, sizeof(piece));
	}
	digest_free(digest);
}

static UNUSED void reference_sparse(const uint8_t *data, uint64_t size, uint8_t *out)
{
	struct digest *digest = digest_new(), *list = digest_new();
	bool sparse = false;
	uint64_t begin = 0, at = 0;

	digest_update(list, "corpusfs-sparse", 16);
	while (at < size) {
		uint64_t end = zeros_end(data, size, at);
		if (end - at >= 65536) {
			add_piece(list, data, begin, at);
			sparse = true;
			begin = end;
		}
		at = end + 1;
	}
	add_piece(list, data, begin, size);
	add64(list, size);
	if (sparse)
		digest_final(list, out);
	else
		digest_once(digest, data, size, out);
	digest_free(digest);
	digest_free(list);
}

static UNUSED void reference_content(struct view *view, const struct attr *attr, uint8_t *out)
{
	AUTO_FREE uint8_t *data = xmalloc(attr->size + 1);
	struct inode *inode;

	assert_int_equal(inode_open(view, attr->ino, &inode), 0);
	assert_int_equal(inode_read(inode, 0, attr->size, data), attr->size);
	inode_close(inode);
	if (attr->size > (1U << 20)) {
		reference_sparse(data, attr->size, out);
	} else {
		struct digest *digest = digest_new();
		digest_once(digest, data, attr->size, out);
		digest_free(digest);
	}
}

static UNUSED void reference_node(struct view *view, uint64_t ino, uint8_t *out)
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

static UNUSED void take(struct store *store, const char *dataset, const char *name)
{
	struct snapshot_name target = {dataset, name};
	struct error err = {0};

	assert_int_equal(snapshot_create(store, &target, 1, NULL, 0, &err), 0);
}

/* Computed as the background does, checked against the reference. */
static UNUSED struct identity_cost check(struct store *store, const char *name, uint8_t *out)
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

static UNUSED struct identity_cost taken(struct store *store, const char *name, uint8_t *out)
{
	AUTO_FREE char *full = xasprintf("data@%s", name);

	take(store, "data", name);
	return check(store, full, out);
}

static UNUSED uint64_t at(struct view *view, const char *path)
{
	struct attr attr;

	assert_int_equal(view_resolve(view, path, &attr), 0);
	return attr.ino;
}

static UNUSED void make(struct view *view, const char *dir, const char *name, uint32_t mode, const char *target)
{
	struct create create = {.mode = mode, .target = target};
	struct attr attr;

	assert_int_equal(view_create(view, at(view, dir), name, &create, &attr, NULL), 0);
}

static UNUSED void put(struct view *view, const char *dir, const char *name, const char *text)
{
	write_file(view, at(view, dir), name, 0, text, strlen(text));
}

static UNUSED struct view *head(struct store *store, const char *dataset)
{
	struct view *view;

	assert_int_equal(store_head(store, dataset, &view), 0);
	return view;
}

/* 10 directories of 20 files: a one-chunk file, a small one, and one of several chunks among them. */
static UNUSED void fill(struct store *store)
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

#endif
