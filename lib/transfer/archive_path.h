/* Names of archives. Pure; any thread. */
#ifndef CORPUSFS_TRANSFER_ARCHIVE_PATH_H
#define CORPUSFS_TRANSFER_ARCHIVE_PATH_H

#include <stdbool.h>

/*
 * A name in its plain form ("a/b"; "" for the top), or NULL, and why, for one that may not be followed. As tar does, a leading slash is
 * taken off (ret_is_cut), and of the target of a hard link whatever leads up. The caller frees it.
 */
char *archive_path_plain(const char *path, bool is_link_target, const char **ret_why, bool *ret_is_cut);

#endif
