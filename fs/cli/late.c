#include "fs/cli/late.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "fs/cli/run.h"
#include "fs/cli/units.h"
#include "lib/base/buf.h"
#include "lib/store/store.h"

static const char *text(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

static bool is_wanted(const json_t *row, const char *key, const char *wanted)
{
	const char *found = text(row, key);

	return !wanted || (found && strcmp(found, wanted) == 0);
}

static void tell_one(const json_t *row)
{
	const json_int_t last = json_integer_value(json_object_get(row, "time"));
	const char *failure = text(row, "failure");
	char when[UNITS_MAX] = "never";

	if (last > 0)
		units_time((double)last, when);
	fprintf(stderr, "corpusfs: note: %s of %s is late, %s to %s: %s%s\n", text(row, "kind"), text(row, "dataset"), text(row, "every"),
	        text(row, "repository"), failure ? failure : "last ", failure ? "" : when);
}

json_t *late_ask(const struct cli *cli, const char *store)
{
	AUTO_FREE char *found = NULL;
	struct error ignored = {0};
	json_t *status = NULL;
	pid_t owner;

	if (!store && run_find_store(cli, &found, &ignored) < 0)
		return NULL;
	store = store ? store : found;
	owner = store_locked_by(store);
	if (owner != 0 && (owner < 0 || !run_is_daemon(owner)))
		return NULL;
	return run_op_at(store, "backup.status", json_object(), NULL, &status, &ignored) < 0 ? NULL : status;
}

void late_tell(const json_t *status, const char *repository, const char *dataset)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(status, "backups"), i, row)
		if (json_is_true(json_object_get(row, "late")) && text(row, "kind") && is_wanted(row, "repository", repository) &&
		    is_wanted(row, "dataset", dataset))
			tell_one(row);
}

void late_tell_drill(const json_t *status, const char *repository)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(status, "drills"), i, row)
		if (text(row, "repository") && is_wanted(row, "repository", repository) && text(row, "failure"))
			fprintf(stderr, "corpusfs: note: the last drill of %s failed: %s\n", repository, text(row, "failure"));
}
