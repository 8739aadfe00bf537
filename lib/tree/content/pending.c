#include "lib/tree/content/pending.h"

#include <assert.h>
#include <errno.h>
#include <utlist.h>

#include "lib/base/clock.h"
#include "lib/tree/content/space.h"

#define IDLE_MS_DEFAULT 200
#define COMMIT_MS_DEFAULT 5000
#define BUFFER_DEFAULT (256ULL << 20)
#define BIG_MAX (32ULL << 20) /* an inode with so much buffered is committed at once */
#define CROWD_MAX (64ULL << 20) /* idle inodes wait for so much to be buffered while others are written */
#define CROWD_PATIENCE 5 /* times the idle time */
#define STARVED_MS 200 /* so often a writer looks whether the system has memory now */

struct pending *pending_new(const struct tree_options *options)
{
	struct pending *pending = xcalloc(1, sizeof(*pending));

	pending->budget = options->write_buffer_bytes ? options->write_buffer_bytes : BUFFER_DEFAULT;
	pending->big = MAX(MIN(BIG_MAX, pending->budget / 4), 1);
	pending->crowd = MIN(CROWD_MAX, pending->budget / 4);
	pending->idle_ms = options->idle_ms ? options->idle_ms : IDLE_MS_DEFAULT;
	pending->commit_ms = options->commit_ms ? options->commit_ms : COMMIT_MS_DEFAULT;
	pending->blocks = block_pool_new(pending->budget);
	mutex_init(&pending->lock, LOCK_PENDING);
	pthread_cond_init(&pending->work, NULL);
	pthread_cond_init(&pending->room, NULL);
	pthread_cond_init(&pending->done, NULL);
	return pending;
}

void pending_free(struct pending *pending)
{
	if (!pending)
		return;
	block_pool_free(pending->blocks);
	pthread_cond_destroy(&pending->done);
	pthread_cond_destroy(&pending->room);
	pthread_cond_destroy(&pending->work);
	mutex_clear(&pending->lock);
	free(pending);
}

/* --- the budget --- */

/* Idle blocks lie in the same budget as what is buffered, which comes first. */
static void make_idle_yield(struct pending *pending, uint64_t dirty_bytes)
{
	block_pool_shrink(pending->blocks, pending->budget - MIN(pending->budget, dirty_bytes));
}

struct block_pool *pending_blocks(struct tree *tree)
{
	return tree->pending->blocks;
}

uint64_t pending_budget(const struct tree *tree)
{
	return tree->pending->budget;
}

int pending_check_space(struct tree *tree, size_t len)
{
	struct pending *pending = tree->pending;
	uint64_t buffered;

	mutex_take(&pending->lock);
	buffered = pending->dirty_bytes;
	mutex_give(&pending->lock);
	return space_check(tree->space, len, buffered);
}

/*
 * Waiting would not end: what takes the room that `len` bytes need is content that could not be committed, none of which fared better when it was
 * tried last, and some was tried since `failures`. While anything else waits or is at work, there may be room. The lock is held.
 */
static bool is_stuck(const struct pending *pending, uint64_t failures, size_t len)
{
	uint64_t inodes = 0, bytes = 0, others;
	const struct inode *inode;
	const struct claim *claim;

	if (pending->failures == failures)
		return false;
	DL_FOREACH2(pending->dirty, inode, dirty_next) {
		inodes++;
		bytes += inode->noted_bytes;
	}
	DL_FOREACH(pending->claims, claim) {
		inodes += claim->inodes;
		bytes += claim->bytes;
	}
	others = pending->dirty_bytes - MIN(pending->dirty_bytes, bytes);
	return inodes > 0 && inodes == pending->failing && (others == 0 || others + len <= pending->budget);
}

int pending_admit(struct tree *tree, size_t len)
{
	struct pending *pending = tree->pending;
	uint64_t failures, dirty_bytes;
	int result = 0;

	mutex_take(&pending->lock);
	failures = pending->failures;
	while (pending->dirty_bytes > 0 && pending->dirty_bytes + len > pending->budget) {
		if (is_stuck(pending, failures, len)) {
			result = pending->failing_error;
			break;
		}
		pending->waiting++;
		pthread_cond_broadcast(&pending->work);
		mutex_wait(&pending->lock, &pending->room);
		pending->waiting--;
	}
	if (result == 0)
		pending->dirty_bytes += len;
	dirty_bytes = pending->dirty_bytes;
	mutex_give(&pending->lock);
	make_idle_yield(pending, dirty_bytes);
	return result;
}

int pending_take_record(struct tree *tree, size_t len, struct journal_record **ret_record)
{
	struct pending *pending = tree->pending;
	struct journal_record *record = journal_take(tree->journal, len);
	uint64_t failures;
	int result = 0;

	if (!record) {
		mutex_take(&pending->lock);
		failures = pending->failures;
		for (;;) {
			const struct timespec until = clock_after_ms(STARVED_MS);
			const bool is_clean = !pending->dirty && !pending->claims; /* nothing is there that could be committed */

			record = journal_take(tree->journal, len);
			if (record)
				break;
			if (is_stuck(pending, failures, 0)) {
				result = pending->failing_error;
				break;
			}
			if (is_clean && journal_is_starved(tree->journal)) {
				result = -ENOMEM;
				break;
			}
			/* Who forgets records broadcasts `room` afterwards, with the lock. */
			pending->waiting++;
			pthread_cond_broadcast(&pending->work);
			(void)mutex_wait_until(&pending->lock, &pending->room, &until);
			pending->waiting--;
		}
		mutex_give(&pending->lock);
	}
	if (record)
		*ret_record = record;
	return record ? 0 : result;
}

int pending_check_share(const struct inode *inode)
{
	struct pending *pending = inode->view->tree->pending;
	const int error = inode->commit_error;
	uint64_t kept;
	bool has_more;

	if (error == 0 || error == -ENOSPC || error == -ESTALE)
		return 0;
	kept = inode->active.bytes + inode->active.record_bytes + inode->frozen.bytes + inode->frozen.record_bytes;
	mutex_take(&pending->lock);
	/* when its group failed, it may be another's fault, until it is tried alone */
	has_more = inode->retry_ms != 0 && kept > pending->budget / 2 / (pending->failing + 1);
	mutex_give(&pending->lock);
	return has_more ? error : 0;
}

void pending_charge(struct tree *tree, size_t len)
{
	struct pending *pending = tree->pending;
	uint64_t dirty_bytes;

	mutex_take(&pending->lock);
	pending->dirty_bytes += len;
	dirty_bytes = pending->dirty_bytes;
	mutex_give(&pending->lock);
	make_idle_yield(pending, dirty_bytes);
}

void pending_release(struct tree *tree, size_t len)
{
	struct pending *pending = tree->pending;
	uint64_t dirty_bytes;

	if (len == 0)
		return;
	mutex_take(&pending->lock);
	assert(pending->dirty_bytes >= len);
	pending->dirty_bytes -= len;
	dirty_bytes = pending->dirty_bytes;
	if (pending->waiting)
		pthread_cond_broadcast(&pending->room);
	mutex_give(&pending->lock);
	make_idle_yield(pending, dirty_bytes); /* a block that was filled a little lies idle as a whole */
}

/* --- the list --- */

void pending_hold_back(struct inode *inode, uint64_t number)
{
	struct pending *pending = inode->view->tree->pending;

	mutex_take(&pending->lock);
	inode->commit_after = number;
	mutex_give(&pending->lock);
}

void pending_note(struct inode *inode)
{
	struct pending *pending = inode->view->tree->pending;
	uint64_t now = clock_ms();

	mutex_take(&pending->lock);
	inode->written_ms = pending->written_ms = now;
	inode->noted_bytes = inode->active.bytes;
	if (!inode->on_dirty_list) {
		inode->on_dirty_list = true;
		inode->dirty_since_ms = now;
		inode->note_number = pending->next_note++;
		DL_APPEND2(pending->dirty, inode, dirty_prev, dirty_next);
		if (pending->dirty_inodes++ == 0)
			pthread_cond_signal(&pending->work);
		mutex_take(&inode->view->cache_lock);
		inode->refs++; /* the caller has one, so it is not among the unused */
		mutex_give(&inode->view->cache_lock);
	}
	if (inode->noted_bytes >= pending->big)
		pthread_cond_signal(&pending->work);
	mutex_give(&pending->lock);
}

void pending_usage(struct tree *tree, const struct view *view, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	struct pending *pending = tree->pending;
	uint64_t bytes = 0, inodes = 0;
	struct inode *inode;
	struct claim *claim;

	mutex_take(&pending->lock);
	if (view) {
		DL_FOREACH2(pending->dirty, inode, dirty_next) {
			if (inode->view == view) {
				bytes += inode->noted_bytes;
				inodes++;
			}
		}
	} else {
		bytes = pending->dirty_bytes;
		inodes = pending->dirty_inodes;
	}
	DL_FOREACH(pending->claims, claim) {
		if (!view || claim->view == view)
			inodes += claim->inodes;
		if (view && claim->view == view)
			bytes += claim->bytes;
	}
	mutex_give(&pending->lock);
	*ret_bytes = bytes;
	*ret_inodes = inodes;
}

void pending_failing(struct tree *tree, uint64_t *ret_inodes, int *ret_error)
{
	struct pending *pending = tree->pending;

	mutex_take(&pending->lock);
	*ret_inodes = pending->failing;
	*ret_error = pending->failing > 0 ? pending->failing_error : 0;
	mutex_give(&pending->lock);
}

struct commit_failure pending_failure(struct tree *tree, const struct view *view)
{
	struct commit_failure failure;

	mutex_take(&tree->pending->lock);
	failure = view ? view->failure : tree->pending->failure;
	mutex_give(&tree->pending->lock);
	return failure;
}

static bool is_one_of(const struct view *view, struct view *const *views, size_t count)
{
	size_t i = 0;

	while (i < count && views[i] != view)
		i++;
	return i < count;
}

bool pending_is_clean(struct tree *tree, struct view *const *views, size_t count)
{
	struct pending *pending = tree->pending;
	const struct inode *inode;
	const struct claim *claim;
	bool is_clean = true;

	mutex_take(&pending->lock);
	DL_FOREACH2(pending->dirty, inode, dirty_next)
		is_clean = is_clean && !is_one_of(inode->view, views, count);
	DL_FOREACH(pending->claims, claim)
		is_clean = is_clean && !is_one_of(claim->view, views, count);
	mutex_give(&pending->lock);
	return is_clean;
}

/* --- claims; the lock is held --- */

/*
 * Many small files that are written one after the other become idle one by one. If each few were committed, there would be many small table
 * files. So they wait until there are many, or until nobody writes.
 */
static bool is_idle(const struct pending *pending, const struct inode *inode, uint64_t now)
{
	const uint64_t idle = now - inode->written_ms;

	return idle >= pending->idle_ms && (pending->dirty_bytes >= pending->crowd || idle >= CROWD_PATIENCE * pending->idle_ms ||
	                                      now - pending->written_ms >= pending->idle_ms);
}

static bool is_due(const struct pending *pending, const struct inode *inode, uint64_t now)
{
	if (now < inode->retry_ms)
		return false;
	return pending->waiting || pending->dirty_bytes > pending->budget / 2 || inode->noted_bytes >= pending->big ||
	       is_idle(pending, inode, now) || now - inode->dirty_since_ms >= pending->commit_ms;
}

bool pending_may_claim(const struct inode *inode)
{
	return inode->on_dirty_list && inode->commit_after <= atomic_load(&inode->view->tree->replayed);
}

static void claim_inode(struct pending *pending, struct claim *claim, struct inode *inode)
{
	inode->claimed = true;
	claim->first_note = MIN(claim->first_note, inode->note_number);
	if (inode->on_dirty_list) {
		DL_DELETE2(pending->dirty, inode, dirty_prev, dirty_next);
		inode->on_dirty_list = false;
		pending->dirty_inodes--;
	}
	claim->view = inode->view;
	claim->bytes += inode->noted_bytes;
	claim->inodes++;
	inode->noted_bytes = 0;
}

size_t pending_claim_group(struct pending *pending, const struct wanted *wanted, struct claim *claim, struct inode **inodes)
{
	struct view *view = wanted->view;
	uint64_t now = clock_ms();
	struct inode *inode, *next;
	size_t count = 0;

	*claim = (struct claim){ .first_note = UINT64_MAX };
	DL_FOREACH_SAFE2(pending->dirty, inode, next, dirty_next) {
		if (inode->note_number >= wanted->until || count == COMMIT_GROUP_INODES || claim->bytes >= COMMIT_GROUP_BYTES)
			break;
		if (inode->claimed || !pending_may_claim(inode) || (view && inode->view != view) || (wanted->due && !is_due(pending, inode, now)))
			continue;
		claim_inode(pending, claim, inode);
		view = inode->view;
		inodes[count++] = inode;
	}
	if (count > 0)
		DL_APPEND(pending->claims, claim);
	return count;
}

void pending_claim_inode(struct pending *pending, struct claim *claim, struct inode *inode)
{
	*claim = (struct claim){ .first_note = UINT64_MAX };
	claim_inode(pending, claim, inode);
	DL_APPEND(pending->claims, claim);
}

void pending_end_claim(struct pending *pending, struct claim *claim)
{
	DL_DELETE(pending->claims, claim);
	pthread_cond_broadcast(&pending->done);
	/* who waits for room looks whether any of it may still come */
	if (pending->waiting)
		pthread_cond_broadcast(&pending->room);
}

bool pending_others_at_work(const struct pending *pending, const struct wanted *wanted)
{
	const struct inode *inode;
	const struct claim *claim;

	DL_FOREACH2(pending->dirty, inode, dirty_next) {
		if (inode->note_number >= wanted->until)
			break;
		if (!wanted->view || inode->view == wanted->view)
			return true;
	}
	DL_FOREACH(pending->claims, claim) {
		if (claim->first_note < wanted->until && (!wanted->view || claim->view == wanted->view))
			return true;
	}
	return false;
}
