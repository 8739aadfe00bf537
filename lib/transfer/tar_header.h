/*
 * The header block of a tar member: v7, ustar, GNU and star, as POSIX and the manual of GNU tar have them. Pure functions over bytes; any
 * thread. All of it is foreign: nothing is trusted, a number that cannot be one is an error.
 *
 *   offset size
 *        0  100  name           124   12  size of the data    157  100  target of a link    329    8  major of a device
 *      100    8  mode           136   12  mtime               257    6  "ustar", NUL or ' ' 337    8  minor
 *      108    8  uid            148    8  checksum            265   32  user                345  155  ustar: what stands before the name
 *      116    8  gid            156    1  type                297   32  group                         GNU: atime, ctime, ..., see below
 *
 * GNU: 345 atime (12), 357 ctime (12), 386 four stretches of a sparse file (24 each: offset, length), 482 whether more follow, 483 its
 * whole size (12). A block of more stretches holds 21 of them, and at 504 whether yet another follows.
 *
 * A number is octal digits, or has its top bit set and is big-endian, in two's complement without that bit.
 */
#ifndef CORPUSFS_TRANSFER_TAR_HEADER_H
#define CORPUSFS_TRANSFER_TAR_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

#define TAR_BLOCK 512

enum tar_type {
	TAR_FILE = '0',
	TAR_OLD_FILE = '\0',
	TAR_LINK = '1',
	TAR_SYMLINK = '2',
	TAR_CHARACTER = '3',
	TAR_BLOCK_DEVICE = '4',
	TAR_DIRECTORY = '5',
	TAR_FIFO = '6',
	TAR_CONTIGUOUS = '7',
	TAR_PAX = 'x',
	TAR_PAX_SUN = 'X',
	TAR_PAX_GLOBAL = 'g',
	TAR_GNU_LONG_NAME = 'L',
	TAR_GNU_LONG_LINK = 'K',
	TAR_GNU_DIRECTORY = 'D', /* with a list of names as its data */
	TAR_GNU_SPARSE = 'S',
	TAR_GNU_LABEL = 'V',
	TAR_GNU_CONTINUED = 'M', /* the rest of a file that began on another volume */
};

struct tar_header {
	uint8_t type;
	bool is_gnu;
	uint32_t mode;
	uint64_t uid, gid, size, major, minor;
	int64_t mtime, atime; /* atime 0: not told */
};

bool tar_is_zeros(const uint8_t block[TAR_BLOCK]);
/* Whether its checksum is right. */
bool tar_is_header(const uint8_t block[TAR_BLOCK]);
/* -EBADMSG: a number in it is none. */
WARN_UNUSED int tar_header_decode(const uint8_t block[TAR_BLOCK], struct tar_header *ret_header);
/* With their NUL. */
void tar_header_name(const uint8_t block[TAR_BLOCK], struct buf *name);
void tar_header_target(const uint8_t block[TAR_BLOCK], struct buf *target);

/* Stretch `number` of a header of type TAR_GNU_SPARSE, or of a block that follows it: 1, 0: there are no more here, -EBADMSG. */
WARN_UNUSED int tar_sparse_at(const uint8_t block[TAR_BLOCK], bool is_header, unsigned number, uint64_t *ret_offset, uint64_t *ret_len);
bool tar_sparse_goes_on(const uint8_t block[TAR_BLOCK], bool is_header);
WARN_UNUSED int tar_sparse_size(const uint8_t block[TAR_BLOCK], uint64_t *ret_size);

#endif
