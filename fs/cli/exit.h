/* Exit codes of the program; scripts rely on them. The man page lists them. */
#ifndef CORPUSFS_CLI_EXIT_H
#define CORPUSFS_CLI_EXIT_H

#include "lib/base/error.h"

enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_DIFFERENT = 1, /* with --exit-code */
	EXIT_USAGE = 2, /* unknown command or option, a name that cannot be one */
	EXIT_NOT_FOUND = 3,
	EXIT_BUSY = 4, /* busy, locked, held, not empty */
	EXIT_EXISTS = 5,
	EXIT_PERMISSION = 6,
	EXIT_DAMAGED = 7, /* damaged, or not a store */
	EXIT_NO_SPACE = 8,
	EXIT_UNSUPPORTED = 9, /* a newer format, or something this system does not offer */
};

enum exit_code exit_code_of(int code); /* of a negative errno */

/* Prints "corpusfs: TEXT; HINT" on standard error, and returns the exit code. */
int exit_with(const struct error *err);

#endif
