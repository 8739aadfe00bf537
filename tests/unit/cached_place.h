/* For the tests of the cache on disk: one in a directory of its own, and blobs for it. */
#ifndef CORPUSFS_TESTS_CACHED_PLACE_H
#define CORPUSFS_TESTS_CACHED_PLACE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/browse/cache_dir.h"
#include "lib/browse/disk_cache.h"

#define LIMIT DISK_CACHE_MIN
#define LEN_MAX 60000U

struct fixture {
	char path[64];
	struct cache_dir dir;
	struct disk_cache *cache;
	atomic_int problems;
};

static __attribute__((unused)) void note(void *arg, const char *text)
{
	(void)text;
	atomic_fetch_add(&((struct fixture *)arg)->problems, 1);
}

static __attribute__((unused)) void open_cache(struct fixture *fixture)
{
	struct error err = {0};

	assert_int_equal(cache_dir_open(fixture->path, &fixture->dir, &err), 0);
	fixture->cache = disk_cache_new(&(struct disk_cache_options){.dir = fixture->dir.dir, .limit = LIMIT, .problem = note, .arg = fixture});
	disk_cache_load(fixture->cache);
}

static __attribute__((unused)) void close_cache(struct fixture *fixture)
{
	disk_cache_free(fixture->cache);
	cache_dir_close(&fixture->dir);
}

static __attribute__((unused)) void reopen(struct fixture *fixture)
{
	close_cache(fixture);
	open_cache(fixture);
}

static __attribute__((unused)) int set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));

	snprintf(fixture->path, sizeof(fixture->path), "/tmp/corpusfs-test-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	open_cache(fixture);
	*state = fixture;
	return 0;
}

static __attribute__((unused)) int tear_down(void **state)
{
	struct fixture *fixture = *state;
	pid_t pid;

	close_cache(fixture);
	pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", fixture->path, (char *)NULL);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
	free(fixture);
	return 0;
}

/* --- blobs --- */

struct content {
	struct blob_id id;
	uint8_t bytes[LEN_MAX];
	size_t len;
};

static __attribute__((unused)) void make(struct content *content, uint32_t number)
{
	uint32_t state = number * 2654435761U + 1;

	content->len = number % 7 == 0 ? number % 3 : state % LEN_MAX;
	for (size_t i = 0; i < content->len; i++) {
		state = state * 1664525U + 1013904223U;
		content->bytes[i] = (uint8_t)(state >> 24);
	}
	if (content->len >= sizeof(number))
		memcpy(content->bytes, &number, sizeof(number));
	content->id = blob_id_of(content->bytes, content->len);
}

static __attribute__((unused)) void put(struct fixture *fixture, uint32_t number)
{
	struct content content;

	make(&content, number);
	disk_cache_put(fixture->cache, &content.id, false, content.bytes, content.len);
}

/* Whether it is there; then it is right. */
static __attribute__((unused)) bool is_there(struct fixture *fixture, uint32_t number)
{
	struct content content;
	AUTO_BUF plain = BUF_INIT;
	int r;

	make(&content, number);
	r = disk_cache_get(fixture->cache, &content.id, false, &plain);
	if (r < 0) {
		assert_int_equal(r, -ENOENT);
		return false;
	}
	assert_int_equal(plain.len, content.len);
	assert_memory_equal(plain.data, content.bytes, content.len);
	return true;
}

static __attribute__((unused)) uint32_t count_there(struct fixture *fixture, uint32_t from, uint32_t to)
{
	uint32_t count = 0;

	for (uint32_t i = from; i < to; i++)
		count += is_there(fixture, i);
	return count;
}

/* Gives the files of segments; how much they are together. */
static __attribute__((unused)) uint64_t each_file(const struct fixture *fixture, void (*each)(const char *path, uint64_t size, unsigned number))
{
	DIR *dir = opendir(fixture->path);
	struct dirent *entry;
	uint64_t total = 0;
	unsigned number = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[400];
		struct stat st;

		if (strspn(entry->d_name, "0123456789abcdef") != 8 || strlen(entry->d_name) != 8)
			continue;
		snprintf(path, sizeof(path), "%s/%s", fixture->path, entry->d_name);
		assert_int_equal(lstat(path, &st), 0);
		total += (uint64_t)st.st_size;
		if (each)
			each(path, (uint64_t)st.st_size, number++);
	}
	closedir(dir);
	return total;
}

#endif
