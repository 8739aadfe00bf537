#include "lib/kv/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/kv/admit.h"
#include "lib/kv/damage.h"
#include "lib/kv/database_dir.h"
#include "lib/kv/info_log.h"
#include "lib/kv/inside.h"
#include "lib/kv/native.h"
#include "lib/kv/reopen.h"

uint64_t kv_last_sequence(struct kv *kv)
{
	if (!kv_enter(kv))
		return 0;
	const uint64_t sequence = rocksdb_get_latest_sequence_number(kv->db);
	kv_leave(kv);
	return sequence;
}

struct kv_promise kv_before_sync(struct kv *kv)
{
	struct kv_promise promise = {.look = synced_look(kv->synced, atomic_load(&kv->written))};
	const bool ingesting = atomic_load(&kv->ingesting) > 0;
	const uint64_t sequence = kv_last_sequence(kv);

	promise.sequence = atomic_load(&kv->in_log);
	if (!ingesting && atomic_load(&kv->ingesting) == 0 && sequence > atomic_load(&kv->ingested))
		promise.sequence = MAX(promise.sequence, sequence);
	return promise;
}

void kv_synced(struct kv *kv, struct kv_promise promise)
{
	synced_note(kv->synced, promise.look, atomic_load(&kv->written), promise.sequence);
	manifest_copy_follow(kv->manifest, false);
}

const char *kv_lost(const struct kv *kv)
{
	return kv->lost;
}

static int refused(const char *path, const char *shown, char *message, struct error *err)
{
	int result = strstr(message, "No such file") ? -EBADMSG : kv_errno(message);
	AUTO_FREE char *text = native_shown(message, path, shown);

	error_set(err, result, "%s: cannot open the database: %s", shown, text);
	if (result == -EBADMSG)
		error_hint(err, "a file of the database is missing or damaged; " DATABASE_HINT_ELSEWHERE);
	else if (result == -EBUSY)
		error_hint(err, "another process uses it");
	else if (result == -ENOSPC)
		error_hint(err, "make room on this disk");
	rocksdb_free(message);
	return result;
}

static void dispose(struct kv *kv)
{
	kv_setup_clear(&kv->setup);
	ballast_free(kv->ballast);
	synced_close(kv->synced);
	manifest_copy_close(kv->manifest);
	pthread_mutex_destroy(&kv->mutex);
	pthread_mutex_destroy(&kv->inside_lock);
	pthread_mutex_destroy(&kv->reopen_lock);
	pthread_mutex_destroy(&kv->damage_lock);
	pthread_cond_destroy(&kv->let_in);
	free(kv->damage_mark);
	free(kv->lost);
	free(info_log_end(kv->log_dir));
	free(kv->path);
	free(kv->shown);
	free(kv);
}

static void close_all(struct kv *kv)
{
	native_close(kv);
	rocksdb_readoptions_destroy(kv->read);
	rocksdb_writeoptions_destroy(kv->write);
	rocksdb_writeoptions_destroy(kv->write_sync);
}

/* What comes before RocksDB opens it. */
static int prepare(struct kv *kv, const struct kv_options *options, struct error *err)
{
	bool tables = false;
	int result = 0;

	if (!options->create)
		result = admit_database(kv->path, kv->shown, kv->read_only ? options->accept : 0, &kv->lost, &tables, err);
	if (result == 0 && !kv->read_only) {
		kv->ballast = ballast_new(&(struct ballast_options){.db = kv->path,
		                                                     .shown = kv->shown,
		                                                     .path = options->ballast,
		                                                     .log_limit = kv->setup.log_limit,
		                                                     .log_part = kv->setup.log_part});
		result = ballast_admit_open(kv->ballast, err);
	}
	if (result == 0 && tables)
		kv_setup_accept_tables(&kv->setup);
	return result;
}

int kv_open(const char *path, const struct kv_options *options, struct kv **ret_kv, struct error *err)
{
	const char *shown = options->shown ? options->shown : path;
	int result = database_dir_check(path, shown, options->create, err);

	if (result < 0)
		return result;
	struct kv *kv = xcalloc(1, sizeof(*kv));
	kv->path = xstrdup(path);
	kv->shown = xstrdup(shown);
	kv->read_only = options->read_only;
	kv->check = options->check;
	kv->check_arg = options->check_arg;
	pthread_mutex_init(&kv->mutex, NULL);
	pthread_mutex_init(&kv->inside_lock, NULL);
	pthread_mutex_init(&kv->reopen_lock, NULL);
	pthread_mutex_init(&kv->damage_lock, NULL);
	pthread_cond_init(&kv->let_in, NULL);
	kv_setup_init(&kv->setup, options, path);
	result = prepare(kv, options, err);
	char *message = result == 0 ? native_open(kv, options->took_over) : NULL;
	if (message)
		result = refused(path, shown, message, err);
	if (result < 0) {
		dispose(kv);
		return result;
	}
	kv->read = rocksdb_readoptions_create();
	kv->write = rocksdb_writeoptions_create();
	kv->write_sync = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(kv->write_sync, 1);
	kv->damage_mark = xstrdup_or_null(options->damage_mark);
	atomic_store(&kv->damaged, damage_marked(options->damage_mark));
	if (!kv->read_only) {
		ballast_opened(kv->ballast);
		kv->manifest = manifest_copy_open(path);
		result = synced_open(path, kv_last_sequence(kv), &kv->synced);
	}
	if (result < 0) {
		close_all(kv);
		dispose(kv);
		return error_set(err, result, "%s/" SYNCED_NAME " cannot be written: %s", shown, error_text(result));
	}
	*ret_kv = kv;
	return 0;
}

/* The first failure's message. One that fails loses nothing: what it would have written is in the log, which is replayed at the next opening. */
static char *flush_all(struct kv *kv)
{
	rocksdb_flushoptions_t *wait = rocksdb_flushoptions_create();
	char *first = NULL;

	for (int i = 0; i < KV_FAMILY_COUNT; i++) {
		char *message = NULL;
		rocksdb_flush_cf(kv->db, wait, kv->handles[i], &message);
		if (first)
			rocksdb_free(message);
		else
			first = message;
	}
	rocksdb_flushoptions_destroy(wait);
	return first;
}

/*
 * After an append to the log has failed, rocksdb_flush_wal() ends the process: an assertion, which Debian's build keeps. A synced write of
 * nothing does the same work. It first checks whether the database has stopped, and it succeeds again once RocksDB has recovered. But it
 * keeps all writers waiting for the disk, so it is used only then.
 *
 * A sync that failed is not forgotten: the kernel may have dropped what it could not write, and the next sync of the same file knows nothing
 * of it. So what the log has is written anew, as tables, before anybody is told that it is on disk.
 */
static char *sync_log(struct kv *kv)
{
	char *message = NULL;
	unsigned failures = atomic_load(&kv->log_suspect);

	if (failures == 0) {
		rocksdb_flush_wal(kv->db, 1, &message);
		return message;
	}
	rocksdb_writebatch_t *nothing = rocksdb_writebatch_create();
	rocksdb_write(kv->db, kv->write_sync, nothing, &message);
	rocksdb_writebatch_destroy(nothing);
	if (!message)
		message = flush_all(kv);
	/* One that failed meanwhile is not forgotten. */
	if (!message)
		(void)atomic_compare_exchange_strong(&kv->log_suspect, &failures, 0);
	return message;
}

void kv_note_unsynced(struct kv *kv)
{
	uint64_t none = 0;

	if (atomic_load_explicit(&kv->unsynced_since_ms, memory_order_relaxed) == 0)
		atomic_compare_exchange_strong(&kv->unsynced_since_ms, &none, MAX(clock_ms(), 1U));
}

uint64_t kv_unsynced_ms(struct kv *kv)
{
	uint64_t since = atomic_load(&kv->unsynced_since_ms), now = clock_ms();

	return since == 0 ? 0 : now > since ? now - since : 1;
}

static int sync_and_note(struct kv *kv)
{
	const struct kv_promise promise = kv_before_sync(kv);
	if (!kv_enter(kv))
		return -EIO;
	int result = kv_change_result(kv, sync_log(kv));
	kv_leave(kv);

	/* What is on disk counts only if the log that it is in was still ours then. */
	if (result == 0)
		result = kv_admit(kv, true);
	if (result == 0)
		kv_synced(kv, promise);
	return result;
}

int kv_sync(struct kv *kv)
{
	if (kv->read_only)
		return 0;
	int result = kv_admit(kv, false);
	/* Batches that are written from here on may be in this sync or not: they count as unsynced. */
	uint64_t since = atomic_exchange(&kv->unsynced_since_ms, 0);
	const unsigned opened = kv_opened(kv);
	if (result == 0 && atomic_load(&kv->stopped_by_damage) && !atomic_load(&kv->log_suspect) && !kv_reopened(kv, -EBADMSG, opened))
		result = -EBADMSG;
	if (result == 0)
		result = sync_and_note(kv);
	if (result < 0 && since)
		atomic_store(&kv->unsynced_since_ms, since);
	return result;
}

bool kv_read_only(const struct kv *kv)
{
	return kv->read_only;
}

bool kv_stopped(struct kv *kv)
{
	return atomic_load(&kv->log_suspect) || atomic_load(&kv->stopped_by_damage);
}

void kv_close(struct kv *kv)
{
	if (!kv)
		return;
	/*
	 * The log comes first: once it is on disk, nothing is lost if a flush fails. If it cannot be written, a flush must not be tried (the
	 * same assertion), and is not needed: the next opening replays the log.
	 */
	if (kv_admit(kv, true) == 0) {
		if (sync_and_note(kv) == 0 && ballast_admit_files(kv->ballast, 0, kv_unflushed(kv), true) == 0 && kv_enter(kv)) {
			rocksdb_free(flush_all(kv));
			kv_leave(kv);
		}
		manifest_copy_follow(kv->manifest, true);
		int ignored = synced_keep(kv->synced);
		(void)ignored;
	}
	close_all(kv);
	dispose(kv);
}

struct kv_pin {
	struct kv *kv;
	rocksdb_pinnableslice_t *slice;
};

int kv_pin(struct kv *kv, enum kv_family family, const void *key, size_t key_len, struct kv_pin **ret_pin,
           const uint8_t **ret_value, size_t *ret_len)
{
	char *message = NULL;
	size_t len;

	if (!kv_enter(kv))
		return -ESHUTDOWN;
	rocksdb_pinnableslice_t *slice = rocksdb_get_pinned_cf(kv->db, kv->read, kv->handles[family], key, key_len, &message);
	int result = message ? kv_result_of(kv, family, message) : slice ? 0 : -ENOENT;
	if (result < 0) {
		kv_leave(kv);
		return result;
	}
	const char *value = rocksdb_pinnableslice_value(slice, &len);
	struct kv_pin *pin = xmalloc(sizeof(*pin));
	*pin = (struct kv_pin){kv, slice};
	*ret_pin = pin;
	*ret_value = (const uint8_t *)value;
	*ret_len = len;
	return 0;
}

void kv_unpin(struct kv_pin *pin)
{
	if (!pin)
		return;
	rocksdb_pinnableslice_destroy(pin->slice);
	kv_leave(pin->kv);
	free(pin);
}

int kv_get(struct kv *kv, enum kv_family family, const void *key, size_t key_len, struct buf *value)
{
	struct kv_pin *pin;
	const uint8_t *bytes;
	size_t len;
	int result = kv_pin(kv, family, key, key_len, &pin, &bytes, &len);

	if (result < 0)
		return result == -ESHUTDOWN ? -EIO : result;
	buf_reset(value);
	buf_add(value, bytes, len);
	kv_unpin(pin);
	return 0;
}

int kv_has(struct kv *kv, enum kv_family family, const void *key, size_t key_len)
{
	struct kv_pin *pin;
	const uint8_t *bytes;
	size_t len;
	int result = kv_pin(kv, family, key, key_len, &pin, &bytes, &len);

	if (result == 0)
		kv_unpin(pin);
	return result == -ESHUTDOWN ? -EIO : result;
}

/*
 * RocksDB drops files up to and including the limit, and our ranges exclude their end. Cutting a zero off, or lowering the last byte,
 * gives a key below the end with no key of the same length between the two.
 */
static size_t key_before(uint8_t *key, size_t len)
{
	if (key[len - 1] == 0)
		return len - 1;
	key[len - 1]--;
	return len;
}

int kv_drop_range(struct kv *kv, enum kv_family family, const void *first, size_t first_len, const void *end, size_t end_len)
{
	AUTO_BUF limit = BUF_INIT;
	char *message = NULL;

	if (first_len == 0 || end_len == 0)
		return -EINVAL;
	int result = kv_admit(kv, true);
	if (result < 0)
		return result;
	buf_add(&limit, end, end_len);
	limit.len = key_before(limit.data, limit.len);
	if (!kv_enter(kv))
		return -EIO;
	rocksdb_column_family_handle_t *handle = kv->handles[family];
	rocksdb_delete_file_in_range_cf(kv->db, handle, first, first_len, (const char *)limit.data, limit.len, &message);
	result = kv_change_result(kv, message);
	if (result == 0) {
		message = NULL;
		rocksdb_delete_range_cf(kv->db, kv->write, handle, first, first_len, end, end_len, &message);
		result = kv_change_result(kv, message);
	}
	kv_leave(kv);
	return result;
}

static uint64_t property(struct kv *kv, enum kv_family family, const char *name)
{
	uint64_t value = 0;

	if (!kv_enter(kv))
		return 0;
	const bool known = rocksdb_property_int_cf(kv->db, kv->handles[family], name, &value) == 0;
	kv_leave(kv);
	return known ? value : 0;
}

uint64_t kv_estimate_keys(struct kv *kv, enum kv_family family)
{
	return property(kv, family, "rocksdb.estimate-num-keys");
}

uint64_t kv_disk_bytes(struct kv *kv, enum kv_family family)
{
	return property(kv, family, "rocksdb.total-sst-files-size");
}

uint64_t kv_total_bytes(struct kv *kv)
{
	uint64_t bytes = 0;

	for (int family = 0; family < KV_FAMILY_COUNT; family++)
		bytes += kv_disk_bytes(kv, (enum kv_family)family);
	return bytes;
}
