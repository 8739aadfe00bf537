#include <errno.h>
#include <string.h>

#include "lib/base/shell.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"
#include "lib/verify/damage.h"
#include "lib/verify/lost_records.h"
#include "lib/verify/scrub.h"

#define DAY_SECONDS 86400ULL

static const struct {
	const char *name;
	uint64_t seconds;
} intervals[] = {{"off", 0}, {"daily", DAY_SECONDS}, {"weekly", 7 * DAY_SECONDS}, {"monthly", 30 * DAY_SECONDS}};

static const char *interval_name(uint64_t seconds)
{
	for (size_t i = 0; i < ARRAY_SIZE(intervals); i++)
		if (intervals[i].seconds == seconds)
			return intervals[i].name;
	return "";
}

static json_t *counts_to_json(const struct scrub_counts *counts)
{
	return json_pack("{s:I, s:I, s:I}", "chunks", (json_int_t)counts->chunks, "bytes", (json_int_t)counts->bytes, "damaged",
			 (json_int_t)counts->damaged);
}

static int scrub_step(void *arg, const struct scrub_progress *progress)
{
	struct op_context *context = arg;

	if (op_cancelled(context))
		return -ECANCELED;
	if (context->progress) {
		json_t *state = counts_to_json(&progress->counts);
		json_object_set_new(state, "phase", json_string(progress->phase));
		json_object_set_new(state, "done", json_integer((json_int_t)progress->done));
		json_object_set_new(state, "total", json_integer((json_int_t)progress->total));
		context->progress(context->progress_arg, state);
		json_decref(state);
	}
	return 0;
}

/*
 * scrub.run: {restart?, rate?: bytes a second} -> {chunks, bytes, damaged}; progress {phase, done, total, chunks, bytes, damaged}. When it is
 * cancelled, the next one goes on from there.
 */
static int scrub_run_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const int64_t rate = op_arg_int(args, "rate", 0);
	struct scrub_options options = {.restart = op_arg_bool(args, "restart"), .progress = scrub_step, .arg = context};
	struct scrub_counts counts;
	int result;

	if (rate < 0)
		return error_set(err, -EINVAL, "the rate must be at least 0");
	options.rate = (uint64_t)rate;
	result = scrub_run(context->store, &options, &counts, err);
	if (result == 0)
		*ret_result = counts_to_json(&counts);
	return result;
}

/* scrub.schedule: {every?: "off", "daily", "weekly", "monthly"} -> {every}. Without an argument: what is set. */
static int scrub_schedule_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *every = op_arg_string_or(args, "every", NULL);
	struct scrub_state state;
	size_t i = 0;
	int result = 0;

	if (every) {
		while (i < ARRAY_SIZE(intervals) && strcmp(intervals[i].name, every) != 0)
			i++;
		if (i == ARRAY_SIZE(intervals))
			return error_set(err, -EINVAL, "\"%s\": off, daily, weekly or monthly is expected", every);
		result = scrub_set_schedule(context->store, intervals[i].seconds, err);
	}
	if (result == 0)
		result = scrub_state_get(context->store, &state);
	if (result == 0)
		*ret_result = json_pack("{s:s}", "every", interval_name(state.every));
	return result;
}

#define DAMAGE_LIMIT 100000

/* How a file of a head comes back, from where it is whole. */
static json_t *mend_command(const struct damage_place *place)
{
	AUTO_FREE char *text = NULL;

	if (!place->whole_dataset[0])
		return json_string("");
	if (strcmp(place->whole_dataset, place->dataset) == 0)
		text = shell_text("corpusfs rollback %s@%s/%s", place->dataset, place->whole_snapshot, place->path);
	else if (place->whole_snapshot[0])
		text = shell_text("cp %s/.snapshots/%s/%s %s/%s", place->whole_dataset, place->whole_snapshot, place->path, place->dataset,
				  place->path);
	else
		text = shell_text("cp %s/%s %s/%s", place->whole_dataset, place->path, place->dataset, place->path);
	return json_from_bytes(text);
}

static int damage_row(void *arg, const struct damage_place *place)
{
	struct op_context *context = arg;

	if (op_cancelled(context))
		return -ECANCELED;
	return op_row(context, json_pack("{s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:o, s:o, s:o}", "dataset", json_from_bytes(place->dataset), "snapshot",
					 json_from_bytes(place->snapshot), "path", json_from_bytes(place->path), "lost",
					 place->records ? "metadata" : "content", "offset",
					 (json_int_t)place->offset, "length", (json_int_t)place->length, "chunk", (json_int_t)place->chunk,
					 "whole_dataset", json_from_bytes(place->whole_dataset), "whole_snapshot",
					 json_from_bytes(place->whole_snapshot), "command", mend_command(place)));
}

static json_t *tables_to_json(const struct lost_records *lost)
{
	json_t *tables = json_array();

	for (size_t i = 0; i < lost->tables.count; i++) {
		const struct lost_table *table = &lost->tables.items[i];
		const char *holds = kv_family_holds(table->family), *state = kv_table_state(table->missing, table->all_known);
		json_array_append_new(tables, json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:b}", "table", table->name, "holds", holds, "state", state,
							"missing", table->missing, "blocks", (json_int_t)table->blocks, "lost",
							(json_int_t)table->lost, "all_known", table->all_known));
	}
	return tables;
}

/*
 * damage.list: {} -> {chunks, count: of places, bytes, all: no place was left out, tables: damaged ones of metadata, each {table, holds, state,
 * missing, blocks: of records, lost: so many of them, all_known: no more are}}; rows {dataset, snapshot ("" is the head), path, lost: "content",
 * or "metadata" if records of it are or may be, offset, length, chunk, whole_dataset, whole_snapshot: where a file of a head is whole, command:
 * what brings it back}
 */
static int damage_list_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct lost_records lost = {0};
	struct damage_sum sum;
	int result = damage_find(context->store, DAMAGE_LIMIT, damage_row, context, &sum, &lost, err);

	(void)args;
	if (result == 0)
		*ret_result = json_pack("{s:I, s:I, s:I, s:b, s:o}", "chunks", (json_int_t)sum.chunks, "count", (json_int_t)sum.places, "bytes",
					(json_int_t)sum.bytes, "all", sum.all, "tables", tables_to_json(&lost));
	lost_records_clear(&lost);
	return result;
}

const struct op verify_ops[] = {
	{"scrub.run", "read everything that is stored, and find what is damaged", OP_OWNER, NULL, scrub_run_op},
	{"scrub.schedule", "scrub by the clock", OP_OWNER, NULL, scrub_schedule_op},
	{"damage.list", "which files are hurt, and what brings them back", OP_READER, "places", damage_list_op},
	{NULL},
};
