#include "lib/backup/backup_schedule.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/backup/backup.h"
#include "lib/backup/verified.h"
#include "lib/base/clock.h"
#include "lib/repository/process_json.h"
#include "lib/store/json_record.h"
#include "lib/store/schedule.h"
#include "lib/store/unknown.h"

#define RECORD_NAME "backups"
#define ID_TEXT 16

static const char *const kinds[BACKUP_KINDS] = {"full", "differential", "incremental", "drill", "verify"};
static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER; /* over reading and writing the record; nothing is locked below it but the database */

const char *backup_kind_text(enum backup_kind kind)
{
	return kinds[kind];
}

int backup_kind_parse(const char *text, enum backup_kind *ret_kind)
{
	for (size_t i = 0; i < BACKUP_KINDS; i++)
		if (strcmp(text, kinds[i]) == 0) {
			*ret_kind = (enum backup_kind)i;
			return 0;
		}
	return -EINVAL;
}

/* --- the record --- */

static int failed(int code, struct error *err)
{
	return error_set(err, code, code == -EBADMSG ? "the record of scheduled backups is damaged" : "the record of scheduled backups: %s", strerror(-code));
}

static void id_text(uint32_t id, char text[ID_TEXT])
{
	(void)snprintf(text, ID_TEXT, "%u", id);
}

int backup_schedule_get(struct store *store, const char *dataset, json_t **ret_entry, struct error *err)
{
	struct dataset_info info;
	char id[ID_TEXT];
	json_t *all;
	int r = dataset_get(store, dataset, &info);

	if (r < 0)
		return unknown_or_failed(store, dataset, NULL, r, err);
	r = json_record_read(store, RECORD_NAME, &all);
	if (r < 0)
		return failed(r, err);
	id_text(info.id, id);
	*ret_entry = json_incref(json_object_get(all, id));
	json_decref(all);
	return 0;
}

static bool period_parse(const char *text, enum schedule_period *ret_period)
{
	for (size_t i = 0; text && i < SCHEDULE_PERIODS; i++)
		if (strcmp(text, schedule_period_name((enum schedule_period)i)) == 0) {
			*ret_period = (enum schedule_period)i;
			return true;
		}
	return false;
}

/* An absolute path, or "NAME:" of a remote. */
static bool is_place(const char *repository)
{
	const size_t len = strlen(repository);

	return repository[0] == '/' || (len > 1 && strcspn(repository, ":/") == len - 1 && repository[len - 1] == ':');
}

static int check_entry(const json_t *entry, struct error *err)
{
	const json_t *every = json_object_get(entry, "every");
	const char *repository = json_string_value(json_object_get(entry, "repository"));
	enum backup_kind kind;
	bool backs_up = false;
	enum schedule_period period;
	const char *name;
	json_t *text;

	if (!repository || !is_place(repository))
		return error_set(err, -EINVAL, "a schedule of backups needs a repository: an absolute path, or NAME: of a remote");
	if (repository[0] == '/' && !json_is_string(json_object_get(entry, "password_file")))
		return error_set(err, -EINVAL, "a schedule of backups needs a password file, by its absolute path");
	json_object_foreach((json_t *)every, name, text) {
		if (backup_kind_parse(name, &kind) < 0 || kind == BACKUP_KIND_VERIFY || !period_parse(json_string_value(text), &period))
			return error_set(err, -EINVAL, "--%s is hourly, daily, weekly or monthly", name);
		backs_up |= kind != BACKUP_KIND_DRILL;
	}
	return backs_up ? 0 : error_set(err, -EINVAL, "say which backups are to be made: --full, --differential or --incremental");
}

static bool is_same_place(const json_t *old, const json_t *entry)
{
	return json_equal(json_object_get(old, "repository"), json_object_get(entry, "repository"));
}

/* A kind that is planned as it was has been planned since then. */
static void set_since(json_t *entry, const json_t *old)
{
	const json_t *every = json_object_get(entry, "every"), *was = json_object_get(old, "every"), *then = json_object_get(old, "since");
	const bool same_place = is_same_place(old, entry);
	json_t *since = json_object(), *period;
	const char *kind;

	json_object_foreach((json_t *)every, kind, period) {
		if (same_place && json_equal(json_object_get(was, kind), period) && json_object_get(then, kind))
			json_object_set(since, kind, json_object_get(then, kind));
		else
			json_object_set_new(since, kind, json_integer((json_int_t)clock_now().tv_sec));
	}
	json_object_set_new(entry, "since", since);
}

/* Of a kind that was done twice, the later time counts. */
static void add_done(json_t *entry, const json_t *old)
{
	const json_t *found = json_object_get(entry, "done"), *done;
	json_t *all = old ? json_deep_copy(old) : json_object(), *known;
	const char *kind;

	json_object_foreach((json_t *)found, kind, done) {
		json_t *time = json_object_get(done, "time");

		known = json_object_get(all, kind);
		if (!known)
			json_object_set(all, kind, (json_t *)done);
		else if (json_integer_value(time) > json_integer_value(json_object_get(known, "time")))
			json_object_set(known, "time", time);
	}
	json_object_set_new(entry, "done", all);
}

int backup_schedule_set(struct store *store, const char *dataset, const json_t *entry, struct error *err)
{
	struct dataset_info info;
	char id[ID_TEXT];
	json_t *all, *old, *next;
	int r = dataset_get(store, dataset, &info);

	if (r < 0)
		return unknown_or_failed(store, dataset, NULL, r, err);
	if (entry && (r = check_entry(entry, err)) < 0)
		return r;
	id_text(info.id, id);
	pthread_mutex_lock(&record_lock);
	r = json_record_read(store, RECORD_NAME, &all);
	if (r == 0) {
		old = json_object_get(all, id);
		next = entry ? json_deep_copy(entry) : NULL;
		if (next) {
			add_done(next, is_same_place(old, next) ? json_object_get(old, "done") : NULL);
			set_since(next, old);
			json_object_set_new(all, id, next);
		} else {
			json_object_del(all, id);
		}
		r = json_record_write(store, RECORD_NAME, all);
		json_decref(all);
	}
	pthread_mutex_unlock(&record_lock);
	return r < 0 ? failed(r, err) : 0;
}

int backup_schedule_each(struct store *store, backup_schedule_fn each, void *arg)
{
	const char *id;
	json_t *all, *entry;
	int r = json_record_read(store, RECORD_NAME, &all);

	if (r < 0)
		return r;
	json_object_foreach(all, id, entry) {
		struct dataset_info info;

		if (r == 0 && dataset_get_by_id(store, (uint32_t)strtoul(id, NULL, 10), &info) == 0)
			r = each(arg, &info, entry);
	}
	json_decref(all);
	return r;
}

/* --- the clock --- */

static const json_t *done_of(const json_t *entry, enum backup_kind kind)
{
	return json_object_get(json_object_get(entry, "done"), kinds[kind]);
}

static int64_t seconds_of(const json_t *done, const char *key)
{
	return (int64_t)json_integer_value(json_object_get(done, key));
}

/* When one that counts for this kind went well for the last time; 0: never. */
static int64_t last_of(const json_t *entry, enum backup_kind kind)
{
	const enum backup_kind first = kind >= BACKUP_KIND_DRILL ? kind : BACKUP_KIND_FULL;
	int64_t last = 0;

	for (enum backup_kind i = first; i <= kind; i++)
		last = MAX(last, seconds_of(done_of(entry, i), "time"));
	return last;
}

static bool period_of(const json_t *entry, enum backup_kind kind, enum schedule_period *ret_period)
{
	return period_parse(json_string_value(json_object_get(json_object_get(entry, "every"), kinds[kind])), ret_period);
}

static bool just_failed(const json_t *done, int64_t now)
{
	const int64_t tried = seconds_of(done, "tried");

	return json_is_string(json_object_get(done, "failure")) && tried <= now && now - tried < BACKUP_RETRY;
}

enum backup_kind backup_schedule_made_for(const json_t *entry, enum backup_kind kind)
{
	return kind < BACKUP_KIND_DRILL && seconds_of(done_of(entry, BACKUP_KIND_FULL), "time") == 0 ? BACKUP_KIND_FULL : kind;
}

bool backup_schedule_due(const json_t *entry, int64_t now, enum backup_kind *ret_kind)
{
	const bool has_full = seconds_of(done_of(entry, BACKUP_KIND_FULL), "time") > 0;

	for (enum backup_kind kind = 0; kind < BACKUP_KINDS; kind++) {
		const enum backup_kind what = backup_schedule_made_for(entry, kind);
		const int64_t last = last_of(entry, kind);
		enum schedule_period period;

		if (!period_of(entry, kind, &period) || (kind == BACKUP_KIND_DRILL && !has_full) || just_failed(done_of(entry, what), now))
			continue;
		if (last == 0 || schedule_slot(period, last) != schedule_slot(period, now)) {
			*ret_kind = what;
			return true;
		}
	}
	return false;
}

bool backup_schedule_late(const json_t *entry, enum backup_kind kind, int64_t now)
{
	/* What was never done is late, too. Entries that older programs made do not say since when it is planned. */
	const int64_t last = MAX(last_of(entry, kind), seconds_of(json_object_get(entry, "since"), kinds[kind]));
	enum schedule_period period;

	if (json_is_string(json_object_get(done_of(entry, backup_schedule_made_for(entry, kind)), "failure")))
		return true;
	return period_of(entry, kind, &period) && last > 0 && now - last > schedule_seconds(period) + schedule_seconds(period) / 2;
}

/* --- what was begun --- */

enum backup_state backup_schedule_state(const json_t *entry, enum backup_kind kind, int64_t *ret_begun)
{
	const json_t *begun = json_object_get(done_of(entry, kind), "begun");
	const int64_t time = seconds_of(begun, "time");

	if (!begun || last_of(entry, kind) > time)
		return BACKUP_IDLE;
	*ret_begun = time;
	return process_json_lives(begun) ? BACKUP_RUNNING : BACKUP_INTERRUPTED;
}

static json_t *begun_of(const struct backup_note *note)
{
	json_t *begun = json_pack("{s:I}", "time", (json_int_t)note->now);

	process_json_set(begun, note->begins);
	return begun;
}

/* --- what was done --- */

static void note_in(json_t *entry, const struct backup_note *note)
{
	json_t *done = json_object_get(entry, "done"), *kind;

	if (!done) {
		done = json_object();
		json_object_set_new(entry, "done", done);
	}
	kind = json_object_get(done, kinds[note->kind]);
	if (!kind) {
		kind = json_object();
		json_object_set_new(done, kinds[note->kind], kind);
	}
	if (note->begins) {
		json_object_set_new(kind, "begun", begun_of(note));
		return;
	}
	json_object_del(kind, "begun");
	json_object_set_new(kind, "tried", json_integer((json_int_t)note->now));
	json_object_set_new(kind, "failure", note->failure ? json_string(note->failure) : json_null());
	if (!note->failure) {
		json_object_set_new(kind, "time", json_integer((json_int_t)note->now));
		json_object_set_new(kind, "seconds", json_real(note->seconds));
	}
}

static bool is_meant(const struct backup_note *note, const json_t *entry, const char *dataset, const char *of)
{
	const char *repository = json_string_value(json_object_get(entry, "repository"));

	if (!repository || (note->dataset && strcmp(note->dataset, dataset) != 0) || (note->repository && strcmp(note->repository, repository) != 0))
		return false;
	return !note->verified || note->failure || json_object_get(note->verified, of);
}

/* For whoever looks in the repository, with a schedule or without one. */
static int note_verified(struct store *store, const struct backup_note *note, struct error *err)
{
	const bool is_by_clock = note->dataset != NULL, is_drill = note->kind == BACKUP_KIND_DRILL && !(is_by_clock && note->failure);
	/* A drill by hand may be of an older backup than the last one was. What the clock drills, and a verification, has the newest one in it. */
	const struct verified_note verified = {.repository = note->repository, .is_drill = is_drill, .now = note->now, .failure = note->failure,
	                                       .has_newest = is_by_clock || note->kind == BACKUP_KIND_VERIFY,
	                                       .seconds = note->seconds, .taken = note->verified};

	if (!note->repository || note->begins || (!is_drill && (note->failure || json_object_size(note->verified) == 0)))
		return 0;
	return verified_note(store, &verified, err);
}

int backup_schedule_note(struct store *store, const struct backup_note *note, struct error *err)
{
	const char *id;
	json_t *all, *entry;
	bool any = false;
	int r;

	pthread_mutex_lock(&record_lock);
	r = json_record_read(store, RECORD_NAME, &all);
	if (r == 0) {
		json_object_foreach(all, id, entry) {
			const uint32_t number = (uint32_t)strtoul(id, NULL, 10);
			AUTO_FREE char *of = backup_dataset_id(store, number);
			struct dataset_info info;

			if (dataset_get_by_id(store, number, &info) == 0 && is_meant(note, entry, info.name, of)) {
				note_in(entry, note);
				any = true;
			}
		}
		r = any ? json_record_write(store, RECORD_NAME, all) : 0;
		json_decref(all);
	}
	pthread_mutex_unlock(&record_lock);
	return r < 0 ? failed(r, err) : note_verified(store, note, err);
}
