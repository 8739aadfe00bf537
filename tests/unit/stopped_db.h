/* A database that a merge of RocksDB's stops, since a table is damaged, for the tests of lib/kv; cmocka.h comes before this header. */
#ifndef CORPUSFS_TEST_STOPPED_DB_H
#define CORPUSFS_TEST_STOPPED_DB_H

#include "tests/unit/damaged_db.h"

#define KEYS 200
#define VALUE_LEN 2000

static inline void key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "key-%05u", number);
}

static inline void value_of(unsigned round, unsigned number, uint8_t value[VALUE_LEN])
{
	uint64_t state = (uint64_t)round * KEYS + number + 1;

	for (size_t i = 0; i < VALUE_LEN; i++) {
		state = state * 6364136223846793005ULL + 1442695040888963407ULL;
		value[i] = (uint8_t)(state >> 56);
	}
}

static inline int put_value(struct kv *kv, unsigned round, unsigned number, unsigned flags)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t value[VALUE_LEN];
	char key[16];

	key_of(number, key);
	value_of(round, number, value);
	kv_batch_put(batch, KV_TREE, key, strlen(key), value, VALUE_LEN);
	int result = kv_write(kv, batch, flags);
	kv_batch_free(batch);
	return result;
}

static inline int put_round(struct kv *kv, unsigned round)
{
	int result = 0;

	for (unsigned i = 0; i < KEYS && result == 0; i++)
		result = put_value(kv, round, i, 0);
	return result == 0 ? kv_flush(kv) : result;
}

/* A database with three tables of all keys, the oldest of which is damaged in its middle; RocksDB merges four. */
static inline struct kv *open_damaged(const char *path, const char *mark)
{
	const struct kv_options options = {.create = true, .damage_mark = mark, .cache_bytes = 1 << 20, .memtable_bytes = 8 << 20, .threads = 2};
	struct error err = {0};
	struct kv *kv;

	assert_int_equal(kv_open(path, &options, &kv, &err), 0);
	assert_int_equal(put_round(kv, 0), 0);
	AUTO_FREE char *table = find_sst(path);
	assert_int_equal(put_round(kv, 1), 0);
	assert_int_equal(put_round(kv, 2), 0);
	const char *name = strrchr(table, '/') + 1;
	flip(path, name, length_of(path, name) / 2, 3);
	return kv;
}

/* Of those with that ending the oldest, or the newest. */
static inline char *find_file(const char *path, const char *ending, bool newest)
{
	DIR *dir = opendir(path);
	char *found = NULL;

	for (struct dirent *entry; (entry = readdir(dir));) {
		const char *dot = strrchr(entry->d_name, '.');
		if (!dot || strcmp(dot, ending) != 0 || (found && (strcmp(entry->d_name, found) > 0) != newest))
			continue;
		free(found);
		found = xstrdup(entry->d_name);
	}
	closedir(dir);
	assert_non_null(found);
	return found;
}

static inline void move(const char *db, const char *from, const char *to)
{
	AUTO_FREE char *one = xasprintf("%s/%s", db, from), *other = xasprintf("%s/%s", db, to);

	assert_int_equal(rename(one, other), 0);
}

/* It is stopped by what does not say so: the next change is refused. */
static inline void stop_by_damage(struct kv *kv)
{
	const struct kv_key_range all = {(const uint8_t *)"a", (const uint8_t *)"z", 1, 1};

	(void)!kv_write_anew(kv, KV_TREE, &all);
}

#endif
