#include "lib/stream/replication.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/array.h"
#include "lib/base/clock.h"
#include "lib/store/json_record.h"
#include "lib/store/snapshots.h"
#include "lib/store/unknown.h"

#define RECORD_NAME "replication"
#define HOLDS_NAME "replication-holds"
#define ENDING_NAME "replication-ending" /* {dataset: true} */
#define UNREADABLE "?" /* a command that is not UTF-8 */
#define ID_TEXT 16

/* Held while a record is read, changed and written. */
static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER;

/* A damaged record is as none: the next snapshot that is sent makes it anew. */
static json_t *read_record(struct store *store, const char *name)
{
	json_t *all;

	return json_record_read(store, name, &all) == 0 ? all : json_object();
}

/* --- holds --- */

/*
 * {dataset: {whom: [numbers of snapshots]}}: what the replica there has and, while a newer one is on its way, that one.
 * It is written before a snapshot is held, and looked at after those that are held: so who ends holds that stand nowhere ends none that
 * somebody has just made.
 */
static int note_held(struct store *store, const struct snapshot_info *info, const char *whom, bool is_there)
{
	json_t *all, *replicas, *numbers;
	char id[ID_TEXT];
	int r;

	(void)snprintf(id, sizeof(id), "%u", info->dataset_id);
	pthread_mutex_lock(&record_lock);
	all = read_record(store, HOLDS_NAME);
	replicas = json_object_get(all, id);
	if (!json_is_object(replicas)) {
		replicas = json_object();
		json_object_set_new(all, id, replicas);
	}
	numbers = json_object_get(replicas, whom);
	if (is_there || !json_is_array(numbers)) {
		numbers = json_array();
		json_object_set_new(replicas, whom, numbers);
	}
	json_array_append_new(numbers, json_integer((json_int_t)info->number));
	r = json_record_write(store, HOLDS_NAME, all);
	json_decref(all);
	pthread_mutex_unlock(&record_lock);
	return r;
}

static int hold(struct store *store, const struct snapshot_info *info, struct error *err)
{
	struct error inner = {0};
	int r = snapshot_hold(store, info->dataset, info->name, REPLICATION_TAG, &inner);

	if (r < 0 && r != -EEXIST && err)
		*err = inner;
	return r == -EEXIST ? 0 : r;
}

struct held {
	char name[NAME_LEN_MAX + 1];
	uint64_t number;
};

struct held_list {
	ARRAY_FIELDS(struct held);
};

static int add_held(void *arg, const struct snapshot_info *info)
{
	for (size_t i = 0; i < info->hold_count; i++) {
		if (strcmp(info->holds[i], REPLICATION_TAG) != 0)
			continue;
		struct held *held = array_new((struct held_list *)arg);

		(void)snprintf(held->name, sizeof(held->name), "%s", info->name);
		held->number = info->number;
	}
	return 0;
}

static bool is_noted(const json_t *replicas, uint64_t number)
{
	const char *whom;
	json_t *numbers;

	json_object_foreach((json_t *)replicas, whom, numbers)
		for (size_t i = 0; i < json_array_size(numbers); i++)
			if ((uint64_t)json_integer_value(json_array_get(numbers, i)) == number)
				return true;
	return false;
}

/* What no replica stands at any more is let go. What fails is tried again with the next snapshot. */
static void release_others(struct store *store, const struct snapshot_info *info)
{
	AUTO_ARRAY struct held_list list = {0};
	char id[ID_TEXT];
	int ignored = snapshot_list(store, info->dataset, add_held, &list);
	json_t *all = read_record(store, HOLDS_NAME);

	(void)snprintf(id, sizeof(id), "%u", info->dataset_id);
	for (size_t i = 0; i < list.count; i++)
		if (!is_noted(json_object_get(all, id), list.items[i].number))
			ignored = snapshot_release(store, info->dataset, list.items[i].name, REPLICATION_TAG, NULL);
	(void)ignored;
	json_decref(all);
}

static int keep(struct store *store, const struct snapshot_info *info, const char *whom, bool is_there, struct error *err)
{
	json_t *text = json_string(whom);
	int r = note_held(store, info, text ? whom : UNREADABLE, is_there);

	json_decref(text);
	if (r < 0)
		return error_set(err, r, "what is held for the replica of %s could not be noted: %s", info->dataset, error_text(r));
	return hold(store, info, err);
}

/* --- how far it is --- */

static int note_position(struct store *store, const struct snapshot_info *info, const char *to)
{
	json_t *all, *shown = json_string(to); /* NULL: it is not UTF-8 */
	char id[ID_TEXT];
	int r;

	(void)snprintf(id, sizeof(id), "%u", info->dataset_id);
	pthread_mutex_lock(&record_lock);
	all = read_record(store, RECORD_NAME);
	json_object_set_new(all, id, json_pack("{s:o, s:s, s:I, s:I}", "to", shown ? shown : json_string(UNREADABLE), "snapshot", info->name,
	                                       "number", (json_int_t)info->number, "sent", (json_int_t)clock_now().tv_sec));
	r = json_record_write(store, RECORD_NAME, all);
	json_decref(all);
	pthread_mutex_unlock(&record_lock);
	return r;
}

int replication_begin(struct store *store, const char *dataset, const char *snapshot, const char *whom, struct error *err)
{
	struct snapshot_info info = {0};
	int r = snapshot_get(store, dataset, snapshot, &info);

	if (r < 0)
		return unknown_or_failed(store, dataset, snapshot, r, err);
	r = keep(store, &info, whom, false, err);
	snapshot_info_clear(&info);
	return r;
}

int replication_note(struct store *store, const char *dataset, const char *snapshot, const char *whom, const char *to, struct error *err)
{
	struct snapshot_info info = {0};
	int r = snapshot_get(store, dataset, snapshot, &info);

	if (r < 0)
		return unknown_or_failed(store, dataset, snapshot, r, err);
	r = keep(store, &info, whom, true, err);
	if (r == 0) {
		r = note_position(store, &info, to);
		if (r < 0)
			error_set(err, r, "how far %s was replicated could not be noted: %s", dataset, error_text(r));
		release_others(store, &info);
	}
	snapshot_info_clear(&info);
	return r;
}

static void drop_from(struct store *store, const char *name, const char *id)
{
	json_t *all = read_record(store, name);

	if (json_object_del(all, id) == 0)
		(void)!json_record_write(store, name, all);
	json_decref(all);
}

int replication_end_begin(struct store *store, const struct dataset_info *info, struct error *err)
{
	json_t *all;
	char id[ID_TEXT];
	int r;

	(void)snprintf(id, sizeof(id), "%u", info->id);
	pthread_mutex_lock(&record_lock);
	all = read_record(store, ENDING_NAME);
	json_object_set_new(all, id, json_true());
	r = json_record_write(store, ENDING_NAME, all);
	json_decref(all);
	pthread_mutex_unlock(&record_lock);
	return r < 0 ? error_set(err, r, "the end of the replication of %s could not be noted: %s", info->name, error_text(r)) : 0;
}

bool replication_is_ending(struct store *store, const struct dataset_info *info)
{
	json_t *all = read_record(store, ENDING_NAME);
	char id[ID_TEXT];

	(void)snprintf(id, sizeof(id), "%u", info->id);
	const bool is_ending = json_is_true(json_object_get(all, id));
	json_decref(all);
	return is_ending;
}

void replication_end(struct store *store, const struct dataset_info *info)
{
	struct snapshot_info dataset = {.dataset_id = info->id};
	char id[ID_TEXT];

	(void)snprintf(id, sizeof(id), "%u", info->id);
	(void)snprintf(dataset.dataset, sizeof(dataset.dataset), "%s", info->name);
	pthread_mutex_lock(&record_lock);
	drop_from(store, RECORD_NAME, id);
	drop_from(store, HOLDS_NAME, id);
	pthread_mutex_unlock(&record_lock);
	release_others(store, &dataset);
	pthread_mutex_lock(&record_lock);
	drop_from(store, ENDING_NAME, id);
	pthread_mutex_unlock(&record_lock);
}

struct counting {
	uint64_t number; /* of what was sent last */
	bool is_left;    /* by a rollback: then the replica is to get something else */
	json_int_t behind;
	int64_t oldest; /* when the first of these was taken */
};

static int count_one(void *arg, const struct snapshot_info *info)
{
	struct counting *counting = arg;

	if (info->number == counting->number)
		counting->is_left = !info->is_ancestor;
	/* What a rollback left is not sent. */
	if (info->number > counting->number && info->is_ancestor && counting->behind++ == 0)
		counting->oldest = info->taken.tv_sec;
	return 0;
}

json_t *replication_status(struct store *store, const struct dataset_info *info)
{
	struct counting counting = {0};
	char id[ID_TEXT];
	json_t *all = read_record(store, RECORD_NAME), *entry;

	(void)snprintf(id, sizeof(id), "%u", info->id);
	entry = json_deep_copy(json_object_get(all, id));
	json_decref(all);
	if (!entry)
		return NULL;
	counting.number = (uint64_t)json_integer_value(json_object_get(entry, "number"));
	json_object_del(entry, "number");
	if (snapshot_list(store, info->name, count_one, &counting) == 0) {
		if (counting.is_left && counting.behind == 0) {
			counting.behind = 1;
			counting.oldest = json_integer_value(json_object_get(entry, "sent"));
		}
		json_object_set_new(entry, "behind", json_integer(counting.behind));
		json_object_set_new(entry, "lag", json_integer(counting.behind ? MAX(clock_now().tv_sec - counting.oldest, 0) : 0));
	}
	return entry;
}
