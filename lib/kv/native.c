#include "lib/kv/native.h"

#include <string.h>

#include "lib/kv/damage.h"
#include "lib/kv/info_log.h"

char *native_shown(const char *message, const char *path, const char *shown)
{
	struct buf text = BUF_INIT;

	for (const char *found; (found = strstr(message, path)); message = found + strlen(path))
		buf_addf(&text, "%.*s%s", (int)(found - message), message, shown);
	buf_addf(&text, "%s", message);
	buf_add_u8(&text, 0);
	return (char *)text.data;
}

char *native_open(struct kv *kv, bool took_over)
{
	const rocksdb_options_t *const *families = (const rocksdb_options_t *const *)kv->setup.families;
	char *message = NULL;

	if (kv->read_only) {
		info_log_none(kv->setup.db);
		kv->db = rocksdb_open_for_read_only_column_families(kv->setup.db, kv->path, KV_HANDLE_COUNT, kv_family_names, families,
								    kv->handles, 0, &message);
		return message;
	}
	if (took_over) {
		AUTO_FREE char *lock = xasprintf("%s/LOCK", kv->path);
		unlink(lock); /* RocksDB makes it anew; whoever had it locked runs no more */
	}
	char *log_dir = info_log_begin(kv->path, kv->setup.db);
	kv->db = rocksdb_open_column_families(kv->setup.db, kv->path, KV_HANDLE_COUNT, kv_family_names, families, kv->handles, &message);
	kv->log_dir = info_log_end(log_dir);
	return message;
}

bool native_would_come_back(struct kv *kv)
{
	const rocksdb_options_t *const *families = (const rocksdb_options_t *const *)kv->setup.families;
	rocksdb_column_family_handle_t *handles[KV_HANDLE_COUNT];
	rocksdb_options_t *options = rocksdb_options_create_copy(kv->setup.db);
	char *message = NULL;

	info_log_none(options);
	rocksdb_t *db = rocksdb_open_for_read_only_column_families(options, kv->path, KV_HANDLE_COUNT, kv_family_names, families, handles, 0, &message);
	rocksdb_options_destroy(options);
	if (message) {
		rocksdb_free(message);
		return false;
	}
	const bool is_all = rocksdb_get_latest_sequence_number(db) == rocksdb_get_latest_sequence_number(kv->db);
	for (int i = 0; i < KV_HANDLE_COUNT; i++)
		rocksdb_column_family_handle_destroy(handles[i]);
	rocksdb_close(db);
	return is_all;
}

void native_close(struct kv *kv)
{
	if (!kv->db)
		return;
	for (int i = 0; i < KV_HANDLE_COUNT; i++)
		rocksdb_column_family_handle_destroy(kv->handles[i]);
	rocksdb_close(kv->db);
	kv->db = NULL;
	kv->log_dir = info_log_end(kv->log_dir);
}

void native_reopens(struct kv *kv)
{
	rocksdb_options_set_create_if_missing(kv->setup.db, 0);
	rocksdb_options_set_create_missing_column_families(kv->setup.db, 0);
	rocksdb_options_set_error_if_exists(kv->setup.db, 0);
	for (int i = 0; i < KV_HANDLE_COUNT; i++)
		rocksdb_options_set_disable_auto_compactions(kv->setup.families[i], damage_stops(kv_damaged(kv), (enum kv_family)i));
}
