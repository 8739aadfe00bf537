/*
 * What lies outside of the store: where import reads and export writes. The command opens it, with the user's rights and in the user's
 * view of the system, and the operation gets the descriptor: the daemon may live in another mount namespace, and be another user.
 */
#ifndef CORPUSFS_CLI_OUTSIDE_H
#define CORPUSFS_CLI_OUTSIDE_H

#include <stdbool.h>

#include "lib/base/error.h"

/* A directory or an archive to read; "-" is standard input. Closed by the caller. */
WARN_UNUSED int outside_open_source(const char *path, int *ret_fd, struct error *err);

/*
 * Where an export goes: a directory, which is made if it is not there; an archive, which is called NAME.part until it is complete; or
 * something that is there already and takes a stream: standard output ("-"), a pipe, a device.
 *
 *   outside_open_target -> outside_keep or outside_drop -> outside_close
 */
struct outside {
	const char *path;   /* the caller's */
	const char *format; /* "dir", "tar", ... */
	int fd;
	bool is_stream;
	bool made;  /* the directory was not there before */
	char *part; /* an archive's name until it is complete; owned */
};

/* `format`: what the user wants; NULL: the name decides. */
WARN_UNUSED int outside_open_target(const char *path, const char *format, struct outside *ret_outside, struct error *err);
/* Gives a complete archive its name, on disk. Until it has succeeded nothing may say that the export has. */
WARN_UNUSED int outside_keep(struct outside *target, struct error *err);
/* Removes an archive that is not complete, and a directory that was made for nothing. */
void outside_drop(struct outside *target);
void outside_close(struct outside *target);

#endif
