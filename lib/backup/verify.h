/*
 * Whether a repository holds what its backups name, and whether it is undamaged. Nothing is written but a lock.
 *
 *   always      every index file, every snapshot file, every hold, every tree of every backup; every blob that they name is in an index, and its pack is there
 *               and long enough; the pieces of large directories are their trees (verify_pieces.h); descriptions are such that a restore can go by
 *               them (verify_description.h)
 *   with data   every pack, or a random part of them: its name is the SHA-256 of its bytes, each blob in it opens to its own SHA-256, and what an index
 *               says stands in it stands where that says
 *   if a pack or a blob is hurt, or a tree says what cannot be restored: each backup that names that, or something of which no good copy is left, and
 *               how many files that are
 */
#ifndef CORPUSFS_BACKUP_VERIFY_H
#define CORPUSFS_BACKUP_VERIFY_H

#include "lib/repository/snapshot_file.h"
#include "lib/transfer/transfer.h"

struct verify_options {
	struct transfer_options transfer; /* problem: "what", why; progress in packs and trees */
	struct repository *repository;
	bool data;
	unsigned sample; /* with data: percent of the packs, 1 to 100; one pack at least */
};

struct verify_counts {
	uint64_t snapshots, trees, blobs, packs, packs_read, bytes_read, problems, hurt; /* hurt: backups */
	/* What is wrong, for who says what mends it: */
	uint64_t snapshot_files; /* that are damaged */
	bool has_bad_index;      /* it is damaged, lacks what backups name, or says what is not so */
	bool has_bad_packs;      /* missing or damaged */
};

WARN_UNUSED int verify_run(const struct verify_options *options, struct verify_counts *ret_counts, struct error *err);

#endif
