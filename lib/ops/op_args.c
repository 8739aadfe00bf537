#include "lib/ops/op_args.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

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

int op_row(struct op_context *context, json_t *row)
{
	if (!row || !op_cancelled(context))
		return op_row_of_done(context, row);
	json_decref(row);
	return -ECANCELED;
}

int op_row_of_done(struct op_context *context, json_t *row)
{
	int result = !row ? -ENOMEM : context->row ? context->row(context->row_arg, row) : 0;

	json_decref(row);
	return result;
}

bool op_cancelled(void *arg)
{
	struct op_context *context = arg;

	return context->cancelled && atomic_load(context->cancelled);
}

void op_hint_full_store(struct error *err)
{
	if (err && (err->code == -ENOSPC || err->code == -EDQUOT) && !err->hint[0])
		error_hint(err, "destroy snapshots or delete files that nobody needs (corpusfs du shows what they take) and run corpusfs gc, "
		                "or make room on the disk");
}

bool op_is_in_own_mount(const struct op_context *context)
{
	struct statx st;

	/* Our own mount is not asked: the kernel knows the device without it. */
	return context->fd && context->is_own_mount && statx(*context->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 &&
	       context->is_own_mount(context->is_own_mount_arg, makedev(st.stx_dev_major, st.stx_dev_minor));
}
