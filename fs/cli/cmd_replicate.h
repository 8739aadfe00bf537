/* Replication by streams: the command. Its other end is serve_receive.h. */
#ifndef CORPUSFS_CLI_CMD_REPLICATE_H
#define CORPUSFS_CLI_CMD_REPLICATE_H

struct cli;

int run_replicate(struct cli *cli);

#endif
