#include <sys/statvfs.h>

#include "lib/base/descriptors.h"
#include "lib/kv/damage.h"
#include "lib/kv/internal.h"

#define MIB (1024ULL * 1024)
#define CHECKSUM_XXH3 4
#define TABLE_FORMAT 5
#define BLOOM_BITS_PER_KEY 10
#define PINS 4096 /* of chunks' blocks that nobody reads: none */
#define LOG_MIN (64 * MIB)
#define LOG_FLOOR (16 * MIB) /* on a small disk */
#define LOG_SHARE 64 /* of a larger one */
#define DESCRIPTORS_PLENTY 65536
#define DESCRIPTORS_FEW 64

const char *const kv_family_names[KV_HANDLE_COUNT] = {
	[KV_CATALOG] = "catalog", [KV_TREE] = "tree", [KV_CONTENT] = "content", [KV_TOUCHED] = "touched",
	[KV_DEDUP] = "dedup",     [KV_BULK] = "bulk", [KV_SMALL] = "small",     [KV_FAMILY_COUNT] = "default",
};

static rocksdb_block_based_table_options_t *new_table(void)
{
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

	/* Debian's RocksDB computes CRC32C in software; XXH3 is several times faster. */
	rocksdb_block_based_options_set_checksum(table, CHECKSUM_XXH3);
	rocksdb_block_based_options_set_format_version(table, TABLE_FORMAT);
	return table;
}

/*
 * Sorted records, read by seeks and scans. Blocks and indexes are within the cache's budget. With blocks of 16 KiB a cold listing takes a
 * sixth less time than with blocks of 8 KiB, and a cold look at one file takes as long.
 */
static rocksdb_block_based_table_options_t *metadata_table(rocksdb_cache_t *cache)
{
	rocksdb_block_based_table_options_t *table = new_table();

	rocksdb_block_based_options_set_block_cache(table, cache);
	rocksdb_block_based_options_set_block_size(table, 16384);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
	rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
	return table;
}

/*
 * Random keys, looked up one by one, most of them absent: the filter answers. Filter and index (two bytes per chunk) stay outside the
 * cache, where no scan can evict them. Small blocks, since a block read for one key is useless for the next.
 */
static rocksdb_block_based_table_options_t *dedup_table(rocksdb_cache_t *cache)
{
	rocksdb_block_based_table_options_t *table = new_table();

	rocksdb_block_based_options_set_block_cache(table, cache);
	rocksdb_block_based_options_set_block_size(table, 4096);
	rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom(BLOOM_BITS_PER_KEY));
	rocksdb_block_based_options_set_whole_key_filtering(table, 1);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 0);
	return table;
}

/*
 * Big values under 8-byte keys. A block holds one value, because a value that is larger than the block size ends the block. The page cache
 * is their cache. The block cache is too small to keep a block; but RocksDB hands out a block that it registered there, and copies one
 * that it did not. Index entries share prefixes (restart interval 16), so they take a few bytes per chunk. They stay in memory while the
 * file is open.
 */
static rocksdb_block_based_table_options_t *chunk_table(rocksdb_cache_t *pins)
{
	rocksdb_block_based_table_options_t *table = new_table();

	rocksdb_block_based_options_set_block_cache(table, pins);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 0);
	rocksdb_block_based_options_set_block_size(table, KV_TABLE_BLOCK);
	rocksdb_block_based_options_set_index_block_restart_interval(table, 16);
	return table;
}

static rocksdb_options_t *family_options(int family, const struct kv_options *options, const struct kv_setup *setup)
{
	bool chunks = kv_holds_chunks((enum kv_family)family);
	bool packed = family == KV_CATALOG || family == KV_TREE || family == KV_CONTENT;
	rocksdb_options_t *opt = rocksdb_options_create();
	rocksdb_block_based_table_options_t *table = chunks               ? chunk_table(setup->pins)
	                                             : family == KV_DEDUP ? dedup_table(setup->cache)
	                                                                  : metadata_table(setup->cache);

	rocksdb_options_set_block_based_table_factory(opt, table);
	rocksdb_block_based_options_destroy(table);
	rocksdb_options_set_compression(opt, packed ? rocksdb_lz4_compression : rocksdb_no_compression);
	rocksdb_options_set_level_compaction_dynamic_level_bytes(opt, 1);
	/* One family may fill half of the common budget before it is flushed. The limit of the database does the rest. */
	rocksdb_options_set_write_buffer_size(opt, MAX(options->memtable_bytes / 2, MIB));
	rocksdb_options_set_max_write_buffer_number(opt, 4);
	rocksdb_options_set_target_file_size_base(opt, 64 * MIB);
	rocksdb_options_set_disable_auto_compactions(opt, damage_stops(damage_marked(options->damage_mark), (enum kv_family)family));
	return opt;
}

/* Each file of the database takes a descriptor for as long as it is open. -1: no limit of RocksDB's own. */
static int descriptors(void)
{
	const uint64_t limit = descriptors_raise();

	return limit >= DESCRIPTORS_PLENTY ? -1 : (int)MAX(limit / 2, (uint64_t)DESCRIPTORS_FEW);
}

/*
 * What the log may take. Rarely written families must not keep old logs alive, which an opening after a crash replays. And on a small disk
 * it stays well below what is kept free for deletions (lib/tree/content/space.c), so that room which it takes is never missed.
 */
static uint64_t log_limit(const char *path, uint64_t memtable_bytes)
{
	struct statvfs disk;
	uint64_t limit = MAX(2 * memtable_bytes, LOG_MIN);

	if (statvfs(path, &disk) == 0)
		limit = MIN(limit, MAX((uint64_t)disk.f_blocks * disk.f_frsize / LOG_SHARE, LOG_FLOOR));
	return limit;
}

/* What RocksDB allocates for a log at once. */
static uint64_t log_part(uint64_t memtable_bytes, uint64_t limit)
{
	const uint64_t buffer = MAX(memtable_bytes / 2, MIB);

	return MIN(MIN(buffer + buffer / 10, MAX(memtable_bytes, MIB)), limit);
}

static rocksdb_options_t *database_options(const struct kv_options *options, uint64_t log_limit)
{
	rocksdb_options_t *opt = rocksdb_options_create();

	rocksdb_options_set_create_if_missing(opt, options->create);
	rocksdb_options_set_create_missing_column_families(opt, options->create);
	rocksdb_options_set_error_if_exists(opt, options->create);
	rocksdb_options_set_db_write_buffer_size(opt, options->memtable_bytes);
	rocksdb_options_set_max_background_jobs(opt, (int)MAX(options->threads, 2U));
	/* All files are opened, and so found to be there and complete, before the store is used. */
	rocksdb_options_set_max_open_files(opt, descriptors());
	rocksdb_options_set_max_total_wal_size(opt, log_limit);
	rocksdb_options_set_wal_recovery_mode(opt, rocksdb_point_in_time_recovery);
	rocksdb_options_set_manual_wal_flush(opt, 0);
	/* Writing out early keeps a later fsync short. */
	rocksdb_options_set_bytes_per_sync(opt, MIB);
	rocksdb_options_set_wal_bytes_per_sync(opt, MIB);
	/* The thread that drops the last reference to a file may be answering a request, so files are deleted in the background. */
	rocksdb_options_set_avoid_unnecessary_blocking_io(opt, 1);
	rocksdb_options_set_stats_dump_period_sec(opt, 0);
	rocksdb_options_set_stats_persist_period_sec(opt, 0);
	return opt;
}

/* C has no other way to say it. Where RocksDB does not know the option, it does not look either. */
static rocksdb_options_t *with_any_tables(rocksdb_options_t *options)
{
	rocksdb_options_t *changed = rocksdb_options_create();
	char *message = NULL;

	rocksdb_get_options_from_string(options, "verify_sst_unique_id_in_manifest=false", changed, &message);
	if (message) {
		rocksdb_free(message);
		rocksdb_options_destroy(changed);
		return options;
	}
	rocksdb_options_destroy(options);
	return changed;
}

void kv_setup_init(struct kv_setup *setup, const struct kv_options *options, const char *path)
{
	setup->cache = rocksdb_cache_create_lru(MAX(options->cache_bytes, MIB));
	setup->pins = rocksdb_cache_create_lru(PINS);
	setup->memtable_bytes = options->memtable_bytes;
	setup->log_limit = log_limit(path, options->memtable_bytes);
	setup->log_part = log_part(options->memtable_bytes, setup->log_limit);
	setup->db = database_options(options, setup->log_limit);
	if (options->any_tables)
		setup->db = with_any_tables(setup->db);
	for (int i = 0; i < KV_HANDLE_COUNT; i++)
		setup->families[i] = family_options(i, options, setup);
}

void kv_setup_accept_tables(struct kv_setup *setup)
{
	rocksdb_options_set_paranoid_checks(setup->db, 0);
	rocksdb_options_set_skip_checking_sst_file_sizes_on_db_open(setup->db, 1);
}

void kv_setup_clear(struct kv_setup *setup)
{
	for (int i = 0; i < KV_HANDLE_COUNT; i++)
		rocksdb_options_destroy(setup->families[i]);
	rocksdb_options_destroy(setup->db);
	rocksdb_cache_destroy(setup->cache);
	rocksdb_cache_destroy(setup->pins);
}
