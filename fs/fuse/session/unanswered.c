#include "fs/fuse/session/unanswered.h"

#include <linux/fuse.h>
#include <stddef.h>

#include "lib/base/clock.h"

#define TRIES 16 /* places that a request may take */

/* Numbers grow by 2 (FUSE_REQ_ID_STEP), so that requests of one time lie side by side. */
static struct unanswered_place *place_of(struct unanswered *unanswered, uint64_t unique, unsigned try)
{
	return &unanswered->places[(unique / 2 + try) & (UNANSWERED_PLACES - 1)];
}

static bool has_answer(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

static struct unanswered_place *find(struct unanswered *unanswered, uint64_t unique)
{
	for (unsigned i = 0; i < TRIES; i++) {
		struct unanswered_place *place = place_of(unanswered, unique, i);

		if (atomic_load_explicit(&place->unique, memory_order_relaxed) == unique)
			return place;
	}
	return NULL;
}

void unanswered_begin(struct unanswered *unanswered, const struct fuse_in_header *in, pid_t thread)
{
	for (unsigned i = 0; i < TRIES && has_answer(in->opcode); i++) {
		struct unanswered_place *place = place_of(unanswered, in->unique, i);
		uint64_t free = 0;

		if (!atomic_compare_exchange_strong(&place->unique, &free, in->unique))
			continue;
		atomic_store_explicit(&place->where, UNANSWERED_RUNS, memory_order_relaxed);
		atomic_store_explicit(&place->node, in->nodeid, memory_order_relaxed);
		atomic_store_explicit(&place->opcode, in->opcode, memory_order_relaxed);
		atomic_store_explicit(&place->thread, thread, memory_order_relaxed);
		atomic_store_explicit(&place->since_ms, clock_ms(), memory_order_release);
		return;
	}
}

void unanswered_moved(struct unanswered *unanswered, uint64_t unique, enum unanswered_where where)
{
	struct unanswered_place *place = find(unanswered, unique);

	/* answered meanwhile, its place may be another's, of which this says something wrong for as long as it takes */
	if (place)
		atomic_store_explicit(&place->where, where, memory_order_relaxed);
}

void unanswered_end(struct unanswered *unanswered, uint64_t unique)
{
	struct unanswered_place *place = find(unanswered, unique);

	if (!place)
		return;
	atomic_store_explicit(&place->since_ms, 0, memory_order_relaxed);
	atomic_store_explicit(&place->unique, 0, memory_order_release);
}

bool unanswered_oldest(struct unanswered *unanswered, struct unanswered_request *ret_request)
{
	const uint64_t now_ms = clock_ms();
	struct unanswered_request oldest = {0};

	for (unsigned i = 0; i < UNANSWERED_PLACES; i++) {
		struct unanswered_place *place = &unanswered->places[i];
		const uint64_t unique = atomic_load(&place->unique), since_ms = atomic_load_explicit(&place->since_ms, memory_order_acquire);
		struct unanswered_request request = {.unique = unique, .age_ms = now_ms - since_ms};

		if (!unique || !since_ms || now_ms < since_ms || (oldest.unique && request.age_ms <= oldest.age_ms))
			continue;
		request.node = atomic_load(&place->node);
		request.opcode = atomic_load(&place->opcode);
		request.where = (enum unanswered_where)atomic_load(&place->where);
		request.thread = atomic_load(&place->thread);
		if (atomic_load(&place->unique) == unique)
			oldest = request;
	}
	*ret_request = oldest;
	return oldest.unique != 0;
}

const char *unanswered_name(uint32_t opcode)
{
	static const char *const names[] = {
		[FUSE_LOOKUP] = "LOOKUP",           [FUSE_GETATTR] = "GETATTR",
		[FUSE_SETATTR] = "SETATTR",         [FUSE_READLINK] = "READLINK",
		[FUSE_SYMLINK] = "SYMLINK",         [FUSE_MKNOD] = "MKNOD",
		[FUSE_MKDIR] = "MKDIR",             [FUSE_UNLINK] = "UNLINK",
		[FUSE_RMDIR] = "RMDIR",             [FUSE_RENAME] = "RENAME",
		[FUSE_LINK] = "LINK",               [FUSE_OPEN] = "OPEN",
		[FUSE_READ] = "READ",               [FUSE_WRITE] = "WRITE",
		[FUSE_STATFS] = "STATFS",           [FUSE_RELEASE] = "RELEASE",
		[FUSE_FSYNC] = "FSYNC",             [FUSE_SETXATTR] = "SETXATTR",
		[FUSE_GETXATTR] = "GETXATTR",       [FUSE_LISTXATTR] = "LISTXATTR",
		[FUSE_REMOVEXATTR] = "REMOVEXATTR", [FUSE_FLUSH] = "FLUSH",
		[FUSE_INIT] = "INIT",               [FUSE_OPENDIR] = "OPENDIR",
		[FUSE_READDIR] = "READDIR",         [FUSE_RELEASEDIR] = "RELEASEDIR",
		[FUSE_FSYNCDIR] = "FSYNCDIR",       [FUSE_CREATE] = "CREATE",
		[FUSE_FALLOCATE] = "FALLOCATE",     [FUSE_READDIRPLUS] = "READDIRPLUS",
		[FUSE_RENAME2] = "RENAME",          [FUSE_LSEEK] = "LSEEK",
		[FUSE_COPY_FILE_RANGE] = "COPY_FILE_RANGE", [FUSE_TMPFILE] = "TMPFILE",
	};
	const char *name = opcode < sizeof(names) / sizeof(names[0]) ? names[opcode] : NULL;

	return name ? name : "another request";
}
