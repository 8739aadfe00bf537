/* The names in a store's directory (store.h says what they are). Internal to lib/store. Any thread. */
#ifndef CORPUSFS_STORE_LAYOUT_H
#define CORPUSFS_STORE_LAYOUT_H

#include <stdbool.h>
#include <sys/stat.h>

#include "lib/base/buf.h"

#define UNFINISHED_NAME "unfinished"
#define BALLAST_NAME "ballast"

static inline char *inside(const char *path, const char *name)
{
	return xasprintf("%s/%s", path, name);
}

static inline bool exists(const char *path, const char *name)
{
	AUTO_FREE char *full = inside(path, name);
	struct stat st;

	return lstat(full, &st) == 0;
}

#endif
