/*
 * How a repository is looked at, as operand and options say it: which one and what of it, its password, and with -o its cache and how long who reads
 * waits. A mount takes this, and what fills the cache of one that comes later.
 *
 *   remote_options_of -> remote_options_get -> `browsing` is used -> remote_options_clear
 */
#ifndef CORPUSFS_CLI_REMOTE_OPTIONS_H
#define CORPUSFS_CLI_REMOTE_OPTIONS_H

#include "fs/cli/command.h"
#include "fs/cli/repository.h"
#include "lib/browse/browsing.h"

struct remote_options {
	struct repository_name name;
	struct browsing_options browsing; /* but for `problem`; what it names is owned by what follows */
	json_t *args;                     /* what else -o says (mount_options.h) */
	char *repository, *cache_dir, *password;
	struct buf description;
};

struct remote_options remote_options_of(const char *operand); /* as repository_name_of has it; the operand must stay */
/* -EINVAL: an option has no meaning here. Asks for the password if it must, last. */
WARN_UNUSED int remote_options_get(struct cli *cli, struct remote_options *options, struct error *err);
void remote_options_clear(struct remote_options *options);

#endif
