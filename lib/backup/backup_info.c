#include "lib/backup/backup_info.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define INFO_VERSION 1
#define FIRST_DIGITS 16 /* of the names of index files, and of lost packs: there are some thousands */

static const char *const type_texts[] = {[BACKUP_FULL] = "full", [BACKUP_DIFFERENTIAL] = "differential", [BACKUP_INCREMENTAL] = "incremental"};

const char *backup_type_text(enum backup_type type)
{
	return type_texts[type];
}

int backup_type_parse(const char *text, enum backup_type *ret_type)
{
	for (size_t i = 0; i < ARRAY_SIZE(type_texts); i++) {
		if (strcmp(text, type_texts[i]) == 0) {
			*ret_type = (enum backup_type)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* --- the file --- */

struct search {
	const char *name;
	bool found, is_dir;
	struct node node; /* what it has is owned */
};

static int match(void *arg, struct node *node)
{
	struct search *search = arg;

	if (strcmp(node->name, search->name) != 0)
		return 0;
	search->node = *node;
	*node = (struct node){0};
	search->found = true;
	return 1;
}

/* What a backup names and is not there is damage. */
static int read_blob(struct repository_reader *reader, const struct blob_id *id, bool is_tree, struct buf *ret_plain)
{
	int r = repository_read_blob(reader, id, is_tree, ret_plain);

	return r == -ENOENT ? -EBADMSG : r;
}

int backup_info_find(struct repository_reader *reader, const struct blob_id *tree, const char *name, struct node *ret_node)
{
	struct search search = {.name = name};
	AUTO_BUF json = BUF_INIT;
	int r = read_blob(reader, tree, true, &json);

	if (r == 0)
		r = tree_read((char *)json.data, json.len, match, &search);
	if (r < 0)
		return r;
	if (!search.found)
		return -ENOENT;
	*ret_node = search.node;
	return 0;
}

int backup_info_content(struct repository_reader *reader, const struct node *file, struct buf *content)
{
	AUTO_BUF plain = BUF_INIT;
	int r = 0;

	for (size_t i = 0; i < file->content.count && r == 0; i++) {
		r = read_blob(reader, &file->content.items[i], false, &plain);
		if (r == 0 && content->len + plain.len > BACKUP_INFO_MAX)
			r = -EFBIG;
		if (r == 0)
			buf_add(content, plain.data, plain.len);
	}
	return r;
}

int backup_info_read(struct repository_reader *reader, const struct snapshot_file *snapshot, json_t **ret_info, struct error *err)
{
	struct node dir = {0}, file = {0};
	AUTO_BUF content = BUF_INIT;
	json_int_t version;
	int r = snapshot_file_has_tag(snapshot, "corpusfs") ? backup_info_find(reader, &snapshot->tree, BACKUP_INFO_DIR, &dir) : -ENOENT;

	if (r == 0)
		r = dir.has_subtree ? backup_info_find(reader, &dir.subtree, BACKUP_INFO_FILE, &file) : -ENOENT;
	if (r == 0)
		r = backup_info_content(reader, &file, &content);
	if (r == 0) {
		*ret_info = json_loadb((char *)content.data, content.len, 0, NULL);
		r = *ret_info ? 0 : -EBADMSG;
	}
	if (r == 0) {
		version = json_integer_value(json_object_get(*ret_info, "version"));
		r = version > INFO_VERSION ? -EPROTONOSUPPORT : version < 1 ? -EBADMSG : 0;
		if (r < 0)
			json_decref(steal_ptr(*ret_info));
	}
	node_clear(&dir);
	node_clear(&file);
	if (r == -ENOENT)
		return error_set(err, r, "snapshot %.8s of the repository is no backup of corpusfs", snapshot->name);
	if (r == -EBADMSG)
		return error_set(err, r, "the description of backup %.8s is damaged", snapshot->name);
	if (r == -EPROTONOSUPPORT)
		return error_set(err, r, "a newer version of corpusfs made backup %.8s, and its description has another form", snapshot->name);
	return r < 0 ? error_set(err, r, "the description of backup %.8s cannot be read: %s", snapshot->name, strerror(-r)) : 0;
}

json_t *backup_info_counts(const json_t *info)
{
	json_t *counts = json_object_get(info, "counts");

	return json_is_object(counts) ? json_incref(counts) : NULL;
}

void backup_info_packs(const json_t *info, struct object_names *packs)
{
	const json_t *list = json_object_get(info, "packs"), *entry;
	size_t i;

	json_array_foreach(list, i, entry) {
		const char *text = json_string_value(entry);
		struct blob_id id;

		if (text && blob_id_parse(text, &id) == 0)
			array_add(packs, id);
	}
}

static int by_first_digits(const void *a, const void *b)
{
	return memcmp(a, b, FIRST_DIGITS / 2);
}

/* The rest is zeros. */
static bool parse_digits(const json_t *value, struct blob_id *ret_id)
{
	const char *digits = json_string_value(value);
	char text[BLOB_ID_TEXT];

	if (!digits || strlen(digits) != FIRST_DIGITS)
		return false;
	(void)snprintf(text, sizeof(text), "%s%0*d", digits, BLOB_ID_TEXT - 1 - FIRST_DIGITS, 0);
	return blob_id_parse(text, ret_id) == 0;
}

static bool have_digits(const struct object_names *names, const struct blob_id *id)
{
	return names->count > 0 && bsearch(id, names->items, names->count, sizeof(*id), by_first_digits);
}

static struct object_names read_lost(const json_t *info)
{
	const json_t *list = json_object_get(info, "lost"), *entry;
	struct object_names names = {0};
	struct blob_id id;
	size_t i;

	json_array_foreach(list, i, entry)
		if (parse_digits(entry, &id))
			array_add(&names, id);
	object_names_sort(&names);
	return names;
}

/* It relies on its own packs, and, where it relies on others, perhaps on all but those that were lost when it was made. */
static bool needs_lost(const json_t *info, const struct object_names *own, const struct object_names *lost)
{
	const bool needs_others = json_array_size(json_object_get(info, "indexes")) > 0;
	struct object_names known = read_lost(info);
	bool needs = false;

	for (size_t i = 0; i < own->count && !needs; i++)
		needs = object_names_have_id(lost, &own->items[i]);
	for (size_t i = 0; i < lost->count && needs_others && !needs; i++)
		needs = !have_digits(&known, &lost->items[i]);
	array_clear(&known);
	return needs;
}

const char *backup_info_doubt(const json_t *info, const struct repository *repository, const struct object_names *lost)
{
	const json_t *list = json_object_get(info, "indexes"), *entry;
	struct object_names packs = {0};
	const char *doubt = NULL;
	struct blob_id id;
	size_t i;

	if (!json_is_array(list))
		return "an earlier version made it, which did not note what it relies on";
	json_array_foreach(list, i, entry) {
		if (!parse_digits(entry, &id) || !have_digits(&repository->index_files, &id))
			doubt = "the index was made anew since, and may not name all of it any more";
	}
	backup_info_packs(info, &packs);
	for (i = 0; i < packs.count; i++) {
		if (!blob_index_has_pack(repository->index, &packs.items[i]))
			doubt = "packs that it wrote are in no index any more";
	}
	if (!doubt && needs_lost(info, &packs, lost))
		doubt = "packs that the index names are not there any more";
	array_clear(&packs);
	return doubt;
}

void backup_info_add_indexes(struct buf *json, const struct repository *repository, bool none)
{
	char text[BLOB_ID_TEXT];

	buf_addf(json, ",\"indexes\":[");
	for (size_t i = 0; i < repository->index_files.count && !none; i++) {
		blob_id_text(&repository->index_files.items[i], text);
		buf_addf(json, "%s\"%.*s\"", i == 0 ? "" : ",", FIRST_DIGITS, text);
	}
	buf_addf(json, "]");
}

void backup_info_add_lost(struct buf *json, const struct object_names *lost)
{
	char text[BLOB_ID_TEXT];

	for (size_t i = 0; i < lost->count; i++) {
		blob_id_text(&lost->items[i], text);
		buf_addf(json, "%s\"%.*s\"", i == 0 ? ",\"lost\":[" : ",", FIRST_DIGITS, text);
	}
	if (lost->count > 0)
		buf_addf(json, "]");
}

int backup_info_own_packs(struct repository_reader *reader, const struct snapshot_file *snapshot, struct object_names *packs, struct error *err)
{
	json_t *info = NULL;
	int r = backup_info_read(reader, snapshot, &info, err);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	backup_info_packs(info, packs);
	json_decref(info);
	return 0;
}
