#include "lib/identity/tree_parts.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include <uthash.h>
#include <utlist.h>

#include "lib/identity/node_bytes.h"

/* A directory that is not complete: the walk is in it or below, or something in it is not known. */
struct dir {
	struct dir *up, *next;   /* next: of all of them, in no order */
	struct dir *prev;
	struct tree_part *self;  /* in `up`; NULL: the root */
	struct digest *digest;   /* of the entries before `entries` */
	struct tree_part *entries; /* from the first one on whose node is not known, in their order */
	size_t path_len;         /* of its path, with which the walk's begins */
	bool is_left;            /* by the walk */
};

/* An entry of a directory. */
struct tree_part {
	struct dir *dir;
	struct tree_part *next, *prev;
	bool is_known;
	uint32_t mode;
	uint64_t size;
	uint8_t node[NODE_LEN];
	bool has_others;
	uint8_t path[DIGEST_LEN]; /* where it has others */
	char name[];
};

/* A file that has further names. Paths may be as long as the tree is deep: only their digests are kept. */
struct known {
	uint8_t path[DIGEST_LEN]; /* of its first one */
	uint8_t node[NODE_LEN];
	UT_hash_handle hh;
};

struct tree_parts {
	/* Of the walk: */
	struct dir *current; /* NULL before the root, and after it */
	struct buf path;     /* of the current one; those of the others on the way are its beginnings */
	pthread_mutex_t lock; /* guards what follows, and all directories and entries */
	struct dir *dirs;
	struct digest *digest; /* of a node; empty between */
	struct known *known;
	bool is_done;
	uint8_t root[NODE_LEN];
};

struct tree_parts *tree_parts_new(void)
{
	struct tree_parts *parts = xcalloc(1, sizeof(*parts));

	pthread_mutex_init(&parts->lock, NULL);
	parts->digest = digest_new();
	return parts;
}

static void drop_dir(struct tree_parts *parts, struct dir *dir)
{
	struct tree_part *part, *next;

	DL_FOREACH_SAFE (dir->entries, part, next)
		free(part);
	DL_DELETE(parts->dirs, dir);
	digest_free(dir->digest);
	free(dir);
}

void tree_parts_free(struct tree_parts *parts)
{
	struct known *known, *next;

	if (!parts)
		return;
	while (parts->dirs)
		drop_dir(parts, parts->dirs);
	HASH_ITER (hh, parts->known, known, next) {
		HASH_DEL(parts->known, known);
		free(known);
	}
	digest_free(parts->digest);
	buf_clear(&parts->path);
	pthread_mutex_destroy(&parts->lock);
	free(parts);
}

/* --- what is known; all under the lock --- */

/* Entries go into their directory's digest in their order. Whoever completes a directory makes its node known in turn. */
static void add_known_entries(struct tree_parts *parts, struct dir *dir)
{
	while (dir) {
		struct dir *up = dir->up;
		struct tree_part *part;

		while ((part = dir->entries) && part->is_known) {
			node_add_entry(dir->digest, part->name, strlen(part->name), part->node);
			DL_DELETE(dir->entries, part);
			free(part);
		}
		if (part || !dir->is_left)
			return;
		digest_final(dir->digest, up ? dir->self->node : parts->root);
		if (up)
			dir->self->is_known = true;
		else
			parts->is_done = true;
		drop_dir(parts, dir);
		dir = up;
	}
}

static struct tree_part *add_entry(struct tree_parts *parts, const char *name)
{
	const size_t size = strlen(name) + 1;
	struct tree_part *part = xcalloc(1, sizeof(*part) + size);

	memcpy(part->name, name, size);
	part->dir = parts->current;
	DL_APPEND(part->dir->entries, part);
	return part;
}

static void keep_known(struct tree_parts *parts, const struct tree_part *part)
{
	struct known *known = xcalloc(1, sizeof(*known));

	memcpy(known->path, part->path, DIGEST_LEN);
	memcpy(known->node, part->node, NODE_LEN);
	HASH_ADD(hh, parts->known, path, DIGEST_LEN, known);
}

/* The bytes of its node are in the digest. */
static void end_node(struct tree_parts *parts, struct tree_part *part)
{
	digest_final(parts->digest, part->node);
	part->is_known = true;
	if (part->has_others)
		keep_known(parts, part);
	add_known_entries(parts, part->dir);
}

static void digest_path(struct tree_parts *parts, const char *path, uint8_t ret_path[DIGEST_LEN])
{
	digest_once(parts->digest, path, strlen(path), ret_path);
}

/* --- members --- */

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* In the current directory. */
static bool is_here(const struct tree_parts *parts, const char *path)
{
	const size_t len = parts->path.len;

	if (len == 0)
		return *path && !strchr(path, '/');
	return strlen(path) > len && memcmp(path, parts->path.data, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/');
}

static void leave(struct tree_parts *parts)
{
	struct dir *dir = parts->current;

	parts->current = dir->up;
	if (parts->current)
		parts->path.len = parts->current->path_len;
	dir->is_left = true;
	add_known_entries(parts, dir);
}

static void enter(struct tree_parts *parts, const struct tree_member *member)
{
	struct dir *dir = xcalloc(1, sizeof(*dir));

	dir->path_len = strlen(member->path);
	dir->digest = digest_new();
	dir->up = parts->current;
	if (dir->up)
		dir->self = add_entry(parts, name_of(member->path));
	DL_APPEND(parts->dirs, dir);
	node_begin_directory(dir->digest, member->mode);
	buf_add(&parts->path, member->path + parts->path.len, dir->path_len - parts->path.len);
	parts->current = dir;
}

static int add_further_name(struct tree_parts *parts, const struct tree_member *member)
{
	struct tree_part *part;
	uint8_t first[DIGEST_LEN];
	const struct known *known;

	digest_path(parts, member->first, first);
	HASH_FIND(hh, parts->known, first, DIGEST_LEN, known);
	if (!known)
		return -EBADMSG;
	part = add_entry(parts, name_of(member->path));
	memcpy(part->node, known->node, NODE_LEN);
	part->is_known = true;
	add_known_entries(parts, part->dir);
	return 0;
}

/* A file; *ret_part: if its content is to come. */
static void add_file(struct tree_parts *parts, const struct tree_member *member, struct tree_part **ret_part)
{
	struct tree_part *part = add_entry(parts, name_of(member->path));

	part->mode = member->mode;
	part->size = member->size;
	part->has_others = member->has_others;
	if (part->has_others)
		digest_path(parts, member->path, part->path);
	if (S_ISREG(member->mode)) {
		*ret_part = part;
		return;
	}
	if (S_ISLNK(member->mode))
		node_add_symlink(parts->digest, member->target, strlen(member->target));
	else
		node_add_special(parts->digest, member->mode, member->rdev);
	end_node(parts, part);
}

static int add_member(struct tree_parts *parts, const struct tree_member *member, struct tree_part **ret_part)
{
	const bool is_root = !*member->path;

	while (!is_root && parts->current && !is_here(parts, member->path))
		leave(parts);
	if (parts->is_done || is_root != (parts->dirs == NULL) || (!is_root && !parts->current) || (is_root && !S_ISDIR(member->mode)))
		return -EBADMSG;
	if (member->first)
		return add_further_name(parts, member);
	if (S_ISDIR(member->mode))
		enter(parts, member);
	else
		add_file(parts, member, ret_part);
	return 0;
}

int tree_parts_member(struct tree_parts *parts, const struct tree_member *member, struct tree_part **ret_part)
{
	int r;

	*ret_part = NULL;
	pthread_mutex_lock(&parts->lock);
	r = add_member(parts, member, ret_part);
	pthread_mutex_unlock(&parts->lock);
	return r;
}

void tree_parts_content(struct tree_parts *parts, struct tree_part *part, const uint8_t content[IDENTITY_LEN])
{
	pthread_mutex_lock(&parts->lock);
	node_add_regular(parts->digest, part->mode, part->size, content);
	end_node(parts, part);
	pthread_mutex_unlock(&parts->lock);
}

int tree_parts_final(struct tree_parts *parts, uint8_t ret_identity[IDENTITY_LEN])
{
	int r;

	pthread_mutex_lock(&parts->lock);
	while (parts->current)
		leave(parts);
	r = parts->is_done ? 0 : -EBADMSG;
	if (r == 0)
		memcpy(ret_identity, parts->root, IDENTITY_LEN);
	pthread_mutex_unlock(&parts->lock);
	return r;
}
