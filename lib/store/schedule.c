#include "lib/store/schedule.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/base/array.h"
#include "lib/store/snapshots.h"
#include "lib/store/unknown.h"

#define STAMP "%Y%m%dT%H%M%SZ" /* in names */
#define HOUR 3600
#define DAY (24 * HOUR)
#define WEEK (7 * DAY)
#define MONDAY (4 * DAY) /* 1970-01-05, the first Monday */

static const char *const names[SCHEDULE_PERIODS] = {"hourly", "daily", "weekly", "monthly"};

const char *schedule_period_name(enum schedule_period period)
{
	return names[period];
}

static int64_t divide_down(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

int64_t schedule_slot(enum schedule_period period, int64_t seconds)
{
	time_t time = (time_t)seconds;
	struct tm tm;

	switch (period) {
	case SCHEDULE_HOURLY: return divide_down(seconds, HOUR);
	case SCHEDULE_DAILY: return divide_down(seconds, DAY);
	case SCHEDULE_WEEKLY: return divide_down(seconds - MONDAY, WEEK);
	default: break;
	}
	gmtime_r(&time, &tm);
	return (int64_t)tm.tm_year * 12 + tm.tm_mon;
}

int64_t schedule_seconds(enum schedule_period period)
{
	static const int64_t seconds[SCHEDULE_PERIODS] = {HOUR, DAY, WEEK, 31 * DAY};

	return seconds[period];
}

int schedule_decode(const char *json, struct schedule *ret_schedule)
{
	struct schedule schedule = {0};
	json_t *object;

	if (!*json) {
		*ret_schedule = schedule;
		return 0;
	}
	object = json_loads(json, 0, NULL);
	if (!json_is_object(object)) {
		json_decref(object);
		return -EBADMSG;
	}
	for (size_t i = 0; i < SCHEDULE_PERIODS; i++) {
		json_int_t keep = json_integer_value(json_object_get(object, names[i]));
		if (keep > 0)
			schedule.keep[i] = (unsigned)MIN(keep, (json_int_t)SCHEDULE_KEEP_MAX);
	}
	json_decref(object);
	*ret_schedule = schedule;
	return 0;
}

int schedule_get(struct store *store, const char *dataset, struct schedule *ret_schedule, struct error *err)
{
	struct dataset_info info;
	int result = dataset_get(store, dataset, &info);

	if (result < 0)
		return unknown_or_failed(store, dataset, NULL, result, err);
	result = schedule_decode(info.schedule, ret_schedule);
	return result < 0 ? error_set(err, result, "the schedule of dataset \"%s\" cannot be understood", dataset) : 0;
}

int schedule_set(struct store *store, const char *dataset, const struct schedule *schedule, struct error *err)
{
	AUTO_BUF text = BUF_INIT;

	buf_addf(&text, "%s", "");
	for (size_t i = 0; i < SCHEDULE_PERIODS; i++) {
		if (schedule->keep[i] > SCHEDULE_KEEP_MAX)
			return error_set(err, -EINVAL, "a schedule keeps at most %d %s snapshots", SCHEDULE_KEEP_MAX, names[i]);
		if (schedule->keep[i] > 0)
			buf_addf(&text, "%s\"%s\":%u", text.len > 0 ? "," : "{", names[i], schedule->keep[i]);
	}
	if (text.len > 0)
		buf_addf(&text, "}");
	return dataset_set_schedule(store, dataset, (const char *)text.data, err);
}

/* --- a tick --- */

/* The scheduled snapshots of one dataset and period, oldest first. */
struct taken_one {
	char name[NAME_LEN_MAX + 1];
	int64_t seconds;
	bool held;
};

struct taken {
	ARRAY_FIELDS(struct taken_one);
	const char *prefix;
};

static int note_taken(void *arg, const struct snapshot_info *info)
{
	struct taken *taken = arg;

	size_t prefix_len = strlen(taken->prefix);
	struct tm tm = {0};
	const char *end;

	if (!(info->flags & SNAPSHOT_SCHEDULED) || strncmp(info->name, taken->prefix, prefix_len) != 0)
		return 0;
	end = strptime(info->name + prefix_len, STAMP, &tm);
	if (!end || *end)
		return 0;
	struct taken_one *one = array_new(taken);
	one->seconds = timegm(&tm);
	one->held = info->hold_count > 0;
	snprintf(one->name, sizeof(one->name), "%s", info->name);
	return 0;
}

struct tick {
	struct store *store;
	int64_t now;
	void (*each)(void *arg, const char *dataset, const char *snapshot, bool taken);
	void *arg;
	struct error *err;
	int first; /* failure */
};

static void failed(struct tick *tick, int result, const struct error *err)
{
	if (tick->first < 0)
		return;
	tick->first = result;
	if (tick->err)
		*tick->err = *err;
}

static bool is_served(const struct taken *taken, enum schedule_period period, int64_t now)
{
	int64_t slot = schedule_slot(period, now);

	for (size_t i = 0; i < taken->count; i++)
		if (schedule_slot(period, taken->items[i].seconds) == slot)
			return true;
	return false;
}

static void take(struct tick *tick, const char *dataset, const char *name)
{
	struct snapshot_name target = {.dataset = dataset, .name = name};
	struct error err = {0};
	int result = snapshot_create(tick->store, &target, 1, "", SNAPSHOT_SCHEDULED, &err);

	if (result == 0)
		tick->each(tick->arg, dataset, name, true);
	else if (result != -EEXIST && result != -ENOENT)
		failed(tick, result, &err);
}

/* Down to `keep`, the oldest first; what is held or being read counts, and stays. */
static void retain(struct tick *tick, const char *dataset, const struct taken *taken, unsigned keep)
{
	for (size_t i = 0; i + keep < taken->count; i++) {
		struct error err = {0};
		int result = taken->items[i].held ? -EBUSY : snapshot_destroy(tick->store, dataset, taken->items[i].name, &err);
		if (result == 0)
			tick->each(tick->arg, dataset, taken->items[i].name, false);
		else if (result != -EBUSY && result != -ENOENT)
			failed(tick, result, &err);
	}
}

static int read_taken(struct tick *tick, const char *dataset, struct taken *taken)
{
	struct error err = {0};
	int result;

	taken->count = 0;
	result = snapshot_list(tick->store, dataset, note_taken, taken);
	if (result < 0 && result != -ENOENT)
		failed(tick, error_set(&err, result, "the snapshots of \"%s\": %s", dataset, error_text(result)), &err);
	return result;
}

static void tick_period(struct tick *tick, const char *dataset, enum schedule_period period, unsigned keep)
{
	AUTO_FREE char *prefix = xasprintf("auto-%s-", names[period]);
	struct taken taken = {.prefix = prefix};
	char stamp[32], name[64];
	time_t now = (time_t)tick->now;
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), STAMP, &tm);
	snprintf(name, sizeof(name), "%s%s", prefix, stamp);
	if (read_taken(tick, dataset, &taken) == 0) {
		if (!is_served(&taken, period, tick->now))
			take(tick, dataset, name);
		if (read_taken(tick, dataset, &taken) == 0)
			retain(tick, dataset, &taken, keep);
	}
	array_clear(&taken);
}

static int tick_dataset(void *arg, const struct dataset_info *info)
{
	struct tick *tick = arg;
	struct schedule schedule;
	struct error err = {0};
	int result = schedule_decode(info->schedule, &schedule);

	/* It gets the snapshots that its origin takes. */
	if (info->replica)
		return 0;
	if (result < 0) {
		failed(tick, error_set(&err, result, "the schedule of dataset \"%s\" cannot be understood", info->name), &err);
		return 0;
	}
	for (size_t i = 0; i < SCHEDULE_PERIODS; i++)
		if (schedule.keep[i] > 0)
			tick_period(tick, info->name, (enum schedule_period)i, schedule.keep[i]);
	return 0;
}

int schedule_tick(struct store *store, int64_t now, void (*each)(void *arg, const char *dataset, const char *snapshot, bool taken), void *arg,
		  struct error *err)
{
	struct tick tick = {.store = store, .now = now, .each = each, .arg = arg, .err = err};
	int result = dataset_list(store, tick_dataset, &tick);

	return tick.first < 0 ? tick.first : result;
}
