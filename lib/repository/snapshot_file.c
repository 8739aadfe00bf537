#include "lib/repository/snapshot_file.h"

#include <errno.h>
#include <stdio.h>

#include <jansson.h>

#include "lib/repository/go_text.h"
#include "lib/repository/read_several.h"

static void clear_texts(struct snapshot_texts *texts)
{
	for (size_t i = 0; i < texts->count; i++)
		free(texts->items[i]);
	array_clear(texts);
}

void snapshot_file_clear(struct snapshot_file *snapshot)
{
	clear_texts(&snapshot->paths);
	clear_texts(&snapshot->tags);
	free(snapshot->host);
	free(snapshot->user);
	*snapshot = (struct snapshot_file){0};
}

void snapshot_files_clear(struct snapshot_files *snapshots)
{
	for (size_t i = 0; i < snapshots->count; i++)
		snapshot_file_clear(&snapshots->items[i]);
	array_clear(snapshots);
	array_clear(&snapshots->damaged);
}

static void read_texts(const json_t *list, struct snapshot_texts *texts)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry) {
		if (json_is_string(entry))
			array_add(texts, xstrdup(json_string_value(entry)));
	}
}

static char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return xstrdup(text ? text : "");
}

/* All numbers are read as reals, so that those of others may have any size. */
static uint32_t id_of(const json_t *object, const char *key)
{
	const double number = json_number_value(json_object_get(object, key));

	return number >= 0 && number <= UINT32_MAX ? (uint32_t)number : 0;
}

static int parse(const json_t *object, struct snapshot_file *snapshot)
{
	const char *time = json_string_value(json_object_get(object, "time")), *tree = json_string_value(json_object_get(object, "tree"));
	const char *parent = json_string_value(json_object_get(object, "parent"));

	snapshot->host = text_of(object, "hostname");
	snapshot->user = text_of(object, "username");
	snapshot->uid = id_of(object, "uid");
	snapshot->gid = id_of(object, "gid");
	read_texts(json_object_get(object, "paths"), &snapshot->paths);
	read_texts(json_object_get(object, "tags"), &snapshot->tags);
	snapshot->is_rewritten = json_is_string(json_object_get(object, "original"));
	snapshot->has_parent = parent && blob_id_parse(parent, &snapshot->parent) == 0;
	if (!time || !tree || go_time_parse(time, &snapshot->time) < 0 || blob_id_parse(tree, &snapshot->tree) < 0)
		return -EBADMSG;
	return 0;
}

int snapshot_file_read(struct repository *repository, const char *name, struct snapshot_file *ret_snapshot, struct error *err)
{
	AUTO_BUF json = BUF_INIT;
	json_t *object;
	int r = repository_get_file(repository, OBJECT_SNAPSHOT, name, &json, err);

	if (r < 0)
		return r;
	*ret_snapshot = (struct snapshot_file){0};
	(void)snprintf(ret_snapshot->name, sizeof(ret_snapshot->name), "%s", name);
	object = json_loadb((char *)json.data, json.len, JSON_DECODE_INT_AS_REAL, NULL);
	r = parse(object, ret_snapshot);
	json_decref(object);
	if (r == 0)
		return 0;
	snapshot_file_clear(ret_snapshot);
	return error_set(err, r, "snapshot file %.8s of the repository is damaged", name);
}

static void add_texts(struct buf *json, const char *key, const struct snapshot_texts *texts)
{
	buf_addf(json, ",\"%s\":[", key);
	for (size_t i = 0; i < texts->count; i++) {
		if (i > 0)
			buf_add_u8(json, ',');
		go_json_string(json, texts->items[i]);
	}
	buf_add_u8(json, ']');
}

int snapshot_file_write(struct repository *repository, const struct snapshot_file *snapshot, char *ret_name, struct error *err)
{
	AUTO_BUF json = BUF_INIT;
	char time[GO_TIME_TEXT], id[BLOB_ID_TEXT];

	go_time_text(snapshot->time, time);
	buf_addf(&json, "{\"time\":\"%s\"", time);
	if (snapshot->has_parent) {
		blob_id_text(&snapshot->parent, id);
		buf_addf(&json, ",\"parent\":\"%s\"", id);
	}
	blob_id_text(&snapshot->tree, id);
	buf_addf(&json, ",\"tree\":\"%s\"", id);
	add_texts(&json, "paths", &snapshot->paths);
	buf_addf(&json, ",\"hostname\":");
	go_json_string(&json, snapshot->host ? snapshot->host : "");
	buf_addf(&json, ",\"username\":");
	go_json_string(&json, snapshot->user ? snapshot->user : "");
	buf_addf(&json, ",\"uid\":%u,\"gid\":%u", snapshot->uid, snapshot->gid);
	if (snapshot->tags.count > 0)
		add_texts(&json, "tags", &snapshot->tags);
	buf_addf(&json, "}");
	return repository_put_file(repository, OBJECT_SNAPSHOT, &json, ret_name, err);
}

static int by_time(const void *a, const void *b)
{
	const struct snapshot_file *one = a, *other = b;

	if (one->time.tv_sec != other->time.tv_sec)
		return one->time.tv_sec < other->time.tv_sec ? -1 : 1;
	if (one->time.tv_nsec != other->time.tv_nsec)
		return one->time.tv_nsec < other->time.tv_nsec ? -1 : 1;
	return strcmp(one->name, other->name);
}

struct reading {
	struct repository *repository;
	bool lenient;
	struct snapshot_files *snapshots;
	struct snapshot_file files[READ_SEVERAL];
	struct blob_id damaged[READ_SEVERAL];
};

static int read_one(void *arg, size_t slot, const char *name, struct error *err)
{
	struct reading *reading = arg;
	int r = snapshot_file_read(reading->repository, name, &reading->files[slot], err);

	if (r == -EBADMSG && blob_id_parse(name, &reading->damaged[slot]) == 0 && err)
		error_hint(err, "corpusfs backup forget REPOSITORY %.8s removes it: its backup is lost, and the others stay", name);
	return r;
}

static int take_one(void *arg, size_t slot, int result, bool is_over)
{
	struct reading *reading = arg;

	(void)is_over;
	if (result == 0)
		array_add(reading->snapshots, reading->files[slot]);
	if (result != -EBADMSG || !reading->lenient)
		return result == -ENOENT ? 0 : result;
	array_add(&reading->snapshots->damaged, reading->damaged[slot]);
	return 0;
}

int snapshot_files_read(struct repository *repository, bool lenient, struct snapshot_files *ret_snapshots, struct error *err)
{
	struct object_names names = {0};
	struct reading *reading = xcalloc(1, sizeof(*reading));
	int r = repository_list(repository, OBJECT_SNAPSHOT, &names, err);

	reading->repository = repository;
	reading->lenient = lenient;
	reading->snapshots = ret_snapshots;
	if (r == 0)
		r = read_several(&names, &(struct read_several){read_one, take_one, reading, 0}, err);
	free(reading);
	array_clear(&names);
	object_names_sort(&ret_snapshots->damaged);
	if (r < 0)
		snapshot_files_clear(ret_snapshots);
	else if (ret_snapshots->count > 0)
		qsort(ret_snapshots->items, ret_snapshots->count, sizeof(*ret_snapshots->items), by_time);
	return r;
}

bool snapshot_file_has_tag(const struct snapshot_file *snapshot, const char *tag)
{
	for (size_t i = 0; i < snapshot->tags.count; i++)
		if (strcmp(snapshot->tags.items[i], tag) == 0)
			return true;
	return false;
}

const char *snapshot_file_tag_value(const struct snapshot_file *snapshot, const char *key)
{
	const size_t len = strlen(key);

	for (size_t i = 0; i < snapshot->tags.count; i++)
		if (strncmp(snapshot->tags.items[i], key, len) == 0 && snapshot->tags.items[i][len] == '=')
			return snapshot->tags.items[i] + len + 1;
	return NULL;
}
