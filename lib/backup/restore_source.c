#include "lib/backup/restore_source.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/backup/first_names.h"
#include "lib/backup/restore_content.h"

#define LOST_INFO "the description of the backup is damaged: files come back without holes, and with no identity to compare"

/* A directory on the way down: its nodes, and how far we are. */
struct level {
	ARRAY(struct node) nodes;
	size_t at;
	size_t path_len; /* of the path that leads here */
};

struct restore_source {
	struct restore_source_options options;
	struct restore_reader reader;
	json_t *info; /* of a backup of ours. NULL: it is damaged, or the backup is restic's */
	bool is_ours;
	bool tells_of_info; /* it is damaged, which the next member says */
	struct entry_paths exact;
	ARRAY(struct level) levels;
	struct buf path; /* of the member */
	struct node top; /* the directory or the file that is wanted */
	char *place;     /* of `top`, where no path was given */
	bool top_given;
	struct first_names *firsts;

	struct node *node; /* of the member */
	struct holes holes;
	ARRAY(struct archive_xattr) xattrs;
	struct restore_content content;
	char problem[ERROR_TEXT_MAX];
	char *warning; /* of the member, or NULL */
};

/* -EBADMSG: it is missing or damaged; else what ails the place. */
static int damaged(struct restore_source *source, int code, const char *what)
{
	AUTO_FREE char *unread = xasprintf("%s cannot be read", what);
	const char *how = code == -ENOENT ? "is missing" : code == -EBADMSG ? "is damaged" : "cannot be read";
	struct repository *repository = source->options.repository;
	struct error why = {0};

	if (restore_content_is_damage(repository, code)) {
		(void)snprintf(source->problem, sizeof(source->problem), "%s %s in the repository", what, how);
		return -EBADMSG;
	}
	(void)objects_failed(repository->objects, code, unread, &why);
	(void)snprintf(source->problem, sizeof(source->problem), "%s", why.text);
	return code;
}

/* --- trees --- */

static int keep_node(void *arg, struct node *node)
{
	struct level *level = arg;

	array_add(&level->nodes, *node);
	*node = (struct node){0};
	return 0;
}

static void clear_level(struct level *level)
{
	for (size_t i = 0; i < level->nodes.count; i++)
		node_clear(&level->nodes.items[i]);
	array_clear(&level->nodes);
}

static int enter(struct restore_source *source, const struct blob_id *tree)
{
	struct level level = {.path_len = source->path.len};
	AUTO_BUF json = BUF_INIT;
	int r = repository_read_blob(source->reader.blobs, tree, true, &json);

	if (r == 0)
		r = tree_read((char *)json.data, json.len, keep_node, &level);
	if (r < 0) {
		clear_level(&level);
		return damaged(source, r, "the list of a directory");
	}
	array_add(&source->levels, level);
	return 0;
}

static void leave(struct restore_source *source)
{
	clear_level(array_last(&source->levels));
	source->levels.count--;
}

struct search {
	const char *name; /* NULL: the directory of a backup of ours that is not BACKUP_INFO_DIR */
	size_t len;
	struct node node;
	bool found;
};

static int match(void *arg, struct node *node)
{
	struct search *search = arg;

	if (search->name ? strlen(node->name) != search->len || memcmp(node->name, search->name, search->len) != 0
	                 : strcmp(node->name, BACKUP_INFO_DIR) == 0)
		return 0;
	search->node = *node;
	search->found = true;
	*node = (struct node){0};
	return 1;
}

/* Goes down from the top by one name. */
static int step_down(struct restore_source *source, const char *name, size_t len)
{
	struct search search = {.name = name, .len = len};
	AUTO_BUF json = BUF_INIT;
	int r = source->top.has_subtree ? repository_read_blob(source->reader.blobs, &source->top.subtree, true, &json) : -ENOTDIR;

	if (r == 0)
		r = tree_read((char *)json.data, json.len, match, &search);
	if (r < 0)
		return r == -ENOTDIR ? r : damaged(source, r, "the list of a directory");
	if (!search.found)
		return -ENOTDIR;
	node_clear(&source->top);
	source->top = search.node;
	return 0;
}

struct only {
	struct node node;
	size_t count;
};

static int keep_only(void *arg, struct node *node)
{
	struct only *only = arg;

	if (only->count++ > 0)
		return 1;
	only->node = *node;
	*node = (struct node){0};
	return 0;
}

/* The directory's only member, if it is a directory of that name: 1, or 0. */
static int only_directory(struct restore_source *source, const struct node *in, const char *name, size_t len, struct node *ret_node)
{
	struct only only = {0};
	AUTO_BUF json = BUF_INIT;
	int r = repository_read_blob(source->reader.blobs, &in->subtree, true, &json);

	if (r == 0)
		r = tree_read((char *)json.data, json.len, keep_only, &only);
	r = r < 0 ? damaged(source, r, "the list of a directory") : 0;
	if (r == 0 && only.count == 1 && S_ISDIR(only.node.mode) && only.node.has_subtree && strlen(only.node.name) == len &&
	    memcmp(only.node.name, name, len) == 0) {
		*ret_node = only.node;
		return 1;
	}
	node_clear(&only.node);
	return r;
}

/* Down the path that was backed up, if the tree is of nothing else. */
static int find_backed_up(struct restore_source *source)
{
	const struct snapshot_texts *paths = &source->options.snapshot->paths;
	const char *rest = paths->count == 1 && paths->items[0][0] == '/' ? paths->items[0] : "";
	struct node node = {.has_subtree = true, .subtree = source->top.subtree}, below;
	int r = *rest ? 1 : 0;

	while (r == 1 && *rest) {
		const size_t len = strcspn(rest, "/");

		if (len > 0) {
			r = only_directory(source, &node, rest, len, &below);
			if (r == 1) {
				node_clear(&node);
				node = below;
			}
		}
		rest += len + (rest[len] == '/');
	}
	if (r == 1 && node.name) {
		node_clear(&source->top);
		source->top = node;
		source->place = xstrdup(paths->items[0]);
		return 0;
	}
	node_clear(&node);
	return MIN(r, 0);
}

static int has_no_path(const struct restore_source *source, struct error *err)
{
	(void)error_set(err, -ENOENT, "backup %.8s has no \"%s\"", source->options.snapshot->name, source->options.path);
	if (source->is_ours)
		error_hint(err, "name it by its path in the dataset, without that of a mount; corpusfs backup mount REPOSITORY DIRECTORY shows what is there");
	else
		error_hint(err, "name it by its whole path, as restic ls %.8s shows it", source->options.snapshot->name);
	return -ENOENT;
}

static int find_top(struct restore_source *source, struct error *err)
{
	const char *rest = source->options.path;
	int r = 0;

	if (!rest)
		rest = source->options.path = "";
	else
		source->place = xstrdup("");
	source->top = (struct node){.name = xstrdup(""), .mode = S_IFDIR | 0755, .mtime = source->options.snapshot->time,
	                            .atime = source->options.snapshot->time, .has_subtree = true, .subtree = source->options.snapshot->tree};
	if (source->is_ours)
		r = step_down(source, NULL, 0);
	else if (!source->place)
		r = find_backed_up(source);
	while (r == 0 && *rest) {
		const size_t len = strcspn(rest, "/");

		if (len > 0)
			r = step_down(source, rest, len);
		rest += len + (rest[len] == '/');
	}
	if (r == -ENOTDIR)
		return has_no_path(source, err);
	return r < 0 ? error_set(err, r, "backup %.8s: %s", source->options.snapshot->name, source->problem) : 0;
}

/* The files that come next in the directory. */
static const struct node *following(void *arg, size_t number)
{
	const struct restore_source *source = arg;
	const struct level *level = source->levels.count > 0 ? &source->levels.items[source->levels.count - 1] : NULL;

	return level && number < level->nodes.count - level->at ? &level->nodes.items[level->at + number] : NULL;
}

int restore_source_new(const struct restore_source_options *options, struct restore_source **ret_source, struct error *err)
{
	struct restore_source *source = xcalloc(1, sizeof(*source));
	int r = 0;

	source->options = *options;
	source->firsts = first_names_new();
	restore_reader_init(&source->reader, options->repository, options->store, options->pool);
	source->reader.following = following;
	source->reader.following_arg = source;
	buf_reserve(&source->path, 1);
	source->path.data[0] = '\0';
	source->is_ours = snapshot_file_has_tag(options->snapshot, "corpusfs");
	if (source->is_ours)
		r = backup_info_read(source->reader.blobs, options->snapshot, &source->info, err);
	source->tells_of_info = r == -EBADMSG && options->keep_going;
	if (source->tells_of_info)
		r = 0;
	if (r == 0) {
		entry_paths_read(&source->exact, json_object_get(source->info, "exact"));
		r = find_top(source, err);
	}
	if (r < 0) {
		restore_source_free(source);
		return r;
	}
	*ret_source = source;
	return 0;
}

void restore_source_free(struct restore_source *source)
{
	if (!source)
		return;
	while (source->levels.count > 0)
		leave(source);
	array_clear(&source->levels);
	first_names_free(source->firsts);
	node_clear(&source->top);
	free(source->place);
	free(source->warning);
	entry_paths_clear(&source->exact);
	json_decref(source->info);
	array_clear(&source->xattrs);
	array_clear(&source->holes);
	buf_clear(&source->path);
	restore_reader_clear(&source->reader);
	free(source);
}

/* --- members --- */

static void set_path(struct restore_source *source, size_t len, const char *name)
{
	source->path.len = len;
	if (len > 0)
		buf_add_u8(&source->path, '/');
	buf_add(&source->path, name, strlen(name) + 1);
	source->path.len--;
}

/* The path in the dataset, which is what entries of the description are found by. */
static char *full_path(const struct restore_source *source)
{
	const char *below = source->options.path, *path = (const char *)source->path.data;
	size_t len = strlen(below);

	while (len > 0 && below[len - 1] == '/')
		len--;
	return xasprintf("%.*s%s%s", (int)len, below, len > 0 && *path ? "/" : "", path);
}

static int describe(struct restore_source *source, struct node *node, struct archive_found *found)
{
	const char *first, *other;
	int r = 0;

	free(steal_ptr(source->warning));
	first = first_names_find(source->firsts, node, (const char *)source->path.data, &other);
	if (other)
		source->warning = xasprintf("a file of its own now: the backup has another content under its other name %s", other);

	*found = (struct archive_found){
		.member = {.path = source->path.len > 0 ? (char *)source->path.data : ".", .hardlink = first, .target = node->target,
	                   .mode = node->mode, .uid = node->uid, .gid = node->gid, .rdev = node->rdev, .size = S_ISREG(node->mode) ? node->size : 0,
	                   .has_size = true, .has_mtime = true, .has_atime = true, .has_holes = source->holes.count > 0, .atime = node->atime,
	                   .mtime = node->mtime},
	};
	array_reset(&source->xattrs);
	for (size_t i = 0; i < node->xattrs.count; i++)
		array_add(&source->xattrs, (struct archive_xattr){.name = node->xattrs.items[i].name, .value = node->xattrs.items[i].value,
		                                                  .len = node->xattrs.items[i].len});
	found->warning = source->warning;
	found->xattrs = source->xattrs.items;
	found->xattr_count = source->xattrs.count;
	if ((node->mode & S_IFMT) == 0)
		found->problem = "the backup says nothing that we know of what it is";
	else if (source->options.keep_going && !source->options.only_walks && S_ISREG(node->mode) && !first)
		r = restore_content_check(&source->reader, node, &source->holes, &found->problem);
	return r < 0 ? damaged(source, r, "a part of its content") : 0;
}

/* Makes the node the member. */
static int give(struct restore_source *source, struct node *node, struct archive_found *found)
{
	AUTO_FREE char *path = full_path(source);
	const json_t *exact = entry_paths_find(&source->exact, path);
	int r;

	source->node = node;
	array_reset(&source->holes);
	source->holes.left_out = false;
	source->content = (struct restore_content){.node = node, .holes = &source->holes};
	if (exact && exact_entry_apply(exact, node, &source->holes) < 0)
		return damaged(source, -EBADMSG, "the description of the file");
	r = describe(source, node, found);
	return r < 0 ? r : 1;
}

static int give_top(struct restore_source *source, struct archive_found *found)
{
	struct node *top = &source->top;

	source->top_given = true;
	if (!S_ISDIR(top->mode))
		set_path(source, 0, top->name);
	if (S_ISDIR(top->mode) && top->has_subtree) {
		int r = enter(source, &top->subtree);

		if (r < 0)
			return r;
	}
	return give(source, top, found);
}

/* Who wrote the repository may not have meant well. */
static bool is_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int next(void *arg, struct archive_found *ret_found)
{
	struct restore_source *source = arg;
	struct level *level;
	struct node *node;
	int r = 0;

	if (source->tells_of_info) {
		source->tells_of_info = false;
		*ret_found = (struct archive_found){.member = {.path = BACKUP_INFO_DIR "/" BACKUP_INFO_FILE}, .problem = LOST_INFO};
		return 1;
	}
	if (!source->top_given)
		return give_top(source, ret_found);
	while (source->levels.count > 0 && array_last(&source->levels)->at == array_last(&source->levels)->nodes.count)
		leave(source);
	if (source->levels.count == 0)
		return 0;
	level = array_last(&source->levels);
	node = &level->nodes.items[level->at++];
	set_path(source, level->path_len, node->name);
	/* The level may move, its nodes do not. */
	if (!is_name(node->name))
		r = damaged(source, -EBADMSG, "a name in a directory");
	else if (S_ISDIR(node->mode) && node->has_subtree)
		r = enter(source, &node->subtree);
	if (r == 0)
		r = give(source, node, ret_found);
	if (r != -EBADMSG || !source->options.keep_going)
		return r;
	*ret_found = (struct archive_found){.member = {.path = (char *)source->path.data, .mode = node->mode}, .problem = source->problem};
	return 1;
}

static int data(void *arg, const void **ret_data, size_t *ret_len, uint64_t *ret_offset)
{
	struct restore_source *source = arg;
	int r = restore_content_next(&source->reader, &source->content, ret_data, ret_len, ret_offset);

	if (r == 0 && source->content.offset != source->node->size)
		return damaged(source, -EBADMSG, "its length");
	return r < 0 ? damaged(source, r, "a part of its content") : r;
}

static const char *problem(void *arg)
{
	return ((struct restore_source *)arg)->problem;
}

static uint64_t total(void *arg)
{
	const struct restore_source *source = arg;

	return source->options.total ? atomic_load(source->options.total) : 0;
}

struct archive_source restore_source_members(struct restore_source *source)
{
	return (struct archive_source){.next = next, .data = data, .problem = problem, .total = total, .is_single = true, .arg = source};
}

const struct node *restore_source_node(const struct restore_source *source)
{
	return source->node;
}

void restore_source_take(struct restore_source *source, struct node *ret_node, struct holes *ret_holes)
{
	*ret_node = *source->node;
	*ret_holes = source->holes;
	*source->node = (struct node){0};
	source->holes = (struct holes){0};
}

const char *restore_source_place(const struct restore_source *source)
{
	return source->place ? source->place : "";
}

const struct node *restore_source_top(const struct restore_source *source)
{
	return &source->top;
}

const char *restore_source_identity(const struct restore_source *source)
{
	if (*source->options.path || snapshot_file_has_tag(source->options.snapshot, "incomplete"))
		return NULL;
	return json_string_value(json_object_get(source->info, "identity"));
}

void restore_source_bytes(const struct restore_source *source, uint64_t *ret_local, uint64_t *ret_fetched)
{
	*ret_local = source->reader.local;
	*ret_fetched = source->reader.fetched;
}
