/*
 * Where the process can die, or the power fail, in the middle of something: what is on the disk then, and who puts it right. Each row is a
 * fault point (lib/base/fault.h) of that name; tests/lint checks that the code has it, and that a test dies or fails there.
 *
 * What all of them rest on:
 *
 *   F1. A batch is in the log whole or not at all. The log keeps their order, and what a sync acknowledged is before its end. So after a
 *       crash the records are those of a moment: none is missing between two that are there.
 *   F2. A file that is ingested is synced before the manifest names it, and the manifest before a batch names its chunks (I8).
 *   F3. What lies in a store's directory, and the database does not name, is nobody's: RocksDB removes its own files at the next opening,
 *       store_open() those of the ingest directory.
 *
 * Power that fails differs from a process that dies in what is lost: of the log, what was not synced. The rows hold for both.
 */
#ifndef CORPUSFS_BASE_FAULT_POINTS_H
#define CORPUSFS_BASE_FAULT_POINTS_H

/*   point                          what is on disk                                             who puts it right */
#define FAULT_POINTS(X)                                                                                                                      \
	/* a store is made */                                                                                                                \
	X("init-before-database",        "a directory with a lock, no store",                        "init, which begins anew")               \
	X("init-before-superblock",      "a database without a superblock, no store",                "init, which begins anew")               \
	/* a store is opened */                                                                                                              \
	X("lock.before-look",            "the record of the last owner",                             "nobody needs to")                       \
	X("lock.before-rename",          "the record of the last owner",                             "nobody needs to")                       \
	X("lock.taken",                  "the record of an owner who is dead",                       "the next, who finds it dead")           \
	X("lock.database-renamed",       "the same; a silent owner's database under its new name",   "the next, who finds it by that name")   \
	X("store-before-open",           "the record of an owner who is dead",                       "the next, who finds it dead")           \
	/* a damaged store is repaired */                                                                                                         \
	X("mend-before-kept",            "the damaged database, and a copy of it without its name",  "repair, which makes another copy")      \
	X("mend-before-manifest",        "the damaged database, and two copies of it",               "repair, which makes other copies")      \
	X("mend-before-tables",          "the damaged database, and two copies of it",               "repair, which makes other copies")      \
	X("mend-before-table",           "the same; some tables of one copy are mended",             "repair, which makes other copies")      \
	X("mend-before-exchange",        "the same; one copy is mended",                             "repair, which makes other copies")      \
	X("mend-after-exchange",         "the mended database, and two copies of the damaged one",   "repair, which removes one copy")        \
	X("mend-before-log",             "the damaged database, and a copy of it",                   "repair, which makes another copy")      \
	X("mend-before-superblock",      "no superblock, the damaged one aside, and its copy",       "repair, which takes the copy again")    \
	/* a change is refused, since a merge has met damage */                                                                                  \
	X("kv-write-refused",            "as before",                                                "the same change, which is tried again") \
	/* a chunk was found whole, or nobody needs it */                                                                                         \
	X("damage-before-forget",        "its row in the list of damage",                            "the next scrub, or the collector")      \
	/* content is committed */                                                                                                           \
	X("buffer-before-memory",        "as before",                                                "nobody needs to")                       \
	X("commit-before-store",         "the files as they were",                                   "nobody needs to")                       \
	X("kv.sst.finish",               "half a file in the ingest directory",                      "store_open (F3)")                       \
	X("chunks-before-ingest",        "a whole file in the ingest directory",                     "store_open (F3)")                       \
	X("kv.ingest.before",            "a whole file in the ingest directory",                     "store_open (F3)")                       \
	X("kv.ingest.after",             "chunks that no extent names (F2)",                         "the collector")                         \
	X("chunks-after-ingest",         "chunks that no extent names (F2)",                         "the collector")                         \
	X("commit-before-write",         "chunks that no extent names (F2)",                         "the collector")                         \
	X("commit-after-write",          "the new content, of the files of this batch (F1)",         "nobody needs to")                       \
	X("bulk-content-stored",         "chunks that no extent names (F2)",                         "the collector")                         \
	X("bulk-before-replace",         "new files; of others, the old ones or the new ones",       "who imports again")                     \
	X("content-between-steps",       "a part of a long truncation, from the end on",             "who truncates again")                   \
	X("copy-before-change",          "a part of a long copy, from the start on",                 "who copies again")                      \
	X("allocate-before-step",        "nothing of it",                                            "who allocates again")                   \
	X("copy-before-step",            "a part of a long copy, from the start on",                 "who copies again")                      \
	X("read-before-chunks",          "as before",                                                "nobody needs to")                       \
	X("backup-before-chunks",        "as before",                                                "nobody needs to")                       \
	X("close-before-release",        "as before",                                                "nobody needs to")                       \
	X("send-before-chunk",           "as before",                                                "nobody needs to")                       \
	X("replay-before-change",        "as the daemon that died has left it",                      "the next daemon, from the same journal") \
	/* names and attributes change */                                                                                                    \
	X("transaction-before-write",    "as before: all of a change is one batch (F1)",             "nobody needs to")                       \
	X("transaction-after-write",     "the change, whole",                                        "who asks again is told that it is done (mark.h)") \
	X("remove-before-inode",         "as before",                                                "nobody needs to")                       \
	X("orphan-before-remove",        "a note of a file without names, and its records",          "store_open, which goes through the notes") \
	X("orphan-batch",                "the note, and what is left of its records",                "store_open, which goes through the notes") \
	/* which views there are */                                                                                                          \
	X("head-before-open",            "as before",                                                "nobody needs to")                       \
	X("catalog-after-write",         "the change of the catalogue, whole",                       "who asks again is told that it is done (mark.h)") \
	X("dataset-create-before-write", "as before",                                                "nobody needs to")                       \
	X("snapshot-before-write",       "all content that was buffered; no snapshot",               "nobody needs to")                       \
	X("snapshot-after-write",        "the snapshots, all that were asked for (I3)",              "nobody needs to")                       \
	X("rollback-before-write",       "as before",                                                "nobody needs to")                       \
	X("rollback-after-write",        "the head as the snapshot, and the guard (I4)",             "nobody needs to")                       \
	X("clone-before-write",          "as before",                                                "nobody needs to")                       \
	X("clone-after-write",           "the clone (I5)",                                           "nobody needs to")                       \
	X("destroy-before-write",        "as before",                                                "nobody needs to")                       \
	X("destroy-after-write",         "no such view; a note of what only it could see",           "pruning, which goes through the notes") \
	X("restore-before-exchange",     "a tree under a name of its own beside the path",           "the next restore of the path")          \
	X("restore-after-exchange",      "the path as the snapshot; what it was under that name",    "the next restore of the path")          \
	/* what nobody needs goes */                                                                                                         \
	X("prune-before-join",           "notes of what to look through",                            "pruning, which goes through the notes") \
	X("prune-batch",                 "a part of the dead versions, and how far it came",         "pruning, which goes on")                \
	X("gc-after-mark",               "nothing was removed",                                      "the collector, from the start")         \
	X("gc-sweep",                    "a part of the dead chunks",                                "the collector, from the start")         \
	X("gc-compact",                  "the dead chunks are gone, their room is not back yet",     "the collector, from the start")         \
	X("repack-before-write",         "new chunks that no extent names (F2)",                     "the collector")                         \
	X("repack-after-write",          "these extents name new chunks; old ones are dead",         "the collector")                         \
	X("kv-merge",                    "dead records in tables that were not written anew",        "the collector, when there is room")     \
	X("chunks-sweep-batch",          "a part of the dead chunks",                                "the collector, from the start")         \
	/* in and out */                                                                                                                     \
	X("import-before-read",          "a part of the tree, whole files",                          "who imports again")                     \
	X("import-before-attribute",     "a part of the tree, whole files",                          "who imports again")                     \
	X("import-before-link",          "a file without a name",                                    "store_open, as any file without names") \
	X("import-batch-done",           "a part of the tree, whole files",                          "who imports again")                     \
	X("export-after-commit",         "a part of the target, whole files",                        "who exports again")                     \
	X("export-write",                "a part of the target; a file under a name of its own",     "who exports again")                     \
	X("export-before-attributes",    "the same; a pipe or device without owner and mode",        "the next export to it")                 \
	X("export-before-rename",        "a part of the target; a file under a name of its own",     "who exports again")                     \
	X("receive-frame",               "the dataset as it was; a part of the stream, hidden",      "send --resume, or the next stream")     \
	X("receive-saved",               "the same, up to here",                                     "send --resume, or the next stream")     \
	X("receive-built",               "the dataset as it was; the snapshot, hidden",              "send --resume, or the next stream")     \
	X("receive-before-write",        "the dataset as it was; the snapshot, hidden",              "send --resume, or the next stream")     \
	X("receive-after-write",         "the snapshot; what is hidden and nobody needs",            "the next stream")                       \
	X("replica-before-write",        "as before",                                                "nobody needs to")                       \
	X("demote-before-end",           "a replica, whose snapshots are held for its former one",   "the next demote")                       \
	X("identity-before-write",       "a snapshot without its digest",                            "who asks for it: it is computed")      \
	/* backups: in a repository */                                                                                                       \
	X("repository-before-config",    "folders and a key, no repository",                         "who removes the directory, as init says") \
	X("repository-after-config",     "the repository",                                           "nobody needs to")                         \
	X("key-before-remove",           "as before",                                                "who removes the key again")             \
	X("object-before-rename",        "a file under a name that nobody lists",                    "nobody needs to, but for its room")     \
	X("object-after-rename",         "the object, whole: a pack, an index file, a backup, a lock", "who comes: a lock of the dead is stale") \
	X("http-second-before-memory",   "as before",                                                "nobody needs to")                       \
	/* a mount moves to the next version, and the kernel knows some of the old names no more */                                           \
	X("follow-between-names",        "as before",                                                "nobody needs to")                       \
	/* what was fetched is kept in a cache on disk */                                                                                    \
	X("cache-before-entry",          "a record that no table names",                             "nobody needs to, but for its room")     \
	X("backup-before-snapshot-file", "packs and an index that names them, no backup",            "the next prune; until then the next backup relies on them") \
	X("backup-after-lock-check",     "packs and an index that names them, no backup",            "the next prune; until then the next backup relies on them") \
	X("backup-after-snapshot-file",  "the backup; snapshots of the store that are not needed",   "the next backup")                       \
	X("lease-before-lock",           "as before: who has no lease is not in the store",            "the next daemon, or the same, again")\
	X("lease-after-answer",          "as before; etcd has a writer until his lease ends",          "who asks again")                       \
	X("lease-before-join",           "as before",                                                  "nobody needs to")                      \
	X("lease-before-unlock",         "the same",                                                   "the next daemon, or the same, again")\
	X("head-before-put",             "a backup that no head names: readers get the version before", "the next publish")                 \
	X("head-before-transaction",     "as with head-before-put",                                 "the next publish")                      \
	X("head-before-copy",            "the version, whose head is in etcd alone",                 "the next publish")                      \
	X("head-after-put",              "the version, without a hold in the store",                 "the next publish: the head says who published it") \
	X("backup-prune-before-index",   "blobs that stay in old packs and in new ones, both indexed", "the next prune")                       \
	X("backup-prune-before-old-index", "two indexes that name the same blobs",                   "the next prune")                        \
	X("backup-prune-remove",         "a part of the old index, or of the packs that go",         "the next prune")                        \
	X("backup-prune-before-packs",   "packs that no index names",                                "the next prune")                        \
	X("rebuild-index-before-old",    "two indexes",                                              "who makes it again, or the next prune") \
	X("restore-after-guard",         "the dataset as it was, and the guard",                     "who restores again")                    \
	X("restore-after-clear",         "the guard; what the backup and the dataset have both",     "who restores again, or goes back to the guard") \
	X("restore-before-rename",       "a part of the directory, and files under names of our own", "who restores again")                   \
	X("restore-before-attributes",   "the same; a pipe or device without owner and mode",        "who restores again")                    \
	X("drill-restored",              "scratch space with what was restored, a whole dataset",    "the next drill there")                  \
	X("repair-before-heal",          "the file that undoes it; all content as it was",           "who repairs again")                     \
	X("command-before-open",         "as before",                                                "nobody has to")                         \
	X("daemon-own-descriptors",      "nothing",                                                  "nobody has to")                         \
	X("let-go-before-name",          "as before",                                                "nobody has to")                         \
	X("notice-before-kernel",        "as before",                                                "nobody has to")                         \
	X("list-before-names",           "as before",                                                "nobody has to")                         \
	X("supervise-kernel",            "nothing",                                                  "nobody has to")                         \
	X("mount-before-session",        "as before",                                                "nobody has to")                         \
	X("mount-after-umount",          "what is not committed yet, kept by the supervisor",        "the next daemon")                       \
	X("mount-resume",                "the mount, kept by the supervisor",                        "the next daemon")                       \
	X("supervise-memory",            "nothing",                                                  "nobody has to")

#endif
