/* Whether there is room for what is to be written, and flushing, which makes some (lib/kv/ballast.h). */
#include <errno.h>

#include "lib/kv/inside.h"
#include "lib/kv/reopen.h"

#define QUIET_SHARE 8 /* of the budget for memory: with less, RocksDB does not flush by itself */

uint64_t kv_log_bytes(struct kv *kv)
{
	return ballast_log_bytes(kv->path);
}

int kv_admit_files(struct kv *kv, uint64_t bytes)
{
	return ballast_admit_files(kv->ballast, bytes, kv_unflushed(kv), true);
}

static int flush(struct kv *kv, bool gives_back)
{
	int result = kv_admit(kv, true);

	if (result == 0)
		result = ballast_admit_files(kv->ballast, 0, kv_unflushed(kv), gives_back);
	if (result < 0)
		return result;
	if (!kv_enter(kv)) {
		ballast_files_end(kv->ballast);
		return -EIO;
	}
	rocksdb_flushoptions_t *wait = rocksdb_flushoptions_create();
	for (int i = 0; i < KV_FAMILY_COUNT && result == 0; i++) {
		char *message = NULL;
		rocksdb_flush_cf(kv->db, wait, kv->handles[i], &message);
		result = kv_change_result(kv, message);
	}
	rocksdb_flushoptions_destroy(wait);
	kv_leave(kv);
	manifest_copy_follow(kv->manifest, false);
	ballast_files_end(kv->ballast);
	return result;
}

int kv_flush(struct kv *kv)
{
	const unsigned opened = kv_opened(kv);
	int result = flush(kv, true);

	return kv_reopened(kv, result, opened) ? flush(kv, true) : result;
}

static bool works_by_itself(struct kv *kv)
{
	uint64_t merges = 0, flushes = 0;

	if (!kv_enter(kv))
		return false;
	const bool works = (rocksdb_property_int(kv->db, "rocksdb.num-running-compactions", &merges) == 0 && merges > 0) ||
	                   (rocksdb_property_int(kv->db, "rocksdb.num-running-flushes", &flushes) == 0 && flushes > 0);
	kv_leave(kv);
	return works;
}

/* RocksDB flushes when it likes to, so what a flush would take is free, or there is too little in memory for one. */
int kv_admit_room(struct kv *kv, uint64_t bytes, enum kv_need need)
{
	if (ballast_admit(kv->ballast, bytes, kv->setup.memtable_bytes))
		return 0;
	if (works_by_itself(kv))
		ballast_lend(kv->ballast);
	const uint64_t in_memory = kv_unflushed(kv);
	if (ballast_admit(kv->ballast, bytes, in_memory))
		return 0;
	if (need == KV_BRINGS_CONTENT)
		return -ENOSPC;
	if (in_memory + bytes < kv->setup.memtable_bytes / QUIET_SHARE && ballast_admit_log(kv->ballast, bytes))
		return 0;
	int result = flush(kv, need == KV_GIVES_BACK);
	if (result == 0 && !ballast_admit_log(kv->ballast, bytes) && !ballast_admit(kv->ballast, bytes, 0))
		result = -ENOSPC;
	return result;
}

uint64_t kv_room_missing(struct kv *kv)
{
	return kv->ballast ? ballast_missing(kv->ballast) : 0;
}
