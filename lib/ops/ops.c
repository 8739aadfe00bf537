#include "lib/ops/ops.h"

#include <errno.h>
#include <string.h>

static const struct op *const tables[] = {store_ops, dataset_ops, snapshot_ops, identity_ops, gc_ops, history_ops, transfer_ops};

const struct op *op_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct op *op = tables[i]; op->name; op++)
			if (strcmp(op->name, name) == 0)
				return op;
	return NULL;
}

int op_run(struct op_context *context, const char *name, const json_t *args, json_t **ret_result, struct error *err)
{
	const struct op *op = op_find(name);
	json_t *result = NULL;
	int code;

	if (!op) {
		error_set(err, -EOPNOTSUPP, "there is no operation \"%s\"", name);
		error_hint(err, "the command and the running daemon are of different versions: unmount and mount again");
		return -EOPNOTSUPP;
	}
	if (err)
		*err = (struct error){0};
	code = op->run(context, args, &result, err);
	if (code < 0) {
		json_decref(result);
		return error_default(err, code, "%s failed", name);
	}
	*ret_result = result ? result : json_object();
	return 0;
}

int op_arg_string(const json_t *args, const char *key, const char **ret_value, struct error *err)
{
	const json_t *value = json_object_get(args, key);

	if (!json_is_string(value))
		return error_set(err, -EINVAL, "argument \"%s\" is missing or not a text", key);
	if (strlen(json_string_value(value)) != json_string_length(value))
		return error_set(err, -EINVAL, "argument \"%s\" holds a NUL character", key);
	*ret_value = json_string_value(value);
	return 0;
}

const char *op_arg_string_or(const json_t *args, const char *key, const char *fallback)
{
	const json_t *value = json_object_get(args, key);

	return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value) ? json_string_value(value)
	                                                                                              : fallback;
}

bool op_arg_bool(const json_t *args, const char *key)
{
	return json_is_true(json_object_get(args, key));
}

int64_t op_arg_int(const json_t *args, const char *key, int64_t fallback)
{
	const json_t *value = json_object_get(args, key);

	return json_is_integer(value) ? json_integer_value(value) : fallback;
}
