/*
 * Writing again after a merge has met damage. RocksDB has stopped then for as long as the database is open, and there is no way to tell it to
 * go on. But nothing is lost: what was written is in the log, and the damaged table is where it was, for no merge ends that cannot read all.
 * So the database is closed and opened once more, in a moment in which nobody is inside (inside.h); nothing is merged until the tables are
 * sound (KD2), which they may be by then: there may be no room for an opening for long.
 *
 *   RO1  Only where damage alone has stopped it. After a write of the log has failed, nobody knows what of it is on disk: kv_sync(). Who changes
 *        the database is inside until he has noted how that went, so in the moment in which nobody is inside all is known.
 *   RO2  What a change was refused for is tried once more, so whoever makes it does not learn of it, but for the time that an opening takes.
 *   RO3  Only if all is there afterwards: the disk has just shown damage, and what else is hurt, the log even, must not take the rest away. It is
 *        opened beside itself, read-only, first; and on a full disk nothing is tried. Reads go on as they did.
 *   RO4  Where somebody stays inside, with a long scan, the change fails as it would have, and the next one tries. A scrub, which takes
 *        longest, goes out again and again.
 *
 * Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_REOPEN_H
#define CORPUSFS_KV_REOPEN_H

#include "lib/kv/internal.h"

/* `result` is that of a change, `opened` was kv_opened() before it. True: the database has been opened since, and the change is to be tried anew. */
WARN_UNUSED bool kv_reopened(struct kv *kv, int result, unsigned opened);
unsigned kv_opened(struct kv *kv);

#endif
