/* A key-value store in a directory of its own, for the tests of lib/kv; cmocka.h comes before this header. */
#ifndef CORPUSFS_TEST_KV_STORE_H
#define CORPUSFS_TEST_KV_STORE_H

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/kv/kv.h"

static inline struct kv *open_kv(const char *path, bool create)
{
	struct kv_options options = {.create = create, .cache_bytes = 8 << 20, .memtable_bytes = 8 << 20, .threads = 2};
	struct error err = {0};
	struct kv *kv = NULL;

	if (kv_open(path, &options, &kv, &err) < 0)
		fail_msg("%s", err.text);
	return kv;
}

static inline int open_result(const char *path, bool create)
{
	struct kv_options options = {.create = create, .cache_bytes = 1 << 20, .memtable_bytes = 1 << 20, .threads = 1};
	struct error err = {0};
	struct kv *kv = NULL;
	int result = kv_open(path, &options, &kv, &err);

	assert_true((result == 0) == (err.text[0] == '\0'));
	assert_int_equal(result, err.code);
	kv_close(kv);
	return result;
}

/* Each test gets a directory with an empty subdirectory "db", and takes it away with all that RocksDB left. */
static inline int set_up(void **state)
{
	char *dir = xstrdup("/tmp/corpusfs-kv.XXXXXX");
	AUTO_FREE char *db = mkdtemp(dir) ? xasprintf("%s/db", dir) : NULL;

	*state = dir;
	return mkdir(db, 0700);
}

static inline int tear_down(void **state)
{
	AUTO_FREE char *dir = *state;
	AUTO_FREE char *db = xasprintf("%s/db", dir);

	if (file_empty_dir(db) < 0 || rmdir(db) < 0 || file_empty_dir(dir) < 0)
		return -1;
	return rmdir(dir);
}

static inline char *db_path(void **state)
{
	return xasprintf("%s/db", (const char *)*state);
}

static inline void put(struct kv *kv, enum kv_family family, const char *key, const char *value, unsigned flags)
{
	struct kv_batch *batch = kv_batch_new();

	kv_batch_put(batch, family, key, strlen(key), value, strlen(value));
	assert_int_equal(kv_write(kv, batch, flags), 0);
	kv_batch_free(batch);
}

static inline void expect(struct kv *kv, enum kv_family family, const char *key, const char *value)
{
	AUTO_BUF buf = BUF_INIT;

	buf_addf(&buf, "untouched");
	int result = kv_get(kv, family, key, strlen(key), &buf);
	assert_int_equal(kv_has(kv, family, key, strlen(key)), result);
	if (!value) {
		assert_int_equal(result, -ENOENT);
		assert_int_equal(buf.len, 9);
		return;
	}
	assert_int_equal(result, 0);
	assert_int_equal(buf.len, strlen(value));
	assert_memory_equal(buf.data, value, buf.len);
}

/* The path of the first file in the directory that ends in .sst. */
static inline char *find_sst(const char *path)
{
	DIR *dir = opendir(path);
	char *found = NULL;

	assert_non_null(dir);
	for (struct dirent *entry; !found && (entry = readdir(dir));)
		if (strstr(entry->d_name, ".sst"))
			found = xasprintf("%s/%s", path, entry->d_name);
	closedir(dir);
	return found;
}

#define KV_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
