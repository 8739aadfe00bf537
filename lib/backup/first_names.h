/*
 * The names of a tree whose files have several: each further name finds the first one, in the order in which they come.
 *
 *   first_names_new -> first_names_find ... -> first_names_free
 */
#ifndef CORPUSFS_BACKUP_FIRST_NAMES_H
#define CORPUSFS_BACKUP_FIRST_NAMES_H

#include "lib/repository/node.h"

struct first_names;

struct first_names *first_names_new(void);
void first_names_free(struct first_names *names); /* NULL is fine */

/*
 * The path of the name that came before for the same file, good until the end. NULL: this is the first one, or the file has one name, or the backup
 * has another content under its first name, *ret_other, for the file changed between the two: then this is a file of its own. Else *ret_other is NULL.
 */
const char *first_names_find(struct first_names *names, const struct node *node, const char *path, const char **ret_other);

#endif
