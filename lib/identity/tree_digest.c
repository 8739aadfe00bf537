#include "lib/identity/tree_digest.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <uthash.h>

#include "lib/base/array.h"
#include "lib/identity/content_digest.h"
#include "lib/identity/node_bytes.h"

/* A directory on the way down. */
struct level {
	size_t path_len; /* of the path that leads here */
	struct digest *digest;
};

/* A file that has further names. Paths may be as long as the tree is deep: only their digests are kept. */
struct known {
	uint8_t path[DIGEST_LEN]; /* of its first one */
	uint8_t node[NODE_LEN];
	UT_hash_handle hh;
};

struct tree_digest {
	ARRAY(struct level) levels;
	struct buf path;       /* of the last level; those of the others are its beginnings */
	struct digest *digest; /* of a node or a piece of content; empty between */
	struct known *known;
	/* The file whose content comes. It is in the last level. */
	bool in_file, has_others;
	char *name; /* owned */
	uint8_t file_path[DIGEST_LEN]; /* where it has others */
	uint32_t mode;
	struct content_digest content;
	bool is_done;
	uint8_t root[NODE_LEN];
};

struct tree_digest *tree_digest_new(void)
{
	struct tree_digest *tree = xcalloc(1, sizeof(*tree));

	tree->digest = digest_new();
	return tree;
}

static void drop_level(struct tree_digest *tree)
{
	digest_free(array_last(&tree->levels)->digest);
	tree->levels.count--;
}

void tree_digest_free(struct tree_digest *tree)
{
	struct known *known, *next;

	if (!tree)
		return;
	while (tree->levels.count > 0)
		drop_level(tree);
	array_clear(&tree->levels);
	HASH_ITER (hh, tree->known, known, next) {
		HASH_DEL(tree->known, known);
		free(known);
	}
	content_digest_clear(&tree->content);
	digest_free(tree->digest);
	buf_clear(&tree->path);
	free(tree->name);
	free(tree);
}

/* --- names --- */

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* In the last level. */
static bool is_here(const struct tree_digest *tree, const char *path)
{
	const size_t len = tree->path.len;

	if (len == 0)
		return *path && !strchr(path, '/');
	return strlen(path) > len && memcmp(path, tree->path.data, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/');
}

static void add_entry(struct tree_digest *tree, const char *name, const uint8_t node[NODE_LEN])
{
	node_add_entry(array_last(&tree->levels)->digest, name, strlen(name), node);
}

static void digest_path(struct tree_digest *tree, const char *path, uint8_t ret_path[DIGEST_LEN])
{
	digest_once(tree->digest, path, strlen(path), ret_path);
}

static void keep_known(struct tree_digest *tree, const uint8_t path[DIGEST_LEN], const uint8_t node[NODE_LEN])
{
	struct known *known = xcalloc(1, sizeof(*known));

	memcpy(known->path, path, DIGEST_LEN);
	memcpy(known->node, node, NODE_LEN);
	HASH_ADD(hh, tree->known, path, DIGEST_LEN, known);
}

/* --- what is complete --- */

static void end_file(struct tree_digest *tree)
{
	uint8_t content[DIGEST_LEN], node[NODE_LEN];
	const uint64_t size = tree->content.size;
	bool is_sparse;

	if (!tree->in_file)
		return;
	content_digest_final(&tree->content, content, &is_sparse);
	node_add_regular(tree->digest, tree->mode, size, content);
	digest_final(tree->digest, node);
	add_entry(tree, tree->name, node);
	if (tree->has_others)
		keep_known(tree, tree->file_path, node);
	free(tree->name);
	tree->name = NULL;
	tree->in_file = false;
}

static void end_level(struct tree_digest *tree)
{
	uint8_t node[NODE_LEN];

	digest_final(array_last(&tree->levels)->digest, node);
	drop_level(tree);
	if (tree->levels.count > 0) {
		buf_add_u8(&tree->path, 0);
		add_entry(tree, name_of((char *)tree->path.data), node);
		tree->path.len = array_last(&tree->levels)->path_len;
	} else {
		memcpy(tree->root, node, NODE_LEN);
		tree->is_done = true;
	}
}

/* --- members --- */

static void begin_level(struct tree_digest *tree, const struct tree_member *member)
{
	const struct level level = {.path_len = strlen(member->path), .digest = digest_new()};

	node_begin_directory(level.digest, member->mode);
	array_add(&tree->levels, level);
	buf_add(&tree->path, member->path + tree->path.len, level.path_len - tree->path.len);
}

static void begin_file(struct tree_digest *tree, const struct tree_member *member)
{
	tree->in_file = true;
	tree->has_others = member->has_others;
	tree->name = xstrdup(name_of(member->path));
	tree->mode = member->mode;
	if (member->has_others)
		digest_path(tree, member->path, tree->file_path);
	content_digest_begin(&tree->content, tree->digest, member->size);
}

static void add_other(struct tree_digest *tree, const struct tree_member *member)
{
	uint8_t node[NODE_LEN], path[DIGEST_LEN];

	if (S_ISLNK(member->mode))
		node_add_symlink(tree->digest, member->target, strlen(member->target));
	else
		node_add_special(tree->digest, member->mode, member->rdev);
	digest_final(tree->digest, node);
	add_entry(tree, name_of(member->path), node);
	if (!member->has_others)
		return;
	digest_path(tree, member->path, path);
	keep_known(tree, path, node);
}

static int add_further_name(struct tree_digest *tree, const struct tree_member *member)
{
	uint8_t first[DIGEST_LEN];
	const struct known *known;

	digest_path(tree, member->first, first);
	HASH_FIND(hh, tree->known, first, DIGEST_LEN, known);
	if (!known)
		return -EBADMSG;
	add_entry(tree, name_of(member->path), known->node);
	return 0;
}

int tree_digest_member(struct tree_digest *tree, const struct tree_member *member)
{
	const bool is_root = !*member->path;

	end_file(tree);
	while (!is_root && tree->levels.count > 0 && !is_here(tree, member->path))
		end_level(tree);
	if (tree->is_done || is_root != (tree->levels.count == 0) || (is_root && !S_ISDIR(member->mode)))
		return -EBADMSG;
	if (member->first)
		return add_further_name(tree, member);
	if (S_ISDIR(member->mode))
		begin_level(tree, member);
	else if (S_ISREG(member->mode))
		begin_file(tree, member);
	else
		add_other(tree, member);
	return 0;
}

void tree_digest_data(struct tree_digest *tree, const void *data, size_t len)
{
	if (tree->in_file)
		content_digest_data(&tree->content, data, len);
}

void tree_digest_zeros(struct tree_digest *tree, uint64_t len)
{
	if (tree->in_file)
		content_digest_zeros(&tree->content, len);
}

int tree_digest_final(struct tree_digest *tree, uint8_t ret_identity[IDENTITY_LEN])
{
	end_file(tree);
	while (tree->levels.count > 0)
		end_level(tree);
	if (!tree->is_done)
		return -EBADMSG;
	memcpy(ret_identity, tree->root, IDENTITY_LEN);
	return 0;
}
