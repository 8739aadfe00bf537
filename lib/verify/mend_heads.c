#include "lib/verify/mend_heads.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/store/catalog.h"
#include "lib/tree/files/files.h"
#include "lib/tree/records/all_versions.h"
#include "lib/tree/records/touched.h"
#include "lib/tree/records/version.h"
#include "lib/verify/head_records.h"

#define BATCH_RECORDS 4096
#define LOST_FOUND "lost+found"
#define LOST_FOUND_MODE (S_IFDIR | 0700)
#define UNDO_NAME_MAX sizeof(((struct head_mends *)NULL)->undo)

/* One head. */
struct head {
	char dataset[NAME_LEN_MAX + 1];
	uint32_t dataset_id, family;
	struct line line; /* its last epoch is the open one */
	uint64_t mends, lost;
	uint64_t lost_found; /* its inode; 0: none yet */
};

struct mending {
	struct store *store;
	bool write, tell;
	int (*each)(void *arg, const struct head_mend *mend);
	void *arg;
	struct head *head;
	struct kv_batch *batch;
	uint64_t directories; /* that were put into lost+found */
	struct head_mends *mends;
};

/* --- writing --- */

static int PRINTF_LIKE(3, 4) tell(struct mending *mending, uint64_t ino, const char *format, ...)
{
	char text[HEAD_MEND_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	mending->head->mends++;
	return mending->tell ? mending->each(mending->arg, &(struct head_mend){mending->head->dataset, ino, text}) : 0;
}

static int flush(struct mending *mending, size_t most)
{
	int result = 0;

	if (kv_batch_count(mending->batch) > most) {
		result = kv_write(store_kv(mending->store), mending->batch, KV_GIVES_ROOM);
		kv_batch_clear(mending->batch);
	}
	return result;
}

/* The snapshot sees what was there: the open epoch has no other version. */
static int put(struct mending *mending, const struct tree_key *stem, uint64_t ino, const struct buf *value)
{
	const struct head *head = mending->head;
	const uint64_t epoch = array_last(&head->line)->last;

	all_versions_replace(mending->batch, stem, epoch, value->data, value->len);
	touched_put(mending->batch, head->family, epoch, ino);
	return flush(mending, BATCH_RECORDS);
}

static int put_inode(struct mending *mending, uint64_t ino, const struct inode_record *record)
{
	const struct tree_key stem = tree_stem_inode(mending->head->family, ino);
	AUTO_BUF value = BUF_INIT;

	inode_record_encode(record, &value);
	return mending->write ? put(mending, &stem, ino, &value) : 0;
}

/* A name that nothing else has; it is told as #INODE. */
static int find_name(const struct mending *mending, uint64_t ino, struct tree_key *ret_stem)
{
	const struct head *head = mending->head;
	int result = 0;

	for (unsigned i = 1; result == 0; i++) {
		AUTO_FREE char *name = i == 1 ? xasprintf("#%llu", (unsigned long long)ino) : xasprintf("#%llu-%u", (unsigned long long)ino, i);
		*ret_stem = tree_stem_entry(head->family, head->lost_found, name);
		result = version_get(store_kv(mending->store), &head->line, ret_stem, NULL, NULL);
	}
	return result == -ENOENT ? 0 : result;
}

/* MH2 */
static int put_name(struct mending *mending, uint64_t ino, uint32_t mode)
{
	struct head *head = mending->head;
	struct tree_key stem;
	AUTO_BUF value = BUF_INIT;

	head->lost++;
	if (!mending->write)
		return 0;
	int result = find_name(mending, ino, &stem);
	if (result < 0)
		return result;
	mending->directories += S_ISDIR(mode);
	entry_record_encode(&(struct entry_record){.ino = ino, .type = IFTODT(mode)}, &value);
	return put(mending, &stem, head->lost_found, &value);
}

/* --- one inode --- */

/* Its record, to be changed; -ENOENT. */
static int get_inode(const struct mending *mending, uint64_t ino, struct buf *value, struct inode_record *ret_record)
{
	const struct head *head = mending->head;
	const struct tree_key stem = tree_stem_inode(head->family, ino);
	int result = version_get(store_kv(mending->store), &head->line, &stem, value, NULL);

	return result == 0 ? inode_record_decode(value->data, value->len, ret_record) : result;
}

/* MH1, MH2 */
static int mend_links(struct mending *mending, const struct head_inode *inode, const struct head_names *names)
{
	const bool is_dir = S_ISDIR(inode->mode), is_root = inode->ino == ROOT_INO, is_lost = names->count == 0 && !is_root;
	const uint64_t links = is_dir ? 2 + inode->subdirectories : is_lost ? 1 : names->count;
	uint64_t parent = is_lost ? mending->head->lost_found : inode->parent;
	struct inode_record record;
	AUTO_BUF value = BUF_INIT;
	int result = 0;

	if (is_dir && names->count == 1)
		parent = names->directory;
	if (is_lost)
		result = tell(mending, inode->ino, "has no name, and gets " LOST_FOUND "/#%llu", (unsigned long long)inode->ino);
	else if (links != inode->nlink)
		result = tell(mending, inode->ino, "the link count becomes %llu instead of %u", (unsigned long long)links, inode->nlink);
	else if (parent != inode->parent)
		result = tell(mending, inode->ino, "the directory above it is %llu", (unsigned long long)parent);
	else
		return 0;
	if (result == 0 && is_lost)
		result = put_name(mending, inode->ino, inode->mode);
	if (result == 0)
		result = get_inode(mending, inode->ino, &value, &record);
	record.nlink = (uint32_t)links;
	record.parent = parent;
	return result == 0 ? put_inode(mending, inode->ino, &record) : result;
}

/* 1: it was removed while somebody had it open, and is cleared away when the store is opened. */
static int is_orphan(const struct mending *mending, uint64_t ino)
{
	const struct small_key key = catalog_key_orphan(mending->head->dataset_id, ino);
	AUTO_BUF value = BUF_INIT;
	const int result = catalog_record_get(store_kv(mending->store), &key, &value);

	return result == 0 ? 1 : result == -ENOENT ? 0 : result;
}

/* The content of a small file whose record is lost; 0: there is none. */
static int find_content(const struct mending *mending, uint64_t ino, struct inode_record *record)
{
	const struct tree_key stem = tree_stem_content(mending->head->family, ino);
	AUTO_BUF value = BUF_INIT;
	const uint8_t *content;
	uint64_t epoch;
	size_t len;
	int result = version_get(store_kv(mending->store), &mending->head->line, &stem, &value, &epoch);

	if (result < 0 || content_record_decode(value.data, value.len, &content, &len) < 0)
		return result == -ENOENT || result == 0 ? 0 : result;
	record->is_inline = true;
	record->content = epoch;
	record->size = record->allocated = len;
	return 1;
}

/* MH3 */
static int make_inode(struct mending *mending, const struct head_inode *inode, const struct head_names *names)
{
	const bool is_dir = inode->ino == ROOT_INO || inode->entries > 0;
	const bool is_lost = names->count == 0 && inode->ino != ROOT_INO;
	const struct timespec now = clock_now();
	struct inode_record record = {.mode = is_dir ? S_IFDIR | 0700 : S_IFREG | 0600, .atime = now, .mtime = now, .ctime = now, .btime = now};
	int result = is_dir || inode->extents > 0 ? 1 : find_content(mending, inode->ino, &record);

	/* nothing but attributes is left, or what its name says is something else */
	if (result <= 0 || (names->count > 0 && names->type != IFTODT(record.mode)))
		return MIN(result, 0);
	if (!record.is_inline)
		record.size = record.allocated = is_dir ? 0 : inode->extents_end;
	record.nlink = (uint32_t)(is_dir ? 2 + inode->subdirectories : is_lost ? 1 : names->count);
	record.parent = is_lost ? mending->head->lost_found : inode->ino == ROOT_INO ? ROOT_INO : names->directory;
	result = tell(mending, inode->ino, "its attributes are lost; what is left of its %s gets new ones%s", is_dir ? "names" : "content",
		      is_lost ? ", and a name in " LOST_FOUND : "");
	if (result == 0 && is_lost)
		result = put_name(mending, inode->ino, record.mode);
	return result == 0 ? put_inode(mending, inode->ino, &record) : result;
}

static int mend_inode(void *arg, const struct head_inode *inode, const struct head_names *names)
{
	struct mending *mending = arg;

	if (!inode->has_record)
		return inode->ino == ROOT_INO ? 0 : make_inode(mending, inode, names); /* the root: mend_root */
	const int orphan = inode->nlink == 0 && names->count == 0 ? is_orphan(mending, inode->ino) : 0;
	return orphan == 0 ? mend_links(mending, inode, names) : MIN(orphan, 0);
}

/* --- one head --- */

/* The root is needed before anything can be put below it. */
static int mend_root(struct mending *mending)
{
	const struct head_inode root = {.ino = ROOT_INO};
	struct inode_record record;
	AUTO_BUF value = BUF_INIT;
	int result = get_inode(mending, ROOT_INO, &value, &record);

	if (result != -ENOENT && result != -EBADMSG)
		return result;
	result = make_inode(mending, &root, &(struct head_names){0});
	return result == 0 ? flush(mending, 0) : result;
}

/* The directory for what has no name. A file that is called so stays. */
static int make_lost_found(struct mending *mending)
{
	const struct create create = {.mode = LOST_FOUND_MODE};
	struct head *head = mending->head;
	struct view *view;
	int result = store_head(mending->store, head->dataset, &view);

	for (unsigned i = 1; result == 0 && head->lost_found == 0; i++) {
		AUTO_FREE char *name = i == 1 ? xstrdup(LOST_FOUND) : xasprintf(LOST_FOUND "-%u", i);
		struct attr attr;
		result = view_lookup(view, ROOT_INO, name, &attr);
		if (result == -ENOENT)
			result = view_create(view, ROOT_INO, name, &create, &attr, NULL);
		if (result == 0 && S_ISDIR(attr.mode))
			head->lost_found = attr.ino;
	}
	if (view)
		store_view_put(mending->store, view);
	return result;
}

/* Those that came into lost+found count as its subdirectories. */
static int count_directories(struct mending *mending)
{
	struct inode_record record;
	AUTO_BUF value = BUF_INIT;
	int result = flush(mending, 0);

	if (result < 0 || mending->directories == 0)
		return result;
	result = get_inode(mending, mending->head->lost_found, &value, &record);
	record.nlink += (uint32_t)mending->directories;
	if (result == 0)
		result = put_inode(mending, mending->head->lost_found, &record);
	return result == 0 ? flush(mending, 0) : result;
}

static int mend_head(struct mending *mending, struct head *head)
{
	int result;

	mending->head = head;
	mending->directories = 0;
	head->mends = head->lost = 0;
	result = mend_root(mending);
	if (result == 0)
		result = head_records_each(mending->store, head->family, &head->line, mend_inode, mending);
	return result == 0 && mending->write ? count_directories(mending) : result;
}

/* --- all heads --- */

struct heads {
	ARRAY_FIELDS(struct head);
};

static void heads_clear(struct heads *heads)
{
	for (size_t i = 0; i < heads->count; i++)
		line_clear(&heads->items[i].line);
	array_clear(heads);
}

/* What is known of those that were listed before stays known. */
static void list_heads(struct store *store, struct heads *heads)
{
	struct heads before = *heads;

	*heads = (struct heads){0};
	mutex_take(&store->catalog_lock);
	for (const struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next) {
		struct head *head = array_new(heads);
		for (size_t i = 0; i < before.count; i++)
			if (before.items[i].dataset_id == dataset->record.id)
				*head = before.items[i];
		snprintf(head->dataset, sizeof(head->dataset), "%s", dataset->name);
		head->dataset_id = dataset->record.id;
		head->family = dataset->record.family;
		head->line = line_copy(&dataset->record.line);
	}
	mutex_give(&store->catalog_lock);
	heads_clear(&before);
}

static int take_snapshots(struct store *store, const struct heads *heads, const char *name, struct error *err)
{
	ARRAY(struct snapshot_name) names = {0};
	int result;

	for (size_t i = 0; i < heads->count; i++)
		if (heads->items[i].mends > 0)
			array_add(&names, (struct snapshot_name){heads->items[i].dataset, name});
	result = snapshot_create(store, names.items, names.count, "what corpusfs repair found", 0, err);
	array_clear(&names);
	return result;
}

/* MH5 */
static int keep(struct store *store, const struct heads *heads, char undo[UNDO_NAME_MAX], struct error *err)
{
	char when[32], text[32];
	size_t len = 0;
	int result;

	clock_format(clock_now().tv_sec, when);
	for (const char *at = when; *at; at++)
		if (*at != '-' && *at != ':')
			text[len++] = *at;
	text[len] = 0;
	snprintf(undo, UNDO_NAME_MAX, "before-repair-%s", text);
	result = take_snapshots(store, heads, undo, err);
	for (unsigned i = 2; result == -EEXIST; i++) {
		snprintf(undo, UNDO_NAME_MAX, "before-repair-%s-%u", text, i);
		result = take_snapshots(store, heads, undo, err);
	}
	return result;
}

/* What goes through the tree comes first: records are written past it afterwards, when the store is opened anew and remembers none of them. */
static int prepare(struct mending *mending, struct heads *heads, char undo[UNDO_NAME_MAX], struct error *err)
{
	int result = keep(mending->store, heads, undo, err);

	list_heads(mending->store, heads);
	mending->write = true;
	for (size_t i = 0; i < heads->count && result == 0; i++) {
		mending->head = &heads->items[i];
		if (mending->head->mends > 0)
			result = mend_root(mending);
		if (result == 0 && mending->head->lost > 0)
			result = make_lost_found(mending);
	}
	return result;
}

static int mend_all(struct mending *mending, struct heads *heads, bool all, uint64_t *ret_count)
{
	int result = 0;

	*ret_count = 0;
	for (size_t i = 0; i < heads->count && result == 0; i++) {
		if (all || heads->items[i].mends > 0)
			result = mend_head(mending, &heads->items[i]);
		*ret_count += heads->items[i].mends;
	}
	return result;
}

/* Opens the store for one step, and closes it. */
static int with_store(const char *path, struct mending *mending, struct heads *heads, int (*step)(struct mending *, struct heads *, struct error *),
		      struct error *err)
{
	int closed, result = store_open(path, NULL, &mending->store, err);

	if (result < 0)
		return result;
	mending->batch = kv_batch_new();
	list_heads(mending->store, heads);
	result = step(mending, heads, err);
	kv_batch_free(mending->batch);
	closed = store_close(mending->store);
	if (result == 0 && closed < 0)
		return error_set(err, closed, "the store %s: %s", path, store_close_failure(closed));
	return result < 0 ? error_default(err, result, "the names of %s cannot be mended", path) : result;
}

static int look_and_prepare(struct mending *mending, struct heads *heads, struct error *err)
{
	int result = mend_all(mending, heads, true, &mending->mends->count);

	return result == 0 && !mending->tell && mending->mends->count > 0 ? prepare(mending, heads, mending->mends->undo, err) : result;
}

static int write_all(struct mending *mending, struct heads *heads, struct error *err)
{
	(void)err;
	return mend_all(mending, heads, false, &mending->mends->count);
}

int mend_heads(const char *path, bool apply, int (*each)(void *arg, const struct head_mend *mend), void *arg, struct head_mends *ret_mends,
	       struct error *err)
{
	struct head_mends mends = {0};
	struct mending mending = {.tell = !apply, .each = each, .arg = arg, .mends = &mends};
	struct heads heads = {0};
	int result = with_store(path, &mending, &heads, look_and_prepare, err);

	if (result == 0 && apply && mends.count > 0) {
		mending.tell = true;
		result = with_store(path, &mending, &heads, write_all, err);
	}
	heads_clear(&heads);
	*ret_mends = mends;
	return result;
}
