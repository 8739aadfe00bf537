/*
 * Which big files of an archive have their name to themselves. Only such a one may be passed over because the dataset has a file of the
 * same size and time by its name: of two members of one name, it cannot be said without their content which one that file came from.
 *
 *   big_names_new -> big_names_add, each member -> big_names_end -> big_names_is_single...
 */
#ifndef CORPUSFS_TRANSFER_BIG_NAMES_H
#define CORPUSFS_TRANSFER_BIG_NAMES_H

#include "lib/transfer/archive.h"

#define BIG_FILE (4U << 20) /* a file of more bytes */

struct big_names;
struct big_names *big_names_new(void);
void big_names_free(struct big_names *names); /* NULL is fine */
void big_names_add(struct big_names *names, const struct archive_found *found);
void big_names_end(struct big_names *names);
bool big_names_is_single(const struct big_names *names, const char *plain_path);

#endif
