/* Walks, makes, renames and removes names. */
#include "tests/bench/driver/driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH 4096
#define DEEPEST 64

static uint64_t walk_directory(int parent, const char *name, int depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct stat st;
	uint64_t count = 0;

	if (!directory || depth > DEEPEST)
		fail("open", name);
	while ((entry = readdir(directory))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			fail("stat", entry->d_name);
		count++;
		if (S_ISDIR(st.st_mode))
			count += walk_directory(fd, entry->d_name, depth + 1);
	}
	closedir(directory);
	return count;
}

static void walk(char **arguments)
{
	double start = now();
	uint64_t count = walk_directory(AT_FDCWD, arguments[0], 0);

	print_result(now() - start, count, 0);
}

static void path_of(char path[PATH], const char *directory, const char *prefix, uint64_t i)
{
	snprintf(path, PATH, "%s/%s%06llu", directory, prefix, (unsigned long long)i);
}

static void create_files(char **arguments)
{
	uint64_t count = number(arguments[1]);
	char path[PATH];
	double start = now();

	for (uint64_t i = 0; i < count; i++) {
		path_of(path, arguments[0], "a", i);
		int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

		if (fd < 0 || close(fd) < 0)
			fail("create", path);
	}
	print_result(now() - start, count, 0);
}

static void rename_files(char **arguments)
{
	uint64_t count = number(arguments[1]);
	char from[PATH], to[PATH];
	double start = now();

	for (uint64_t i = 0; i < count; i++) {
		path_of(from, arguments[0], "a", i);
		path_of(to, arguments[0], "b", i);
		if (rename(from, to) < 0)
			fail("rename", from);
	}
	print_result(now() - start, count, 0);
}

static void unlink_files(char **arguments)
{
	uint64_t count = number(arguments[1]);
	char path[PATH];
	double start = now();

	for (uint64_t i = 0; i < count; i++) {
		path_of(path, arguments[0], "b", i);
		if (unlink(path) < 0)
			fail("unlink", path);
	}
	print_result(now() - start, count, 0);
}

/* How long each call took. */
static void time_each(char **arguments, int (*call)(const char *path))
{
	uint64_t count = number(arguments[2]);
	char path[PATH];

	printf("{\"seconds\": [");
	for (uint64_t i = 0; i < count; i++) {
		path_of(path, arguments[0], arguments[1], i);
		double start = now();

		if (call(path) < 0)
			fail("mkdir or rmdir", path);
		printf("%s%.6f", i ? ", " : "", now() - start);
	}
	printf("]}\n");
}

static int call_mkdir(const char *path)
{
	return mkdir(path, 0777);
}

static void make_directories(char **arguments)
{
	time_each(arguments, call_mkdir);
}

static void remove_directories(char **arguments)
{
	time_each(arguments, rmdir);
}

static void append(char **arguments)
{
	uint64_t step = number(arguments[2]), count = 0;
	struct list list;
	double start = now();

	list_load(&list, arguments[0], arguments[1], 0);
	for (size_t i = 0; step && i < list.count; i += step, count++) {
		int fd = open(list.paths[i], O_WRONLY | O_APPEND | O_CLOEXEC);

		if (fd < 0)
			fail("open", list.paths[i]);
		write_all(fd, "changed\n", 8, list.paths[i]);
		close(fd);
	}
	print_result(now() - start, count, 8 * count);
}

const struct command name_commands[] = {
	{ "walk", "DIRECTORY", 1, walk },
	{ "create", "DIRECTORY COUNT", 2, create_files },
	{ "rename", "DIRECTORY COUNT", 2, rename_files },
	{ "unlink", "DIRECTORY COUNT", 2, unlink_files },
	{ "mkdirs", "DIRECTORY PREFIX COUNT", 3, make_directories },
	{ "rmdirs", "DIRECTORY PREFIX COUNT", 3, remove_directories },
	{ "append", "ROOT LIST STEP", 3, append },
	{ 0 },
};
