#include "lib/tree/content/committer.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/tree/content/commit.h"
#include "lib/tree/content/pending.h"

#define THREADS 2
#define RETRY_MS 1000      /* after a failed commit, and twice as long after each that follows */
#define RETRY_MAX_MS 16000
#define POLL_MS 20

struct committer {
	struct tree *tree;
	pthread_t threads[THREADS];
	size_t started;

	/* The lock of `pending` guards all below. */
	bool stop;
	uint64_t syncs_begun, syncs_done; /* committer_sync */
	bool syncing;
	uint64_t sync_failed; /* the last that failed, and how */
	int sync_error;
};

static void forget_failure(struct commit_failure *failure, const struct inode *inode)
{
	if (failure->ino == inode->ino && failure->view == inode->view->number)
		*failure = (struct commit_failure){0};
}

/* The lock is held. What failed is on the list again: others of its group were committed before, or had nothing to commit any more. */
static void note_result(struct pending *pending, struct inode *inode, int result)
{
	const bool failed = result < 0 && inode->on_dirty_list, failed_before = inode->retry_ms != 0;

	/* room on the disk may come at any time, damage seldom goes */
	if (!failed || result == -ENOSPC || inode->retry_pause_ms == 0)
		inode->retry_pause_ms = failed ? RETRY_MS : 0;
	else
		inode->retry_pause_ms = MIN(2 * inode->retry_pause_ms, RETRY_MAX_MS);
	inode->retry_ms = failed ? clock_ms() + inode->retry_pause_ms : 0;
	pending->failing += (uint64_t)failed - (uint64_t)failed_before;
	if (failed) {
		pending->failing_error = result;
		pending->failure = inode->view->failure = (struct commit_failure){.view = inode->view->number, .ino = inode->ino, .error = result};
	} else {
		forget_failure(&pending->failure, inode);
		forget_failure(&inode->view->failure, inode);
	}
}

/*
 * Commits what was claimed. The lock is held, and given up meanwhile. The inodes' references on the list are ours now, and are given back
 * before the claim goes: committer_run(view) waits for claims, after which the view may be closed.
 */
static int work_on(struct pending *pending, struct claim *claim, struct inode **inodes, size_t count)
{
	bool one_by_one, is_failure;
	int result;

	mutex_give(&pending->lock);
	result = commit_group(claim->view, inodes, count);
	/* one damaged file must not hold back the others */
	one_by_one = result < 0 && result != -ENOSPC && result != -ESTALE && count > 1;
	result = one_by_one ? 0 : result;
	for (size_t i = 0; i < count && one_by_one; i++) {
		int single = commit_group(claim->view, inodes + i, 1);

		result = result < 0 ? result : single;
		mutex_take(&pending->lock);
		note_result(pending, inodes[i], single);
		mutex_give(&pending->lock);
	}
	mutex_take(&pending->lock);
	for (size_t i = 0; i < count; i++) {
		inodes[i]->claimed = false;
		if (!one_by_one)
			note_result(pending, inodes[i], result);
	}
	/* a retired view's content was dropped, which holds nobody else up */
	is_failure = result < 0 && result != -ESTALE;
	pending->failures += is_failure;
	claim->view->failures += is_failure;
	pthread_cond_broadcast(&pending->done);
	pthread_cond_broadcast(&pending->room);
	mutex_give(&pending->lock);
	for (size_t i = 0; i < count; i++)
		inode_put(inodes[i]);
	mutex_take(&pending->lock);
	pending_end_claim(pending, claim);
	return result;
}

/* Commits one group of what is wanted; returns how many inodes it had, 0: none can be claimed now. The lock is held, and given up meanwhile. */
static size_t work_once(struct pending *pending, const struct wanted *wanted, struct inode **inodes, int *ret_result)
{
	struct claim claim;
	const size_t count = pending_claim_group(pending, wanted, &claim, inodes);

	if (count > 0)
		*ret_result = work_on(pending, &claim, inodes, count);
	return count;
}

static int run_inode(struct pending *pending, struct inode *inode)
{
	struct claim claim;
	int result = 0;

	mutex_take(&pending->lock);
	while (inode->claimed)
		mutex_wait(&pending->lock, &pending->done);
	if (pending_may_claim(inode)) {
		pending_claim_inode(pending, &claim, inode);
		result = work_on(pending, &claim, &inode, 1);
	}
	mutex_give(&pending->lock);
	return result;
}

static int run_view(struct pending *pending, struct view *view)
{
	struct inode **inodes = xmalloc(COMMIT_GROUP_INODES * sizeof(struct inode *));
	const uint64_t *const failures_now = view ? &view->failures : &pending->failures;
	struct wanted wanted = { .view = view };
	uint64_t failures;
	int result = 0;

	mutex_take(&pending->lock);
	do {
		wanted.until = pending->next_note;
		failures = *failures_now;
		for (;;) {
			int one;

			if (work_once(pending, &wanted, inodes, &one) > 0) {
				/* who asks for all views has not lost what a retired one drops */
				if (one == -ESTALE && !view)
					one = 0;
				result = result < 0 ? result : one;
			} else if (pending_others_at_work(pending, &wanted)) {
				mutex_wait(&pending->lock, &pending->done);
			} else {
				break;
			}
		}
		/* somebody else's group failed: its inodes are listed anew, and this caller must know how they fare */
	} while (result == 0 && failures != *failures_now);
	mutex_give(&pending->lock);
	free(inodes);
	return result;
}

int committer_run(struct tree *tree, struct view *view, struct inode *inode)
{
	return inode ? run_inode(tree->pending, inode) : run_view(tree->pending, view);
}

int committer_run_group(struct tree *tree)
{
	const struct wanted wanted = {.until = UINT64_MAX};
	struct inode **inodes = xmalloc(COMMIT_GROUP_INODES * sizeof(struct inode *));
	struct pending *pending = tree->pending;
	int result = 0;

	mutex_take(&pending->lock);
	(void)work_once(pending, &wanted, inodes, &result);
	mutex_give(&pending->lock);
	free(inodes);
	return result;
}

/* When a commit has failed, a full disk is no more a matter of counting. Who replays commits by himself. */
int committer_check_space(struct tree *tree, size_t len)
{
	struct pending *pending = tree->pending;
	int result = pending_check_space(tree, len);

	if (result != -ENOSPC || tree_is_replaying(tree))
		return result;
	mutex_take(&pending->lock);
	const bool may_shrink = pending->dirty_bytes > 0 && pending->failing == 0;
	mutex_give(&pending->lock);
	if (may_shrink && committer_run(tree, NULL, NULL) == 0)
		result = pending_check_space(tree, len);
	return result;
}

int committer_sync(struct tree *tree)
{
	struct committer *committer = tree->committer;
	struct pending *pending = tree->pending;
	uint64_t wanted;
	int result;

	mutex_take(&pending->lock);
	wanted = committer->syncs_begun + 1; /* one that begins from now on */
	while (committer->syncs_done < wanted) {
		if (committer->syncing) {
			mutex_wait(&pending->lock, &pending->done);
			continue;
		}
		committer->syncing = true;
		committer->syncs_begun++;
		mutex_give(&pending->lock);
		result = kv_sync(tree->kv);
		mutex_take(&pending->lock);
		committer->syncing = false;
		committer->syncs_done = committer->syncs_begun;
		if (result < 0) {
			committer->sync_failed = committer->syncs_done;
			committer->sync_error = result;
		}
		pthread_cond_broadcast(&pending->done);
	}
	result = committer->sync_failed >= wanted ? committer->sync_error : 0;
	mutex_give(&pending->lock);
	return result;
}

/* --- background threads --- */

static void *background(void *arg)
{
	const struct committer *committer = arg;
	struct pending *pending = committer->tree->pending;
	struct inode **inodes = xmalloc(COMMIT_GROUP_INODES * sizeof(struct inode *));
	const struct wanted wanted = { .until = UINT64_MAX, .due = true };
	int ignored; /* a failure is kept with its inodes (note_result), which are tried again */

	mutex_take(&pending->lock);
	while (!committer->stop) {
		/* who replays commits what there is too much of */
		const bool waits = tree_is_replaying(committer->tree);

		if (!waits && work_once(pending, &wanted, inodes, &ignored) > 0)
			continue;
		if (pending->dirty_inodes > 0) {
			struct timespec until = clock_after_ms(POLL_MS);

			(void)mutex_wait_until(&pending->lock, &pending->work, &until);
		} else {
			mutex_wait(&pending->lock, &pending->work);
		}
	}
	mutex_give(&pending->lock);
	free(inodes);
	return NULL;
}

int committer_start(struct tree *tree)
{
	struct committer *committer = xcalloc(1, sizeof(*committer));

	committer->tree = tree;
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
	mutex_take(&tree->pending->lock);
	committer->stop = true;
	pthread_cond_broadcast(&tree->pending->work);
	mutex_give(&tree->pending->lock);
	for (size_t i = 0; i < committer->started; i++)
		pthread_join(committer->threads[i], NULL);
	free(committer);
	tree->committer = NULL;
}
