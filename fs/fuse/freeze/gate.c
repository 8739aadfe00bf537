#include "fs/fuse/freeze/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <string.h>
#include <utlist.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define STEP_US 50
#define SEAL_START_STEPS 40 /* 2 ms */

struct held {
	struct session *session;
	struct held *prev, *next;
	size_t len;
	max_align_t request[];
};

struct gate {
	atomic_bool closed;
	_Atomic uint64_t moved; /* reads and writes that passed while it was closed */
	atomic_bool full;     /* for some request there was no room */
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t opened;
	uint32_t *views;
	size_t count;
	bool replaces;
	struct held *held;
	size_t held_bytes, held_max;
	struct session_slot *slots;
};

/* What becomes of a request. */
enum verdict {
	PASSES,
	HELD,
	WAITS, /* there is no room to hold it */
};

struct gate *gate_new(size_t held_max)
{
	struct gate *gate = xcalloc(1, sizeof(*gate));

	gate->held_max = held_max;
	pthread_mutex_init(&gate->lock, NULL);
	pthread_cond_init(&gate->opened, NULL);
	return gate;
}

void gate_free(struct gate *gate)
{
	if (!gate)
		return;
	pthread_mutex_destroy(&gate->lock);
	pthread_cond_destroy(&gate->opened);
	free(gate->views);
	free(gate);
}

static void add_slot(void *arg, struct session_slot *slot)
{
	struct gate *gate = ((struct gate_session *)arg)->gate;

	pthread_mutex_lock(&gate->lock);
	DL_APPEND(gate->slots, slot);
	pthread_mutex_unlock(&gate->lock);
}

static void remove_slot(void *arg, struct session_slot *slot)
{
	struct gate *gate = ((struct gate_session *)arg)->gate;

	pthread_mutex_lock(&gate->lock);
	DL_DELETE(gate->slots, slot);
	pthread_mutex_unlock(&gate->lock);
}

/* Whether the gate never holds this request, whatever its file. */
static bool always_passes(const struct fuse_in_header *in)
{
	const void *arg = in + 1;

	switch (in->opcode) {
	case FUSE_INIT:
	case FUSE_DESTROY:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_STATFS:
	case FUSE_FALLOCATE:
	case FUSE_COPY_FILE_RANGE:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
	case FUSE_RELEASEDIR:
	case FUSE_LSEEK: return true;
	case FUSE_WRITE: return ((const struct fuse_write_in *)arg)->write_flags & FUSE_WRITE_CACHE;
	case FUSE_SETATTR: return ((const struct fuse_setattr_in *)arg)->valid & FATTR_SIZE;
	case FUSE_OPEN: return ((const struct fuse_open_in *)arg)->flags & O_TRUNC;
	default: return false;
	}
}

/* Caller holds the lock. */
static bool has_view(const struct gate *gate, uint32_t view)
{
	for (size_t i = 0; i < gate->count; i++) {
		if (gate->views[i] == view)
			return true;
	}
	return false;
}

/* The kernel may keep pages locked until it is answered, for which a seal then waits. */
static bool moves_content(const struct fuse_in_header *in)
{
	return in->opcode == FUSE_READ || in->opcode == FUSE_WRITE;
}

/* It changes nothing, and whoever acts on what it tells is held himself. */
static bool only_looks(const struct fuse_in_header *in)
{
	switch (in->opcode) {
	case FUSE_READ:
	case FUSE_LOOKUP:
	case FUSE_GETATTR:
	case FUSE_READLINK:
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
	case FUSE_OPENDIR:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS: return true;
	default: return false;
	}
}

/*
 * Where the thread says what it is running; NULL: nobody need wait until that ends. What is told of the root of a head goes on after a rollback: it
 * must have reached the kernel before that hears that all is new.
 */
static _Atomic uint32_t *mark_of(const struct gate_session *session, struct session_slot *slot, const struct fuse_in_header *in)
{
	if (in->opcode == FUSE_WRITE)
		return &slot->writes;
	if (!only_looks(in))
		return &slot->view;
	return node_is_root_of_head(in->nodeid, &session->root) ? &slot->looks : NULL;
}

static void note_move(struct gate *gate, const struct fuse_in_header *in)
{
	if (moves_content(in) && atomic_load_explicit(&gate->closed, memory_order_relaxed))
		atomic_fetch_add_explicit(&gate->moved, 1, memory_order_relaxed);
}

static struct writers_access access_of(const struct fuse_in_header *in)
{
	/* FUSE_WRITE's arguments begin in the same way */
	const struct fuse_read_in *arg = (const struct fuse_read_in *)(in + 1);

	return (struct writers_access){.offset = arg->offset, .end = arg->offset + arg->size, .writes = in->opcode == FUSE_WRITE};
}

/*
 * Who writes, or writes through a mapping and reads its page again as soon as it is taken away, would always be back before the range is
 * sealed: the seal gets a head start. Not for longer, because taking the pages away may have to wait for this request.
 */
static void yield_to_seal(struct writers *writers, uint64_t node, const struct writers_access *access)
{
	for (int i = 0; i < SEAL_START_STEPS && writers_is_sealing(writers, node, access); i++)
		clock_pause_us(STEP_US);
}

/* Caller holds the lock. */
static enum verdict hold(struct gate *gate, struct session *session, const void *request, size_t len)
{
	struct held *held;

	if (len > gate->held_max - gate->held_bytes) {
		atomic_store(&gate->full, true);
		return WAITS;
	}
	held = xmalloc(sizeof(*held) + len);
	gate->held_bytes += len;
	held->session = session;
	held->len = len;
	memcpy(held->request, request, len);
	DL_APPEND(gate->held, held);
	return HELD;
}

/* The gate is opened at once, or whoever froze is about to do it. */
static void await_open(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	while (atomic_load(&gate->closed) && atomic_load(&gate->full))
		pthread_cond_wait(&gate->opened, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

static void run(struct held *list)
{
	struct held *held, *next;

	DL_FOREACH_SAFE (list, held, next) {
		session_process(held->session, held->request, held->len);
		free(held);
	}
}

/* Of one file, what moves content behind `offset`: its pages will be taken away again, which would wait for it. Caller holds the lock. */
static struct held *take_behind(struct gate *gate, struct session *session, uint64_t node, uint64_t offset)
{
	struct held *held, *next, *taken = NULL;

	DL_FOREACH_SAFE (gate->held, held, next) {
		const struct fuse_in_header *in = (const struct fuse_in_header *)held->request;

		if (held->session != session || in->nodeid != node || !moves_content(in) || access_of(in).end <= offset)
			continue;
		DL_DELETE(gate->held, held);
		gate->held_bytes -= held->len;
		DL_APPEND(taken, held);
	}
	return taken;
}

/* Of a read or write; the gate was closed when it came. */
static enum verdict pass_content(struct gate_session *session, struct session_slot *slot, const struct fuse_in_header *in, uint32_t view)
{
	struct gate *gate = session->gate;
	const struct writers_access access = access_of(in);
	struct held *behind = NULL;
	enum verdict verdict = PASSES;
	uint64_t unsealed;
	bool passes;

	writers_arrive(&session->writers, in->nodeid);
	yield_to_seal(&session->writers, in->nodeid, &access);
	pthread_mutex_lock(&gate->lock);
	passes = writers_pass(&session->writers, in->nodeid, &access, &unsealed) || !gate->closed || !has_view(gate, view);
	if (!passes) {
		verdict = hold(gate, session->session, in, in->len);
		atomic_store(access.writes ? &slot->writes : &slot->view, 0);
	} else if (unsealed != UINT64_MAX) {
		behind = take_behind(gate, session->session, in->nodeid, unsealed);
		if (behind)
			atomic_store(&slot->writes, view);
	}
	pthread_mutex_unlock(&gate->lock);
	run(behind);
	if (passes)
		note_move(gate, in);
	return verdict;
}

/* Of a request for the view. */
static enum verdict pass(struct gate_session *session, struct session_slot *slot, const struct fuse_in_header *in, uint32_t view)
{
	struct gate *gate = session->gate;
	_Atomic uint32_t *mark = mark_of(session, slot, in);
	enum verdict verdict = PASSES;

	/*
	 * First the mark, then the question: gate_close() does it the other way round, so that one of the two sees
	 * the other.
	 */
	if (mark)
		atomic_store(mark, view);
	/* never held, but waited for: what was closed before the gate was is not among the writers then */
	if (in->opcode == FUSE_RELEASE || !atomic_load(&gate->closed))
		return PASSES;
	if (moves_content(in))
		return pass_content(session, slot, in, view);
	pthread_mutex_lock(&gate->lock);
	if (gate->closed && has_view(gate, view)) {
		verdict = hold(gate, session->session, in, in->len);
		if (mark)
			atomic_store(mark, 0);
	}
	pthread_mutex_unlock(&gate->lock);
	return verdict;
}

static bool enter(void *arg, struct session_slot *slot, const void *request, size_t len)
{
	struct gate_session *session = arg;
	const struct fuse_in_header *in = request;
	enum verdict verdict;
	uint32_t view;

	if (always_passes(in)) {
		note_move(session->gate, in);
		return true;
	}
	/* the root of a head that was replaced before the question is that of another view by now */
	do {
		view = node_decode(in->nodeid, &session->root).view;
		verdict = pass(session, slot, in, view);
		if (verdict == WAITS)
			await_open(session->gate);
	} while (verdict == WAITS || (verdict == PASSES && node_decode(in->nodeid, &session->root).view != view));
	return verdict == PASSES;
}

static void leave(void *arg, struct session_slot *slot)
{
	atomic_store(&slot->view, 0);
	atomic_store(&slot->writes, 0);
	atomic_store(&slot->looks, 0);
}

struct session_holder gate_holder(struct gate_session *session)
{
	return (struct session_holder){.add = add_slot, .remove = remove_slot, .enter = enter, .leave = leave, .arg = session};
}

void gate_close(struct gate *gate, const uint32_t *views, size_t count, bool replaces)
{
	pthread_mutex_lock(&gate->lock);
	free(gate->views);
	gate->views = xcalloc(count + 1, sizeof(*views));
	memcpy(gate->views, views, count * sizeof(*views));
	gate->count = count;
	gate->replaces = replaces;
	atomic_store(&gate->closed, true);
	pthread_mutex_unlock(&gate->lock);
}

/* A request of one of the views is in the hands of a reader thread. Caller holds the lock. */
static bool is_waited_for(const struct gate *gate, const struct session_slot *slot, bool writes)
{
	if (writes)
		return has_view(gate, atomic_load(&slot->writes));
	return has_view(gate, atomic_load(&slot->view)) || (gate->replaces && has_view(gate, atomic_load(&slot->looks)));
}

static bool is_running(struct gate *gate, bool writes)
{
	struct session_slot *slot;
	bool running = false;

	pthread_mutex_lock(&gate->lock);
	DL_FOREACH (gate->slots, slot)
		running |= gate->closed && is_waited_for(gate, slot, writes);
	pthread_mutex_unlock(&gate->lock);
	return running;
}

static int drain(struct gate *gate, bool writes, uint64_t until_ms)
{
	while (is_running(gate, writes)) {
		if (clock_ms() > until_ms)
			return -EBUSY;
		clock_pause_us(STEP_US);
	}
	return 0;
}

int gate_drain(struct gate *gate, uint64_t until_ms)
{
	return drain(gate, false, until_ms);
}

int gate_drain_writes(struct gate *gate, uint64_t until_ms)
{
	return drain(gate, true, until_ms);
}

void gate_open(struct gate *gate)
{
	struct held *all;

	pthread_mutex_lock(&gate->lock);
	atomic_store(&gate->closed, false);
	gate->count = 0;
	all = steal_ptr(gate->held);
	gate->held_bytes = 0;
	atomic_store(&gate->full, false);
	pthread_cond_broadcast(&gate->opened);
	pthread_mutex_unlock(&gate->lock);
	run(all);
}

bool gate_is_full(struct gate *gate)
{
	return atomic_load(&gate->full);
}

uint64_t gate_moved(struct gate *gate)
{
	return atomic_load_explicit(&gate->moved, memory_order_relaxed);
}
