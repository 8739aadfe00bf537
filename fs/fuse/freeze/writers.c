#include "fs/fuse/freeze/writers.h"

#include <uthash.h>

#include "lib/base/buf.h"

#define QUIET 64 /* direct writes in a row without a reader of pages, after which all pages are dropped */

struct writer {
	uint64_t node;
	bool direct;    /* has been written directly: pages are noted from then on */
	bool has_pages; /* perhaps */
	unsigned quiet; /* direct writes since pages were noted */
	uint64_t noted; /* how often pages were noted */
	unsigned opens;
	bool named;
	uint64_t sealed;      /* so many bytes from its start */
	uint64_t sealing_end; /* of the range behind them that is being sealed; 0: none, or its head starts have ended */
	unsigned arrived; /* reads and writes that have not passed yet, while the gate was closed */
	uint64_t passed;
	UT_hash_handle hh;
};

void writers_init(struct writers *writers)
{
	*writers = (struct writers){0};
	pthread_mutex_init(&writers->lock, NULL);
}

void writers_clear(struct writers *writers)
{
	struct writer *writer, *next;

	HASH_ITER (hh, writers->by_node, writer, next) {
		HASH_DEL(writers->by_node, writer);
		free(writer);
	}
	pthread_mutex_destroy(&writers->lock);
}

/* Caller holds the lock. */
static struct writer *find(struct writers *writers, uint64_t node)
{
	struct writer *writer;

	HASH_FIND(hh, writers->by_node, &node, sizeof(node), writer);
	return writer;
}

void writers_open(struct writers *writers, uint64_t node)
{
	struct writer *writer;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	if (!writer) {
		writer = xcalloc(1, sizeof(*writer));
		writer->node = node;
		HASH_ADD(hh, writers->by_node, node, sizeof(writer->node), writer);
	}
	writer->opens++;
	pthread_mutex_unlock(&writers->lock);
}

void writers_close(struct writers *writers, uint64_t node)
{
	struct writer *writer;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	if (writer && --writer->opens == 0) {
		atomic_fetch_sub(&writers->direct, writer->direct);
		HASH_DEL(writers->by_node, writer);
		free(writer);
	}
	pthread_mutex_unlock(&writers->lock);
}

bool writers_has(struct writers *writers, uint64_t node)
{
	bool has;

	pthread_mutex_lock(&writers->lock);
	has = find(writers, node) != NULL;
	pthread_mutex_unlock(&writers->lock);
	return has;
}

static size_t list(struct writers *writers, uint32_t view, const struct node_root *root, bool only_named, uint64_t **ret_nodes)
{
	struct writer *writer, *next;
	size_t count = 0;

	pthread_mutex_lock(&writers->lock);
	*ret_nodes = xcalloc(HASH_COUNT(writers->by_node) + 1, sizeof(uint64_t));
	HASH_ITER (hh, writers->by_node, writer, next) {
		if ((!view || node_decode(writer->node, root).view == view) && (writer->named || !only_named))
			(*ret_nodes)[count++] = writer->node;
	}
	pthread_mutex_unlock(&writers->lock);
	return count;
}

size_t writers_list(struct writers *writers, uint32_t view, const struct node_root *root, uint64_t **ret_nodes)
{
	return list(writers, view, root, false, ret_nodes);
}

size_t writers_list_named(struct writers *writers, uint32_t view, const struct node_root *root, uint64_t **ret_nodes)
{
	return list(writers, view, root, true, ret_nodes);
}

void writers_name(struct writers *writers)
{
	struct writer *writer, *next;

	pthread_mutex_lock(&writers->lock);
	HASH_ITER (hh, writers->by_node, writer, next)
		writer->named = true;
	writers->named = true;
	pthread_mutex_unlock(&writers->lock);
}

void writers_arrive(struct writers *writers, uint64_t node)
{
	struct writer *writer;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	if (writer)
		writer->arrived++;
	pthread_mutex_unlock(&writers->lock);
}

bool writers_let_pass(struct writers *writers, uint64_t node)
{
	struct writer *writer;
	bool done;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	if (writer)
		writer->sealing_end = 0;
	done = !writer || writer->arrived == 0;
	pthread_mutex_unlock(&writers->lock);
	return done;
}

/* Caller holds the lock. */
static bool may_pass(const struct writers *writers, const struct writer *writer, const struct writers_access *access)
{
	if (!writers->named)
		return true;
	if (!writer)
		return !access->writes;
	return writer->named && access->end > writer->sealed;
}

bool writers_pass(struct writers *writers, uint64_t node, const struct writers_access *access, uint64_t *ret_unsealed)
{
	struct writer *writer;
	bool pass;

	*ret_unsealed = UINT64_MAX;
	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	pass = may_pass(writers, writer, access);
	if (writer && writer->arrived) /* 0: opened since */
		writer->arrived--;
	if (writer && pass)
		writer->passed++;
	if (writer && pass && access->offset < writer->sealed)
		*ret_unsealed = writer->sealed = access->offset - access->offset % WRITERS_RANGE;
	pthread_mutex_unlock(&writers->lock);
	return pass;
}

bool writers_is_sealing(struct writers *writers, uint64_t node, const struct writers_access *access)
{
	struct writer *writer;
	bool sealing;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	sealing = writer && access->offset < writer->sealing_end && access->end > writer->sealed;
	pthread_mutex_unlock(&writers->lock);
	return sealing;
}

bool writers_begin_seal(struct writers *writers, uint64_t node, uint64_t size, struct writers_range *ret_range)
{
	struct writer *writer;
	bool begun;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	begun = writer && writer->named && writer->sealed < UINT64_MAX;
	if (begun) {
		const bool last = writer->sealed + WRITERS_RANGE >= size;

		writer->sealing_end = last ? UINT64_MAX : writer->sealed + WRITERS_RANGE;
		*ret_range = (struct writers_range){.offset = writer->sealed, .end = writer->sealing_end, .passed = writer->passed};
	}
	pthread_mutex_unlock(&writers->lock);
	return begun;
}

bool writers_seal(struct writers *writers, uint64_t node, const struct writers_range *range)
{
	struct writer *writer;
	bool done;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	done = !writer || (writer->passed == range->passed && writer->sealed == range->offset);
	if (writer && done) {
		writer->sealing_end = 0;
		writer->sealed = range->end;
	}
	pthread_mutex_unlock(&writers->lock);
	return done;
}

void writers_unseal_all(struct writers *writers)
{
	struct writer *writer, *next;

	pthread_mutex_lock(&writers->lock);
	HASH_ITER (hh, writers->by_node, writer, next) {
		writer->named = false;
		writer->sealed = writer->sealing_end = 0;
	}
	writers->named = false;
	pthread_mutex_unlock(&writers->lock);
}

void writers_begin_direct(struct writers *writers, uint64_t node)
{
	struct writer *writer;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	if (writer && !writer->direct) {
		writer->direct = writer->has_pages = true;
		writer->quiet = QUIET; /* what was read before is not known */
		atomic_fetch_add(&writers->direct, 1);
	}
	pthread_mutex_unlock(&writers->lock);
}

struct writers_drop writers_end_direct(struct writers *writers, uint64_t node)
{
	struct writers_drop drop = {.what = WRITERS_DROP_RANGE};
	struct writer *writer;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	if (writer && !writer->has_pages)
		drop.what = WRITERS_DROP_NOTHING;
	else if (writer && writer->quiet++ >= QUIET)
		drop.what = WRITERS_DROP_ALL;
	drop.noted = writer ? writer->noted : 0;
	pthread_mutex_unlock(&writers->lock);
	return drop;
}

void writers_dropped(struct writers *writers, uint64_t node, struct writers_drop drop)
{
	struct writer *writer;

	if (drop.what != WRITERS_DROP_ALL)
		return;
	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	if (writer && writer->noted == drop.noted)
		writer->has_pages = false;
	pthread_mutex_unlock(&writers->lock);
}

void writers_note_pages(struct writers *writers, uint64_t node)
{
	struct writer *writer;

	if (atomic_load(&writers->direct) == 0)
		return;
	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	if (writer && writer->direct) {
		writer->has_pages = true;
		writer->quiet = 0;
		writer->noted++;
	}
	pthread_mutex_unlock(&writers->lock);
}
