/*
 * Operations with any arguments, as they come through the control socket, on a store that is made anew for each process. What an operation
 * does is its own matter; here it must only end, and leave a store that answers.
 */
#include <stdio.h>
#include <string.h>

#include "lib/ops/json.h"
#include "lib/ops/ops.h"
#include "tests/fuzz/target.h"

static struct store *store;
static char *place;

static void clear_up(void)
{
	AUTO_FREE char *command = xasprintf("rm -rf '%s'", place);

	if (store_close(store) < 0 || system(command) != 0)
		abort();
	free(place);
}

static void make_store(void)
{
	const struct store_options options = {.cache_bytes = 8 << 20, .write_buffer_bytes = 8 << 20, .threads = 1};
	const char *top = getenv("TMPDIR");
	struct error err;

	place = xasprintf("%s/corpusfs-fuzz-ops.XXXXXX", top ? top : "/var/tmp");
	if (!mkdtemp(place))
		abort();
	AUTO_FREE char *path = xasprintf("%s/store", place);
	if (store_init(path, NULL, &err) < 0 || store_open(path, &options, &store, &err) < 0)
		abort();
	atexit(clear_up);
}

static int run(const char *op, const json_t *args, int (*row)(void *arg, json_t *row))
{
	struct op_context context = {.store = store, .role = OP_OWNER, .row = row};
	json_t *result = NULL;
	struct error err = {0};
	int code = op_run(&context, op, args, &result, &err);

	json_decref(result);
	if (code < 0 && err.text[0] == '\0')
		abort(); /* every failure has words */
	return code;
}

static int take_row(void *arg, json_t *row)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *request = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	const char *op = json_string_value(json_object_get(request, "op"));

	if (!store)
		make_store();
	if (op) {
		json_t *none = json_object();
		int ignored = run(op, json_is_object(json_object_get(request, "args")) ? json_object_get(request, "args") : none, take_row);
		(void)ignored;
		if (run("dataset.list", none, take_row) < 0)
			abort();
		json_decref(none);
	}
	json_decref(request);
	return 0;
}
