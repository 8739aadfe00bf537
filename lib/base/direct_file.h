/*
 * A new file that is written once, from its start to its end, past the page cache: nobody will read it soon, so it shall not take pages that
 * others need, and the kernel shall neither find, clear and fill them nor write them out later. (On a virtual machine whose host takes back
 * free memory a fresh page costs more than all the rest: 1 s of a processor per GiB.) A filesystem that cannot do that gets a usual file.
 *
 *   direct_file_new -> direct_file_add* -> direct_file_end -> direct_file_free
 *
 * Returns negative errno. One thread at a time.
 */
#ifndef CORPUSFS_BASE_DIRECT_FILE_H
#define CORPUSFS_BASE_DIRECT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

struct direct_file;

WARN_UNUSED int direct_file_new(const char *path, struct direct_file **ret_file); /* what is there is overwritten */
WARN_UNUSED int direct_file_add(struct direct_file *file, const void *data, size_t len); /* after an error: the same one */
WARN_UNUSED int direct_file_end(struct direct_file *file); /* all of it is on the disk; nothing may be added any more */
void direct_file_free(struct direct_file *file);           /* the file stays, as far as it was written. NULL is fine */

/*
 * The same for a file whose bytes are in memory: writes all of them to a descriptor that is open for writing, from where it stands. What begins at a
 * multiple of 4096, as pages_alloc() gives it, goes past the page cache without being copied, but for its last bytes. It is not yet on the disk.
 */
WARN_UNUSED int direct_write(int fd, const void *data, size_t len);

#endif
