#include <errno.h>

#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"
#include "lib/verify/check.h"

static json_t *counts_to_json(const struct check_counts *counts)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "views", (json_int_t)counts->views, "inodes", (json_int_t)counts->inodes, "records",
			 (json_int_t)counts->records, "found", (json_int_t)counts->problems, "unreadable",
			 (json_int_t)counts->unreadable);
}

static int check_step(void *arg, const struct check_counts *counts)
{
	struct op_context *context = arg;

	if (op_cancelled(context))
		return -ECANCELED;
	if (context->progress) {
		json_t *state = counts_to_json(counts);
		json_object_set_new(state, "phase", json_string("views"));
		json_object_set_new(state, "done", json_integer((json_int_t)counts->records));
		context->progress(context->progress_arg, state);
		json_decref(state);
	}
	return 0;
}

static int check_problem(void *arg, const struct check_problem *problem)
{
	return op_row(arg, json_pack("{s:s, s:s, s:o, s:o, s:I, s:o, s:o}", "rule", problem->rule, "name", problem->name, "dataset",
				     json_from_bytes(problem->dataset), "snapshot", json_from_bytes(problem->snapshot), "inode",
				     (json_int_t)problem->ino, "path", json_from_bytes(problem->path), "text", json_from_bytes(problem->text)));
}

/* check.run: {} -> {views, inodes, records, found, unreadable: tables}; rows {rule, name, dataset, snapshot ("" is the head), inode, path, text} */
static int check_run_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct check_options options = {.problem = check_problem, .progress = check_step, .arg = context};
	struct check_counts counts;
	int result = check_run(context->store, &options, &counts, err);

	if (result == 0)
		*ret_result = counts_to_json(&counts);
	return result;
}

const struct op check_ops[] = {
	{"check.run", "check what must hold of the metadata", OP_OWNER, "problems", check_run_op},
	{NULL},
};
