/*
 * First the content of all files goes into chunks, in one group; then, directory by directory, names and records into one batch each.
 * Chunks that travel in a batch (I8) and the index of all are written before the first record that refers to them. The group lives until
 * the last record is written, so the collector leaves its chunks alone.
 */
#include "lib/tree/files/bulk.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/tree/content/committer.h"
#include "lib/tree/content/content.h"
#include "lib/tree/files/names.h"
#include "lib/tree/files/orphan.h"
#include "lib/tree/files/xattr.h"
#include "lib/tree/records/family.h"
#include "lib/tree/records/inline_content.h"
#include "lib/tree/records/quota.h"
#include "lib/tree/records/touched.h"

/* What a file's records take on the disk beside its content, generously. */
#define FILE_SPACE 1024

#define NO_RUN SIZE_MAX

struct item {
	struct bulk_file *file;
	size_t order; /* among the files given */
	size_t run;   /* in the group; NO_RUN: nothing in chunks */
	uint64_t entry_epoch;
};

struct bulk {
	struct view *view;
	struct chunks_group *group;
	struct item *items; /* by directory and name once the chunks are stored */
	size_t count;
};

/* --- records; the directory is locked and the epoch held --- */

static void put_inode(struct transaction *transaction, uint64_t ino, const struct inode_record *record)
{
	struct view *view = transaction->view;
	struct tree_key stem = tree_stem_inode(view->family_id, ino);
	AUTO_BUF value = BUF_INIT;

	inode_record_encode(record, &value);
	version_put(view, transaction->batch, &stem, 0, value.data, value.len);
	touched_put(transaction->batch, view->family_id, view->epoch, ino);
}

static void put_extents(struct bulk *bulk, struct transaction *transaction, const struct item *item)
{
	size_t count;
	const struct chunk_piece *pieces = chunks_group_pieces(bulk->group, item->run, &count);

	for (size_t i = 0; i < count; i++) {
		struct extent_record record = {.length = pieces[i].length, .chunk = pieces[i].chunk};
		struct tree_key stem = tree_stem_extent(transaction->view->family_id, item->file->ino, pieces[i].offset);
		AUTO_BUF value = BUF_INIT;

		extent_record_encode(&record, &value);
		version_put(transaction->view, transaction->batch, &stem, 0, value.data, value.len);
	}
}

static void put_file(struct bulk *bulk, struct transaction *transaction, const struct item *item, struct timespec now)
{
	const struct bulk_file *file = item->file;
	const struct create *create = &file->create;
	struct entry_record entry = {.ino = file->ino, .type = (uint8_t)IFTODT(create->mode)};
	struct inode_record record = {
		.mode = create->mode,
		.uid = create->uid,
		.gid = create->gid,
		.nlink = 1,
		.rdev = S_ISCHR(create->mode) || S_ISBLK(create->mode) ? create->rdev : 0,
		.parent = file->dir,
		.atime = file->atime,
		.mtime = file->mtime,
		.ctime = now,
		.btime = now,
	};

	if (S_ISLNK(create->mode)) {
		record.target = (const uint8_t *)create->target;
		record.target_len = (uint32_t)strlen(create->target);
		record.size = record.allocated = record.target_len;
	} else if (S_ISREG(create->mode) && item->run == NO_RUN) {
		record.size = file->len;
		if (file->len > 0)
			inline_content_put(transaction->view, transaction->batch, file->ino, &record, file->data, file->len);
	} else if (item->run != NO_RUN) {
		record.size = record.allocated = file->len;
	}
	transaction->made += S_ISREG(create->mode) ? record.allocated : 0;
	put_inode(transaction, file->ino, &record);
	xattr_put_first(transaction, file->ino, create);
	if (item->run != NO_RUN)
		put_extents(bulk, transaction, item);
	entry_put(transaction, file->dir, file->name, item->entry_epoch, &entry);
}

/* --- names; view->names is held --- */

static bool is_waiting(const struct item *item)
{
	return item->file->result == -EINPROGRESS;
}

/* A name that is taken settles the file's result, unless it is to be replaced: then *ret_taken. */
static int look_at(struct view *view, struct item *item, bool *ret_taken)
{
	struct entry entry;
	int r = entry_get(view, item->file->dir, item->file->name, &entry);

	item->entry_epoch = entry.epoch;
	*ret_taken = r == 0;
	if (r == 0 && !item->file->replace)
		item->file->result = -EEXIST;
	else if (r == 0 && entry.record.type == DT_DIR)
		item->file->result = -EISDIR;
	return r == -ENOENT ? 0 : r;
}

/* All new names of one directory, in one batch; those that are to replace something still wait afterwards. */
static int add_new(struct bulk *bulk, struct inode *dir, struct item *items, size_t count)
{
	AUTO_FREE bool *taken = xcalloc(count + 1, sizeof(*taken));
	struct timespec now = clock_now();
	struct transaction transaction;
	size_t added = 0;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		if (is_waiting(&items[i]))
			r = look_at(bulk->view, &items[i], &taken[i]);
	if (r < 0)
		return r;
	transaction_begin(&transaction, bulk->view, &dir, 1);
	r = dir_check_alive(dir);
	for (size_t i = 0; i < count && r == 0; i++) {
		if (!is_waiting(&items[i]) || taken[i])
			continue;
		put_file(bulk, &transaction, &items[i], now);
		added++;
	}
	if (added > 0) {
		dir_changed(&transaction, dir, 0, now);
		r = transaction_write(&transaction, r);
	}
	transaction_end(&transaction);
	for (size_t i = 0; i < count; i++)
		if (is_waiting(&items[i]) && !taken[i] && (r == 0 || r == -ENOENT))
			items[i].file->result = r;
	return r == -ENOENT ? 0 : r;
}

/*
 * Others may have changed the name since add_new looked: view->names was given up. What was replaced is returned with a reference, if
 * something was.
 */
static int replace_one(struct bulk *bulk, struct inode *dir, struct item *item, struct transaction *transaction, struct inode **ret_old)
{
	struct timespec now = clock_now();
	struct inode *old = NULL;
	struct entry entry;
	int r = entry_get(bulk->view, dir->ino, item->file->name, &entry);

	if (r == 0 && entry.record.type == DT_DIR) {
		item->file->result = -EISDIR;
		return 0;
	}
	if (r == 0)
		r = inode_get(bulk->view, entry.record.ino, &old);
	if (r < 0 && r != -ENOENT)
		return r == -ESTALE ? -EIO : r;
	transaction_begin(transaction, bulk->view, (struct inode *[]){dir, old}, 2);
	r = dir_check_alive(dir);
	if (r == 0) {
		item->entry_epoch = entry.epoch;
		put_file(bulk, transaction, item, now);
		dir_changed(transaction, dir, 0, now);
		r = old ? inode_unlinked(transaction, old, now) : 0;
	}
	r = transaction_write(transaction, r);
	transaction_end(transaction);
	if (r == 0 || r == -ENOENT)
		item->file->result = r;
	*ret_old = old;
	return r == -ENOENT ? 0 : r;
}

static int add_to_directory(struct bulk *bulk, struct item *items, size_t count)
{
	struct view *view = bulk->view;
	struct inode *dir;
	int r = dir_get(view, items[0].file->dir, &dir);

	if (r < 0) {
		for (size_t i = 0; i < count; i++)
			items[i].file->result = is_waiting(&items[i]) ? r : items[i].file->result;
		return 0;
	}
	mutex_take(&view->names);
	r = add_new(bulk, dir, items, count);
	mutex_give(&view->names);
	for (size_t i = 0; i < count && r == 0; i++) {
		struct transaction transaction = {.view = view};
		struct inode *old = NULL;

		if (!is_waiting(&items[i]))
			continue;
		r = fault_point("bulk-before-replace");
		if (r < 0)
			break;
		mutex_take(&view->names);
		r = replace_one(bulk, dir, &items[i], &transaction, &old);
		mutex_give(&view->names);
		orphan_finish(&transaction);
		items[i].file->replaced = old && items[i].file->result == 0 ? old->ino : 0;
		if (old)
			inode_put(old);
	}
	inode_put(dir);
	return r;
}

/* --- the whole --- */

static int check_file(const struct bulk_file *file)
{
	int r = name_check(file->name);

	if (r < 0)
		return r;
	switch (file->create.mode & S_IFMT) {
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK: return 0;
	case S_IFLNK:
		if (!file->create.target || !file->create.target[0])
			return -ENOENT;
		return strlen(file->create.target) > SYMLINK_MAX ? -ENAMETOOLONG : 0;
	default: return -EINVAL;
	}
}

static int number_files(struct bulk *bulk, struct bulk_file *files, size_t count, uint64_t *ret_bytes)
{
	*ret_bytes = 0;
	for (size_t i = 0; i < count; i++) {
		int r;

		files[i].replaced = 0;
		files[i].result = check_file(&files[i]);
		if (files[i].result < 0)
			continue;
		r = family_next_ino(bulk->view->tree, bulk->view->family, &files[i].ino);
		if (r < 0)
			return r;
		files[i].result = -EINPROGRESS;
		bulk->items[bulk->count++] = (struct item){.file = &files[i], .order = i, .run = NO_RUN};
		*ret_bytes += files[i].len + FILE_SPACE;
	}
	return 0;
}

static int store_content(struct bulk *bulk)
{
	struct kv_batch *batch = kv_batch_new();
	int level, r;

	rwlock_read(&bulk->view->epoch_lock);
	level = bulk->view->level;
	rwlock_give(&bulk->view->epoch_lock);
	for (size_t i = 0; i < bulk->count; i++) {
		const struct bulk_file *file = bulk->items[i].file;

		if (S_ISREG(file->create.mode) && file->len > INLINE_MAX)
			bulk->items[i].run = chunks_group_add(bulk->group, file->data, file->len, level);
	}
	r = chunks_group_store(bulk->group, batch);
	if (r == 0 && kv_batch_count(batch) > 0)
		r = kv_write(bulk->view->tree->kv, batch, 0);
	kv_batch_free(batch);
	return r < 0 ? r : fault_point("bulk-content-stored");
}

static int by_name(const void *left, const void *right)
{
	const struct item *a = left, *b = right;
	int order;

	if (a->file->dir != b->file->dir)
		return a->file->dir < b->file->dir ? -1 : 1;
	order = strcmp(a->file->name, b->file->name);
	if (order == 0)
		order = a->order < b->order ? -1 : 1;
	return order;
}

static void refuse_repeated(struct bulk *bulk)
{
	for (size_t i = 1; i < bulk->count; i++) {
		struct bulk_file *file = bulk->items[i].file, *before = bulk->items[i - 1].file;

		if (file->dir == before->dir && strcmp(file->name, before->name) == 0)
			file->result = -EEXIST;
	}
}

static int add_all(struct bulk *bulk)
{
	int r = 0;

	if (bulk->count > 1)
		qsort(bulk->items, bulk->count, sizeof(*bulk->items), by_name);
	refuse_repeated(bulk);
	for (size_t i = 0, end; i < bulk->count && r == 0; i = end) {
		for (end = i + 1; end < bulk->count && bulk->items[end].file->dir == bulk->items[i].file->dir; end++)
			;
		r = add_to_directory(bulk, bulk->items + i, end - i);
	}
	return r;
}

int view_add_files(struct view *view, struct bulk_file *files, size_t count)
{
	struct bulk bulk = {.view = view};
	uint64_t bytes;
	int r = view_check_change(view);

	for (size_t i = 0; i < count; i++)
		files[i].result = r < 0 ? r : -EINPROGRESS;
	if (r < 0)
		return r;
	bulk.items = xcalloc(count + 1, sizeof(*bulk.items));
	r = number_files(&bulk, files, count, &bytes);
	if (r == 0)
		r = quota_ready(view);
	if (r == 0)
		r = committer_check_space(view->tree, bytes);
	bulk.group = chunks_group_new(view->tree->chunks);
	if (r == 0)
		r = store_content(&bulk);
	if (r == 0)
		r = add_all(&bulk);
	for (size_t i = 0; i < count; i++)
		if (files[i].result == -EINPROGRESS)
			files[i].result = r;
	chunks_group_free(bulk.group);
	free(bulk.items);
	return r;
}
