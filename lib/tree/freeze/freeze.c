/*
 * How views are frozen, and why it ends.
 *
 *             +--------------------- writes went on: let_go ----------------------+
 *             v                                                                   |
 *   open --commit_all--> committed --lock_all--> locked --is_clean says no--------+
 *             ^                                     |                             |
 *             |                                     |          too often, or freeze_begin_held: hold_all, and commit_all once more
 *             |                                     v is_clean says yes
 *             +--------freeze_end: let_go-------- frozen --freeze_set_epoch, freeze_set_shared, freeze_retire--> frozen
 *
 * Deadlock. Locks of a view are taken in this order: names, inode locks (of two views: by the number of the view), epoch lock
 * (lib/base/lock_order.h, which checks it).
 *
 *   F1  Whoever holds an epoch lock waits for no inode lock, no name lock, no hold and no committer.
 *   F2  Nobody but this file holds more than one epoch lock, and this file takes them by family and dataset.
 *
 * So whoever holds an epoch lock waits at most for a later epoch lock or for leaves, and gives it up in the end. Whoever holds an inode
 * lock waits for another by the order, or for one epoch lock, and gives it up in the end. commit_all and hold_all, which wait for inode
 * locks, hold no lock at all. copy_file_range between two frozen heads, which has both inodes locked and waits for the target's epoch,
 * therefore gets it: when this file holds it, it waits for other epochs only, which no copier keeps while he waits.
 *
 * One instant. While all epoch locks are held, no record changes, and is_clean asks about all views under one hold of the committer's
 * lock. A write that was accepted before that moment is on disk, and so is what the same process wrote before, in whichever view: of two
 * writes one after the other never only the second is seen.
 *
 * It ends. FREE_TRIES times writers may come in between. Then hold_all keeps them out, in all views, and returns when none is inside;
 * content that is not buffered then stays so, as only writers buffer what was clean.
 *
 * The last instant. What is buffered after is_clean goes into the next epoch. Of a view that is locked or retired there is none: it could never be
 * committed. So freeze_begin_held keeps writers out until freeze_end. A writer looks after hold_enter whether the view may be changed: either
 * he is inside before hold_all has returned, and what he buffers is committed; or he comes in after freeze_end, and sees what became of the
 * view. Writers who are kept out hold room in the buffer, for which no commit waits, and no lock for which this file waits. The caller must not
 * wait for a writer meanwhile, nor for what the kernel still has to write.
 *
 * What cannot be committed. freeze_begin_dropping does the same, but locks whatever is_clean would say: writers being out, what is left is what
 * failed, and what a committer has begun once more. He waits for the epoch, and finds the view retired. freeze_end lets all of it be dropped. If the
 * view is not retired after all, it is tried again, as ever.
 */
#include "lib/tree/freeze/freeze.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "lib/tree/content/committer.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/inodes/inode.h"

#define FREE_TRIES 3
#define HELD_TRIES 4 /* one is enough; that a bug in the above costs an error and not a hang */

struct freeze {
	struct view **views; /* in the order in which their epoch locks are taken */
	size_t count;
	bool is_held; /* until the end */
};

static int by_family_and_dataset(const void *a, const void *b)
{
	const struct view *left = *(struct view *const *)a, *right = *(struct view *const *)b;

	if (left->family_id != right->family_id)
		return left->family_id < right->family_id ? -1 : 1;
	if (left->dataset != right->dataset)
		return left->dataset < right->dataset ? -1 : 1;
	return left->number < right->number ? -1 : left->number > right->number;
}

static void freeze_free(struct freeze *freeze)
{
	free(freeze->views);
	free(freeze);
}

static int freeze_new(struct view *const *views, size_t count, struct freeze **ret_freeze)
{
	struct freeze *freeze = xcalloc(1, sizeof(*freeze));

	freeze->views = xcalloc(MAX(count, 1U), sizeof(struct view *));
	freeze->count = count;
	for (size_t i = 0; i < count; i++) {
		if (views[i]->read_only) {
			freeze_free(freeze);
			return -EROFS;
		}
		freeze->views[i] = views[i];
	}
	if (count > 1)
		qsort(freeze->views, count, sizeof(struct view *), by_family_and_dataset);
	*ret_freeze = freeze;
	return 0;
}

/* --- the edges of the drawing above --- */

static int commit_all(const struct freeze *freeze)
{
	int result = 0;

	for (size_t i = 0; i < freeze->count && result == 0; i++)
		result = committer_run(freeze->views[i]->tree, freeze->views[i], NULL);
	return result;
}

static void lock_all(const struct freeze *freeze)
{
	for (size_t i = 0; i < freeze->count; i++)
		rwlock_write(&freeze->views[i]->epoch_lock);
}

static void let_go(const struct freeze *freeze)
{
	for (size_t i = freeze->count; i-- > 0;)
		rwlock_give(&freeze->views[i]->epoch_lock);
}

static bool is_clean(const struct freeze *freeze)
{
	return freeze->count == 0 || pending_is_clean(freeze->views[0]->tree, freeze->views, freeze->count);
}

static void hold_all(const struct freeze *freeze)
{
	for (size_t i = 0; i < freeze->count; i++)
		hold_begin(&freeze->views[i]->hold);
}

static void end_hold(const struct freeze *freeze)
{
	for (size_t i = freeze->count; i-- > 0;)
		hold_end(&freeze->views[i]->hold);
}

/* Ends with all epoch locks held, or none and an error; -EBUSY when something was written in each try. */
static int commit_and_lock(const struct freeze *freeze, unsigned tries)
{
	for (unsigned i = 0; i < tries; i++) {
		int result = commit_all(freeze);
		if (result < 0)
			return result;
		lock_all(freeze);
		if (is_clean(freeze))
			return 0;
		let_go(freeze);
	}
	return -EBUSY;
}

/* --- what others call --- */

int freeze_begin(struct view *const *views, size_t count, struct freeze **ret_freeze)
{
	struct freeze *freeze;
	int result = freeze_new(views, count, &freeze);

	if (result < 0)
		return result;
	result = commit_and_lock(freeze, FREE_TRIES);
	if (result == -EBUSY) {
		hold_all(freeze);
		result = commit_and_lock(freeze, HELD_TRIES);
		end_hold(freeze);
	}
	if (result < 0) {
		freeze_free(freeze);
		return result;
	}
	*ret_freeze = freeze;
	return 0;
}

int freeze_begin_held(struct view *const *views, size_t count, struct freeze **ret_freeze)
{
	struct freeze *freeze;
	int result = freeze_new(views, count, &freeze);

	if (result < 0)
		return result;
	/* once before, so that writers wait for little */
	result = commit_all(freeze);
	if (result == 0) {
		hold_all(freeze);
		freeze->is_held = true;
		result = commit_and_lock(freeze, HELD_TRIES);
	}
	if (result < 0) {
		if (freeze->is_held)
			end_hold(freeze);
		freeze_free(freeze);
		return result;
	}
	*ret_freeze = freeze;
	return 0;
}

int freeze_begin_dropping(struct view *head, struct freeze **ret_freeze)
{
	struct freeze *freeze;
	int result = freeze_new(&head, 1, &freeze);

	if (result < 0)
		return result;
	/* Whoever reads the head goes on with what is committed. */
	(void)!commit_all(freeze);
	hold_all(freeze);
	freeze->is_held = true;
	(void)!commit_all(freeze);
	lock_all(freeze);
	*ret_freeze = freeze;
	return 0;
}

int freeze_begin_uncommitted(struct view *const *views, size_t count, struct freeze **ret_freeze)
{
	int result = freeze_new(views, count, ret_freeze);

	if (result == 0)
		lock_all(*ret_freeze);
	return result;
}

static void check_is_frozen(const struct freeze *freeze, const struct view *view)
{
	size_t i = 0;

	while (i < freeze->count && freeze->views[i] != view)
		i++;
	assert(i < freeze->count);
}

void freeze_set_epoch(struct freeze *freeze, struct view *view, const struct line *line, uint64_t epoch)
{
	check_is_frozen(freeze, view);
	line_clear(&view->line);
	view->line = line_copy(line);
	view->epoch = epoch;
}

void freeze_set_shared(struct freeze *freeze, struct view *view, const struct line *shared)
{
	check_is_frozen(freeze, view);
	line_clear(&view->shared);
	view->shared = line_copy(shared);
}

void freeze_retire(struct freeze *freeze, struct view *view)
{
	check_is_frozen(freeze, view);
	atomic_store(&view->retired, true);
}

/* Of a retired view a commit drops what is buffered: -ESTALE, or 0 where there is nothing. */
static void drop_retired(const struct freeze *freeze)
{
	for (size_t i = 0; i < freeze->count; i++)
		if (atomic_load(&freeze->views[i]->retired))
			(void)!committer_run(freeze->views[i]->tree, freeze->views[i], NULL);
}

void freeze_end(struct freeze *freeze)
{
	let_go(freeze);
	if (freeze->is_held)
		end_hold(freeze);
	drop_retired(freeze);
	freeze_free(freeze);
}
