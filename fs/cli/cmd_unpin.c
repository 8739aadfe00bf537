#include <errno.h>
#include <stdio.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/password.h"
#include "fs/cli/remotes.h"
#include "fs/cli/say.h"
#include "fs/cli/warm_remote.h"

static int unpin(struct cli *cli, const struct warm_place *place)
{
	const bool all = cli_option(cli, "all") != NULL;
	struct error err = {0};

	if (warm_place_pin(place, all ? WARM_UNPIN_ALL : WARM_UNPIN, &err) < 0)
		return exit_with(&err);
	say("%s not pinned any more, and goes when the cache needs the room\n", all ? "what is in the cache is" : "it is");
	return EXIT_OK;
}

static int unpin_unmounted(struct cli *cli)
{
	CLEANUP(warm_remote_close) struct warm_remote remote = warm_remote_of(cli->argv[0]);
	struct error err = {0};

	return warm_remote_open(cli, &remote, &err) < 0 ? repository_exit(remote.options.name.place, &err, NULL) : unpin(cli, &remote.place);
}

static int run_unpin(struct cli *cli)
{
	const struct warm_place place = {.path = cli->argv[0]};
	struct error err = {0};
	int r;

	if (remote_mount_has(cli->argv[0]))
		return unpin(cli, &place);
	r = remote_find(cli->argv[0], NULL, NULL, &err);
	if (r == 0) {
		r = error_set(&err, -ENOENT, "%s lies in no mount of a remote", cli->argv[0]);
		error_hint(&err, "without a mount, name REMOTE:DATASET[@NAME][/PATH] with -o cache=DIRECTORY");
	}
	return r < 0 ? exit_with(&err) : unpin_unmounted(cli);
}

static const struct option unpin_options[] = {
	{'a', "all", NULL, "all that is pinned in this cache, also of other versions"},
	OPTION_REMOTE_CACHE,
	OPTIONS_PASSWORD,
	OPTIONS_END,
};

const struct command unpin_commands[] = {
	{.name = "unpin",
         .operands = "PATH|REMOTE:DATASET[@NAME][/PATH]",
         .summary = "let go what warm --pin keeps in a cache",
         .details = "PATH is the same in a mount of the same version as it was pinned by; without a\n"
                    "mount, -o cache= names the cache. corpusfs status of the mount lists what is\n"
                    "pinned.\n",
         .min = 1,
         .max = 1,
         .options = unpin_options,
         .run = run_unpin},
	{NULL},
};
