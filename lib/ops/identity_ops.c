#include <errno.h>
#include <string.h>

#include "lib/identity/identity.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"
#include "lib/store/uncommitted.h"

static int cannot_compute(struct store *store, const char *name, uint32_t view, int code, struct error *err)
{
	if (code == -EAGAIN) {
		error_set(err, code, "%s changed all the time while its identity was computed", name);
		error_hint(err, "take a snapshot and ask for the snapshot's");
		return code;
	}
	error_set(err, code, "the identity of %s cannot be computed", name);
	(void)uncommitted_explain(store, &view, 1, err);
	return code;
}

/* snapshot.identity: {name: "DATASET@NAME", or "DATASET" as it is now} -> {identity: 64 hexadecimal digits}. Computes it if need be. */
static int snapshot_identity(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	uint8_t identity[IDENTITY_LEN];
	char text[IDENTITY_TEXT_LEN];
	struct view *view;
	const char *name;
	int result = op_arg_string(args, "name", &name, err);

	if (result == 0)
		result = store_view_by_name(context->store, name, &view, err);
	if (result < 0)
		return result;
	const uint32_t number = view_number(view);
	result = identity_compute(context->store, view, op_cancelled, context, identity);
	store_view_put(context->store, view);
	if (result < 0)
		return cannot_compute(context->store, name, number, result, err);
	identity_to_text(identity, text);
	*ret_result = json_pack("{s:s}", "identity", text);
	return 0;
}

const struct op identity_ops[] = {
	{"snapshot.identity", "the identity of a snapshot, or of a dataset as it is now", OP_READER, NULL, snapshot_identity},
	{NULL},
};
