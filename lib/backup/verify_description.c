#include "lib/backup/verify_description.h"

#include <errno.h>

#include "lib/backup/backup_info.h"

#define IDENTITY_DIGITS 64

/* Whom what is wrong is told. */
struct teller {
	verify_description_fn problem;
	void *arg;
};

/* A directory whose files are looked at. */
struct looking {
	const struct verify_description *description;
	const struct teller *teller;
	const char *path; /* in the dataset */
	const char *top;  /* the dataset's directory */
	bool is_wrong;    /* something in it, or below it */
};

static void tell_file(const struct teller *teller, int code, const char *text)
{
	teller->problem(teller->arg, "/" BACKUP_INFO_DIR "/" BACKUP_INFO_FILE, code, text);
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
	const json_t *entry = entry_paths_find(&looking->description->exact, path);
	struct holes holes = {0};
	AUTO_FREE char *full = NULL;

	if (entry && exact_entry_apply(entry, node, &holes) < 0) {
		full = xasprintf("/%s%s%s", looking->top, *path ? "/" : "", path);
		looking->teller->problem(looking->teller->arg, full, -EBADMSG, "what the description says of it cannot be so");
		looking->is_wrong = true;
	}
	array_clear(&holes);
}

/* As what the directory is, and what is said of all in it. */
static struct blob_id digest_of(const struct looking *looking, const struct blob_id *tree)
{
	const struct entry_paths *exact = &looking->description->exact;
	AUTO_BUF bytes = BUF_INIT;
	size_t first, count = count_below(exact, looking->path, &first);

	buf_add(&bytes, tree->bytes, BLOB_ID_LEN);
	for (size_t i = first; i < first + count; i++) {
		AUTO_FREE char *text = json_dumps(exact->entries.items[i].entry, JSON_COMPACT | JSON_PRESERVE_ORDER);

		buf_addf(&bytes, "%s\n", text ? text : "");
	}
	return blob_id_of(bytes.data, bytes.len);
}

static int look_at_tree(struct looking *looking, const struct blob_id *tree);

static int look_at_node(void *arg, struct node *node)
{
	struct looking *looking = arg;
	AUTO_FREE char *path = path_below(looking->path, node->name);
	struct looking below = {.description = looking->description, .teller = looking->teller, .path = path, .top = looking->top};
	size_t first;
	int r = 0;

	look_at_entry(looking, path, node);
	if (node->has_subtree && entry_paths_below(&looking->description->exact, path, &first) > 0)
		r = look_at_tree(&below, &node->subtree);
	looking->is_wrong = looking->is_wrong || below.is_wrong;
	return r;
}

/* What of trees is missing or damaged was found with all others. */
static int look_at_tree(struct looking *looking, const struct blob_id *tree)
{
	const struct verify_description *description = looking->description;
	const struct blob_id digest = digest_of(looking, tree);
	AUTO_BUF json = BUF_INIT;
	int r;

	if (blob_set_has(description->seen, &digest, true))
		return 0;
	r = repository_read_blob(description->reader, tree, true, &json);
	if (r == 0)
		r = tree_read((char *)json.data, json.len, look_at_node, looking);
	if (r == 0 && !looking->is_wrong)
		(void)blob_set_put(description->seen, &digest, true);
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

static int look_at_entries(const struct verify_description *description, const struct teller *teller)
{
	struct looking looking = {.description = description, .teller = teller};
	AUTO_BUF json = BUF_INIT;
	int r;

	if (description->exact.entries.count == 0)
		return 0;
	r = repository_read_blob(description->reader, &description->snapshot->tree, true, &json);
	if (r == 0)
		r = tree_read((char *)json.data, json.len, look_at_top, &looking);
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

/* Whoever changed the snapshot file since may have taken the tags away. */
static void look_at_identity(const struct verify_description *description, const struct teller *teller)
{
	const struct snapshot_file *snapshot = description->snapshot;
	const json_t *value = json_object_get(description->info, "identity");
	const char *text = json_string_value(value), *tag = snapshot_file_tag_value(snapshot, "identity");

	if (value && !json_is_null(value) && (!text || strlen(text) != IDENTITY_DIGITS || strspn(text, "0123456789abcdef") != IDENTITY_DIGITS))
		tell_file(teller, -EBADMSG, "the identity in it is none");
	else if (text && tag && strcmp(text, tag) != 0 && !snapshot->is_rewritten)
		tell_file(teller, -EBADMSG, "it says another identity than the snapshot file");
}

int verify_description_open(struct repository_reader *reader, const struct snapshot_file *snapshot, struct blob_set *seen,
			    struct verify_description *ret_description)
{
	struct error why = {0};

	*ret_description = (struct verify_description){.reader = reader, .snapshot = snapshot, .seen = seen};
	if (!snapshot_file_has_tag(snapshot, "corpusfs"))
		return 0;
	ret_description->code = backup_info_read(reader, snapshot, &ret_description->info, &why);
	if (ret_description->code == 0)
		entry_paths_read(&ret_description->exact, json_object_get(ret_description->info, "exact"));
	switch (ret_description->code) {
	case -ENOENT:
	case -EBADMSG:
	case -EPROTONOSUPPORT: return 0;
	default: return ret_description->code;
	}
}

void verify_description_close(struct verify_description *description)
{
	entry_paths_clear(&description->exact);
	json_decref(description->info);
}

int verify_description_look(const struct verify_description *description, verify_description_fn problem, void *arg)
{
	const struct teller teller = {problem, arg};

	switch (description->code) {
	case -ENOENT: tell_file(&teller, -ENOENT, "the backup has no description, though corpusfs made it"); break;
	case -EBADMSG: tell_file(&teller, -EBADMSG, "the description is damaged"); break;
	case -EPROTONOSUPPORT: tell_file(&teller, -EPROTONOSUPPORT, "the description is of a form that this version does not know"); break;
	default: break;
	}
	if (!description->info)
		return 0;
	look_at_identity(description, &teller);
	return look_at_entries(description, &teller);
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

bool verify_description_explains(const struct verify_description *description, const struct blob_index *index, const char *path, const struct node *file)
{
	const char *below = strchr(path + 1, '/');
	const json_t *entry = below ? entry_paths_find(&description->exact, below + 1) : NULL;
	struct node scratch = {.size = file->size};
	struct holes holes = {0};
	const bool explains = entry && exact_entry_apply(entry, &scratch, &holes) == 0 && holes.left_out && has_length_with(index, file, &holes);

	node_clear(&scratch);
	array_clear(&holes);
	return explains;
}
