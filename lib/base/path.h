/* Paths as text. */
#ifndef CORPUSFS_BASE_PATH_H
#define CORPUSFS_BASE_PATH_H

#include <stdbool.h>

char *path_clean(const char *path); /* without slashes at the ends or two in a row; freed by the caller */

/* Both are clean. "" is above everything, and each path is below itself. */
bool path_is_below(const char *path, const char *above);

#endif
