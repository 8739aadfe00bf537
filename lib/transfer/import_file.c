/* How files come in: small ones gathered and added many at a time, big ones through the write buffer and under no name until complete. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "lib/base/fault.h"
#include "lib/base/pages.h"
#include "lib/transfer/import_parts.h"

#define BATCH_MEMBERS 4096

/* What a member of the batch, or a link of it, is called. */
struct called {
	struct trail *trail;
	uint64_t dir;
	char *name;
};

struct kept {
	struct called called;
	char *target;
	struct xattrs xattrs;
};

struct kept_link {
	struct called called;
	size_t number; /* of the member that it links to */
	bool is_done;
};

struct known_name {
	UT_hash_handle hh;
	size_t number;
	struct {
		uint64_t dir;
		char name[];
	} key;
};

struct batch {
	struct import *import;
	struct bulk_file *files;
	struct kept *kept; /* what the files point to */
	size_t count;
	ARRAY(struct kept_link) links;
	struct known_name *names;  /* of an archive */
	struct known_name *missed; /* of an archive, also of batches before */
};

/* --- what is gathered --- */

static void forget_names(struct known_name **names)
{
	struct known_name *known, *next;

	HASH_ITER(hh, *names, known, next) {
		HASH_DEL(*names, known);
		free(known);
	}
}

struct batch *batch_new(struct import *import)
{
	struct batch *batch = xcalloc(1, sizeof(*batch));

	batch->import = import;
	batch->files = xcalloc(BATCH_MEMBERS, sizeof(*batch->files));
	batch->kept = xcalloc(BATCH_MEMBERS, sizeof(*batch->kept));
	return batch;
}

void batch_free(struct batch *batch)
{
	forget_names(&batch->missed);
	array_clear(&batch->links);
	free(batch->kept);
	free(batch->files);
	free(batch);
}

static struct called call(const struct member *member)
{
	return (struct called){.trail = trail_ref(member->trail), .dir = member->dir, .name = xstrdup(member->name)};
}

static void forget_called(struct called *called)
{
	trail_put(called->trail);
	free(called->name);
}

static struct member member_called(const struct called *called)
{
	return (struct member){.trail = called->trail, .dir = called->dir, .name = called->name};
}

static size_t key_size(const char *name)
{
	return sizeof(uint64_t) + strlen(name) + 1;
}

static void add_name(struct known_name **names, uint64_t dir, const char *name, size_t number)
{
	size_t size = key_size(name);
	struct known_name *known = xcalloc(1, sizeof(*known) + size);

	known->number = number;
	known->key.dir = dir;
	memcpy(known->key.name, name, strlen(name) + 1);
	HASH_ADD(hh, *names, key, size, known);
}

static struct known_name *find_name(struct known_name *names, uint64_t dir, const char *name)
{
	struct {
		uint64_t dir;
		char name[NAME_LEN_MAX + 1];
	} key = {.dir = dir};
	struct known_name *known = NULL;

	if (!names || strlen(name) > NAME_LEN_MAX)
		return NULL;
	memcpy(key.name, name, strlen(name) + 1);
	HASH_FIND(hh, names, &key, key_size(name), known);
	return known;
}

static void remember_name(struct batch *batch, const struct member *member, size_t number)
{
	if (batch->import->is_archive)
		add_name(&batch->names, member->dir, member->name, number);
}

bool batch_find(const struct batch *batch, uint64_t dir, const char *name, size_t *ret_number)
{
	const struct known_name *known = find_name(batch->names, dir, name);

	if (known)
		*ret_number = known->number;
	return known != NULL;
}

void batch_note_missed(struct batch *batch, const struct member *member, bool is_missed)
{
	struct known_name *known = find_name(batch->missed, member->dir, member->name);

	if (is_missed && !known) {
		add_name(&batch->missed, member->dir, member->name, 0);
	} else if (!is_missed && known) {
		HASH_DEL(batch->missed, known);
		free(known);
	}
}

bool batch_has_missed(const struct batch *batch, uint64_t dir, const char *name)
{
	return find_name(batch->missed, dir, name) != NULL;
}

void batch_add(struct batch *batch, struct member *member, const void *data, size_t len)
{
	struct kept *kept = &batch->kept[batch->count];

	*kept = (struct kept){.called = call(member), .target = xstrdup_or_null(member->target), .xattrs = member->xattrs};
	member->xattrs = (struct xattrs){0};
	batch->files[batch->count] = (struct bulk_file){
		.dir = member->dir,
		.name = kept->called.name,
		.create = {.mode = member->mode, .uid = member->uid, .gid = member->gid, .rdev = member->rdev, .target = kept->target,
	                   .xattrs = kept->xattrs.items, .xattr_count = kept->xattrs.count},
		.atime = member->atime,
		.mtime = member->mtime,
		.data = data,
		.len = len,
		.replace = true,
	};
	remember_name(batch, member, batch->count++);
}

void batch_add_link(struct batch *batch, const struct member *member, size_t number)
{
	array_add(&batch->links, (struct kept_link){.called = call(member), .number = number});
	remember_name(batch, member, number);
}

bool batch_is_full(const struct batch *batch)
{
	return batch->count == BATCH_MEMBERS || batch->links.count >= BATCH_MEMBERS;
}

/* --- adding --- */

bool import_may_add(struct import *import)
{
	struct transfer *transfer = &import->transfer;

	pthread_mutex_lock(&transfer->lock);
	bool may = transfer->failure.code == 0 || transfer->failure.code == atomic_load(&import->source_failure);
	pthread_mutex_unlock(&transfer->lock);
	return may;
}

/* `failed` is what ended the batch, or 0: who met it is told of it once. What came in before that is there all the same. */
static void tell_added(struct batch *batch, int failed)
{
	struct import *import = batch->import;

	for (size_t i = 0; i < batch->count; i++) {
		const struct bulk_file *file = &batch->files[i];
		struct member member = member_called(&batch->kept[i].called);

		if (file->result < 0 && file->result == failed)
			continue;
		member_result(import, &member, file->result);
		if (import->is_archive)
			batch_note_missed(batch, &member, file->result < 0);
		if (file->result < 0)
			continue;
		import_changed(import, file->dir, file->name, file->replaced);
		atomic_fetch_add(&import->transfer.files, 1);
		atomic_fetch_add(&import->transfer.bytes, file->len);
	}
}

/* Those to files that came in. */
static void add_links(struct batch *batch)
{
	for (size_t i = 0; i < batch->links.count; i++) {
		const struct kept_link *link = &batch->links.items[i];
		const struct bulk_file *file = &batch->files[link->number];
		struct member member = member_called(&link->called);

		if (link->is_done || file->result < 0)
			continue;
		import_link(batch->import, &member, file->ino);
		batch->links.items[i].is_done = true;
	}
}

/*
 * Files that found a directory in their place, after all that may have come into it: one that is empty gives way. Then the links to them,
 * and what is left are links to files that did not come in.
 */
static int add_over_directories(struct batch *batch)
{
	int r = 0;

	for (size_t i = 0; i < batch->count && r == 0; i++) {
		struct member member = member_called(&batch->kept[i].called);

		if (batch->files[i].result == -EISDIR && import_remove_directory(batch->import, &member) == 0)
			r = view_add_files(batch->import->view, &batch->files[i], 1);
	}
	if (r < 0)
		return r;
	add_links(batch);
	for (size_t i = 0; i < batch->links.count; i++) {
		struct member member = member_called(&batch->links.items[i].called);

		if (!batch->links.items[i].is_done)
			member_problem(batch->import, &member, -ENOENT, "the file that it is a hard link of is missing");
	}
	return 0;
}

static void add_all(struct batch *batch)
{
	struct transfer *transfer = &batch->import->transfer;
	int r = view_add_files(batch->import->view, batch->files, batch->count);

	if (batch->import->is_archive)
		add_links(batch);
	if (r == 0 && batch->import->is_archive)
		r = add_over_directories(batch);
	tell_added(batch, r);
	if (r == 0)
		r = fault_point("import-batch-done");
	transfer_store_result(transfer, "", "", r);
}

void batch_flush(struct batch *batch)
{
	if (batch->count > 0 && import_may_add(batch->import))
		add_all(batch);
	for (size_t i = 0; i < batch->count; i++) {
		forget_called(&batch->kept[i].called);
		free(batch->kept[i].target);
		xattrs_clear(&batch->kept[i].xattrs);
	}
	for (size_t i = 0; i < batch->links.count; i++)
		forget_called(&batch->links.items[i].called);
	forget_names(&batch->names);
	array_reset(&batch->links);
	batch->count = 0;
}

/* --- memory --- */

int room_init(struct room *room, struct import *import)
{
	const size_t size = (source_room(import->batch_bytes) + PAGES_HUGE - 1) & ~(PAGES_HUGE - 1);

	*room = (struct room){.import = import, .size = source_room(import->batch_bytes), .data = pages_alloc(size)};
	if (room->data)
		return 0;
	transfer_fail(&import->transfer, -ENOMEM, "%s", error_text(-ENOMEM));
	return -ENOMEM;
}

void room_clear(struct room *room)
{
	room_reset(room);
	free(room->data);
}

bool room_has(const struct room *room, size_t len)
{
	return source_room(len) <= room->size - room->used;
}

uint8_t *room_take(struct room *room, size_t len)
{
	uint8_t *taken = room->data + room->used;

	if (!room->reserved) {
		int r = bulk_reserve(room->import->view, room->size);

		transfer_store_result(&room->import->transfer, "", "", r);
		if (r < 0)
			return NULL;
		room->reserved = true;
	}
	room->used += source_room(len);
	return taken;
}

void room_reset(struct room *room)
{
	if (room->reserved)
		bulk_release(room->import->view, room->size);
	room->reserved = false;
	room->used = 0;
}

/* --- big files --- */

int stream_begin(struct import *import, const struct member *member, struct inode **ret_inode)
{
	struct create create = {.mode = member->mode, .uid = member->uid, .gid = member->gid, .xattrs = member->xattrs.items,
	                        .xattr_count = member->xattrs.count};
	struct attr attr;
	int r = view_create(import->view, member->dir, NULL, &create, &attr, ret_inode);

	member_result(import, member, r);
	return r;
}

static int stream_finish(struct import *import, const struct member *member, struct inode *inode)
{
	struct setattr set = {.mask = SET_ATIME | SET_MTIME, .atime = member->atime, .mtime = member->mtime, .size = member->size};
	struct attr attr;
	int r;

	/* Content that ends with a hole. */
	inode_attr(inode, &attr);
	if (attr.size != member->size)
		set.mask |= SET_SIZE;
	r = inode_commit(inode);
	if (r == 0)
		r = view_setattr(import->view, inode_ino(inode), &set, &attr);
	if (r == 0)
		r = fault_point("import-before-link");
	return r == 0 ? import_link_over(import, member, inode_ino(inode)) : r;
}

bool stream_end(struct import *import, const struct member *member, struct inode *inode, int result)
{
	bool is_complete = result == 0 && !transfer_stopped(&import->transfer);

	if (is_complete) {
		result = stream_finish(import, member, inode);
		member_result(import, member, result);
		is_complete = result == 0;
		atomic_fetch_add(&import->transfer.files, is_complete);
	}
	inode_close(inode);
	return is_complete;
}
