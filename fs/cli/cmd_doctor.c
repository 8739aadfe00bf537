#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/command.h"
#include "fs/cli/doctor.h"
#include "fs/cli/exit.h"
#include "fs/cli/owner.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/where.h"
#include "lib/base/buf.h"
#include "lib/store/store.h"

/* The store asked about: that of the mountpoint given, or the usual one if there is one. */
static int find_store(const struct cli *cli, char **ret_store, char **ret_mountpoint, struct error *err)
{
	AUTO_FREE char *path = NULL;
	struct error ignored = {0};
	char *store = NULL;
	int r;

	if (cli->argc == 0) {
		AUTO_FREE char *by = NULL;
		struct error none = {0};

		r = run_name_store(cli, ret_store, &by, &none);
		if (r == 0 && cli->as_owner)
			r = owner_become(*ret_store, &none);
		if (r < 0)
			free(steal_ptr(*ret_store));
		/* A store that was named must be one; with none, only the system is looked at. */
		if (r < 0 && cli->store)
			*err = none;
		return r < 0 && cli->store ? r : 0;
	}
	/* A mountpoint by its full name is not looked up: its daemon may be silent. */
	path = where_mounted(cli->argv[0], NULL) == WHERE_OURS ? xstrdup(cli->argv[0]) : where_absolute(cli->argv[0]);
	if (!path)
		return error_set(err, -errno, "%s: %s", cli->argv[0], strerror(errno));
	if (where_mounted(path, &store) != WHERE_OURS) {
		struct superblock superblock;

		r = where_named_store(path, ret_store, err);
		if (r == 0 && store_probe(*ret_store, &superblock, &ignored) == -EMEDIUMTYPE) {
			r = error_set(err, -ENOENT, "%s is no store, and none is mounted there", path);
			error_hint(err, "name a store, or where it is mounted");
		}
		return r;
	}
	*ret_store = store; /* NULL: the mount is left over from a store that is gone */
	*ret_mountpoint = steal_ptr(path);
	return 0;
}

static int print_findings(const struct cli *cli, const json_t *findings)
{
	const char *area = "";
	int code = EXIT_OK;
	json_t *row;
	size_t i;

	if (cli_option(cli, "json")) {
		json_dumpf(findings, stdout, JSON_INDENT(2));
		say("\n");
	}
	json_array_foreach (findings, i, row) {
		const char *in = json_string_value(json_object_get(row, "area"));
		const char *state = json_string_value(json_object_get(row, "state"));
		const char *mend = json_string_value(json_object_get(row, "mend"));

		if (strcmp(state, "bad") == 0)
			code = EXIT_FAILED;
		if (cli_option(cli, "json"))
			continue;
		if (strcmp(in, area) != 0)
			say("%s%s\n", *area ? "\n" : "", in);
		area = in;
		say("  %-4s  %s: %s\n", state, json_string_value(json_object_get(row, "what")),
		    json_string_value(json_object_get(row, "value")));
		if (*mend)
			say("        %s\n", mend);
	}
	return code;
}

static int run_doctor(struct cli *cli)
{
	AUTO_FREE char *store = NULL, *mountpoint = NULL;
	json_t *findings = json_array(), *status = NULL;
	struct error err = {0};
	bool answers = false;
	int r = find_store(cli, &store, &mountpoint, &err), code;

	if (r == 0) {
		doctor_system(findings);
		answers = doctor_mounts(findings, store, mountpoint);
	}
	if (r == 0 && store && answers)
		r = run_op_at(store, "store.status", json_object(), NULL, &status, &err);
	if (r == 0 && store && answers)
		doctor_store(findings, store, status, mountpoint);
	/* Also where the store cannot be opened: the system may be why. */
	code = json_array_size(findings) > 0 ? print_findings(cli, findings) : EXIT_OK;
	if (r < 0)
		code = exit_with(&err);
	json_decref(status);
	json_decref(findings);
	return code;
}

static const struct option doctor_options[] = {OPTION_JSON, OPTIONS_END};

const struct command doctor_commands[] = {
	{.name = "doctor",
         .operands = "[STORE|MOUNTPOINT]",
         .summary = "say what is slow or wrong, and how to mend it",
         .details = "Looks at the system, and at the store and its mounts if one is meant. The exit\n"
                    "code is 1 if something is bad.\n",
         .max = 1,
         .options = doctor_options,
         .run = run_doctor},
	{NULL},
};
