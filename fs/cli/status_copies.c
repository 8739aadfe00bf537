#include "fs/cli/status_copies.h"

#include <string.h>

#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/units.h"

static void print_begun(const json_t *row, const char *key, const char *format)
{
	const json_int_t begun = json_integer_value(json_object_get(row, key));
	char when[UNITS_MAX];

	if (begun == 0)
		return;
	units_time((double)begun, when);
	say(", ");
	say(format, when);
}

/* One line for each kind of backup that is planned. */
static void print_planned(const json_t *status)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(status, "backups"), i, row) {
		const json_int_t last = json_integer_value(json_object_get(row, "time"));
		const char *failure = json_string_value(json_object_get(row, "failure")), *kind = json_string_value(json_object_get(row, "kind"));
		char when[UNITS_MAX] = "not made yet";

		if (last > 0)
			units_time((double)last, when);
		if (!kind) {
			say("backups        %s\n", failure);
			continue;
		}
		say("backup         %s: %s %s to %s, %s%s", json_string_value(json_object_get(row, "dataset")), kind,
		    json_string_value(json_object_get(row, "every")), json_string_value(json_object_get(row, "repository")),
		    last > 0 ? "last " : "", when);
		if (last > 0 && strcmp(kind, "drill") == 0)
			say(", came back in %.1f s", json_real_value(json_object_get(row, "seconds")));
		print_begun(row, "running", "being made since %s");
		print_begun(row, "interrupted", "begun %s and interrupted, to be made by the next tick");
		say("%s%s%s\n", json_is_true(json_object_get(row, "late")) ? ", LATE" : "", failure ? ": " : "", failure ? failure : "");
	}
}

/* Of repositories in which none is planned. */
static void print_drills(const json_t *status)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(status, "drills"), i, row) {
		const char *failure = json_string_value(json_object_get(row, "failure")), *repository = json_string_value(json_object_get(row, "repository"));
		const json_int_t last = json_integer_value(json_object_get(row, "time"));
		char when[UNITS_MAX];

		if (!repository) {
			say("drills         %s\n", failure);
			continue;
		}
		say("drill          %s: ", repository);
		units_time((double)last, when);
		if (last > 0)
			say("last %s, came back in %.1f s%s", when, json_real_value(json_object_get(row, "seconds")), failure ? ", then " : "");
		units_time((double)json_integer_value(json_object_get(row, "tried")), when);
		if (failure)
			say("FAILED %s: %s", when, failure);
		say("\n");
	}
}

/* What the store's own backups gave back by themselves, and why they could not be asked. */
static void print_healing(const json_t *status)
{
	const json_t *healing = json_object_get(status, "healing"), *last = json_object_get(healing, "last");
	const json_int_t chunks = json_integer_value(json_object_get(last, "chunks"));
	const char *failure = json_string_value(json_object_get(healing, "failure"));
	char when[UNITS_MAX];

	if (last) {
		units_time((double)json_integer_value(json_object_get(last, "time")), when);
		say("healed         %s, %lld chunk%s from %s\n", when, (long long)chunks, chunks == 1 ? "" : "s", json_string_value(json_object_get(last, "from")));
	}
	if (failure) {
		units_time((double)json_integer_value(json_object_get(healing, "tried")), when);
		say("healing        tried %s: %s\n", when, failure);
	}
}

void status_print_backups(const json_t *status)
{
	print_healing(status);
	print_planned(status);
	print_drills(status);
}

void status_print_replicas(const char *store)
{
	json_t *result = NULL;
	struct error ignored = {0}; /* what is wrong with the store is told already */
	const json_t *row;
	size_t i;

	if (run_op_at(store, "stream.replications", json_object(), NULL, &result, &ignored) < 0)
		return;
	json_array_foreach(json_object_get(result, "replications"), i, row) {
		const long long behind = json_integer_value(json_object_get(row, "behind"));

		say("replica        %s@%s: %lld snapshot%s behind", json_string_value(json_object_get(row, "dataset")),
		    json_string_value(json_object_get(row, "snapshot")), behind, behind == 1 ? "" : "s");
		if (behind > 0)
			say(", for %lld s", (long long)json_integer_value(json_object_get(row, "lag")));
		say("; to %s\n", json_string_value(json_object_get(row, "to")));
	}
	json_decref(result);
}
