/*
 * First the content of all files goes into chunks, in one group; then, directory by directory, names and records into one batch each.
 * Chunks that travel in a batch (I8) and the index of all are written before the first record that refers to them. The group lives until
 * the last record is written, so the collector leaves its chunks alone.
 */
#include "lib/tree/content/bulk.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/tree/content/committer.h"
#include "lib/tree/content/content.h"
#include "lib/tree/records/family.h"
#include "lib/tree/records/touched.h"
#include "lib/tree/files/names.h"
#include "lib/tree/files/xattr.h"

/* What a file's records take on the disk beside its content, generously. */
#define FILE_SPACE 1024

#define NO_RUN SIZE_MAX

/*
 * Blocks of a file that wait while others of it are committed: more would keep nobody busier, and the first touch of fresh memory costs a
 * third of what all else does that is done to the content in it.
 */
#define AHEAD_MAX (16ULL << 20)

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

static void put_inode(struct change *change, uint64_t ino, const struct inode_record *record)
{
	struct view *view = change->view;
	struct tree_key stem = tree_stem_inode(view->family_id, ino);
	AUTO_BUF value = BUF_INIT;

	inode_record_encode(record, &value);
	version_put(view, change->batch, &stem, 0, value.data, value.len);
	touched_put(change->batch, view->family_id, view->epoch, ino);
}

static void put_extents(struct bulk *bulk, struct change *change, const struct item *item)
{
	size_t count;
	const struct chunk_piece *pieces = chunks_group_pieces(bulk->group, item->run, &count);

	for (size_t i = 0; i < count; i++) {
		struct extent_record record = {.length = pieces[i].length, .chunk = pieces[i].chunk};
		struct tree_key stem = tree_stem_extent(change->view->family_id, item->file->ino, pieces[i].offset);
		AUTO_BUF value = BUF_INIT;

		extent_record_encode(&record, &value);
		version_put(change->view, change->batch, &stem, 0, value.data, value.len);
	}
}

static void put_file(struct bulk *bulk, struct change *change, const struct item *item, struct timespec now)
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
		record.data = (const uint8_t *)create->target;
		record.data_len = (uint32_t)strlen(create->target);
		record.is_inline = true;
	} else if (S_ISREG(create->mode) && item->run == NO_RUN) {
		record.data = file->data;
		record.data_len = (uint32_t)file->len;
		record.is_inline = file->len > 0;
	}
	record.size = record.allocated = item->run == NO_RUN ? record.data_len : file->len;
	put_inode(change, file->ino, &record);
	xattr_put_first(change, file->ino, create);
	if (item->run != NO_RUN)
		put_extents(bulk, change, item);
	entry_put(change, file->dir, file->name, item->entry_epoch, &entry);
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
	struct change change;
	size_t added = 0;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		if (is_waiting(&items[i]))
			r = look_at(bulk->view, &items[i], &taken[i]);
	if (r < 0)
		return r;
	change_begin(&change, bulk->view, &dir, 1, false);
	r = dir_check_alive(dir);
	for (size_t i = 0; i < count && r == 0; i++) {
		if (!is_waiting(&items[i]) || taken[i])
			continue;
		put_file(bulk, &change, &items[i], now);
		added++;
	}
	if (added > 0) {
		dir_changed(&change, dir, 0, now);
		r = change_write(&change, r);
	}
	change_end(&change);
	for (size_t i = 0; i < count; i++)
		if (is_waiting(&items[i]) && !taken[i] && (r == 0 || r == -ENOENT))
			items[i].file->result = r;
	return r == -ENOENT ? 0 : r;
}

/* What was replaced is returned with a reference. */
static int replace_one(struct bulk *bulk, struct inode *dir, struct item *item, struct change *change, struct inode **ret_old)
{
	struct timespec now = clock_now();
	struct inode *old;
	struct entry entry;
	int r = entry_get(bulk->view, dir->ino, item->file->name, &entry);

	if (r == 0)
		r = inode_get(bulk->view, entry.record.ino, &old);
	if (r < 0)
		return r == -ESTALE ? -EIO : r;
	change_begin(change, bulk->view, (struct inode *[]){dir, old}, 2, false);
	r = dir_check_alive(dir);
	if (r == 0) {
		item->entry_epoch = entry.epoch;
		put_file(bulk, change, item, now);
		dir_changed(change, dir, 0, now);
		r = inode_unlinked(change, old, now);
	}
	r = change_write(change, r);
	change_end(change);
	*ret_old = old;
	return r;
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
		struct change change = {.view = view};
		struct inode *old = NULL;

		if (!is_waiting(&items[i]))
			continue;
		mutex_take(&view->names);
		r = replace_one(bulk, dir, &items[i], &change, &old);
		mutex_give(&view->names);
		if (r == 0)
			items[i].file->result = 0;
		change_finish(&change);
		items[i].file->replaced = old ? old->ino : 0;
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

	if (r < 0)
		return r;
	bulk.items = xcalloc(count + 1, sizeof(*bulk.items));
	r = number_files(&bulk, files, count, &bytes);
	if (r == 0)
		r = committer_check_space(view->tree, bytes);
	bulk.group = chunks_group_new(view->tree->chunks);
	if (r == 0)
		r = store_content(&bulk);
	if (r == 0)
		r = add_all(&bulk);
	for (size_t i = 0; i < bulk.count; i++)
		if (is_waiting(&bulk.items[i]))
			bulk.items[i].file->result = r;
	chunks_group_free(bulk.group);
	free(bulk.items);
	return r;
}

/* --- links --- */

/* What lost its name is returned with a reference. */
static int link_over_locked(struct inode *dir, const char *name, struct inode *inode, struct change *change, struct inode **ret_old)
{
	struct view *view = dir->view;
	struct entry_record record = {.ino = inode->ino, .type = DT_REG};
	struct small_key orphan = catalog_key_orphan(view->dataset, inode->ino);
	struct timespec now = clock_now();
	struct inode *old = NULL;
	struct entry entry;
	int r = entry_get(view, dir->ino, name, &entry);

	if (r == 0 && entry.record.type == DT_DIR)
		return -EISDIR;
	if (r == 0 && entry.record.ino == inode->ino)
		return 0;
	if (r == 0)
		r = inode_get(view, entry.record.ino, &old);
	if (r < 0 && r != -ENOENT)
		return r == -ESTALE ? -EIO : r;
	change_begin(change, view, (struct inode *[]){dir, inode, old}, 3, false);
	r = dir_check_alive(dir);
	if (r == 0 && (inode->gone || (inode->record.nlink == 0 && inode->opens == 0)))
		r = -ENOENT;
	if (r == 0 && inode->record.nlink == UINT32_MAX)
		r = -EMLINK;
	if (r == 0) {
		record.type = (uint8_t)IFTODT(inode->record.mode);
		if (inode->record.nlink++ == 0)
			kv_batch_delete(change->batch, KV_CATALOG, orphan.bytes, orphan.len);
		inode->record.ctime = now;
		inode->record.parent = dir->ino;
		entry_put(change, dir->ino, name, entry.epoch, &record);
		dir_changed(change, dir, 0, now);
		change_put(change, inode);
		r = old ? inode_unlinked(change, old, now) : 0;
	}
	r = change_write(change, r);
	change_end(change);
	*ret_old = old;
	return r;
}

int view_link_over(struct view *view, uint64_t ino, uint64_t dir, const char *name, uint64_t *ret_replaced)
{
	struct inode *parent, *inode, *old = NULL;
	struct change change = {.view = view};
	int r = view_check_change(view);

	if (r == 0)
		r = name_check(name);
	if (r == 0)
		r = dir_get(view, dir, &parent);
	if (r < 0)
		return r;
	r = inode_get(view, ino, &inode);
	if (r == 0 && S_ISDIR(inode->record.mode)) {
		inode_put(inode);
		r = -EPERM;
	}
	if (r == 0) {
		mutex_take(&view->names);
		r = link_over_locked(parent, name, inode, &change, &old);
		mutex_give(&view->names);
		change_finish(&change);
		*ret_replaced = old ? old->ino : 0;
		if (old)
			inode_put(old);
		inode_put(inode);
	}
	inode_put(parent);
	return r;
}

/* --- memory --- */

_Static_assert(BULK_BLOCK == DIRTY_SEGMENT_MAX, "a block becomes a segment");

int bulk_block_take(struct inode *inode, void **ret_block)
{
	struct tree *tree = inode->view->tree;
	void *block;
	int r;

	mutex_take(&inode->lock);
	while (inode->committing && inode->active.bytes >= AHEAD_MAX)
		mutex_wait(&inode->lock, &inode->drained);
	mutex_give(&inode->lock);
	r = committer_check_space(tree, BULK_BLOCK);
	if (r == 0)
		r = committer_admit(tree, BULK_BLOCK);
	if (r < 0)
		return r;
	block = block_take(committer_blocks(tree));
	if (!block) {
		committer_release(tree, BULK_BLOCK);
		return -ENOMEM;
	}
	*ret_block = block;
	return 0;
}

void bulk_block_drop(struct inode *inode, void *block)
{
	struct tree *tree = inode->view->tree;

	block_give(committer_blocks(tree), block);
	committer_release(tree, BULK_BLOCK);
}

int bulk_block_write(struct inode *inode, uint64_t offset, void *block, size_t len)
{
	struct view *view = inode->view;
	int r = content_check_change(inode, offset, len);
	int64_t grown;

	if (r < 0 || len == 0) {
		bulk_block_drop(inode, block);
		return r;
	}
	hold_enter(&view->hold);
	mutex_take(&inode->lock);
	inode->active.pool = committer_blocks(view->tree);
	grown = dirty_write_block(&inode->active, offset, block, len);
	if (grown >= 0) {
		inode->size = MAX(inode->size, offset + len);
		content_touch(inode);
		committer_note(inode);
	}
	mutex_give(&inode->lock);
	hold_leave(&view->hold);
	committer_release(view->tree, BULK_BLOCK - (grown < 0 ? 0 : (size_t)grown));
	return grown < 0 ? (int)grown : 0;
}

int bulk_reserve(struct view *view, size_t bytes)
{
	return committer_admit(view->tree, bytes);
}

void bulk_release(struct view *view, size_t bytes)
{
	committer_release(view->tree, bytes);
}

uint64_t bulk_budget(struct view *view)
{
	return committer_budget(view->tree);
}

/* --- numbers --- */

int view_first_new_ino(struct view *view, uint64_t *ret_ino)
{
	return family_next_ino(view->tree, view->family, ret_ino);
}
