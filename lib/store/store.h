/*
 * A store: one directory, one lock, one database, its datasets and the views that are open.
 *
 *   STORE/corpusfs   superblock (lib/format/superblock.h)
 *   STORE/lock       flock'ed while open; holds the owner's pid and command as text
 *   STORE/owner.*    who has it open, for those whom flock does not reach (lib/store/lock.c)
 *   STORE/db/        RocksDB; db.WORD after the store was taken from an owner who might come back
 *   STORE/ingest/    files under construction; emptied at open
 *   STORE/ballast    room that is given up when the disk is full (lib/kv/ballast.h)
 *   STORE/damaged    there while a table of the database is damaged (lib/kv/damage.h)
 *   STORE/socket     control socket of the daemon that has it mounted (fs/daemon)
 *
 * Locks: store.catalog_lock (datasets, snapshots, open views; a leaf except that it is taken before view_open) and store.change_lock (one
 * at a time changes which views exist: snapshot, destroy, rollback, clone, create, rename; held over freeze and thaw, so nothing that
 * it calls may take it). Lookups never take change_lock.
 *
 * Threads: any, except store_close, the last call.
 */
#ifndef CORPUSFS_STORE_STORE_H
#define CORPUSFS_STORE_STORE_H

#include "lib/base/error.h"
#include "lib/format/superblock.h"
#include "lib/tree/content/replay.h"
#include "lib/tree/files/files.h"

struct store;

/* Where a read met damage. snapshot "": in the head; path "": a file without a name; dataset "": a head that was rolled back. */
struct store_damage {
	const char *dataset, *snapshot, *path;
	uint64_t offset; /* in the file, of what the chunk holds of it */
	uint64_t chunk;  /* 0: it is a small file, whose content stands in a record */
};

struct store_options {
	uint64_t cache_bytes;        /* metadata block cache plus decoded chunks; 0: as store_choose_budgets() */
	uint64_t write_buffer_bytes; /* content not yet committed; 0: likewise */
	unsigned threads;            /* 0 = number of CPUs */
	bool damaged;                /* a damaged store is opened all the same, read-only, if what is left of it is right; this is noticed */
	bool salvage;                /* even if it is not: files may be absent, or older than they were */
	/*
	 * For who goes on where a process that died has stopped: memory for what is not committed yet (lib/tree/content/replay.h), or NULL; a
	 * descriptor of STORE/lock that is locked already and stays the caller's, or -1; the processes that died, ended by 0, or NULL. They may
	 * not have gone yet, but run no more. Orphans wait for store_resume().
	 */
	struct store_heritage {
		void *journal;
		size_t journal_bytes;
		int lock_fd; /* also says which store it is, and where it lies now */
		const pid_t *dead;
	} heritage;
	/* May be NULL. A line of text: opening takes long, and why; and, on a thread of its own, that another process has taken the store. */
	void (*notice)(void *arg, const char *text);
	void (*lost)(void *arg, const char *text);
	/* May be NULL. A read met a damaged chunk; told once for each in ten minutes, by the reader's thread. */
	void (*met_damage)(void *arg, const struct store_damage *damage);
	void *notice_arg;
};

/* DATASET/PATH of a file of a head; NULL: it has none, or that cannot be found out. Freed by the caller. */
char *store_file_path(struct store *store, uint32_t view, uint64_t ino);
/* A file of a head, for people: the same, as far as that is known. Freed by the caller. */
char *store_file_name(struct store *store, uint32_t view, uint64_t ino);

/* Makes the directory (if it is not there; an existing one must be empty) and an empty store in it. NULL parameters: defaults. */
struct store_parameters {
	uint32_t chunk_min, chunk_average, chunk_max;
};
WARN_UNUSED int store_init(const char *path, const struct store_parameters *parameters, struct error *err);

/* -ENOENT no such directory, -EMEDIUMTYPE not a store, -EBADMSG damaged, -EPROTONOSUPPORT newer, -EBUSY locked (text says by whom),
 * -EACCES, -EPERM root, where others can write (lib/base/trusted.h). Nothing is changed on failure. Orphans are reaped, unfinished work is
 * noted for the background.
 *
 * A store whose superblock names features that this program would lose by writing, one on media that cannot be written, and one that
 * this user may only read, is opened read-only: not a byte of it changes, and whatever would change it answers -EROFS. A store that can be
 * written is opened for writing, whatever is to be done: opening it replays its log and takes its lock, which writes. */
WARN_UNUSED int store_open(const char *path, const struct store_options *options, struct store **ret_store, struct error *err);

/* Those that are 0: 256 MiB each, and less where there is little memory (lib/base/memory_limit.h). */
void store_choose_budgets(struct store_options *options);
size_t store_journal_bytes(const struct store_options *options); /* of chosen budgets: how much memory a journal needs; it may be sparse */
int store_lock_fd(const struct store *store); /* of STORE/lock; stays the store's; -1: it can only be read, and has none */
/*
 * After a process that died: what it had accepted is buffered again, before anybody uses the store. Then, when files that are still open have
 * been opened (inode_open_again), orphans are reaped.
 */
WARN_UNUSED int store_replay(struct store *store, replay_waits_fn waits, void *arg, struct replayed *ret_replayed); /* replayed_clear */
void store_mark_lost(struct store *store, const struct replayed *replayed); /* when they have been */
void store_reap_orphans(struct store *store);

/*
 * Commits everything, closes all views; every view must have been put. The first failure is returned, the store is closed anyway. -EROFS:
 * another process has taken the store, and what was not reported to be on disk before that may be lost.
 */
int store_close(struct store *store);
/* Not all that was written could be brought into it, for whatever reason: store_close() will give this if all else goes well. */
void store_note_failure(struct store *store, int result);
/* How the store was closed last, by whoever had it: 0; as store_close(); -ENOTCONN: that process died. While nobody has it. */
WARN_UNUSED int store_last_close(const char *path);

const char *store_close_failure(int result); /* what a result of store_close means, for people */

/* Who has taken the store from this process, which then cannot write it any more; NULL: nobody. */
const char *store_lost_to(struct store *store);

/* Whether the path holds a store, without opening it: 0 or as store_open. */
WARN_UNUSED int store_probe(const char *path, struct superblock *ret_superblock, struct error *err);

/* Who has the store locked: its pid, -1 if it has not said who, 0 if nobody. */
pid_t store_locked_by(const char *path);

bool store_read_only(const struct store *store);
WARN_UNUSED int store_check_writable(const struct store *store, struct error *err); /* 0, -EROFS, -EACCES */
const char *store_path(const struct store *store); /* absolute */
int store_dir_fd(const struct store *store);       /* its descriptor, as long as the store is open: for files of the daemon */
const struct superblock *store_superblock(const struct store *store);
struct kv *store_kv(struct store *store);
struct chunks *store_chunks(struct store *store);
struct tree *store_tree(struct store *store);
struct pool *store_pool(struct store *store);

/* What takes memory, and how much it may take; budget 0: it has none, and grows with the store. */
struct memory_part {
	const char *name;
	uint64_t bytes, budget;
};
#define STORE_MEMORY_PARTS 6
void store_memory(struct store *store, struct memory_part ret_parts[STORE_MEMORY_PARTS]);

/* Everything accepted so far is on disk when it returns 0. */
WARN_UNUSED int store_sync(struct store *store);

/*
 * What the mounts add. `freeze` is called before the views of an operation are frozen, without any lock but change_lock: it must bring in
 * what the kernel holds (pages of open files) and stop changes, so that what follows is one instant; `thaw` undoes it. `replaces`: the views are
 * of heads, which get others before `thaw`. It fails once where something of what the kernel holds is lost, and says in `lost` of which file;
 * NULL: what the views have is not kept. `changed` is told after the fact, without any lock; it may not call back into operations that take
 * change_lock. `busy` says whether the view is mounted by itself: who would destroy such a snapshot does not wait for its readers.
 */
enum store_event {
	STORE_DATASETS_CHANGED,
	STORE_SNAPSHOTS_CHANGED,
	STORE_TREE_CHANGED, /* an entry of the head now stands for something else; name is its path in the dataset */
};
struct store_hooks {
	int (*freeze)(void *arg, const uint32_t *views, size_t count, bool replaces, struct error *lost);
	void (*thaw)(void *arg, const uint32_t *views, size_t count);
	void (*changed)(void *arg, enum store_event event, uint32_t dataset, const char *name);
	bool (*busy)(void *arg, uint32_t view);
	/* The dataset's head has another view than `old_view` now. When this returns nobody is answered from the old one any more. */
	void (*replaced)(void *arg, uint32_t dataset, uint32_t old_view);
	/* A name in a directory of a head came or stands for something else, or (name "") the directory itself changed, past the mounts: they
	 * tell the kernel soon. Any thread, without locks; called for every file of an import. */
	void (*entry_changed)(void *arg, uint32_t view, uint64_t dir, const char *name);
	void *arg;
};
void store_set_hooks(struct store *store, const struct store_hooks *hooks);

void store_entry_changed(struct store *store, uint32_t view, uint64_t dir, const char *name); /* calls the hook, if there is one */

/* --- views --- each get is paired with a put; a head's view stays open while the store is, snapshots' are closed when unused for long */

WARN_UNUSED int store_view_by_number(struct store *store, uint32_t view, struct view **ret_view); /* -ESTALE: never was, or retired */
WARN_UNUSED int store_head(struct store *store, const char *dataset, struct view **ret_view);     /* -ENOENT */
WARN_UNUSED int store_snapshot(struct store *store, const char *dataset, const char *snapshot, struct view **ret_view);
/* The same by the dataset's number, whatever it is called by now. */
WARN_UNUSED int store_head_by_id(struct store *store, uint32_t dataset, struct view **ret_view);
WARN_UNUSED int store_snapshot_by_id(struct store *store, uint32_t dataset, const char *snapshot, struct view **ret_view);
/* "DATASET" or "DATASET@SNAPSHOT". */
WARN_UNUSED int store_view_by_name(struct store *store, const char *name, struct view **ret_view, struct error *err);
void store_view_put(struct store *store, struct view *view);

#endif
