#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"
#include "lib/store/schedule.h"

static json_t *schedule_to_json(const struct schedule *schedule)
{
	json_t *object = json_object();

	for (size_t i = 0; i < SCHEDULE_PERIODS; i++)
		json_object_set_new(object, schedule_period_name((enum schedule_period)i), json_integer(schedule->keep[i]));
	return object;
}

/* snapshot.schedule.get: {dataset} -> {hourly, daily, weekly, monthly}: how many are kept, 0 for none */
static int schedule_get_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct schedule schedule;
	const char *dataset;
	int result = op_arg_string(args, "dataset", &dataset, err);

	if (result == 0)
		result = schedule_get(context->store, dataset, &schedule, err);
	if (result == 0)
		*ret_result = schedule_to_json(&schedule);
	return result;
}

/* snapshot.schedule.set: {dataset, hourly?, daily?, weekly?, monthly?} -> as get. What is not named is not kept; nothing: off. */
static int schedule_set_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct schedule schedule = {0};
	const char *dataset;
	int result = op_arg_string(args, "dataset", &dataset, err);

	for (size_t i = 0; i < SCHEDULE_PERIODS && result == 0; i++) {
		const char *period = schedule_period_name((enum schedule_period)i);
		int64_t keep = op_arg_int(args, period, 0);
		if (keep < 0 || keep > SCHEDULE_KEEP_MAX)
			result = error_set(err, -EINVAL, "%s: a number from 0 to %d is expected", period, SCHEDULE_KEEP_MAX);
		schedule.keep[i] = (unsigned)keep;
	}
	if (result == 0)
		result = schedule_set(context->store, dataset, &schedule, err);
	if (result == 0)
		*ret_result = schedule_to_json(&schedule);
	return result;
}

struct ticking {
	struct op_context *context;
	int result;
};

/* What was done is done, whether somebody hears of it or not. */
static void note_tick(void *arg, const char *dataset, const char *snapshot, bool taken)
{
	struct ticking *ticking = arg;

	if (ticking->result == 0)
		ticking->result = op_row(ticking->context, json_pack("{s:o, s:o, s:s}", "dataset", json_from_bytes(dataset), "snapshot",
								     json_from_bytes(snapshot), "action", taken ? "taken" : "destroyed"));
}

/* snapshot.tick: {}; rows {dataset, snapshot, action: "taken" or "destroyed"}: what the schedules of all datasets ask for now */
static int tick_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct ticking ticking = {.context = context};
	int result = schedule_tick(context->store, clock_now().tv_sec, note_tick, &ticking, err);

	(void)args;
	return result < 0 ? result : ticking.result;
}

const struct op schedule_ops[] = {
	{"snapshot.schedule.get", "how many snapshots are taken and kept by the clock", OP_READER, NULL, schedule_get_op},
	{"snapshot.schedule.set", "take snapshots by the clock", OP_OWNER, NULL, schedule_set_op},
	{"snapshot.tick", "take the snapshots that are due, destroy those beyond retention", OP_OWNER, "snapshots", tick_op},
	{NULL},
};
