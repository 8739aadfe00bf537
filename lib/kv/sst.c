#include <errno.h>

#include "lib/base/fault.h"
#include "lib/kv/internal.h"

struct kv_sst {
	struct kv *kv;
	enum kv_family family;
	char *path;
	rocksdb_envoptions_t *env;
	rocksdb_sstfilewriter_t *writer;
	size_t count;
	enum { SST_WRITING, SST_FINISHED, SST_INGESTED } state;
};

int kv_sst_new(struct kv *kv, enum kv_family family, const char *path, struct kv_sst **ret_sst)
{
	int result = kv_admit(kv, true);

	if (result < 0)
		return result;
	struct kv_sst *sst = xcalloc(1, sizeof(*sst));
	char *message = NULL;

	sst->kv = kv;
	sst->family = family;
	sst->path = xstrdup(path);
	sst->env = rocksdb_envoptions_create();
	sst->writer = rocksdb_sstfilewriter_create(sst->env, kv->setup.families[family]);
	rocksdb_sstfilewriter_open(sst->writer, path, &message);
	result = kv_result(kv, message);
	if (result < 0) {
		kv_sst_free(sst);
		return result;
	}
	*ret_sst = sst;
	return 0;
}

int kv_sst_put(struct kv_sst *sst, const void *key, size_t key_len, const void *value, size_t value_len)
{
	char *message = NULL;

	if (sst->state != SST_WRITING)
		return -EINVAL;
	rocksdb_sstfilewriter_put(sst->writer, key, key_len, value, value_len, &message);
	if (!message)
		sst->count++;
	return kv_result(sst->kv, message);
}

int kv_sst_finish(struct kv_sst *sst)
{
	char *message = NULL;
	int result = fault_point("kv.sst.finish");

	if (result < 0)
		return result;
	/* RocksDB refuses a file without keys. */
	if (sst->state != SST_WRITING || sst->count == 0)
		return -EINVAL;
	rocksdb_sstfilewriter_finish(sst->writer, &message);
	if (!message)
		sst->state = SST_FINISHED;
	return kv_result(sst->kv, message);
}

void kv_sst_free(struct kv_sst *sst)
{
	if (!sst)
		return;
	rocksdb_sstfilewriter_destroy(sst->writer);
	rocksdb_envoptions_destroy(sst->env);
	if (sst->state != SST_INGESTED)
		unlink(sst->path);
	free(sst->path);
	free(sst);
}

bool kv_takes_files(struct kv *kv)
{
	uint64_t failures = 0;

	return !atomic_load(&kv->was_full) &&
	       (rocksdb_property_int(kv->db, "rocksdb.background-errors", &failures) != 0 || failures == 0);
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
	if (result == 0)
		result = kv_admit(kv, true);
	return result < 0 ? result : fault_point("kv.ingest.after");
}
