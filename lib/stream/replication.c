#include "lib/stream/replication.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/json_record.h"
#include "lib/store/snapshots.h"
#include "lib/store/unknown.h"

#define RECORD_NAME "replication"
#define ID_TEXT 16

/* Held while the record is read, changed and written. */
static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER;

/* A damaged record is as none: the next snapshot that is sent makes it anew. */
static json_t *read_record(struct store *store)
{
	json_t *all;

	return json_record_read(store, RECORD_NAME, &all) == 0 ? all : json_object();
}

int replication_note(struct store *store, const char *dataset, const char *snapshot, const char *to, struct error *err)
{
	struct snapshot_info info = {0};
	json_t *all, *shown = json_string(to); /* NULL: it is not UTF-8 */
	char id[ID_TEXT];
	int r = snapshot_get(store, dataset, snapshot, &info);

	if (r < 0) {
		json_decref(shown);
		return unknown_or_failed(store, dataset, snapshot, r, err);
	}
	(void)snprintf(id, sizeof(id), "%u", info.dataset_id);
	pthread_mutex_lock(&record_lock);
	all = read_record(store);
	json_object_set_new(all, id, json_pack("{s:o, s:s, s:I, s:I}", "to", json_is_string(shown) ? shown : json_string("?"), "snapshot", info.name,
	                                       "number", (json_int_t)info.number, "sent", (json_int_t)clock_now().tv_sec));
	r = json_record_write(store, RECORD_NAME, all);
	json_decref(all);
	pthread_mutex_unlock(&record_lock);
	snapshot_info_clear(&info);
	return r < 0 ? error_set(err, r, "how far %s was replicated could not be noted: %s", dataset, error_text(r)) : 0;
}

struct counting {
	uint64_t number;
	json_int_t behind;
	int64_t oldest; /* when the first of these was taken */
};

static int count_one(void *arg, const struct snapshot_info *info)
{
	struct counting *counting = arg;

	if (info->number > counting->number && counting->behind++ == 0)
		counting->oldest = info->taken.tv_sec;
	return 0;
}

json_t *replication_status(struct store *store, const struct dataset_info *info)
{
	struct counting counting = {0};
	char id[ID_TEXT];
	json_t *all = read_record(store), *entry;

	(void)snprintf(id, sizeof(id), "%u", info->id);
	entry = json_deep_copy(json_object_get(all, id));
	json_decref(all);
	if (!entry)
		return NULL;
	counting.number = (uint64_t)json_integer_value(json_object_get(entry, "number"));
	json_object_del(entry, "number");
	if (snapshot_list(store, info->name, count_one, &counting) == 0) {
		json_object_set_new(entry, "behind", json_integer(counting.behind));
		json_object_set_new(entry, "lag", json_integer(counting.behind ? MAX(clock_now().tv_sec - counting.oldest, 0) : 0));
	}
	return entry;
}
