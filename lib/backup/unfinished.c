#include "lib/backup/unfinished.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/repository/process_json.h"
#include "lib/store/json_record.h"

#define RECORD_NAME "unfinished"

static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER; /* over reading and writing the record; nothing is locked below it but the database */

/* --- the record --- */

/* One that cannot be read holds nothing: then a backup begins anew. */
static json_t *read_record(struct store *store)
{
	json_t *all;

	return json_record_read(store, RECORD_NAME, &all) == 0 ? all : json_object();
}

static bool is_made(const json_t *entry)
{
	return json_object_get(entry, "pid") && process_json_lives(entry);
}

static void make_mark(char mark[INDEX_MARK_TEXT])
{
	uint8_t random[(INDEX_MARK_TEXT - 1) / 2];

	seal_random(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		(void)snprintf(mark + 2 * i, 3, "%02x", random[i]);
}

static json_t *entry_of_us(const char *mark)
{
	json_t *entry = json_pack("{s:s}", "mark", mark);

	process_json_set(entry, getpid());
	return entry;
}

void unfinished_begin(struct unfinished *unfinished, struct store *store, const char *repository, uint32_t dataset, enum backup_type type)
{
	const json_t *entry;
	const char *mark;
	json_t *all;

	*unfinished = (struct unfinished){0};
	(void)snprintf(unfinished->key, sizeof(unfinished->key), "%s/%u/%s", repository, dataset, backup_type_text(type));
	pthread_mutex_lock(&record_lock);
	all = read_record(store);
	entry = json_object_get(all, unfinished->key);
	mark = json_string_value(json_object_get(entry, "mark"));
	if (!is_made(entry)) {
		if (mark && strlen(mark) < INDEX_MARK_TEXT)
			(void)snprintf(unfinished->mark, sizeof(unfinished->mark), "%s", mark);
		else
			make_mark(unfinished->mark);
		json_object_set_new(all, unfinished->key, entry_of_us(unfinished->mark));
		if (json_record_write(store, RECORD_NAME, all) < 0)
			unfinished->mark[0] = '\0';
	}
	json_decref(all);
	pthread_mutex_unlock(&record_lock);
}

void unfinished_end(const struct unfinished *unfinished, struct store *store, bool done)
{
	json_t *all;

	if (!unfinished->mark[0])
		return;
	pthread_mutex_lock(&record_lock);
	all = read_record(store);
	if (done)
		json_object_del(all, unfinished->key);
	else
		json_object_set_new(all, unfinished->key, json_pack("{s:s}", "mark", unfinished->mark));
	(void)!json_record_write(store, RECORD_NAME, all);
	json_decref(all);
	pthread_mutex_unlock(&record_lock);
}

/* --- the packs --- */

struct found {
	const struct blob_index *index;
	struct object_names packs;  /* with the mark, sorted */
	struct object_names *whole; /* of these, those that are there */
	uint64_t end;               /* of the last blob of one */
};

static int add_pack(void *arg, const struct blob_id *pack)
{
	struct found *found = arg;

	array_add(&found->packs, *pack);
	return 0;
}

static int note_end(void *arg, const struct blob_place *place)
{
	struct found *found = arg;

	found->end = MAX(found->end, (uint64_t)place->blob.offset + place->blob.length);
	return 0;
}

static int look_at_pack(void *arg, const char *name, uint64_t size)
{
	struct found *found = arg;
	struct blob_id id;
	int r;

	if (!object_names_have(&found->packs, name) || blob_id_parse(name, &id) < 0)
		return 0;
	found->end = 0;
	r = blob_index_each_of(found->index, &id, note_end, found);
	if (r == 0 && size > found->end)
		array_add(found->whole, id);
	return r;
}

/* Those that some backup of the repository wrote. What came after the index was loaded cannot be read. */
static int packs_of_backups(struct repository *repository, struct object_names *ret_packs)
{
	struct repository_reader *reader = repository_reader_new(repository);
	struct snapshot_files snapshots = {0};
	int r = snapshot_files_read(repository, false, &snapshots, NULL);

	for (size_t i = 0; i < snapshots.count && r == 0; i++)
		r = backup_info_own_packs(reader, &snapshots.items[i], ret_packs, NULL);
	object_names_sort(ret_packs);
	snapshot_files_clear(&snapshots);
	repository_reader_free(reader);
	return r;
}

/* The store's record may be older than a backup with its mark: of a copy of the store, or where the end of the backup could not be kept. */
static void leave_out_backups(struct repository *repository, struct object_names *packs)
{
	struct object_names theirs = {0};
	int r = packs_of_backups(repository, &theirs);
	size_t left = 0;

	for (size_t i = 0; i < packs->count && r == 0; i++)
		if (!object_names_have_id(&theirs, &packs->items[i]))
			packs->items[left++] = packs->items[i];
	packs->count = left;
	array_clear(&theirs);
}

void unfinished_packs_of_all(struct store *store, const struct repository *repository, struct object_names *ret_packs)
{
	struct found found = {.index = repository->index};
	const size_t len = strlen(repository->id);
	const char *key;
	json_t *all, *entry;

	pthread_mutex_lock(&record_lock);
	all = read_record(store);
	pthread_mutex_unlock(&record_lock);
	json_object_foreach(all, key, entry) {
		const char *mark = json_string_value(json_object_get(entry, "mark"));

		if (mark && strncmp(key, repository->id, len) == 0 && key[len] == '/')
			(void)!blob_index_each_marked(repository->index, mark, add_pack, &found);
	}
	json_decref(all);
	object_names_sort(&found.packs);
	array_append(ret_packs, found.packs.items, found.packs.count);
	array_clear(&found.packs);
}

int unfinished_packs(const struct unfinished *unfinished, struct repository *repository, struct object_names *ret_packs, struct error *err)
{
	struct found found = {.index = repository->index, .whole = ret_packs};
	int r = unfinished->mark[0] ? blob_index_each_marked(repository->index, unfinished->mark, add_pack, &found) : 0;

	if (r == 0 && found.packs.count > 0) {
		object_names_sort(&found.packs);
		r = repository->objects->place->list(repository->objects, OBJECT_PACK, look_at_pack, &found);
		object_names_sort(ret_packs);
	}
	if (r == 0 && ret_packs->count > 0)
		leave_out_backups(repository, ret_packs);
	array_clear(&found.packs);
	return r < 0 ? error_set(err, r, "the packs of the repository cannot be listed: %s", strerror(-r)) : 0;
}
