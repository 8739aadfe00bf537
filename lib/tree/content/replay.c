#include "lib/tree/content/replay.h"

#include <errno.h>
#include <sys/stat.h>
#include <uthash.h>

#include "lib/base/array.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/tree/content/committer.h"
#include "lib/tree/content/content.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/inodes/inode.h"

#define DAMAGE_TRIES 3 /* of what is not what it was: that seldom changes */
#define PAUSE_MS 100   /* between the first two tries; each is twice as long as the one before */
#define PAUSE_MAX_MS 1000
#define BUFFERED_PART 16 /* of the write buffer: 16 MiB of the usual one */

struct file_key {
	uint64_t view, ino;
};

/* The last record that undoes something of a file. */
struct undone {
	struct file_key key;
	uint64_t number;
	UT_hash_handle hh;
};

struct replay {
	struct tree *tree;
	const struct replay_views *views;
	struct replayed done;
	uint64_t waited_ms; /* for a disk that gave errors, of all files */
	bool hurried;       /* nobody is to wait any more */
	struct undone *undone;
	uint64_t commit_at; /* bytes that are buffered */
};

static uint64_t last_undone(const struct replay *replay, const struct journal_record *record)
{
	const struct file_key key = {.view = record->view, .ino = record->ino};
	struct undone *undone;

	HASH_FIND(hh, replay->undone, &key, sizeof(key), undone);
	return undone ? undone->number : 0;
}

static void find_undone(struct replay *replay, struct journal_record *const *records, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct file_key key = {.view = records[i]->view, .ino = records[i]->ino};
		struct undone *undone;

		if (records[i]->kind != JOURNAL_DISCARD)
			continue;
		HASH_FIND(hh, replay->undone, &key, sizeof(key), undone);
		if (!undone) {
			undone = xcalloc(1, sizeof(*undone));
			undone->key = key;
			HASH_ADD(hh, replay->undone, key, sizeof(undone->key), undone);
		}
		undone->number = atomic_load(&records[i]->number);
	}
}

static void forget_undone(struct replay *replay)
{
	struct undone *undone, *next;

	HASH_ITER(hh, replay->undone, undone, next) {
		HASH_DEL(replay->undone, undone);
		free(undone);
	}
}

static void commit_if_much(struct replay *replay)
{
	struct tree *tree = replay->tree;
	uint64_t bytes, inodes;

	pending_usage(tree, NULL, &bytes, &inodes);
	if (bytes < replay->commit_at)
		return;
	/* what fails is tried again later, as ever */
	(void)!committer_run_group(tree);
	journal_give_back(tree->journal);
	pending_usage(tree, NULL, &bytes, &inodes);
	replay->commit_at = bytes + pending_budget(tree) / BUFFERED_PART;
}

static bool is_later(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

/*
 * A shorter length of what is committed, too. Its batch may have been written already, or not, and then its request comes again; but
 * content that was to be cut off must not show behind what the next record writes.
 */
static int truncate_inode(struct inode *inode, uint64_t size)
{
	struct transaction transaction;
	int result = content_shorten(inode, size);

	if (result < 0)
		return result;
	mutex_take(&inode->lock);
	inode_wait_drained(inode);
	transaction_begin_locked(&transaction, inode);
	result = inode->gone ? -ESTALE : content_truncate(&transaction, inode, size);
	transaction_put(&transaction, inode);
	result = transaction_write(&transaction, result);
	transaction_end(&transaction);
	if (result == 0)
		content_truncated(inode);
	mutex_give(&inode->lock);
	return result;
}

/* Buffers the bytes of a record. Caller holds inode->lock. */
static int write_again(struct replay *replay, struct inode *inode, struct journal_record *record)
{
	int64_t grown = inode_load_inline(inode);

	inode->active.pool = pending_blocks(replay->tree);
	if (grown < 0)
		return (int)grown;
	content_promise_again(inode, record->offset, record->len);
	grown = dirty_write(&inode->active, record->offset, journal_data(record), record->len);
	if (grown < 0) {
		content_promise_less(inode);
		return (int)grown;
	}
	pending_charge(replay->tree, (size_t)grown);
	inode->size = MAX(inode->size, record->offset + record->len);
	replay->done.bytes += record->len;
	return 0;
}

/* Caller holds inode->lock. */
static void forget_buffered(struct replay *replay, struct inode *inode, uint64_t offset, uint64_t end)
{
	pending_release(replay->tree, dirty_discard(&inode->active, offset, end));
	content_promise_less(inode);
}

/*
 * Of a range the committed content counts. The committed length has what the change that is told here made of it, and the longer one is right:
 * it is never longer than the file was. Caller holds inode->lock.
 */
static void discard(struct replay *replay, struct inode *inode, const struct journal_record *record)
{
	forget_buffered(replay, inode, record->offset, record->offset + record->len);
	inode->size = MAX(inode->size, inode->record.size);
}

/*
 * The length was committed: a younger record tells of a batch that came after (J3). To cut the committed content once more would cut off what
 * that batch put there. Only what earlier records have buffered goes.
 */
static bool is_cut(const struct replay *replay, const struct journal_record *record)
{
	return atomic_load(&record->number) < last_undone(replay, record);
}

/* Caller holds inode->lock. */
static void cut_buffered(struct replay *replay, struct inode *inode, uint64_t size)
{
	forget_buffered(replay, inode, size, UINT64_MAX);
	inode->size = size;
}

static int change(struct replay *replay, struct inode *inode, struct journal_record *record)
{
	const bool is_shorter = record->kind == JOURNAL_TRUNCATE, cuts_buffered = is_shorter && is_cut(replay, record);
	int result = is_shorter && !cuts_buffered ? truncate_inode(inode, record->offset) : 0;

	if (result < 0)
		return result;
	mutex_take(&inode->lock);
	if (record->kind == JOURNAL_WRITE)
		result = write_again(replay, inode, record);
	else if (record->kind == JOURNAL_EXTEND)
		inode->size = MAX(inode->size, record->offset);
	else if (record->kind == JOURNAL_DISCARD)
		discard(replay, inode, record);
	else if (cuts_buffered)
		cut_buffered(replay, inode, record->offset);
	if (result == 0) {
		/* Where the committed record is younger, its times count: they were set after this. */
		if (!is_later(inode->record.ctime, record->ctime)) {
			inode->record.atime = record->atime;
			inode->record.mtime = record->mtime;
			inode->record.ctime = record->ctime;
			inode->times_dirty = true;
		}
		dirty_add_record(&inode->active, replay->tree->journal, record);
		pending_hold_back(inode, last_undone(replay, record));
		pending_note(inode);
		replay->done.records++;
	}
	mutex_give(&inode->lock);
	return result;
}

static bool is_damage(int result)
{
	return result == -EIO || result == -EBADMSG;
}

static int apply(struct replay *replay, struct view *view, struct journal_record *record)
{
	struct inode *inode;
	int result = record->offset > FILE_SIZE_MAX || record->len > FILE_SIZE_MAX ? -EBADMSG : fault_point("replay-before-change");

	if (result == 0)
		result = inode_get(view, record->ino, &inode);
	if (result < 0)
		return result;
	result = S_ISREG(inode->record.mode) ? change(replay, inode, record) : -EBADMSG;
	inode_put(inode);
	return result;
}

static struct replay_lost *find_lost(const struct replay *replay, const struct journal_record *record)
{
	for (size_t i = 0; i < replay->done.lost.count; i++)
		if (replay->done.lost.items[i].view == record->view && replay->done.lost.items[i].ino == record->ino)
			return &replay->done.lost.items[i];
	return NULL;
}

/* The record that failed, and those of the file that come after it, which build on it. */
static void give_up(struct replay *replay, const struct journal_record *record, int error)
{
	struct replay_lost *lost = find_lost(replay, record);

	if (!lost) {
		lost = array_new(&replay->done.lost);
		*lost = (struct replay_lost){.view = record->view, .ino = record->ino, .error = error};
	}
	lost->records++;
}

/* A disk that gives errors may be one of the network that is away for a moment. */
static bool is_tried_again(struct replay *replay, const struct journal_record *record, int result, unsigned tries)
{
	const struct replay_lost file = {.view = record->view, .ino = record->ino, .error = result};

	if (result != -EIO)
		return is_damage(result) && tries < DAMAGE_TRIES;
	if (!replay->hurried && replay->views->waits)
		replay->hurried = !replay->views->waits(replay->views->waits_arg, &file, replay->waited_ms);
	return !replay->hurried && replay->waited_ms < REPLAY_PATIENCE_MS;
}

/* Also the view may not be readable just then. */
static int attempt(struct replay *replay, struct journal_record *record)
{
	struct view *view;
	int result = replay->views->find(replay->views->arg, record->view, &view);

	if (result < 0)
		return result;
	result = apply(replay, view, record);
	replay->views->put(replay->views->arg, view);
	return result;
}

static int attempt_patiently(struct replay *replay, struct journal_record *record)
{
	uint64_t pause_ms = PAUSE_MS;
	int result = attempt(replay, record);

	for (unsigned tries = 1; is_tried_again(replay, record, result, tries); tries++) {
		clock_pause_us(pause_ms * 1000);
		replay->waited_ms += result == -EIO ? pause_ms : 0;
		pause_ms = MIN(2 * pause_ms, PAUSE_MAX_MS);
		result = attempt(replay, record);
	}
	return result;
}

static int replay_one(struct replay *replay, struct journal_record *record)
{
	const struct replay_lost *lost = find_lost(replay, record);
	int result = lost ? lost->error : attempt_patiently(replay, record);

	/* Where the database takes no change any more, that is nothing of this file's, and whoever opens it anew may have it. */
	if ((result != -ESTALE && result < 0 && !is_damage(result)) || (result == -EIO && kv_stopped(replay->tree->kv)))
		return result;
	if (is_damage(result))
		give_up(replay, record, result);
	if (result < 0)
		journal_forget(replay->tree->journal, record);
	replay->done.dropped += result == -ESTALE;
	return 0;
}

void replayed_clear(struct replayed *replayed)
{
	array_clear(&replayed->lost);
}

static void mark_lost(struct view *view, uint64_t ino)
{
	struct inode *inode;

	if (inode_get(view, ino, &inode) < 0)
		return; /* nobody can have it open then */
	mutex_take(&inode->lock);
	inode->lost = true;
	mutex_give(&inode->lock);
	inode_put(inode);
}

void tree_mark_lost(const struct replay_views *views, const struct replayed *replayed)
{
	for (size_t i = 0; i < replayed->lost.count; i++) {
		const struct replay_lost *lost = &replayed->lost.items[i];
		struct view *view;
		if (views->find(views->arg, lost->view, &view) < 0)
			continue;
		mark_lost(view, lost->ino);
		views->put(views->arg, view);
	}
}

size_t tree_journal_bytes(uint64_t write_buffer_bytes)
{
	return journal_memory(write_buffer_bytes);
}

int tree_replay(struct tree *tree, const struct replay_views *views, struct replayed *ret_replayed)
{
	struct replay replay = {.tree = tree, .views = views, .commit_at = pending_budget(tree) / BUFFERED_PART};
	struct journal_record **records;
	size_t count;
	int result = 0;

	*ret_replayed = (struct replayed){0};
	if (!tree->journal)
		return 0;
	records = journal_left(tree->journal, &count);
	find_undone(&replay, records, count);
	atomic_store(&tree->replayed, 0);
	for (size_t i = 0; i < count && result == 0; i++) {
		const uint64_t number = atomic_load(&records[i]->number);

		result = replay_one(&replay, records[i]);
		atomic_store(&tree->replayed, number);
		if (result == 0)
			commit_if_much(&replay);
	}
	atomic_store(&tree->replayed, UINT64_MAX);
	forget_undone(&replay);
	free(records);
	if (result < 0)
		replayed_clear(&replay.done);
	*ret_replayed = replay.done;
	return result;
}
