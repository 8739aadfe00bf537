/* For the tests of lib/repository and lib/backup: a repository in a directory of its own. */
#ifndef CORPUSFS_TESTS_REPOSITORY_PLACE_H
#define CORPUSFS_TESTS_REPOSITORY_PLACE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/repository/repository.h"

struct repository_place {
	char path[64];
	struct repository *repository;
};

static __attribute__((unused)) struct objects *place_objects(const struct repository_place *place)
{
	int fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return objects_dir_open(fd);
}

static __attribute__((unused)) void repository_place_make(struct repository_place *place)
{
	struct error err = {0};

	snprintf(place->path, sizeof(place->path), "/tmp/corpusfs-test-XXXXXX");
	assert_non_null(mkdtemp(place->path));
	assert_int_equal(repository_init(place_objects(place), "password", &place->repository, &err), 0);
}

static __attribute__((unused)) void repository_place_clear(struct repository_place *place)
{
	pid_t pid;

	repository_close(place->repository);
	pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", place->path, (char *)NULL);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

/* How many files there are in a folder. */
static __attribute__((unused)) size_t place_count(const struct repository_place *place, const char *folder, char ret_last[600])
{
	char path[128];
	struct dirent *entry;
	size_t count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%s", place->path, folder);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && ++count)
			snprintf(ret_last, 600, "%s/%s", path, entry->d_name);
	closedir(dir);
	return count;
}

#endif
