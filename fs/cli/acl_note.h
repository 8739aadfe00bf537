/* What is told to who brings in files that have access control lists. */
#ifndef CORPUSFS_CLI_ACL_NOTE_H
#define CORPUSFS_CLI_ACL_NOTE_H

#include <jansson.h>

/* One line, if the result of an operation counts such files ("acls"). */
void acl_note(const json_t *result);

#endif
