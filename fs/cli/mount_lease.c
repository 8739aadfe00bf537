#include "fs/cli/mount_lease.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/mount_options.h"
#include "fs/cli/password.h"
#include "fs/cli/remotes.h"
#include "fs/cli/repository.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/units.h"
#include "fs/daemon/control/client.h"
#include "lib/backup/leases.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"
#include "lib/store/datasets.h"

void mount_lease_clear(struct mount_lease *lease)
{
	free(lease->place);
	free(lease->as);
	password_free(lease->password);
	if (lease->fd >= 0)
		close(lease->fd);
}

static int check_what(const json_t *args, struct error *err)
{
	const bool read_only = json_is_true(json_object_get(args, "read_only"));

	if (json_object_get(args, MOUNT_LEASE_TIME) && !json_object_get(args, MOUNT_LEASE))
		return error_set(err, -EINVAL, "mount option lease_time has no meaning without lease=REMOTE");
	if (!json_object_get(args, MOUNT_LEASE))
		return 0;
	if (!read_only && json_object_get(args, "dataset"))
		return 0;
	if (read_only)
		return error_set(err, -EINVAL, "mount option lease: what is mounted read-only needs no lease");
	(void)error_set(err, -EINVAL, "mount option lease: a lease is of one dataset, and a whole store is mounted");
	error_hint(err, "corpusfs mount STORE:DATASET MOUNTPOINT -o lease=REMOTE");
	return -EINVAL;
}

static int open_remote(struct cli *cli, const char *text, struct mount_lease *lease, struct error *err)
{
	AUTO_FREE char *name = strndup(text, strcspn(text, ":"));
	json_t *remote = NULL;
	int r = remote_get(name, &remote, err);

	json_decref(remote);
	if (r < 0)
		return r;
	lease->place = xasprintf("%s:", name);
	r = repository_open_place(cli, lease->place, false, &lease->fd, err);
	return r < 0 ? r : password_get(cli, false, &lease->password, err);
}

int mount_lease_prepare(struct cli *cli, json_t *args, struct mount_lease *ret_lease, struct error *err)
{
	const char *text = json_string_value(json_object_get(args, MOUNT_LEASE)), *colon = text ? strchr(text, ':') : NULL;
	const json_t *seconds = json_object_get(args, MOUNT_LEASE_TIME);
	int r = check_what(args, err);

	if (r < 0 || !text)
		return r;
	if (cli_option(cli, "foreground"))
		return error_set(err, -EINVAL, "mount option lease: a daemon in the foreground takes none: leave out -f");
	ret_lease->seconds = seconds ? json_integer_value(seconds) : LEASE_SECONDS;
	ret_lease->as = colon && colon[1] ? xstrdup(colon + 1) : json_to_bytes(json_object_get(args, "dataset"));
	r = dataset_name_check("dataset", ret_lease->as, err);
	return r < 0 ? r : open_remote(cli, text, ret_lease, err);
}

/* It could only be read, and nobody has asked for that. */
static void undo(const char *store, const json_t *args)
{
	json_t *stop = json_pack("{s:O, s:b}", "mountpoint", json_object_get(args, "mountpoint"), "lazy", 1), *value = NULL;
	struct client *client = NULL;
	struct error ignored = {0};

	if (client_connect(store, &client, &ignored) == 0) {
		if (client_call(client, "mount.stop", stop, NULL, &value, &ignored) == 0 && json_is_true(json_object_get(value, "last")))
			client_wait_end(client);
		client_close(client);
	}
	json_decref(stop);
	json_decref(value);
}

int mount_lease_take(const struct mount_lease *lease, const char *store, const json_t *args, struct error *err)
{
	json_t *wish, *result = NULL;
	int r;

	if (!lease->place)
		return 0;
	wish = json_pack("{s:O, s:o, s:o, s:o, s:I}", "dataset", json_object_get(args, "dataset"), "as", json_from_bytes(lease->as), "place",
	                 json_from_bytes(lease->place), "password", json_from_bytes(lease->password), "seconds", lease->seconds);
	r = run_op_with(store, "publish.lease", wish, lease->fd, NULL, &result, err);
	if (r < 0)
		undo(store, args);
	else
		say("this is the writer of %s%s, in term %lld, until it is unmounted\n", lease->place, lease->as,
		    (long long)json_integer_value(json_object_get(result, "term")));
	json_decref(result);
	return r;
}

/* --- status --- */

static const char *text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

void mount_lease_print(const json_t *status)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(status, "leases"), i, row) {
		const bool is_had = strcmp(text_of(row, "state"), "had") == 0, is_lost = strcmp(text_of(row, "state"), "lost") == 0;
		char since[UNITS_MAX];

		units_time((double)json_integer_value(json_object_get(row, "since")), since);
		say("lease          %s: ", text_of(row, "dataset"));
		if (is_had)
			say("the writer of %s%s since %s, in term %lld, for %lld s more unless it goes on\n", text_of(row, "place"), text_of(row, "as"), since,
			    (long long)json_integer_value(json_object_get(row, "term")), (long long)json_integer_value(json_object_get(row, "left_s")));
		else if (is_lost)
			say("READ-ONLY, the writer of %s%s no more since %s: %s; umount and mount take it anew\n", text_of(row, "place"),
			    text_of(row, "as"), since, text_of(row, "why"));
		else
			say("READ-ONLY, as there is no lease%s%s; umount and mount take it\n", text_of(row, "why")[0] ? ": " : "", text_of(row, "why"));
	}
}
