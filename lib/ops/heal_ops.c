/* Healing by itself (lib/verify/heal_plan.h): whether it is due, where to look, and how it went. Who looks is the command (fs/cli/heal_tick.c). */
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"
#include "lib/verify/heal_plan.h"

static int row_of_place(void *arg, const char *repository, const char *password_file)
{
	return op_row(arg, json_pack("{s:s, s:s*}", "repository", repository, "password_file", password_file));
}

/* heal.due: {} -> rows {repository, password_file?}: where damaged content is to be looked for now; none if it is not due */
static int due_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	int r = heal_plan_due(context->store, clock_now().tv_sec) ? heal_plan_places(context->store, row_of_place, context) : 0;

	(void)args;
	(void)ret_result;
	return r < 0 ? error_default(err, r, "where healing may look cannot be read: %s", error_text(r)) : 0;
}

/* heal.note: {begins?, interrupted?, failure?, chunks?, bytes?, from?} -> {}: how it went, for status and for when it is due again */
static int note_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const struct heal_note note = {.begins = op_arg_bool(args, "begins"),
				       .interrupted = op_arg_bool(args, "interrupted"),
				       .failure = op_arg_string_or(args, "failure", NULL),
				       .chunks = (uint64_t)MAX(op_arg_int(args, "chunks", 0), 0),
				       .bytes = (uint64_t)MAX(op_arg_int(args, "bytes", 0), 0),
				       .from = op_arg_string_or(args, "from", NULL)};

	(void)ret_result;
	return heal_plan_note(context->store, &note, clock_now().tv_sec, err);
}

const struct op heal_ops[] = {
	{"heal.due", "where damaged content is to be looked for now", OP_OWNER, "places", due_op},
	{"heal.note", "keep how healing went", OP_OWNER, NULL, note_op},
	{NULL},
};
