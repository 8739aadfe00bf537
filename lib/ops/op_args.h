/* What operations are written with: their arguments, their rows, whether to go on. Internal to lib/ops and to who adds operations. */
#ifndef CORPUSFS_OPS_OP_ARGS_H
#define CORPUSFS_OPS_OP_ARGS_H

#include "lib/ops/ops.h"

/* Missing ones and those of another type give `fallback` or, for op_arg_string, -EINVAL with a text. Strings are bytes without NUL. */
WARN_UNUSED int op_arg_string(const json_t *args, const char *key, const char **ret_value, struct error *err);
const char *op_arg_string_or(const json_t *args, const char *key, const char *fallback);
bool op_arg_bool(const json_t *args, const char *key);
int64_t op_arg_int(const json_t *args, const char *key, int64_t fallback);

/* Gives a row and takes over the reference. 0, or what the caller of the operation wants it to end with. */
WARN_UNUSED int op_row(struct op_context *context, json_t *row);
/* The same of what is done, and stays: also to who has asked for an end meanwhile. */
WARN_UNUSED int op_row_of_done(struct op_context *context, json_t *row);

/* Says what to do about a full store, when that is what the error tells and nothing is said yet. */
void op_hint_full_store(struct error *err);

/* Whether the descriptor that came with the request lies in a mount of the same store. The daemon would wait for itself there. */
bool op_is_in_own_mount(const struct op_context *context);

bool op_cancelled(void *context); /* a struct op_context; for callbacks */

#endif
