/*
 * A snapshot is one instant for all writers although the kernel caches what they write. The steps, with why each is
 * needed:
 *
 *   1. With everything running, dirty pages are written back and committed, so that the rest is short.
 *   2. The gate closes: new requests of the views wait, those that are running and change something end. (Where a head gets another view, those
 *      that look at its root end, too: the root goes on in the new view, and what is told of the old one must not reach the kernel later.)
 *      But who stores into a shared mapping asks nobody, and a write(2) that waits keeps its pages locked, which step 3 needs. So reads and
 *      writes of files open for writing still pass, and:
 *   3. The pages of each such file are written back and unmapped, range by range; from then on the range is sealed: who
 *      reads or writes nothing else waits too, so whoever stores into the mapping there stops at his page fault. First all
 *      files get their first range sealed, at which those stop who store here and there; then, if the files are big, the
 *      kernel writes back in bulk what is dirty (write_back.h), and the other ranges find clean pages.
 *   4. The writes that passed end, and all is committed, as far as it can be.
 *   5. The caller freezes the views, whose changes are now only what was accepted, writes its records, and
 *      thaws: the gate opens.
 *
 * Why that is one instant. Each range has its own moment, at which it was sealed for the last time; each request has that at which it passed
 * the gate. What happened before its moment is in, what comes later is not. Say somebody does A before B: then never is B in and A out. If
 * A came after its moment, it waits until the snapshot is taken: a store at a page fault, as the page was unmapped and its read is held; a
 * request at the gate. So the same program, and whoever waits for it, does not come to B before that. It does not matter that the moments
 * differ, since nobody gets past the first of them that he would have to notice.
 *
 * Why it ends. Who reads or writes in the range that is being sealed gives the seal a head start, which is longer than it takes to drop
 * pages that are clean, and in a second try only those are left that passed meanwhile. Nothing is invalidated while a request that holds its
 * pages locked waits at the gate: who reaches beyond the sealed part passes and unseals what he touched, and with him those who wait for
 * pages there. Should nothing move for FREEZE_STILL_MS, or the whole take FREEZE_LIMIT_MS, or what waits need more than FREEZE_HELD_MAX of
 * memory, a watcher opens the gate, and the snapshot fails with -EBUSY.
 */
#include "fs/fuse/freeze/freeze.h"

#include <errno.h>
#include <pthread.h>
#include <utlist.h>

#include "fs/fuse/session/write_back.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/locks.h"

#define FREEZE_LIMIT_MS 60000
#define FREEZE_STILL_MS 10000
#define FREEZE_HELD_MAX (256UL << 20)
#define WATCH_STEP_MS 250
#define BULK_MIN (32U << 20) /* bytes of files: with fewer a child is more work than writing page by page */
#define LET_PASS_STEPS 200 /* 10 ms */
#define LET_PASS_STEP_US 50

struct freeze {
	struct store *store;
	struct gate *gate;

	struct mutex lock;  /* guards all below, and the writing back of pages (see the header) */
	struct gate_session *sessions;
	atomic_bool gave_up;
	_Atomic uint64_t steps; /* done in the freeze that is under way */
	atomic_bool frozen; /* the lock is held for a freeze */
};

struct freeze *freeze_new(struct store *store)
{
	struct freeze *freeze = xcalloc(1, sizeof(*freeze));

	freeze->store = store;
	freeze->gate = gate_new(FREEZE_HELD_MAX);
	mutex_init(&freeze->lock, LOCK_FUSE_FREEZE);
	return freeze;
}

void freeze_free(struct freeze *freeze)
{
	if (!freeze)
		return;
	gate_free(freeze->gate);
	mutex_clear(&freeze->lock);
	free(freeze);
}

struct gate *freeze_gate(struct freeze *freeze)
{
	return freeze->gate;
}

void freeze_attach(struct freeze *freeze, struct gate_session *session)
{
	mutex_take(&freeze->lock);
	DL_APPEND(freeze->sessions, session);
	mutex_give(&freeze->lock);
}

void freeze_detach(struct freeze *freeze, struct gate_session *session)
{
	mutex_take(&freeze->lock);
	DL_DELETE(freeze->sessions, session);
	mutex_give(&freeze->lock);
}

void freeze_await(struct freeze *freeze)
{
	mutex_take(&freeze->lock);
	mutex_give(&freeze->lock);
}

/* The file, open, and its view; 1: it is not there any more. */
static int open_file(struct freeze *freeze, const struct gate_session *session, uint64_t id, struct view **ret_view, struct inode **ret_inode)
{
	const struct node node = node_decode(id, &session->root);
	int result = store_view_by_number(freeze->store, node.view, ret_view);

	if (result)
		return result == -ESTALE ? 1 : result;
	result = inode_open(*ret_view, node.ino, ret_inode);
	if (result)
		store_view_put(freeze->store, *ret_view);
	return result == -ESTALE ? 1 : result;
}

static void close_file(struct freeze *freeze, struct view *view, struct inode *inode)
{
	inode_close(inode);
	store_view_put(freeze->store, view);
}

static uint64_t size_of(struct freeze *freeze, const struct gate_session *session, uint64_t id)
{
	struct inode *inode;
	struct attr attr;
	struct view *view;

	if (open_file(freeze, session, id, &view, &inode))
		return 0;
	inode_attr(inode, &attr);
	close_file(freeze, view, inode);
	return attr.size;
}

/*
 * Step 4: what the daemon has buffered of a file. If that fails, so does what the caller commits when he freezes the views, and he knows whether
 * it matters to him, and names the file.
 */
static void commit_file(struct freeze *freeze, struct gate_session *session, uint64_t id)
{
	struct inode *inode;
	struct view *view;

	if (open_file(freeze, session, id, &view, &inode))
		return;
	(void)!inode_commit(inode);
	close_file(freeze, view, inode);
}

/* The steps below are for one session and view (0: any), with the lock held. */

static int write_back(struct freeze *freeze, struct gate_session *session, uint32_t view)
{
	AUTO_FREE uint64_t *nodes = NULL;
	const size_t count = writers_list(&session->writers, view, &session->root, &nodes);
	int result = 0;

	for (size_t i = 0; i < count; i++) {
		const int one = session_notify_inode(session->session, nodes[i]);

		result = result ? result : one;
	}
	return result;
}

static int commit(struct freeze *freeze, struct gate_session *session, uint32_t view)
{
	AUTO_FREE uint64_t *nodes = NULL;
	const size_t count = writers_list(&session->writers, view, &session->root, &nodes);

	for (size_t i = 0; i < count; i++) {
		commit_file(freeze, session, nodes[i]);
		atomic_fetch_add(&freeze->steps, 1);
	}
	return 0;
}

/* Before the gate closes, since it opens the mount's root. */
static int prepare_bulk(struct freeze *freeze, struct gate_session *session, uint32_t view)
{
	AUTO_FREE uint64_t *nodes = NULL;
	const size_t count = session->write_back ? 0 : writers_list(&session->writers, view, &session->root, &nodes);
	uint64_t bytes = 0;

	for (size_t i = 0; i < count && bytes < BULK_MIN; i++)
		bytes += size_of(freeze, session, nodes[i]);
	if (bytes >= BULK_MIN)
		session->write_back = write_back_begin(session->mountpoint, atomic_load(&session->connection));
	return 0;
}

/* What fails here fails again when the pages are taken away, and is reported then. */
static bool write_back_in_bulk(struct gate_session *session)
{
	return session->write_back && write_back_run(session->write_back) == 0;
}

static void end_bulk(struct freeze *freeze)
{
	struct gate_session *session;

	DL_FOREACH (freeze->sessions, session)
		write_back_end(steal_ptr(session->write_back));
}

static int write_back_and_commit(struct freeze *freeze, struct gate_session *session, uint32_t view)
{
	const int result = write_back_in_bulk(session) ? 0 : write_back(freeze, session, view);

	return result ? result : commit(freeze, session, view);
}

static int name_writers(struct freeze *freeze, struct gate_session *session, uint32_t view)
{
	writers_name(&session->writers);
	return 0;
}

/*
 * Who waits for the end of his head start keeps pages locked, perhaps such as the next try to take them away would wait for, and so on
 * until none is left: a page that is stored into all the time is asked for again before we are back. So a try begins when none waits.
 */
static void let_pass(struct writers *writers, uint64_t node)
{
	for (int i = 0; i < LET_PASS_STEPS && !writers_let_pass(writers, node); i++)
		clock_pause_us(LET_PASS_STEP_US);
}

/* Seals `ranges` of the file at most. */
static int seal_file(struct freeze *freeze, struct gate_session *session, uint64_t node, uint64_t ranges)
{
	const uint64_t size = size_of(freeze, session, node);
	struct writers *writers = &session->writers;
	struct writers_range range;
	int result = 0;

	while (!result && ranges > 0) {
		let_pass(writers, node);
		if (!writers_begin_seal(writers, node, size, &range))
			return 0;
		result = atomic_load(&freeze->gave_up) ? -EBUSY
		                                       : session_notify_range(session->session, node, range.offset,
		                                                              range.end == UINT64_MAX ? 0 : range.end - range.offset);
		if (!result && writers_seal(writers, node, &range)) {
			atomic_fetch_add(&freeze->steps, 1);
			ranges--;
		}
	}
	return result;
}

static int seal_ranges(struct freeze *freeze, struct gate_session *session, uint32_t view, uint64_t ranges)
{
	AUTO_FREE uint64_t *nodes = NULL;
	const size_t count = writers_list_named(&session->writers, view, &session->root, &nodes);
	int result = 0;

	for (size_t i = 0; i < count && !result; i++)
		result = seal_file(freeze, session, nodes[i], ranges);
	return result;
}

static int seal_first(struct freeze *freeze, struct gate_session *session, uint32_t view)
{
	return session->write_back ? seal_ranges(freeze, session, view, 1) : 0;
}

static int bring_in(struct freeze *freeze, struct gate_session *session, uint32_t view)
{
	(void)write_back_in_bulk(session);
	return 0;
}

static int seal(struct freeze *freeze, struct gate_session *session, uint32_t view)
{
	return seal_ranges(freeze, session, view, UINT64_MAX);
}

/* The first failure ends it. */
static int each(struct freeze *freeze, const uint32_t *views, size_t count,
                int (*step)(struct freeze *freeze, struct gate_session *session, uint32_t view))
{
	struct gate_session *session;
	int result = 0;

	DL_FOREACH (freeze->sessions, session) {
		for (size_t i = 0; i < count && !result; i++)
			result = step(freeze, session, views[i]);
	}
	return result;
}

static void open_gate(struct freeze *freeze)
{
	struct gate_session *session;

	DL_FOREACH (freeze->sessions, session)
		writers_unseal_all(&session->writers);
	gate_open(freeze->gate);
}

struct watch {
	struct freeze *freeze;
	pthread_mutex_t lock; /* guards `done` */
	pthread_cond_t cond;
	bool done;
};

/* Waits until it is done, or does not move any more. */
static void watch(struct watch *watch)
{
	struct freeze *freeze = watch->freeze;
	const uint64_t began_ms = clock_ms();
	uint64_t moved_ms = began_ms, moved = 0, now_ms;

	while (!watch->done) {
		const struct timespec until = clock_after_ms(WATCH_STEP_MS);
		const uint64_t moves = atomic_load(&freeze->steps) + gate_moved(freeze->gate);

		now_ms = clock_ms();
		if (moves != moved)
			moved_ms = now_ms;
		moved = moves;
		if (gate_is_full(freeze->gate) || now_ms > moved_ms + FREEZE_STILL_MS || now_ms > began_ms + FREEZE_LIMIT_MS)
			return;
		pthread_cond_clockwait(&watch->cond, &watch->lock, CLOCK_MONOTONIC, &until);
	}
}

static void *watch_main(void *arg)
{
	struct watch *watched = arg;

	pthread_mutex_lock(&watched->lock);
	watch(watched);
	atomic_store(&watched->freeze->gave_up, !watched->done);
	pthread_mutex_unlock(&watched->lock);
	/* the list stands still: the thread that freezes has the lock, and waits for this one */
	if (atomic_load(&watched->freeze->gave_up))
		open_gate(watched->freeze);
	return NULL;
}

static int take_steps(struct freeze *freeze, const uint32_t *views, size_t count)
{
	int result = gate_drain(freeze->gate, clock_ms() + FREEZE_STILL_MS / 2);

	if (!result)
		result = each(freeze, views, count, name_writers);
	if (!result)
		result = each(freeze, views, count, seal_first);
	if (!result)
		result = each(freeze, views, 1, bring_in);
	if (!result)
		result = each(freeze, views, count, seal);
	if (!result)
		result = gate_drain_writes(freeze->gate, clock_ms() + FREEZE_STILL_MS / 2);
	if (!result)
		result = each(freeze, views, count, commit);
	return result;
}

/* Steps 2 to 4, watched. */
static int close_and_seal(struct freeze *freeze, const uint32_t *views, size_t count, bool replaces)
{
	struct watch watch = {.freeze = freeze, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	pthread_t watcher;
	int result;

	atomic_store(&freeze->gave_up, false);
	if (pthread_create(&watcher, NULL, watch_main, &watch))
		return -EAGAIN;
	gate_close(freeze->gate, views, count, replaces);
	result = take_steps(freeze, views, count);
	pthread_mutex_lock(&watch.lock);
	watch.done = true;
	pthread_cond_signal(&watch.cond);
	pthread_mutex_unlock(&watch.lock);
	pthread_join(watcher, NULL);
	return atomic_load(&freeze->gave_up) && !result ? -EBUSY : result;
}

/* All of it is told at once. */
static int tell_lost(struct freeze *freeze, const uint32_t *views, size_t count, struct lost_told *ret_lost)
{
	struct gate_session *session;

	*ret_lost = (struct lost_told){0};
	DL_FOREACH (freeze->sessions, session) {
		for (size_t i = 0; i < count; i++)
			lost_tell(&session->lost, LOST_SNAPSHOT, views[i], &session->root, ret_lost);
	}
	return ret_lost->error;
}

int freeze_views(struct freeze *freeze, const uint32_t *views, size_t count, bool replaces, struct lost_told *ret_lost)
{
	int result;

	mutex_take(&freeze->lock);
	result = each(freeze, views, count, prepare_bulk);
	if (!result)
		result = each(freeze, views, count, write_back_and_commit);
	if (!result)
		result = close_and_seal(freeze, views, count, replaces);
	if (!result && ret_lost)
		result = tell_lost(freeze, views, count, ret_lost);
	end_bulk(freeze);
	if (result) {
		open_gate(freeze);
		mutex_give(&freeze->lock);
		return result;
	}
	atomic_store(&freeze->frozen, true);
	return 0;
}

void freeze_thaw(struct freeze *freeze)
{
	if (!atomic_load(&freeze->frozen))
		return;
	open_gate(freeze);
	atomic_store(&freeze->frozen, false);
	mutex_give(&freeze->lock);
}

/* Caller holds the lock. All sessions get their turn, whatever the others say. */
static int write_back_all(struct freeze *freeze)
{
	struct gate_session *session;
	int result = 0;

	DL_FOREACH (freeze->sessions, session) {
		const int one = write_back(freeze, session, 0);

		result = result ? result : one;
	}
	return result;
}

int freeze_write_back(struct freeze *freeze, struct gate_session *session)
{
	int result;

	mutex_take(&freeze->lock);
	result = session ? write_back(freeze, session, 0) : write_back_all(freeze);
	mutex_give(&freeze->lock);
	return result;
}

int freeze_lost(struct freeze *freeze, struct gate_session *only, enum lost_asker asker)
{
	struct gate_session *session;
	struct lost_told told = {0};

	mutex_take(&freeze->lock);
	DL_FOREACH (freeze->sessions, session) {
		if (!only || session == only)
			lost_tell(&session->lost, asker, 0, &session->root, &told);
	}
	mutex_give(&freeze->lock);
	return told.error;
}

int freeze_write_back_if_free(struct freeze *freeze)
{
	int result;

	if (!mutex_try(&freeze->lock))
		return 0;
	result = write_back_all(freeze);
	mutex_give(&freeze->lock);
	return result;
}

int freeze_drop_pages(struct freeze *freeze, struct gate_session *session, uint64_t node, uint64_t offset, uint64_t length)
{
	int result;

	mutex_take(&freeze->lock);
	result = session_notify_range(session->session, node, offset, length);
	mutex_give(&freeze->lock);
	return result;
}

int freeze_write_back_file(struct freeze *freeze, struct gate_session *session, uint64_t node)
{
	return freeze_drop_pages(freeze, session, node, 0, 0);
}
