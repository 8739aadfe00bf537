/* For the tests of the store's lock: a directory, and records in it that other processes might have left. */
#ifndef CORPUSFS_TESTS_LOCK_PLACE_H
#define CORPUSFS_TESTS_LOCK_PLACE_H

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/base/file.h"
#include "lib/store/lock_record.h"
#include "lib/store/store_dir.h"

#define FREE "owner.free"

struct place {
	char path[64];
	struct store_dir dir;
	int lock_fd;               /* for lock_record_of_us, not locked */
	struct lock_record record; /* of this process, with a word that nobody has */
};

static inline void place_make(struct place *place)
{
	struct error err = {0};

	snprintf(place->path, sizeof(place->path), "/tmp/corpusfs-test-XXXXXX");
	assert_non_null(mkdtemp(place->path));
	assert_int_equal(store_dir_open(place->path, &place->dir, &err), 0);
	assert_int_equal(mkdirat(place->dir.fd, "db", 0700), 0);
	place->lock_fd = file_open_inside(place->dir.fd, "lock", O_RDWR | O_CREAT, 0600);
	assert_int_equal(lock_record_of_us(place->lock_fd, &place->record), 0);
}

static inline void place_clear(struct place *place)
{
	pid_t pid;

	close(place->lock_fd);
	store_dir_close(&place->dir);
	pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", place->path, (char *)NULL);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

static inline bool has(struct place *place, const char *name)
{
	struct stat st;

	return fstatat(place->dir.fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Leaves a record as another process would, under its word. Returns it open. */
static inline int write_foreign(struct place *place, const struct lock_record *record)
{
	AUTO_FREE char *name = xasprintf("owner.%s", record->word);
	int fd = lock_record_open(place->dir.fd, name, O_RDWR | O_CREAT, true);

	assert_true(fd >= 0);
	assert_int_equal(lock_record_write(fd, record), 0);
	assert_int_equal(lock_record_write_beat(fd, 5), 0);
	return fd;
}

/* A record of a process of this kernel that came to the directory by another way than ours. */
static inline struct lock_record by_another_way(const struct place *place)
{
	struct lock_record record = place->record;

	record.device++;
	return record;
}

static inline struct lock_record of_another_host(const struct place *place)
{
	struct lock_record record = by_another_way(place);

	snprintf(record.host, sizeof(record.host), "elsewhere");
	snprintf(record.machine, sizeof(record.machine), "0123456789abcdef0123456789abcdef");
	snprintf(record.boot, sizeof(record.boot), "00000000-1111-2222-3333-444444444444");
	return record;
}

#endif
