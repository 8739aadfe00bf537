#include <errno.h>

#include "lib/base/fault.h"
#include "lib/kv/inside.h"
#include "lib/kv/table_writer.h"

struct kv_sst {
	struct kv *kv;
	enum kv_family family;
	char *path;
	struct table_writer *writer;
	enum { SST_WRITING, SST_FINISHED, SST_INGESTED } state;
};

/* In RocksDB's words, as kv_last_error() gives them. */
static int tell(const struct kv_sst *sst, int result)
{
	if (result == -ENOMEM)
		return result;
	return result < 0 ? kv_result(sst->kv, xasprintf("IO error: %s: %s", sst->path, strerror(-result))) : 0;
}

int kv_sst_new(struct kv *kv, enum kv_family family, const char *path, struct kv_sst **ret_sst)
{
	int result = kv_admit(kv, true);

	if (result < 0)
		return result;
	struct kv_sst *sst = xcalloc(1, sizeof(*sst));

	sst->kv = kv;
	sst->family = family;
	sst->path = xstrdup(path);
	result = tell(sst, table_writer_new(path, &sst->writer));
	if (result < 0) {
		kv_sst_free(sst);
		return result;
	}
	*ret_sst = sst;
	return 0;
}

int kv_sst_put(struct kv_sst *sst, const void *key, size_t key_len, const void *head, size_t head_len, const void *tail, size_t tail_len)
{
	if (sst->state != SST_WRITING)
		return -EINVAL;
	return tell(sst, table_writer_put(sst->writer, key, key_len, head, head_len, tail, tail_len));
}

int kv_sst_finish(struct kv_sst *sst)
{
	int result = fault_point("kv.sst.finish");

	if (result < 0)
		return result;
	/* RocksDB refuses a file without keys. */
	if (sst->state != SST_WRITING || table_writer_count(sst->writer) == 0)
		return -EINVAL;
	result = tell(sst, table_writer_finish(sst->writer));
	if (result == 0)
		sst->state = SST_FINISHED;
	return result;
}

void kv_sst_free(struct kv_sst *sst)
{
	if (!sst)
		return;
	table_writer_free(sst->writer);
	if (sst->state != SST_INGESTED)
		unlink(sst->path);
	free(sst->path);
	free(sst);
}

bool kv_takes_files(struct kv *kv)
{
	uint64_t failures = 0;

	if (atomic_load(&kv->was_full) || !kv_enter(kv))
		return false;
	const bool sound = rocksdb_property_int(kv->db, "rocksdb.background-errors", &failures) != 0 || failures == 0;
	kv_leave(kv);
	return sound;
}

int kv_ingest(struct kv *kv, struct kv_sst *sst)
{
	const char *const files[] = {sst->path};
	char *message = NULL;
	int result = fault_point("kv.ingest.before");

	if (result == 0)
		result = kv_admit(kv, true);
	if (result == 0 && !kv_takes_files(kv))
		result = -EIO;
	if (result < 0)
		return result;
	if (sst->state != SST_FINISHED)
		return -EINVAL;
	if (!kv_enter(kv))
		return -EIO;
	rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
	rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
	/* Nobody holds a RocksDB snapshot, so there is none to be consistent with. */
	rocksdb_ingestexternalfileoptions_set_snapshot_consistency(options, 0);
	/* Ids are used once, so the file overlaps nothing; should it ever, a newer sequence and a flush are right, an error is not. */
	rocksdb_ingestexternalfileoptions_set_allow_global_seqno(options, 1);
	rocksdb_ingestexternalfileoptions_set_allow_blocking_flush(options, 1);
	atomic_fetch_add(&kv->ingesting, 1);
	const uint64_t before = kv_last_sequence(kv);
	rocksdb_ingest_external_file_cf(kv->db, kv->handles[sst->family], files, ARRAY_SIZE(files), options, &message);
	/* Of changes that others made meanwhile, or of the file itself. */
	const uint64_t after = kv_last_sequence(kv);
	if (after != before)
		kv_raise(&kv->ingested, after);
	atomic_fetch_sub(&kv->ingesting, 1);
	rocksdb_ingestexternalfileoptions_destroy(options);
	if (!message)
		sst->state = SST_INGESTED;
	result = kv_change_result(kv, message);
	kv_leave(kv);
	if (result == 0)
		result = kv_admit(kv, true);
	if (result == 0)
		manifest_copy_follow(kv->manifest, false);
	return result < 0 ? result : fault_point("kv.ingest.after");
}
