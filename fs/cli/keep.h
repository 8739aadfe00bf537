/* The rules by which old backups stay. */
#ifndef CORPUSFS_CLI_KEEP_H
#define CORPUSFS_CLI_KEEP_H

#include <jansson.h>

#include "fs/cli/command.h"

#define OPTIONS_KEEP                                                                            \
	{0, "keep-last", "N", "the newest N stay, of each dataset"},                            \
	{0, "keep-hourly", "N", "the newest of each of the last N hours that have one"},        \
	{0, "keep-daily", "N", "of each day"}, {0, "keep-weekly", "N", "of each week"},         \
	{0, "keep-monthly", "N", "of each month"},                                              \
	{                                                                                       \
		0, "keep-yearly", "N", "of each year"                                           \
	}

/* Puts those that are given into args as "keep". -EINVAL */
WARN_UNUSED int keep_set(struct cli *cli, json_t *args, struct error *err);

#endif
