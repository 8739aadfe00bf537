#include "lib/kv/mend_tables.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/kv/damaged_tables.h"
#include "lib/kv/manifest.h"
#include "lib/kv/mend.h"
#include "lib/kv/table_mend.h"

#define CACHE (16U << 20)

/* RocksDB opens no table that does not say who made it; where that was lost, the table is written anew. */
struct unnamed {
	enum kv_family family;
	struct buf first, last;
};

struct mending {
	int dir;
	const char *shown;
	bool apply, chunks;
	int (*step)(void *arg, uint64_t bytes);
	kv_damaged_table_fn each;
	void *arg;
	struct error *err;
	ARRAY(struct unnamed) unnamed;
};

/* RocksDB removes files of this kind by itself, should one stay. */
static int put_in_place(struct mending *mending, const struct manifest_table *table, const struct table_look *look, int from, const char *name,
			bool *ret_named)
{
	char work[KV_TABLE_NAME_MAX];

	snprintf(work, sizeof(work), "%06" PRIu64 ".dbtmp", table->number);
	AUTO_CLOSE int to = file_open_inside(mending->dir, work, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (to < 0)
		return to;
	int result = table_mend(look, from, to, &table->first, ret_named);
	if (result == 0)
		result = fault_point("mend-before-table");
	if (result == 0 && renameat(mending->dir, work, mending->dir, name) < 0)
		result = -errno;
	if (result == 0 && fsync(mending->dir) < 0)
		result = -errno;
	if (result < 0)
		(void)unlinkat(mending->dir, work, 0);
	return result;
}

static void note_unnamed(struct mending *mending, const struct table_named *table)
{
	struct unnamed *unnamed = array_new(&mending->unnamed);

	unnamed->family = table->family;
	buf_add(&unnamed->first, table->first, table->first_len);
	buf_add(&unnamed->last, table->last, table->last_len);
}

static int write_anew(struct mending *mending, const char *path)
{
	const struct kv_options options = {
		.shown = mending->shown, .any_tables = true, .cache_bytes = CACHE, .memtable_bytes = CACHE, .threads = 2};
	struct kv *kv;
	int result = kv_open(path, &options, &kv, mending->err);

	if (result < 0)
		return result;
	for (size_t i = 0; i < mending->unnamed.count && result == 0; i++) {
		const struct unnamed *unnamed = &mending->unnamed.items[i];
		const struct kv_key_range range = {unnamed->first.data, unnamed->last.data, unnamed->first.len, unnamed->last.len};
		result = kv_write_anew(kv, unnamed->family, &range);
	}
	kv_close(kv);
	return result;
}

static int mend_table(struct mending *mending, const struct manifest *manifest, const struct manifest_table *table)
{
	const struct table_named named = {
		.family = manifest_family_of(manifest, table->family),
		.number = table->number,
		.bytes = table->bytes,
		.first = table->first.data,
		.last = table->last.data,
		.first_len = table->first.len,
		.last_len = table->last.len,
	};
	struct table_look look;
	struct stat st;
	char name[KV_TABLE_NAME_MAX];
	bool named_now = true;

	table_file_name(table->number, name);
	AUTO_CLOSE int fd = file_open_inside(mending->dir, name, O_RDONLY, 0);
	if (fd < 0 && fd != -ENOENT)
		return error_set(mending->err, fd, "%s/%s: %s", mending->shown, name, error_text(fd));
	if (!mending->chunks && kv_holds_chunks(named.family) && fd >= 0 && fstat(fd, &st) == 0 &&
	    (uint64_t)st.st_size == table->bytes)
		return 0;
	int result = table_look(fd, table->bytes, mending->step, mending->arg, &look);
	if (result == -ENOTSUP)
		return 0;
	if (result < 0)
		return result;
	if (!look.sound && mending->apply) {
		result = put_in_place(mending, table, &look, fd, name, &named_now);
		if (result < 0)
			error_set(mending->err, result, "%s/%s: %s", mending->shown, name, error_text(result));
		else if (!named_now)
			note_unnamed(mending, &named);
	}
	if (!look.sound && result == 0)
		result = damaged_table_tell(&named, &look, fd < 0, mending->each, mending->arg);
	table_look_clear(&look);
	return result;
}

int kv_mend_tables(const char *path, const char *shown, char **ret_lost, bool chunks, int (*step)(void *arg, uint64_t bytes), kv_damaged_table_fn each,
		   void *arg, struct error *err)
{
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct mending mending = {.dir = dir, .shown = shown, .apply = ret_lost != NULL, .chunks = chunks, .step = step, .each = each, .arg = arg, .err = err};
	struct manifest manifest = {0};
	int result;

	if (dir < 0)
		return error_set(err, -errno, "%s: %s", shown, strerror(errno));
	result = manifest_read(dir, shown, &manifest, err);
	if (result == -ENOTSUP)
		return error_set(err, result, "%s is of a newer RocksDB: its tables are not understood", shown);
	for (size_t i = 0; i < manifest.tables.count && result == 0; i++)
		result = mend_table(&mending, &manifest, &manifest.tables.items[i]);
	manifest_clear(&manifest);
	/* a log that is damaged, too, would keep the database shut */
	if (result == 0 && ret_lost)
		result = kv_mend_look(path, shown, ret_lost, err);
	if (result == 0 && ret_lost && *ret_lost)
		result = kv_mend_log(path);
	if (result == 0 && mending.unnamed.count > 0)
		result = write_anew(&mending, path);
	for (size_t i = 0; i < mending.unnamed.count; i++) {
		buf_clear(&mending.unnamed.items[i].first);
		buf_clear(&mending.unnamed.items[i].last);
	}
	array_clear(&mending.unnamed);
	return result;
}
