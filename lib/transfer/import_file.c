/* How files come in: small ones gathered and added many at a time, big ones through the write buffer and under no name until complete. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/transfer/import_parts.h"

#define BATCH_FILES 4096

struct batch {
	struct import *import;
	struct bulk_file *files;
	struct kept {
		char *dir_path, *name, *target;
		struct xattrs xattrs;
	} *kept; /* what the files point to */
	size_t count;
	uint8_t *data;
	size_t used, size;
	bool reserved; /* the data counts in the write buffer's budget */
};

struct batch *batch_new(struct import *import)
{
	struct batch *batch = xcalloc(1, sizeof(*batch));

	batch->import = import;
	batch->files = xcalloc(BATCH_FILES, sizeof(*batch->files));
	batch->kept = xcalloc(BATCH_FILES, sizeof(*batch->kept));
	batch->size = import->batch_bytes;
	batch->data = xmalloc(batch->size);
	return batch;
}

void batch_free(struct batch *batch)
{
	batch_flush(batch);
	free(batch->data);
	free(batch->kept);
	free(batch->files);
	free(batch);
}

uint8_t *batch_room(struct batch *batch, size_t len)
{
	if (len > batch->size)
		return NULL;
	if (batch->count == BATCH_FILES || len > batch->size - batch->used)
		batch_flush(batch);
	if (!batch->reserved) {
		int r = bulk_reserve(batch->import->view, batch->size);

		transfer_store_result(&batch->import->transfer, "", "", r);
		if (r < 0)
			return NULL;
		batch->reserved = true;
	}
	return batch->data + batch->used;
}

void batch_add(struct batch *batch, struct member *member, size_t len)
{
	struct kept *kept = &batch->kept[batch->count];

	*kept = (struct kept){.dir_path = xstrdup(member->dir_path),
	                      .name = xstrdup(member->name),
	                      .target = member->target ? xstrdup(member->target) : NULL,
	                      .xattrs = member->xattrs};
	member->xattrs = (struct xattrs){0};
	batch->files[batch->count++] = (struct bulk_file){
		.dir = member->dir,
		.name = kept->name,
		.create = {.mode = member->mode, .uid = member->uid, .gid = member->gid, .rdev = member->rdev, .target = kept->target,
	                   .xattrs = kept->xattrs.items, .xattr_count = kept->xattrs.count},
		.atime = member->atime,
		.mtime = member->mtime,
		.data = batch->data + batch->used,
		.len = len,
		.replace = true,
	};
	batch->used += len;
}

/* A name that stood twice in the batch: the later one replaces the first, now that it is there. */
static int add_repeated(struct batch *batch)
{
	int r = 0;

	for (size_t i = 0; i < batch->count && r == 0; i++)
		if (batch->files[i].result == -EEXIST)
			r = view_add_files(batch->import->view, &batch->files[i], 1);
	return r;
}

bool batch_is_full(const struct batch *batch)
{
	return batch->count == BATCH_FILES || batch->used > batch->size - batch->size / 8;
}

static bool may_add(struct transfer *transfer)
{
	pthread_mutex_lock(&transfer->lock);
	bool may = transfer->failure.code == 0 || transfer->failure.code == -EBADMSG;
	pthread_mutex_unlock(&transfer->lock);
	return may;
}

void batch_flush(struct batch *batch)
{
	struct transfer *transfer = &batch->import->transfer;
	int r = 0;

	if (batch->count > 0 && may_add(transfer)) {
		r = view_add_files(batch->import->view, batch->files, batch->count);
		if (r == 0)
			r = add_repeated(batch);
		transfer_store_result(transfer, "", "", r);
		for (size_t i = 0; i < batch->count; i++) {
			const struct bulk_file *file = &batch->files[i];

			if (file->result == 0) {
				store_entry_changed(batch->import->store, view_number(batch->import->view), file->dir, file->name);
				atomic_fetch_add(&transfer->files, 1);
				atomic_fetch_add(&transfer->bytes, file->len);
			} else if (r == 0) {
				transfer_store_result(transfer, batch->kept[i].dir_path, batch->kept[i].name, file->result);
			}
		}
		r = fault_point("import-batch-done");
		transfer_store_result(transfer, "", "", r);
	}
	for (size_t i = 0; i < batch->count; i++) {
		free(batch->kept[i].dir_path);
		free(batch->kept[i].name);
		free(batch->kept[i].target);
		xattrs_clear(&batch->kept[i].xattrs);
	}
	batch->count = 0;
	batch->used = 0;
	if (batch->reserved)
		bulk_release(batch->import->view, batch->size);
	batch->reserved = false;
}

/* --- big files --- */

int stream_begin(struct import *import, const struct member *member, struct inode **ret_inode)
{
	struct create create = {.mode = member->mode, .uid = member->uid, .gid = member->gid, .xattrs = member->xattrs.items,
	                        .xattr_count = member->xattrs.count};
	struct attr attr;
	int r = view_create(import->view, member->dir, NULL, &create, &attr, ret_inode);

	transfer_store_result(&import->transfer, member->dir_path, member->name, r);
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
	return r == 0 ? view_link_over(import->view, inode_ino(inode), member->dir, member->name) : r;
}

void stream_end(struct import *import, const struct member *member, struct inode *inode, int result)
{
	if (result == 0 && !transfer_stopped(&import->transfer)) {
		result = stream_finish(import, member, inode);
		transfer_store_result(&import->transfer, member->dir_path, member->name, result);
		if (result == 0) {
			store_entry_changed(import->store, view_number(import->view), member->dir, member->name);
			atomic_fetch_add(&import->transfer.files, 1);
		}
	}
	inode_close(inode);
}
