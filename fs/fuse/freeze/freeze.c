/*
 * A snapshot is one instant for all writers although the kernel caches what they write. The steps, with why each is
 * needed:
 *
 *   1. With everything running, dirty pages are written back and committed, so that the rest is short.
 *   2. The gate closes: new requests of the views wait, those that are running end. But who stores into a shared
 *      mapping asks nobody, and a write(2) that waits keeps its pages locked, which step 3 needs. So reads and writes of
 *      files open for writing still pass, and:
 *   3. Each such file's pages are written back and unmapped; from then on it is sealed: its reads and writes wait
 *      too, so whoever writes through a mapping stops at its next page fault. Whoever wrote A before B cannot have B in and
 *      A out: either A's write(2) had been answered, or the store into A's mapping had ended before A was sealed and was
 *      written back with it.
 *   4. The writes that passed end, and all is committed.
 *   5. The caller freezes the views, whose changes are now only what was accepted, writes its records, and
 *      thaws: the gate opens.
 *
 * A file is not invalidated again while it is sealed: a request that waits at the gate holds its page locked. Should the
 * steps not come to an end in FREEZE_LIMIT_MS, a watcher opens the gate, and the snapshot fails with -EBUSY.
 */
#include "fs/fuse/freeze/freeze.h"

#include <errno.h>
#include <pthread.h>
#include <utlist.h>

#include "fs/fuse/session/node.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/locks.h"

#define FREEZE_LIMIT_MS 10000
#define LET_PASS_STEPS 200 /* 10 ms */
#define LET_PASS_STEP_US 50

struct freeze {
	struct store *store;
	struct gate *gate;

	struct mutex lock;  /* guards all below, and the writing back of pages (see the header) */
	struct gate_session *sessions;
	uint64_t until_ms; /* when sealing gives up */
	atomic_bool frozen; /* the lock is held for a freeze */
};

struct freeze *freeze_new(struct store *store)
{
	struct freeze *freeze = xcalloc(1, sizeof(*freeze));

	freeze->store = store;
	freeze->gate = gate_new();
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

/* Step 4: what the daemon has buffered of a file. */
static int commit_file(struct freeze *freeze, struct gate_session *session, uint64_t id)
{
	const struct node node = node_decode(id, atomic_load(&session->root_view));
	struct inode *inode;
	struct view *view;
	int result;

	result = store_view_by_number(freeze->store, node.view, &view);
	if (result)
		return result == -ESTALE ? 0 : result;
	result = inode_open(view, node.ino, &inode);
	if (!result) {
		result = inode_commit(inode);
		inode_close(inode);
	}
	store_view_put(freeze->store, view);
	return result == -ESTALE ? 0 : result;
}

/* The steps below are for one session and view (0: any), with the lock held. */

static int write_back(struct freeze *freeze, struct gate_session *session, uint32_t view)
{
	AUTO_FREE uint64_t *nodes = NULL;
	const size_t count = writers_list(&session->writers, view, atomic_load(&session->root_view), &nodes);
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
	const size_t count = writers_list(&session->writers, view, atomic_load(&session->root_view), &nodes);
	int result = 0;

	for (size_t i = 0; i < count && !result; i++)
		result = commit_file(freeze, session, nodes[i]);
	return result;
}

static int write_back_and_commit(struct freeze *freeze, struct gate_session *session, uint32_t view)
{
	const int result = write_back(freeze, session, view);

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

static int seal(struct freeze *freeze, struct gate_session *session, uint32_t view)
{
	struct writers *writers = &session->writers;
	AUTO_FREE uint64_t *nodes = NULL;
	const size_t count = writers_list_named(writers, view, atomic_load(&session->root_view), &nodes);
	int result = 0;

	for (size_t i = 0; i < count && !result; i++) {
		uint64_t passed;

		do {
			let_pass(writers, nodes[i]);
			passed = writers_begin_seal(writers, nodes[i]);
			result = clock_ms() < freeze->until_ms ? session_notify_inode(session->session, nodes[i]) : -EBUSY;
		} while (!result && !writers_seal(writers, nodes[i], passed));
	}
	return result;
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
	pthread_mutex_t lock; /* guards the two below */
	pthread_cond_t cond;
	bool done, gave_up;
};

static void *watch_main(void *arg)
{
	struct watch *watch = arg;
	const struct timespec until = clock_after_ms(FREEZE_LIMIT_MS);
	int waited = 0;

	pthread_mutex_lock(&watch->lock);
	while (!watch->done && waited != ETIMEDOUT)
		waited = pthread_cond_clockwait(&watch->cond, &watch->lock, CLOCK_MONOTONIC, &until);
	watch->gave_up = !watch->done;
	pthread_mutex_unlock(&watch->lock);
	/* the list stands still: the thread that freezes has the lock, and waits for this one */
	if (watch->gave_up)
		open_gate(watch->freeze);
	return NULL;
}

/* Steps 2 to 4, watched. */
static int close_and_seal(struct freeze *freeze, const uint32_t *views, size_t count)
{
	struct watch watch = {.freeze = freeze, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	pthread_t watcher;
	int result;

	if (pthread_create(&watcher, NULL, watch_main, &watch))
		return -EAGAIN;
	freeze->until_ms = clock_ms() + FREEZE_LIMIT_MS;
	gate_close(freeze->gate, views, count);
	result = gate_drain(freeze->gate, clock_ms() + FREEZE_LIMIT_MS / 2);
	if (!result)
		result = each(freeze, views, count, name_writers);
	if (!result)
		result = each(freeze, views, count, seal);
	if (!result)
		result = gate_drain_writes(freeze->gate, clock_ms() + FREEZE_LIMIT_MS / 2);
	if (!result)
		result = each(freeze, views, count, commit);
	pthread_mutex_lock(&watch.lock);
	watch.done = true;
	pthread_cond_signal(&watch.cond);
	pthread_mutex_unlock(&watch.lock);
	pthread_join(watcher, NULL);
	return watch.gave_up && !result ? -EBUSY : result;
}

int freeze_views(struct freeze *freeze, const uint32_t *views, size_t count)
{
	int result;

	mutex_take(&freeze->lock);
	result = each(freeze, views, count, write_back_and_commit);
	if (!result)
		result = close_and_seal(freeze, views, count);
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
