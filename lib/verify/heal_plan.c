#include "lib/verify/heal_plan.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lib/backup/backup_schedule.h"
#include "lib/chunk/chunks.h"
#include "lib/store/json_record.h"

#define RECORD_NAME "healing"
#define REMOTES_MAX 16
#define NOT_ENDED "a try that was begun has not ended"

static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER; /* over reading and writing the record; nothing is locked below it but the database */

/* Since when the youngest damage is known for which nothing stands; false: there is none. */
static bool newest_damage(struct store *store, int64_t *ret_found)
{
	AUTO_FREE struct chunk_damage *list = NULL;
	size_t count;
	bool any = false;

	if (!chunks_any_damage(store_chunks(store)))
		return false;
	count = chunks_list_damage(store_chunks(store), &list);
	for (size_t i = 0; i < count; i++) {
		if (list[i].replacement != CHUNK_NONE)
			continue;
		*ret_found = any ? MAX(*ret_found, list[i].found) : list[i].found;
		any = true;
	}
	return any;
}

/* --- places --- */

struct places {
	heal_place_fn each;
	void *arg;
	json_t *seen;
};

static int give_place(struct places *places, const char *repository, const char *password_file)
{
	if (json_object_get(places->seen, repository))
		return 0;
	json_object_set_new(places->seen, repository, json_true());
	return places->each(places->arg, repository, password_file);
}

static int give_scheduled(void *arg, const struct dataset_info *dataset, const json_t *entry)
{
	const char *repository = json_string_value(json_object_get(entry, "repository"));

	(void)dataset;
	return repository ? give_place(arg, repository, json_string_value(json_object_get(entry, "password_file"))) : 0;
}

int heal_plan_places(struct store *store, heal_place_fn each, void *arg)
{
	struct places places = {each, arg, json_object()};
	json_t *record = NULL, *name;
	size_t i;
	int r = backup_schedule_each(store, give_scheduled, &places);

	if (r == 0)
		r = json_record_read(store, RECORD_NAME, &record);
	json_array_foreach (json_object_get(record, "published"), i, name)
		if (r == 0 && json_is_string(name))
			r = give_place(&places, json_string_value(name), NULL);
	json_decref(record);
	json_decref(places.seen);
	return r;
}

/* "NAME:", the caller's; NULL: no remote is called so. */
static char *name_of(const char *remote)
{
	const size_t len = strcspn(remote, ":/");

	return len > 0 && (!remote[len] || strcmp(remote + len, ":") == 0) ? xasprintf("%.*s:", (int)len, remote) : NULL;
}

/* False: it stands there already. */
static bool put_first(json_t *record, const char *name)
{
	json_t *old = json_object_get(record, "published"), *next = json_array(), *one;
	size_t i;

	if (json_is_string(json_array_get(old, 0)) && strcmp(json_string_value(json_array_get(old, 0)), name) == 0) {
		json_decref(next);
		return false;
	}
	json_array_append_new(next, json_string(name));
	json_array_foreach (old, i, one)
		if (json_is_string(one) && strcmp(json_string_value(one), name) != 0 && json_array_size(next) < REMOTES_MAX)
			json_array_append(next, one);
	json_object_set_new(record, "published", next);
	return true;
}

/* What could not be noted is noted the next time: it is published all the same. */
void heal_plan_published(struct store *store, const char *remote)
{
	AUTO_FREE char *name = name_of(remote);
	json_t *record = NULL;

	if (!name || store_read_only(store))
		return;
	pthread_mutex_lock(&record_lock);
	if (json_record_read(store, RECORD_NAME, &record) == 0 && put_first(record, name))
		(void)!json_record_write(store, RECORD_NAME, record);
	pthread_mutex_unlock(&record_lock);
	json_decref(record);
}

/* --- the clock --- */

static int stop_at_first(void *arg, const char *repository, const char *password_file)
{
	(void)arg;
	(void)repository;
	(void)password_file;
	return 1;
}

/* A clock that was set back makes it due. */
static bool is_due(const json_t *record, int64_t found, int64_t now)
{
	const int64_t tried = (int64_t)json_integer_value(json_object_get(record, "tried"));
	const int64_t failures = MIN(MAX((int64_t)json_integer_value(json_object_get(record, "failures")), 1), HEAL_DOUBLED);
	const bool has_failed = json_is_string(json_object_get(record, "failure"));
	const int64_t pause = has_failed ? MIN((int64_t)HEAL_RETRY << (failures - 1), HEAL_AGAIN) : HEAL_AGAIN;

	return found > (int64_t)json_integer_value(json_object_get(record, "known")) || tried > now || now - tried >= pause;
}

bool heal_plan_due(struct store *store, int64_t now)
{
	json_t *record;
	int64_t found;
	bool due;

	if (store_read_only(store) || !newest_damage(store, &found) || json_record_read(store, RECORD_NAME, &record) < 0)
		return false;
	due = is_due(record, found, now);
	json_decref(record);
	return due && heal_plan_places(store, stop_at_first, NULL) == 1;
}

/* --- how it went --- */

static void note_begin(struct store *store, json_t *record, int64_t now)
{
	int64_t found = 0;

	(void)newest_damage(store, &found);
	json_object_set_new(record, "known", json_integer((json_int_t)found));
	json_object_set_new(record, "tried", json_integer((json_int_t)now));
}

static void note_in(json_t *record, const struct heal_note *note, int64_t now)
{
	const char *failure = note->begins ? NOT_ENDED : note->failure;
	json_int_t failures = json_integer_value(json_object_get(record, "failures"));

	/* the one that begins is counted as one that does not end */
	failures = note->begins ? failures + 1 : note->interrupted ? failures - 1 : note->failure ? failures : 0;
	json_object_set_new(record, "failures", json_integer(MIN(MAX(failures, 0), HEAL_DOUBLED)));
	if (note->interrupted)
		json_object_del(record, "known");
	json_object_set_new(record, "failure", failure && !note->interrupted ? json_string(failure) : json_null());
	if (note->chunks > 0)
		json_object_set_new(record, "last", json_pack("{s:I, s:I, s:I, s:s}", "time", (json_int_t)now, "chunks", (json_int_t)note->chunks, "bytes",
							      (json_int_t)note->bytes, "from", note->from ? note->from : ""));
}

int heal_plan_note(struct store *store, const struct heal_note *note, int64_t now, struct error *err)
{
	json_t *record = NULL;
	int r;

	pthread_mutex_lock(&record_lock);
	r = json_record_read(store, RECORD_NAME, &record);
	if (r == 0) {
		if (note->begins)
			note_begin(store, record, now);
		note_in(record, note, now);
		r = json_record_write(store, RECORD_NAME, record);
	}
	pthread_mutex_unlock(&record_lock);
	json_decref(record);
	return r < 0 ? error_set(err, r, "how healing went cannot be noted: %s", error_text(r)) : 0;
}

json_t *heal_plan_status(struct store *store)
{
	json_t *record, *status = json_object();
	int64_t found;

	if (json_record_read(store, RECORD_NAME, &record) < 0)
		return status;
	if (json_object_get(record, "tried"))
		json_object_set(status, "tried", json_object_get(record, "tried"));
	if (json_object_get(record, "last"))
		json_object_set(status, "last", json_object_get(record, "last"));
	if (json_is_string(json_object_get(record, "failure")) && newest_damage(store, &found))
		json_object_set(status, "failure", json_object_get(record, "failure"));
	json_decref(record);
	return status;
}
