#include "lib/tree/content/replay.h"

#include <errno.h>
#include <sys/stat.h>

#include "lib/base/array.h"
#include "lib/base/clock.h"
#include "lib/tree/content/content.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/inodes/inode.h"

#define DAMAGE_TRIES 3
#define DAMAGE_PAUSE_US 100000

struct replay {
	struct tree *tree;
	const struct replay_views *views;
	struct replayed done;
	ARRAY(struct replay_lost) lost;
};

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
	if (grown == 0)
		grown = dirty_write(&inode->active, record->offset, journal_data(record), record->len);
	if (grown < 0)
		return (int)grown;
	pending_charge(replay->tree, (size_t)grown);
	inode->size = MAX(inode->size, record->offset + record->len);
	replay->done.bytes += record->len;
	return 0;
}

static int change(struct replay *replay, struct inode *inode, struct journal_record *record)
{
	int result = 0;

	if (record->kind == JOURNAL_TRUNCATE) {
		result = truncate_inode(inode, record->offset);
		if (result < 0)
			return result;
	}
	mutex_take(&inode->lock);
	if (record->kind == JOURNAL_WRITE)
		result = write_again(replay, inode, record);
	else if (record->kind == JOURNAL_EXTEND)
		inode->size = MAX(inode->size, record->offset);
	else if (record->kind == JOURNAL_DISCARD)
		pending_release(replay->tree, dirty_discard(&inode->active, record->offset, record->offset + record->len));
	if (result == 0) {
		/* Where the committed record is younger, its times count: they were set after this. */
		if (!is_later(inode->record.ctime, record->ctime)) {
			inode->record.atime = record->atime;
			inode->record.mtime = record->mtime;
			inode->record.ctime = record->ctime;
			inode->times_dirty = true;
		}
		dirty_add_record(&inode->active, replay->tree->journal, record);
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
	int result = record->offset > FILE_SIZE_MAX || record->len > FILE_SIZE_MAX ? -EBADMSG : inode_get(view, record->ino, &inode);

	if (result < 0)
		return result;
	result = S_ISREG(inode->record.mode) ? change(replay, inode, record) : -EBADMSG;
	inode_put(inode);
	return result;
}

static struct replay_lost *find_lost(const struct replay *replay, const struct journal_record *record)
{
	for (size_t i = 0; i < replay->lost.count; i++)
		if (replay->lost.items[i].view == record->view && replay->lost.items[i].ino == record->ino)
			return &replay->lost.items[i];
	return NULL;
}

/* The record that failed, and those of the file that come after it, which build on it. */
static void give_up(struct replay *replay, struct view *view, const struct journal_record *record, int error)
{
	struct replay_lost *lost = find_lost(replay, record);
	struct inode *inode;

	if (!lost) {
		lost = array_new(&replay->lost);
		*lost = (struct replay_lost){.view = record->view, .ino = record->ino, .error = error};
	}
	lost->records++;
	if (inode_get(view, record->ino, &inode) < 0)
		return; /* nobody can have it open then */
	mutex_take(&inode->lock);
	inode->lost = true;
	mutex_give(&inode->lock);
	inode_put(inode);
}

static int replay_one(struct replay *replay, struct journal_record *record)
{
	const struct replay_lost *lost = find_lost(replay, record);
	struct view *view;
	int result = replay->views->find(replay->views->arg, record->view, &view);

	if (result == 0) {
		result = lost ? lost->error : apply(replay, view, record);
		for (int i = 1; !lost && is_damage(result) && i < DAMAGE_TRIES; i++) {
			clock_pause_us(DAMAGE_PAUSE_US);
			result = apply(replay, view, record);
		}
		if (is_damage(result))
			give_up(replay, view, record, result);
		replay->views->put(replay->views->arg, view);
	}
	if (result != -ESTALE && !is_damage(result))
		return result;
	journal_forget(replay->tree->journal, record);
	replay->done.dropped += result == -ESTALE;
	return 0;
}

static void tell_lost(const struct replay *replay, struct replayed *replayed)
{
	replayed->lost_count = replay->lost.count;
	for (size_t i = 0; i < MIN(replay->lost.count, REPLAY_LOST_MAX); i++)
		replayed->lost[i] = replay->lost.items[i];
}

size_t tree_journal_bytes(uint64_t write_buffer_bytes)
{
	return journal_memory(write_buffer_bytes);
}

int tree_replay(struct tree *tree, const struct replay_views *views, struct replayed *ret_replayed)
{
	struct replay replay = {.tree = tree, .views = views};
	struct journal_record **records;
	size_t count;
	int result = 0;

	*ret_replayed = (struct replayed){0};
	if (!tree->journal)
		return 0;
	records = journal_left(tree->journal, &count);
	tree->is_replaying = true;
	for (size_t i = 0; i < count && result == 0; i++)
		result = replay_one(&replay, records[i]);
	tree->is_replaying = false;
	free(records);
	*ret_replayed = replay.done;
	tell_lost(&replay, ret_replayed);
	array_clear(&replay.lost);
	return result;
}
