/* Replication by streams: the command, and the other end of it. See cmd_replicate.c for how they talk. */
#ifndef CORPUSFS_CLI_CMD_REPLICATE_H
#define CORPUSFS_CLI_CMD_REPLICATE_H

struct cli;

int run_replicate(struct cli *cli);
/* Says what the dataset has, receives a stream, and so on until the descriptor ends. Returns the exit code. */
int serve_receive(const char *store, const char *dataset, int fd);

#endif
