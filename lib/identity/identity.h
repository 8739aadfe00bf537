/*
 * The identity of a tree: the same tree has the same identity in every store, on every machine, whatever its history or chunking.
 *
 * Definition. All hashes are SHA-256; || is concatenation; u32 and u64 are little-endian; names and targets are raw bytes.
 *
 *   content(file)     = SHA256(all bytes of the file), for a file of at most 1 MiB, and for one without a run of zeros; else
 *                       SHA256("corpusfs-sparse\0" || pieces || u64 size), and for each piece, in order:
 *                         u64 offset || SHA256(bytes of the piece)
 *   node(regular)     = SHA256("corpusfs-file\0"    || u32 mode || u64 size || content)
 *   node(symlink)     = SHA256("corpusfs-symlink\0" || u32 mode || u64 length of target || target)
 *   node(fifo,socket) = SHA256("corpusfs-special\0" || u32 mode || u64 0)
 *   node(device)      = SHA256("corpusfs-special\0" || u32 mode || u32 major || u32 minor)
 *   node(directory)   = SHA256("corpusfs-dir\0"     || u32 mode || entries), and for each entry, sorted by the bytes of its name:
 *                         u32 length of name || name || node(child)
 *   identity          = node(root directory)
 *
 * A run of zeros is a sequence of at least 64 KiB zero bytes, with other bytes or the file's ends around it, whether they are stored or a
 * hole; the pieces are what lies between the runs, if it is not empty. So a digest costs what data there are, not how long the file is.
 *
 * mode is st_mode: type and permission bits (07777); a symlink's mode counts as 0120777. Owners, times, extended attributes and link
 * counts do not enter. packaging/corpusfs-identity recomputes it from any plain copy.
 *
 * Cost: digests are kept in the catalog per inode and epoch ('H' records); a snapshot whose line contains that of one already done
 * recomputes only what was touched since, and the directories above it.
 *
 * Errors of what computes: -EIO damaged, -ECANCELED, -ESTALE the snapshot was destroyed meanwhile, -EAGAIN a head that would not stand
 * still. `cancelled` may be NULL; it is polled by the calling thread and may take its time.
 * Threads: any.
 */
#ifndef CORPUSFS_IDENTITY_IDENTITY_H
#define CORPUSFS_IDENTITY_IDENTITY_H

#include "lib/store/store.h"

#define IDENTITY_LEN 32
#define IDENTITY_TEXT_LEN (2 * IDENTITY_LEN + 1)

/* What it took to compute one. */
struct identity_cost {
	uint64_t directories, nodes; /* whose nodes were computed; nodes: of what is no directory */
	uint64_t contents;           /* files whose content was read and hashed */
	bool partial;                /* only what was touched was looked at */
};

/* Of a snapshot's view: computes what is missing, and keeps it, if there is room. Of a head's: as committed now, and nothing is kept. */
WARN_UNUSED int identity_compute(struct store *store, struct view *view, bool (*cancelled)(void *arg), void *arg,
				 uint8_t ret_identity[IDENTITY_LEN]);
/* The same, and what it took; `anew`: nothing that is stored is believed, except of files' content. */
WARN_UNUSED int identity_measure(struct store *store, struct view *view, bool anew, uint8_t ret_identity[IDENTITY_LEN],
				 struct identity_cost *ret_cost);

/* Only if it was computed before: 0 or -ENODATA. */
WARN_UNUSED int identity_known(struct store *store, struct view *view, uint8_t ret_identity[IDENTITY_LEN]);

/* SHA-256 of all bytes of a regular file, from the record if there is one; not the content of the definition, where the file has runs of
 * zeros: then each zero is hashed. -ENODATA: not a regular file; -EFBIG: it has more than 256 GiB in holes. */
WARN_UNUSED int identity_file(struct store *store, struct view *view, uint64_t ino, bool (*cancelled)(void *arg), void *arg,
			      uint8_t ret_sha256[IDENTITY_LEN]);

/* Background: computes one snapshot's missing identity. 1 did one (or it was destroyed meanwhile), 0 none left, or -errno. */
WARN_UNUSED int identity_step(struct store *store, bool (*cancelled)(void *arg), void *arg);

void identity_to_text(const uint8_t identity[IDENTITY_LEN], char ret_text[IDENTITY_TEXT_LEN]);

#endif
