/*
 * Files past the page cache.
 *
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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

/* Memory, length and place of what goes past the page cache are multiples of this. */
#define DIRECT_ALIGNMENT ((size_t)4096)

struct direct_file;

WARN_UNUSED int direct_file_new(const char *path, struct direct_file **ret_file); /* what is there is overwritten */
WARN_UNUSED int direct_file_add(struct direct_file *file, const void *data, size_t len); /* after an error: the same one */
WARN_UNUSED int direct_file_end(struct direct_file *file); /* all of it is on the disk; nothing may be added any more */
/*
 * The same over a descriptor that is open for writing, empty, and stays the caller's; *file is used again if it is not NULL. -EINVAL: its filesystem
 * cannot do it, or there is no memory; nothing has changed. direct_file_finish writes what is left; it is not yet on the disk.
 */
WARN_UNUSED int direct_file_over(int fd, struct direct_file **file);
WARN_UNUSED int direct_file_finish(struct direct_file *file);
void direct_file_free(struct direct_file *file);           /* the file stays, as far as it was written. NULL is fine */

/*
 * The same for a file whose bytes are in memory: writes all of them to a descriptor that is open for writing, from where it stands. What begins at a
 * multiple of 4096, as pages_alloc() gives it, goes past the page cache without being copied, but for its last bytes. It is not yet on the disk.
 */
WARN_UNUSED int direct_write(int fd, const void *data, size_t len);

/*
 * Reads exactly len bytes of a descriptor that was opened with O_DIRECT. `to` stands to DIRECT_ALIGNMENT as `offset` does, and the range has a whole
 * block at least (direct_can_read). -EINVAL: the disk cannot do it, or the file is shorter; then it is to be read in the usual way.
 */
static inline bool direct_can_read(const void *to, size_t len, uint64_t offset)
{
	return ((uintptr_t)to - offset) % DIRECT_ALIGNMENT == 0 && len >= 2 * DIRECT_ALIGNMENT;
}
bool direct_is_unable(int code); /* an errno: the filesystem or disk does not go past the page cache, or not so; no failure of a disk is called so */
WARN_UNUSED int direct_read(int fd, void *to, size_t len, uint64_t offset);

#endif
