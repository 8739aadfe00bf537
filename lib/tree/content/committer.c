#include "lib/tree/content/committer.h"

#include <assert.h>
#include <errno.h>
#include <utlist.h>

#include "lib/base/clock.h"

#define THREADS 2
#define RETRY_MS 1000
#define POLL_MS 20
#define IDLE_MS_DEFAULT 200
#define COMMIT_MS_DEFAULT 5000
#define BUFFER_DEFAULT (256ULL << 20)
#define BIG_MAX (32ULL << 20) /* an inode with so much buffered is committed at once */
#define CROWD_MAX (64ULL << 20) /* idle inodes wait for so much to be buffered while others are written */
#define CROWD_PATIENCE 5 /* times the idle time */

/* A group at work; lives on the stack of the thread that commits it. */
struct claim {
	uint64_t number;
	struct view *view;
	uint64_t bytes, inodes;
	struct claim *prev, *next;
};

struct committer {
	struct tree *tree;
	pthread_t threads[THREADS];
	size_t started;
	struct block_pool *blocks;
	uint64_t budget, big, crowd;
	unsigned idle_ms, commit_ms;

	struct mutex lock;     /* guards all below */
	pthread_cond_t work;   /* background threads wait for something to do */
	pthread_cond_t room;   /* writers wait for the budget */
	pthread_cond_t done;   /* a group was given up, or a sync has ended */
	struct inode *dirty;   /* by note_number */
	uint64_t dirty_inodes, dirty_bytes;
	uint64_t written_ms;   /* when anything was noted last */
	unsigned waiting;      /* writers */
	uint64_t next_note, next_claim;
	struct claim *claims;
	uint64_t failures;     /* groups that failed, ever */
	int last_error;        /* of the last group, 0 if it went well */
	bool stop;

	uint64_t syncs_begun, syncs_done; /* committer_sync */
	bool syncing;
	uint64_t sync_failed; /* the last that failed, and how */
	int sync_error;
};

void committer_note(struct inode *inode)
{
	struct committer *committer = inode->view->tree->committer;
	uint64_t now = clock_ms();

	mutex_take(&committer->lock);
	inode->written_ms = committer->written_ms = now;
	inode->noted_bytes = inode->active.bytes;
	if (!inode->on_dirty_list) {
		inode->on_dirty_list = true;
		inode->dirty_since_ms = now;
		inode->note_number = committer->next_note++;
		DL_APPEND2(committer->dirty, inode, dirty_prev, dirty_next);
		if (committer->dirty_inodes++ == 0)
			pthread_cond_signal(&committer->work);
		mutex_take(&inode->view->cache_lock);
		inode->refs++; /* the caller has one, so it is not among the unused */
		mutex_give(&inode->view->cache_lock);
	}
	if (inode->noted_bytes >= committer->big)
		pthread_cond_signal(&committer->work);
	mutex_give(&committer->lock);
}

struct block_pool *committer_blocks(struct tree *tree)
{
	return tree->committer->blocks;
}

uint64_t committer_budget(const struct tree *tree)
{
	return tree->committer->budget;
}

int committer_check_space(struct tree *tree, size_t len)
{
	struct committer *committer = tree->committer;
	uint64_t buffered;

	mutex_take(&committer->lock);
	buffered = committer->dirty_bytes;
	mutex_give(&committer->lock);
	if (space_available(tree->space) < buffered + len)
		return -ENOSPC;
	return space_check(tree->space, len);
}

int committer_admit(struct tree *tree, size_t len)
{
	struct committer *committer = tree->committer;
	uint64_t failures;
	int result = 0;

	mutex_take(&committer->lock);
	failures = committer->failures;
	while (committer->dirty_bytes > 0 && committer->dirty_bytes + len > committer->budget) {
		/* full, and what could make room has just failed: waiting would not end */
		if (committer->last_error && committer->failures != failures) {
			result = committer->last_error;
			break;
		}
		committer->waiting++;
		pthread_cond_broadcast(&committer->work);
		mutex_wait(&committer->lock, &committer->room);
		committer->waiting--;
	}
	if (result == 0)
		committer->dirty_bytes += len;
	mutex_give(&committer->lock);
	return result;
}

void committer_charge(struct tree *tree, size_t len)
{
	mutex_take(&tree->committer->lock);
	tree->committer->dirty_bytes += len;
	mutex_give(&tree->committer->lock);
}

void committer_release(struct tree *tree, size_t len)
{
	struct committer *committer = tree->committer;

	if (len == 0)
		return;
	mutex_take(&committer->lock);
	assert(committer->dirty_bytes >= len);
	committer->dirty_bytes -= len;
	if (committer->waiting)
		pthread_cond_broadcast(&committer->room);
	mutex_give(&committer->lock);
}

void committer_usage(struct tree *tree, const struct view *view, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	struct committer *committer = tree->committer;
	uint64_t bytes = 0, inodes = 0;
	struct inode *inode;
	struct claim *claim;

	mutex_take(&committer->lock);
	if (view) {
		DL_FOREACH2(committer->dirty, inode, dirty_next) {
			if (inode->view == view) {
				bytes += inode->noted_bytes;
				inodes++;
			}
		}
	} else {
		bytes = committer->dirty_bytes;
		inodes = committer->dirty_inodes;
	}
	DL_FOREACH(committer->claims, claim) {
		if (!view || claim->view == view)
			inodes += claim->inodes;
		if (view && claim->view == view)
			bytes += claim->bytes;
	}
	mutex_give(&committer->lock);
	*ret_bytes = bytes;
	*ret_inodes = inodes;
}

static bool is_one_of(const struct view *view, struct view *const *views, size_t count)
{
	size_t i = 0;

	while (i < count && views[i] != view)
		i++;
	return i < count;
}

bool committer_is_clean(struct tree *tree, struct view *const *views, size_t count)
{
	struct committer *committer = tree->committer;
	const struct inode *inode;
	const struct claim *claim;
	bool is_clean = true;

	mutex_take(&committer->lock);
	DL_FOREACH2(committer->dirty, inode, dirty_next)
		is_clean = is_clean && !is_one_of(inode->view, views, count);
	DL_FOREACH(committer->claims, claim)
		is_clean = is_clean && !is_one_of(claim->view, views, count);
	mutex_give(&committer->lock);
	return is_clean;
}

/* --- claims; the lock is held --- */

struct wanted {
	struct view *view;   /* NULL: any, but all of one */
	uint64_t until;      /* noted before */
	bool due;            /* only those whose time has come */
};

/*
 * Many small files that are written one after the other become idle one by one; committing each few as they do would make many small
 * table files. So they wait for a crowd, or a pause.
 */
static bool is_idle(const struct committer *committer, const struct inode *inode, uint64_t now)
{
	const uint64_t idle = now - inode->written_ms;

	return idle >= committer->idle_ms && (committer->dirty_bytes >= committer->crowd || idle >= CROWD_PATIENCE * committer->idle_ms ||
	                                      now - committer->written_ms >= committer->idle_ms);
}

static bool is_due(const struct committer *committer, const struct inode *inode, uint64_t now)
{
	if (now < inode->retry_ms)
		return false;
	return committer->waiting || committer->dirty_bytes > committer->budget / 2 || inode->noted_bytes >= committer->big ||
	       is_idle(committer, inode, now) || now - inode->dirty_since_ms >= committer->commit_ms;
}

static void claim_inode(struct committer *committer, struct claim *claim, struct inode *inode)
{
	inode->claimed = true;
	if (inode->on_dirty_list) {
		DL_DELETE2(committer->dirty, inode, dirty_prev, dirty_next);
		inode->on_dirty_list = false;
		committer->dirty_inodes--;
	}
	claim->view = inode->view;
	claim->bytes += inode->noted_bytes;
	claim->inodes++;
	inode->noted_bytes = 0;
}

static size_t claim_group(struct committer *committer, const struct wanted *wanted, struct claim *claim, struct inode **inodes)
{
	struct view *view = wanted->view;
	uint64_t now = clock_ms();
	struct inode *inode, *next;
	size_t count = 0;

	*claim = (struct claim){ 0 };
	DL_FOREACH_SAFE2(committer->dirty, inode, next, dirty_next) {
		if (inode->note_number >= wanted->until || count == COMMIT_GROUP_INODES || claim->bytes >= COMMIT_GROUP_BYTES)
			break;
		if (inode->claimed || (view && inode->view != view) || (wanted->due && !is_due(committer, inode, now)))
			continue;
		claim_inode(committer, claim, inode);
		view = inode->view;
		inodes[count++] = inode;
	}
	if (count > 0) {
		claim->number = committer->next_claim++;
		DL_APPEND(committer->claims, claim);
	}
	return count;
}

/*
 * Commits what was claimed. The lock is held, and released meanwhile. `referenced`: the inodes' references on the list are ours now, and
 * are given back before the claim goes: committer_run(view) waits for claims, after which the view may be closed.
 */
static int work_on(struct committer *committer, struct claim *claim, struct inode **inodes, size_t count, bool referenced)
{
	int result;

	mutex_give(&committer->lock);
	result = commit_group(claim->view, inodes, count);
	if (result < 0 && result != -ENOSPC && result != -ESTALE && count > 1) {
		/* one damaged file must not hold back the others */
		result = 0;
		for (size_t i = 0; i < count; i++) {
			int single = commit_group(claim->view, inodes + i, 1);

			result = result < 0 ? result : single;
		}
	}
	mutex_take(&committer->lock);
	for (size_t i = 0; i < count; i++) {
		inodes[i]->claimed = false;
		inodes[i]->retry_ms = result < 0 ? clock_ms() + RETRY_MS : 0;
	}
	/* a retired view's content was dropped, which holds nobody else up */
	committer->last_error = result == -ESTALE ? 0 : result;
	committer->failures += committer->last_error < 0;
	pthread_cond_broadcast(&committer->done);
	pthread_cond_broadcast(&committer->room);
	mutex_give(&committer->lock);
	for (size_t i = 0; i < count && referenced; i++)
		inode_put(inodes[i]);
	mutex_take(&committer->lock);
	DL_DELETE(committer->claims, claim);
	pthread_cond_broadcast(&committer->done);
	return result;
}

static int run_inode(struct committer *committer, struct inode *inode)
{
	struct claim claim = { 0 };
	bool listed;
	int result = 0;

	mutex_take(&committer->lock);
	while (inode->claimed)
		mutex_wait(&committer->lock, &committer->done);
	listed = inode->on_dirty_list;
	if (listed) {
		claim_inode(committer, &claim, inode);
		claim.number = committer->next_claim++;
		DL_APPEND(committer->claims, &claim);
		result = work_on(committer, &claim, &inode, 1, true);
	}
	mutex_give(&committer->lock);
	return result;
}

/* Whether something that was noted, or begun, before is still being committed by somebody else. */
static bool others_at_work(const struct committer *committer, const struct wanted *wanted, uint64_t claims_until)
{
	const struct inode *inode;
	const struct claim *claim;

	DL_FOREACH2(committer->dirty, inode, dirty_next) {
		if (inode->note_number >= wanted->until)
			break;
		if (!wanted->view || inode->view == wanted->view)
			return true;
	}
	DL_FOREACH(committer->claims, claim) {
		if (claim->number < claims_until && (!wanted->view || claim->view == wanted->view))
			return true;
	}
	return false;
}

static int run_view(struct committer *committer, struct view *view)
{
	struct inode **inodes = xmalloc(COMMIT_GROUP_INODES * sizeof(struct inode *));
	struct wanted wanted = { .view = view };
	uint64_t claims_until, failures;
	struct claim claim;
	int result = 0;
	size_t count;

	mutex_take(&committer->lock);
	do {
		wanted.until = committer->next_note;
		claims_until = committer->next_claim;
		failures = committer->failures;
		for (;;) {
			count = claim_group(committer, &wanted, &claim, inodes);
			if (count > 0) {
				int one = work_on(committer, &claim, inodes, count, true);

				result = result < 0 ? result : one;
			} else if (others_at_work(committer, &wanted, claims_until)) {
				mutex_wait(&committer->lock, &committer->done);
			} else {
				break;
			}
		}
		/* somebody else's group failed: its inodes are listed anew, and this caller must know how they fare */
	} while (result == 0 && failures != committer->failures);
	mutex_give(&committer->lock);
	free(inodes);
	return result;
}

int committer_run(struct tree *tree, struct view *view, struct inode *inode)
{
	return inode ? run_inode(tree->committer, inode) : run_view(tree->committer, view);
}

int committer_sync(struct tree *tree)
{
	struct committer *committer = tree->committer;
	uint64_t wanted;
	int result;

	mutex_take(&committer->lock);
	wanted = committer->syncs_begun + 1; /* one that begins from now on */
	while (committer->syncs_done < wanted) {
		if (committer->syncing) {
			mutex_wait(&committer->lock, &committer->done);
			continue;
		}
		committer->syncing = true;
		committer->syncs_begun++;
		mutex_give(&committer->lock);
		result = kv_sync(tree->kv);
		mutex_take(&committer->lock);
		committer->syncing = false;
		committer->syncs_done = committer->syncs_begun;
		if (result < 0) {
			committer->sync_failed = committer->syncs_done;
			committer->sync_error = result;
		}
		pthread_cond_broadcast(&committer->done);
	}
	result = committer->sync_failed >= wanted ? committer->sync_error : 0;
	mutex_give(&committer->lock);
	return result;
}

/* --- background threads --- */

static void *background(void *arg)
{
	struct committer *committer = arg;
	struct inode **inodes = xmalloc(COMMIT_GROUP_INODES * sizeof(struct inode *));
	struct wanted wanted = { .until = UINT64_MAX, .due = true };
	struct claim claim;

	mutex_take(&committer->lock);
	while (!committer->stop) {
		size_t count = claim_group(committer, &wanted, &claim, inodes);

		if (count > 0) {
			/* a failure is kept in last_error, and what could not be committed is tried again */
			int result = work_on(committer, &claim, inodes, count, true);

			(void)result;
		} else if (committer->dirty_inodes > 0) {
			struct timespec until = clock_after_ms(POLL_MS);

			(void)mutex_wait_until(&committer->lock, &committer->work, &until);
		} else {
			mutex_wait(&committer->lock, &committer->work);
		}
	}
	mutex_give(&committer->lock);
	free(inodes);
	return NULL;
}

int committer_start(struct tree *tree)
{
	struct committer *committer = xcalloc(1, sizeof(*committer));

	committer->tree = tree;
	committer->budget = tree->options.write_buffer_bytes ? tree->options.write_buffer_bytes : BUFFER_DEFAULT;
	committer->big = MAX(MIN(BIG_MAX, committer->budget / 4), 1);
	committer->crowd = MIN(CROWD_MAX, committer->budget / 4);
	committer->idle_ms = tree->options.idle_ms ? tree->options.idle_ms : IDLE_MS_DEFAULT;
	committer->commit_ms = tree->options.commit_ms ? tree->options.commit_ms : COMMIT_MS_DEFAULT;
	committer->blocks = block_pool_new(committer->budget);
	mutex_init(&committer->lock, LOCK_COMMITTER);
	pthread_cond_init(&committer->work, NULL);
	pthread_cond_init(&committer->room, NULL);
	pthread_cond_init(&committer->done, NULL);
	tree->committer = committer;
	for (; committer->started < THREADS; committer->started++) {
		int result = pthread_create(&committer->threads[committer->started], NULL, background, committer);

		if (result != 0) {
			committer_stop(tree);
			return -result;
		}
	}
	return 0;
}

void committer_stop(struct tree *tree)
{
	struct committer *committer = tree->committer;

	if (!committer)
		return;
	mutex_take(&committer->lock);
	committer->stop = true;
	pthread_cond_broadcast(&committer->work);
	mutex_give(&committer->lock);
	for (size_t i = 0; i < committer->started; i++)
		pthread_join(committer->threads[i], NULL);
	block_pool_free(committer->blocks);
	pthread_cond_destroy(&committer->done);
	pthread_cond_destroy(&committer->room);
	pthread_cond_destroy(&committer->work);
	mutex_clear(&committer->lock);
	free(committer);
	tree->committer = NULL;
}
