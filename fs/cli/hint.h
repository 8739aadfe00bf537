/* Hints are commands that can be copied into the shell in which the failed one was typed: so they find the same store there. */
#ifndef CORPUSFS_CLI_HINT_H
#define CORPUSFS_CLI_HINT_H

#include "lib/base/error.h"

/* Puts -s STORE into the commands of the hint, unless they find the store without it. NULL: none was named. */
void hint_name_store(struct error *err, const char *store);

#endif
