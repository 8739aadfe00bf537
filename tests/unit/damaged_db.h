/* Damage to the files of a database, on a copy of it, for the tests of lib/kv; cmocka.h comes before this header. */
#ifndef CORPUSFS_TEST_DAMAGED_DB_H
#define CORPUSFS_TEST_DAMAGED_DB_H

#include <fcntl.h>

#include "tests/unit/kv_store.h"

/* A copy of the database, for one try. */
static inline char *copy_db(void **state)
{
	AUTO_FREE char *from = xasprintf("%s/db", (const char *)*state);
	char *to = xasprintf("%s/copy", (const char *)*state);
	DIR *dir = opendir(from);

	if (mkdir(to, 0700) < 0)
		assert_int_equal(file_empty_dir(to), 0);
	for (struct dirent *entry; (entry = readdir(dir));) {
		AUTO_FREE char *file = xasprintf("%s/%s", from, entry->d_name), *copy = xasprintf("%s/%s", to, entry->d_name);
		AUTO_BUF content = BUF_INIT;
		if (entry->d_type != DT_REG)
			continue;
		assert_int_equal(file_read(file, 64 << 20, &content), 0);
		int fd = open(copy, O_WRONLY | O_CREAT | O_EXCL, 0600);
		assert_int_equal(file_write_all(fd, content.data, content.len), 0);
		close(fd);
	}
	closedir(dir);
	return to;
}

static inline int open_file(const char *db, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s", db, name);
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	return fd;
}

static inline uint64_t length_of(const char *db, const char *name)
{
	AUTO_CLOSE int fd = open_file(db, name);

	return (uint64_t)lseek(fd, 0, SEEK_END);
}

static inline void cut(const char *db, const char *name, uint64_t bytes)
{
	AUTO_CLOSE int fd = open_file(db, name);

	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
}

static inline void overwrite(const char *db, const char *name, uint64_t from, uint64_t len, uint8_t byte)
{
	AUTO_CLOSE int fd = open_file(db, name);

	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)(from + i)), 1);
}

static inline void flip(const char *db, const char *name, uint64_t at, unsigned bit)
{
	AUTO_CLOSE int fd = open_file(db, name);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= (uint8_t)(1U << bit);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
}

static inline int take_down(void **state)
{
	AUTO_FREE char *copy = xasprintf("%s/copy", (const char *)*state);

	if (file_empty_dir(copy) == 0)
		rmdir(copy);
	return tear_down(state);
}

#endif
