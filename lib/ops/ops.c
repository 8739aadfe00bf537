#include "lib/ops/ops.h"

#include <errno.h>
#include <string.h>

#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"

static const struct op *const tables[] = {store_ops, dataset_ops, snapshot_ops, identity_ops, gc_ops, diff_ops,
					 history_ops, schedule_ops, transfer_ops, backup_ops, backup_schedule_ops, repository_ops, report_ops, verify_ops, check_ops, repair_ops, heal_ops,
					 stream_ops, remote_ops, publish_ops, repository_key_ops, forget_ops, backup_hold_ops};

const struct op *op_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct op *op = tables[i]; op->name; op++)
			if (strcmp(op->name, name) == 0)
				return op;
	return NULL;
}

int op_check_role(enum op_role has, enum op_role needed, const char *name, struct error *err)
{
	if (has >= needed)
		return 0;
	error_set(err, -EACCES, "%s is not for who may only look", name);
	error_hint(err, "root and the owner of the store may");
	return -EACCES;
}

int op_run(struct op_context *context, const char *name, const json_t *args, json_t **ret_result, struct error *err)
{
	const struct op *op = op_find(name);
	json_t *result = NULL, *given;
	int code;

	if (err)
		*err = (struct error){0};
	if (!op) {
		error_set(err, -EOPNOTSUPP, "there is no operation \"%s\"", name);
		error_hint(err, "the command and the running daemon are of different versions: unmount and mount again");
		return -EOPNOTSUPP;
	}
	code = op_check_role(context->role, op->role, name, err);
	if (code < 0)
		return code;
	given = json_deep_to_bytes(args);
	code = op->run(context, given, &result, err);
	json_decref(given);
	if (code < 0) {
		json_decref(result);
		error_default(err, code, "%s failed", name);
		if (op->role == OP_OWNER) /* who only looks fills something else than the store */
			op_hint_full_store(err);
		return code;
	}
	*ret_result = result ? result : json_object();
	return 0;
}
