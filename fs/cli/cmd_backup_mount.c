#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/cmd_backup_mount.h"
#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/password.h"
#include "fs/cli/remote_options.h"
#include "fs/cli/repository.h"
#include "fs/cli/say.h"
#include "fs/cli/where.h"
#include "fs/daemon/serve/backups_daemon.h"
#include "lib/base/buf.h"
#include "lib/base/shell.h"

static int find_paths(const char *mountpoint, const char *log, char *ret_paths[2], struct error *err)
{
	int r = 0;

	ret_paths[0] = where_absolute(mountpoint);
	if (!ret_paths[0])
		r = error_set(err, -errno, "%s: %s", mountpoint, strerror(errno));
	if (r == -ENOENT)
		error_hint_shell(err, "make the mountpoint first: mkdir -p %s", mountpoint);
	if (r == 0)
		r = where_remove_all_dead(ret_paths[0], err);
	if (r == 0 && log && !(ret_paths[1] = where_absolute_new(log)))
		r = error_set(err, -errno, "%s: %s", log, strerror(errno));
	return r;
}

/* What can be followed has a head. */
static int check_follow(const struct remote_options *remote, struct error *err)
{
	if (!remote->browsing.follows || (remote->browsing.is_published && !strchr(remote->browsing.backup, '@')))
		return 0;
	(void)error_set(err, -EINVAL, "mount option follow: %s", remote->browsing.is_published ? "a version that is named stays what it is"
	                                                                                      : "only what was published is followed");
	error_hint(err, "corpusfs mount REMOTE:DATASET MOUNTPOINT -o follow");
	return -EINVAL;
}

int backup_mount_run(struct cli *cli)
{
	CLEANUP(remote_options_clear) struct remote_options remote = remote_options_of(cli->argv[0]);
	char *paths[2] = {NULL};
	struct error err = {0};
	int r = find_paths(cli->argv[1], cli_option(cli, "log"), paths, &err);

	if (r == 0)
		r = remote_options_get(cli, &remote, &err);
	if (r == 0)
		r = check_follow(&remote, &err);
	if (r == 0) {
		const struct backups_daemon_options options = {.browsing = remote.browsing, .mountpoint = paths[0], .log = paths[1],
		                                               .allow_other = json_is_true(json_object_get(remote.args, "allow_other")),
		                                               .debug = json_is_true(json_object_get(remote.args, "debug")),
		                                               .extra = json_string_value(json_object_get(remote.args, "extra"))};

		r = backups_daemon_start(&options, &err);
	}
	free(paths[0]);
	free(paths[1]);
	if (r < 0)
		return repository_exit(remote.name.place, &err, NULL);
	if (!cli->quiet)
		say("mounted %s%s on %s; corpusfs umount ends it\n", remote.name.is_published ? "" : "the backups of ",
		    remote.name.is_published ? cli->argv[0] : remote.name.place, cli->argv[1]);
	return EXIT_OK;
}

static const struct option mount_options[] = {
	{'o', NULL, "OPTIONS", "allow_other, cache=SIZE|DIRECTORY, cache_size=SIZE, ..."},
	{0, "log", "FILE", "where damage is told; else syslog"},
	OPTIONS_PASSWORD,
	OPTIONS_END,
};

const struct command backup_mount_commands[] = {
	{.name = "backup mount",
         .operands = "REPO[@BACKUP] MOUNTPOINT",
         .summary = "look into backups as into directories",
         .details = "Read only. All backups: ids/, times/ and latest; or the tree of the one that is\n"
                    "named. Answers at once: directories are fetched when they are looked into, content\n"
                    "when it is read. Every byte is checked; what is damaged cannot be read, and the\n"
                    "log says what it is. While it is mounted, nothing can be pruned.\n",
         .min = 2,
         .max = 2,
         .options = mount_options,
         .run = backup_mount_run},
	{NULL},
};
