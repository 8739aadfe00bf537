#include "fs/fuse/freeze/writers.h"

#include <uthash.h>

#include "fs/fuse/session/node.h"
#include "lib/base/buf.h"

#define QUIET 64 /* direct writes in a row without a reader of pages, after which all pages are dropped */

struct writer {
	uint64_t node;
	bool direct;    /* has been written directly: pages are noted from then on */
	bool has_pages; /* perhaps */
	unsigned quiet; /* direct writes since pages were noted */
	uint64_t noted; /* how often pages were noted */
	unsigned opens;
	bool named, sealing, sealed;
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

static size_t list(struct writers *writers, uint32_t view, uint32_t root_view, bool only_named, uint64_t **ret_nodes)
{
	struct writer *writer, *next;
	size_t count = 0;

	pthread_mutex_lock(&writers->lock);
	*ret_nodes = xcalloc(HASH_COUNT(writers->by_node) + 1, sizeof(uint64_t));
	HASH_ITER (hh, writers->by_node, writer, next) {
		if ((!view || node_decode(writer->node, root_view).view == view) && (writer->named || !only_named))
			(*ret_nodes)[count++] = writer->node;
	}
	pthread_mutex_unlock(&writers->lock);
	return count;
}

size_t writers_list(struct writers *writers, uint32_t view, uint32_t root_view, uint64_t **ret_nodes)
{
	return list(writers, view, root_view, false, ret_nodes);
}

size_t writers_list_named(struct writers *writers, uint32_t view, uint32_t root_view, uint64_t **ret_nodes)
{
	return list(writers, view, root_view, true, ret_nodes);
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
		writer->sealing = false;
	done = !writer || writer->arrived == 0;
	pthread_mutex_unlock(&writers->lock);
	return done;
}

bool writers_pass(struct writers *writers, uint64_t node, bool writes)
{
	struct writer *writer;
	bool pass;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	if (!writers->named)
		pass = true;
	else if (!writer)
		pass = !writes;
	else
		pass = writer->named && !writer->sealed;
	if (writer && writer->arrived) /* 0: opened since */
		writer->arrived--;
	if (writer && pass)
		writer->passed++;
	pthread_mutex_unlock(&writers->lock);
	return pass;
}

bool writers_is_sealing(struct writers *writers, uint64_t node)
{
	struct writer *writer;
	bool sealing;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	sealing = writer && writer->sealing;
	pthread_mutex_unlock(&writers->lock);
	return sealing;
}

uint64_t writers_begin_seal(struct writers *writers, uint64_t node)
{
	struct writer *writer;
	uint64_t passed;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	passed = writer ? writer->passed : 0;
	if (writer)
		writer->sealing = true;
	pthread_mutex_unlock(&writers->lock);
	return passed;
}

bool writers_seal(struct writers *writers, uint64_t node, uint64_t passed)
{
	struct writer *writer;
	bool done;

	pthread_mutex_lock(&writers->lock);
	writer = find(writers, node);
	done = !writer || writer->passed == passed;
	if (writer && done) {
		writer->sealing = false;
		writer->sealed = true;
	}
	pthread_mutex_unlock(&writers->lock);
	return done;
}

void writers_unseal_all(struct writers *writers)
{
	struct writer *writer, *next;

	pthread_mutex_lock(&writers->lock);
	HASH_ITER (hh, writers->by_node, writer, next)
		writer->named = writer->sealing = writer->sealed = false;
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
