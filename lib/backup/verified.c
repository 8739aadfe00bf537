#include "lib/backup/verified.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lib/store/json_record.h"

#define RECORD_NAME "verified"
/* Beside STORE/NUMBER, which has a slash: */
#define DRILL "drill"
#define NOTED "noted"

static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER; /* over reading and writing the record; nothing is locked below it but the database */

static int failed(int code, struct error *err)
{
	return error_set(err, code, "the record of what was verified%s", code == -EBADMSG ? " is damaged" : " cannot be read or written");
}

static void note_taken(json_t *known, const struct verified_note *note)
{
	const char *of;
	json_t *taken;

	json_object_foreach((json_t *)note->taken, of, taken)
		if (note->has_newest || json_number_value(taken) > json_number_value(json_object_get(known, of)))
			json_object_set(known, of, taken);
}

static void note_drill(json_t *known, const struct verified_note *note)
{
	json_t *drill = json_object_get(known, DRILL);

	if (!drill) {
		drill = json_object();
		json_object_set_new(known, DRILL, drill);
	}
	json_object_set_new(drill, "tried", json_integer((json_int_t)note->now));
	json_object_set_new(drill, "failure", note->failure ? json_string(note->failure) : json_null());
	if (note->failure)
		return;
	json_object_set_new(drill, "time", json_integer((json_int_t)note->now));
	json_object_set_new(drill, "seconds", json_real(note->seconds));
}

/* That which was noted longest ago. */
static void drop_one(json_t *all)
{
	const char *repository, *oldest = NULL;
	json_int_t noted, least = 0;
	json_t *known;

	json_object_foreach(all, repository, known) {
		noted = json_integer_value(json_object_get(known, NOTED));
		if (!oldest || noted < least) {
			oldest = repository;
			least = noted;
		}
	}
	json_object_del(all, oldest);
}

static json_t *take(json_t *all, const struct verified_note *note)
{
	json_t *known = json_object_get(all, note->repository);

	if (!known) {
		while (json_object_size(all) >= VERIFIED_REPOSITORIES)
			drop_one(all);
		known = json_object();
		json_object_set_new(all, note->repository, known);
	}
	json_object_set_new(known, NOTED, json_integer((json_int_t)note->now));
	return known;
}

int verified_note(struct store *store, const struct verified_note *note, struct error *err)
{
	json_t *all, *known;
	int r;

	pthread_mutex_lock(&record_lock);
	r = json_record_read(store, RECORD_NAME, &all);
	if (r == 0) {
		known = take(all, note);
		if (!note->failure)
			note_taken(known, note);
		if (note->is_drill)
			note_drill(known, note);
		r = json_record_write(store, RECORD_NAME, all);
		json_decref(all);
	}
	pthread_mutex_unlock(&record_lock);
	return r < 0 ? failed(r, err) : 0;
}

static int read_record(struct store *store, json_t **ret_all, struct error *err)
{
	int r;

	pthread_mutex_lock(&record_lock);
	r = json_record_read(store, RECORD_NAME, ret_all);
	pthread_mutex_unlock(&record_lock);
	return r < 0 ? failed(r, err) : 0;
}

int verified_get(struct store *store, const char *repository, const char *of, double *ret_taken, struct error *err)
{
	json_t *all;
	int r = read_record(store, &all, err);

	if (r < 0)
		return r;
	*ret_taken = json_number_value(json_object_get(json_object_get(all, repository), of));
	json_decref(all);
	return 0;
}

int verified_drills(struct store *store, json_t **ret_drills, struct error *err)
{
	json_t *all, *known, *drills;
	const char *repository;
	int r = read_record(store, &all, err);

	if (r < 0)
		return r;
	drills = json_object();
	json_object_foreach(all, repository, known)
		if (json_object_get(known, DRILL))
			json_object_set(drills, repository, json_object_get(known, DRILL));
	json_decref(all);
	*ret_drills = drills;
	return 0;
}

int verified_forget_drills(struct store *store, const char *repository, struct error *err)
{
	json_t *all;
	int r;

	pthread_mutex_lock(&record_lock);
	r = json_record_read(store, RECORD_NAME, &all);
	if (r == 0) {
		r = json_object_del(json_object_get(all, repository), DRILL) == 0 ? json_record_write(store, RECORD_NAME, all) : -ENOENT;
		json_decref(all);
	}
	pthread_mutex_unlock(&record_lock);
	if (r == -ENOENT)
		return error_set(err, r, "of drills of %s nothing is known", repository);
	return r < 0 ? failed(r, err) : 0;
}
