/*
 * Extended attributes that nobody stores, of a mount of backups: they answer getxattr and are not listed. Internal to fs/fuse/backups.
 *
 * user.corpusfs.status, on all that is in it, is how the mount fares, as JSON:
 *
 *   {"fetches", "fetch_failures", "sent_again": requests whose answers were late, "fetched_blobs", "fetched_bytes",
 *    "fetch_ms_50", "fetch_ms_90", "fetch_ms_99": so many of a hundred took no longer;
 *    "read_bytes" by readers, "memory_bytes", and with a cache on disk "cache_hits", "cache_hit_bytes", "cache_bytes", "cache_limit",
 *    "cache_blobs", "cache_evicted", "cache_damaged", "pinned_bytes", "pinned_missing": of these, that are not in the cache, "cache_stopped";
 *    of a mount that follows, "version": its number, "version_name", "newest": the number of the newest that is known, "newest_asked": when that was known
 *    last, in seconds since 1970, and "follow_problem": why it is not known, or not shown, if so}
 *
 * user.corpusfs.bring.POSITION.OFFSET, on a directory or a file, brings a step of its content to the cache on disk (browse_bring), and then is
 * "POSITION.OFFSET FILES BYTES FAILED" with the next step, or "end FILES BYTES FAILED". The first step is 0.0.
 *
 * user.corpusfs.pin, .unpin and .unpin.all pin what is at and below a path, let it go, and let all go (browse_pin); then it is "done".
 * user.corpusfs.pin.missing is how many bytes of what is pinned by this path are not in the cache. For these, only root and whose mount it is may ask.
 * user.corpusfs.pinned.NUMBER, from 0 on, is what is pinned: "SINCE FILES BYTES BACKUP PATH".
 */
#ifndef CORPUSFS_FUSE_BACKUPS_BACKUPS_XATTRS_H
#define CORPUSFS_FUSE_BACKUPS_BACKUPS_XATTRS_H

#include "lib/browse/browse.h"

bool backups_xattr_brings(const char *name);
/* -ENODATA: it is none of these. -EAGAIN: who asks must be ready to wait. is_owner: who asks is root, or it is his mount. */
WARN_UNUSED int backups_xattr(struct browse *browse, uint64_t id, const char *name, bool is_owner, bool may_wait, struct buf *ret_value);

#endif
