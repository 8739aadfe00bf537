/* The other end of corpusfs replicate. See cmd_replicate.c for how they talk. */
#ifndef CORPUSFS_CLI_SERVE_RECEIVE_H
#define CORPUSFS_CLI_SERVE_RECEIVE_H

/* Says what the dataset has, receives a stream, and so on until the descriptor ends. Returns the exit code. */
int serve_receive(const char *store, const char *dataset, int fd);

#endif
