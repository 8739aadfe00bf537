#include "lib/backup/verify_description.h"

#include <errno.h>

#include "lib/backup/backup_info.h"

#define IDENTITY_DIGITS 64

/* A directory whose files are looked at. */
struct looking {
	struct verify_description *verify;
	const struct entry_paths *entries;
	const char *path; /* in the dataset */
	const char *top;  /* the dataset's directory */
	bool is_wrong;    /* something in it, or below it */
};

static void tell_file(struct verify_description *verify, int code, const char *text)
{
	verify->problem(verify->arg, "/" BACKUP_INFO_DIR "/" BACKUP_INFO_FILE, code, text);
}

/* How many entries are below the directory, and the first of them. */
static size_t count_below(const struct entry_paths *entries, const char *path, size_t *ret_first)
{
	*ret_first = 0;
	return *path ? entry_paths_below(entries, path, ret_first) : entries->entries.count;
}

static char *path_below(const char *path, const char *name)
{
	return *path ? xasprintf("%s/%s", path, name) : xstrdup(name);
}

/* What is said of it is applied to a copy of no use: the node is the reader's. */
static void look_at_entry(struct looking *looking, const char *path, struct node *node)
{
	const json_t *entry = entry_paths_find(looking->entries, path);
	struct holes holes = {0};
	AUTO_FREE char *full = NULL;

	if (entry && exact_entry_apply(entry, node, &holes) < 0) {
		full = xasprintf("/%s%s%s", looking->top, *path ? "/" : "", path);
		looking->verify->problem(looking->verify->arg, full, -EBADMSG, "what the description says of it cannot be so");
		looking->is_wrong = true;
	}
	array_clear(&holes);
}

/* As what the directory is, and what is said of all in it. */
static struct blob_id digest_of(const struct looking *looking, const struct blob_id *tree)
{
	AUTO_BUF bytes = BUF_INIT;
	size_t first, count = count_below(looking->entries, looking->path, &first);

	buf_add(&bytes, tree->bytes, BLOB_ID_LEN);
	for (size_t i = first; i < first + count; i++) {
		AUTO_FREE char *text = json_dumps(looking->entries->entries.items[i].entry, JSON_COMPACT | JSON_PRESERVE_ORDER);

		buf_addf(&bytes, "%s\n", text ? text : "");
	}
	return blob_id_of(bytes.data, bytes.len);
}

static int look_at_tree(struct looking *looking, const struct blob_id *tree);

static int look_at_node(void *arg, struct node *node)
{
	struct looking *looking = arg;
	AUTO_FREE char *path = path_below(looking->path, node->name);
	struct looking below = {.verify = looking->verify, .entries = looking->entries, .path = path, .top = looking->top};
	size_t first;
	int r = 0;

	look_at_entry(looking, path, node);
	if (node->has_subtree && entry_paths_below(looking->entries, path, &first) > 0)
		r = look_at_tree(&below, &node->subtree);
	looking->is_wrong = looking->is_wrong || below.is_wrong;
	return r;
}

/* What of trees is missing or damaged was found with all others. */
static int look_at_tree(struct looking *looking, const struct blob_id *tree)
{
	const struct blob_id digest = digest_of(looking, tree);
	AUTO_BUF json = BUF_INIT;
	int r;

	if (blob_set_has(&looking->verify->seen, &digest, true))
		return 0;
	r = repository_read_blob(looking->verify->reader, tree, true, &json);
	if (r == 0)
		r = tree_read((char *)json.data, json.len, look_at_node, looking);
	if (r == 0 && !looking->is_wrong)
		(void)blob_set_put(&looking->verify->seen, &digest, true);
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

/* The dataset's directory stands beside that of the description. */
static int look_at_top(void *arg, struct node *node)
{
	struct looking *looking = arg;

	if (!node->has_subtree || strcmp(node->name, BACKUP_INFO_DIR) == 0)
		return 0;
	looking->top = node->name;
	looking->path = "";
	look_at_entry(looking, "", node);
	return look_at_tree(looking, &node->subtree);
}

static int look_at_entries(struct verify_description *verify, const struct snapshot_file *snapshot, const json_t *list)
{
	struct looking looking = {.verify = verify};
	struct entry_paths entries;
	AUTO_BUF json = BUF_INIT;
	int r;

	entry_paths_read(&entries, list);
	looking.entries = &entries;
	r = entries.entries.count > 0 ? repository_read_blob(verify->reader, &snapshot->tree, true, &json) : -ENOENT;
	if (r == 0)
		r = tree_read((char *)json.data, json.len, look_at_top, &looking);
	entry_paths_clear(&entries);
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

/* Whoever changed the snapshot file since may have taken the tags away. */
static void look_at_identity(struct verify_description *verify, const struct snapshot_file *snapshot, const json_t *info)
{
	const json_t *value = json_object_get(info, "identity");
	const char *text = json_string_value(value), *tag = snapshot_file_tag_value(snapshot, "identity");

	if (value && !json_is_null(value) && (!text || strlen(text) != IDENTITY_DIGITS || strspn(text, "0123456789abcdef") != IDENTITY_DIGITS))
		tell_file(verify, -EBADMSG, "the identity in it is none");
	else if (text && tag && strcmp(text, tag) != 0 && !snapshot->is_rewritten)
		tell_file(verify, -EBADMSG, "it says another identity than the snapshot file");
}

int verify_description_of(struct verify_description *verify, const struct snapshot_file *snapshot)
{
	struct error why = {0};
	json_t *info = NULL;
	int r = snapshot_file_has_tag(snapshot, "corpusfs") ? backup_info_read(verify->reader, snapshot, &info, &why) : 0;

	if (r == -ENOENT)
		tell_file(verify, r, "the backup has no description, though corpusfs made it");
	else if (r == -EBADMSG)
		tell_file(verify, r, "the description is damaged");
	else if (r == -EPROTONOSUPPORT)
		tell_file(verify, r, "the description is of a form that this version does not know");
	if (!info)
		return r == -ENOENT || r == -EBADMSG || r == -EPROTONOSUPPORT ? 0 : r;
	look_at_identity(verify, snapshot, info);
	r = look_at_entries(verify, snapshot, json_object_get(info, "exact"));
	json_decref(info);
	return r;
}

static bool has_length_with(const struct blob_index *index, const struct node *file, const struct holes *holes)
{
	uint64_t size = 0;

	for (size_t i = 0; i < holes->count; i++)
		size += holes->items[i].length;
	for (size_t i = 0; i < file->content.count; i++) {
		struct blob_place place;

		if (!blob_index_find(index, &file->content.items[i], false, 0, &place))
			return false;
		size += pack_blob_plain(&place.blob);
	}
	return size == file->size;
}

bool verify_description_explains(struct repository_reader *reader, const struct blob_index *index, const struct snapshot_file *snapshot, const char *path,
				 const struct node *file)
{
	const char *below = strchr(path + 1, '/');
	struct node scratch = {.size = file->size};
	struct holes holes = {0};
	struct entry_paths entries;
	const json_t *entry;
	json_t *info = NULL;
	bool explains;

	if (!below || backup_info_read(reader, snapshot, &info, NULL) < 0)
		return false;
	entry_paths_read(&entries, json_object_get(info, "exact"));
	entry = entry_paths_find(&entries, below + 1);
	explains = entry && exact_entry_apply(entry, &scratch, &holes) == 0 && holes.left_out && has_length_with(index, file, &holes);
	entry_paths_clear(&entries);
	json_decref(info);
	node_clear(&scratch);
	array_clear(&holes);
	return explains;
}
