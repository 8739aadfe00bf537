#include "fs/cli/serve_receive.h"

#include <errno.h>
#include <stdio.h>

#include "fs/cli/exit.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"

/* Prints what the dataset has; takes over `state`. */
static void tell_state(json_t *state)
{
	json_dumpf(state, stdout, JSON_COMPACT);
	say("\n");
	fflush(stdout);
	json_decref(state);
}

static int say_state(const char *store, const char *dataset, struct error *err)
{
	json_t *state = NULL;
	int r = run_op_at(store, "stream.state", json_pack("{s:o}", "dataset", json_from_bytes(dataset)), NULL, &state, err);

	if (r == 0)
		tell_state(state);
	return r;
}

int serve_receive(const char *store, const char *dataset, int fd)
{
	struct error err = {0};
	int r;

	while ((r = say_state(store, dataset, &err)) == 0) {
		json_t *result = NULL;

		r = run_op_with(store, "stream.receive", json_pack("{s:o}", "dataset", json_from_bytes(dataset)), fd, NULL, &result, &err);
		json_decref(result);
		/* The sender has no more. */
		if (r == -ENOMSG)
			return EXIT_OK;
		if (r < 0)
			break;
	}
	AUTO_FREE char *text = xasprintf("%s%s%s", err.text, err.hint[0] ? "; " : "", err.hint);
	tell_state(json_pack("{s:o}", "failed", json_from_bytes(text)));
	return exit_with(&err);
}
