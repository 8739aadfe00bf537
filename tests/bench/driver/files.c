/* Reads what is there. */
#include "tests/bench/driver/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER (1 << 20)
#define PAGE 4096

struct job {
	struct list list;
	float *waits; /* seconds for each file or read; shared by the processes */
	uint64_t count, seed;
	const int *fds;
	const uint64_t *sizes;
};

static uint64_t read_file(const char *path, char *buffer)
{
	struct stat st;
	uint64_t bytes = 0;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		fail("open", path);
	while ((n = read(fd, buffer, BUFFER)) > 0)
		bytes += (uint64_t)n;
	if (n < 0)
		fail("read", path);
	errno = 0;
	if (bytes != (uint64_t)st.st_size)
		fail("was read short", path);
	close(fd);
	return bytes;
}

static uint64_t read_slot(unsigned slot, unsigned of, void *argument)
{
	const struct job *job = argument;
	char *buffer = malloc(BUFFER);
	uint64_t bytes = 0;

	for (size_t i = slot; buffer && i < job->list.count; i += of) {
		const double start = now();

		bytes += read_file(job->list.paths[i], buffer);
		job->waits[i] = (float)(now() - start);
	}
	free(buffer);
	return bytes;
}

static int by_length(const void *a, const void *b)
{
	const float left = *(const float *)a, right = *(const float *)b;

	return left < right ? -1 : left > right;
}

/* Runs `slot` in so many processes, and prints how long all of it and each of `count` took. */
static void run_waits(struct job *job, size_t count, const char *processes, uint64_t (*slot)(unsigned, unsigned, void *))
{
	uint64_t bytes;
	double seconds;

	job->waits = mmap(NULL, count * sizeof(*job->waits), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (job->waits == MAP_FAILED)
		fail("no memory", "results");
	seconds = in_processes((unsigned)number(processes), slot, job, &bytes);
	qsort(job->waits, count, sizeof(*job->waits), by_length);
	printf("{\"seconds\": %.6f, \"ops\": %zu, \"bytes\": %llu, \"p50\": %.1f, \"p99\": %.1f}\n", seconds, count, (unsigned long long)bytes,
	       1e6 * (double)job->waits[count / 2], 1e6 * (double)job->waits[count * 99 / 100]);
}

/* The list's order, or a random one; COUNT 0: all of it. */
static void read_files(char **arguments)
{
	struct job job = { 0 };
	const size_t most = number(arguments[4]);

	list_load(&job.list, arguments[0], arguments[1], number(arguments[2]));
	if (most && most < job.list.count)
		job.list.count = most;
	run_waits(&job, job.list.count, arguments[3], read_slot);
}

static uint64_t pread_slot(unsigned slot, unsigned of, void *argument)
{
	const struct job *job = argument;
	struct random r = { job->seed + slot };
	char buffer[PAGE];
	uint64_t bytes = 0;

	for (uint64_t i = slot; i < job->count; i += of) {
		size_t file = random_next(&r) % job->list.count;
		uint64_t offset = random_next(&r) % (job->sizes[file] / PAGE) * PAGE;
		const double start = now();

		if (pread(job->fds[file], buffer, PAGE, (off_t)offset) != PAGE)
			fail("read", job->list.paths[file]);
		job->waits[i] = (float)(now() - start);
		bytes += PAGE;
	}
	return bytes;
}

static void pread_files(char **arguments)
{
	struct job job = { .count = number(arguments[2]), .seed = number(arguments[3]) };

	list_load(&job.list, arguments[0], arguments[1], 0);
	int *fds = calloc(job.list.count, sizeof(*fds));
	uint64_t *sizes = calloc(job.list.count, sizeof(*sizes));

	for (size_t i = 0; fds && sizes && i < job.list.count; i++) {
		struct stat st;

		fds[i] = open(job.list.paths[i], O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0 || fstat(fds[i], &st) < 0)
			fail("open", job.list.paths[i]);
		sizes[i] = (uint64_t)st.st_size;
	}
	job.fds = fds;
	job.sizes = sizes;
	run_waits(&job, job.count, arguments[4], pread_slot);
	free(fds);
	free(sizes);
}

static uint64_t stat_slot(unsigned slot, unsigned of, void *argument)
{
	const struct job *job = argument;
	struct stat st;

	for (size_t i = slot; i < job->list.count; i += of)
		if (lstat(job->list.paths[i], &st) < 0)
			fail("stat", job->list.paths[i]);
	return 0;
}

static void stat_files(char **arguments)
{
	struct job job = { 0 };
	uint64_t bytes;
	double seconds;

	list_load(&job.list, arguments[0], arguments[1], number(arguments[2]));
	seconds = in_processes((unsigned)number(arguments[3]), stat_slot, &job, &bytes);
	print_result(seconds, job.list.count, 0);
}

/* Keeps so much memory from everybody else until standard input ends. */
static void lock_memory(char **arguments)
{
	const size_t bytes = number(arguments[0]) << 20;
	char byte;
	void *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED || mlock(area, bytes) < 0)
		fail("cannot lock memory", arguments[0]);
	printf("locked\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

const struct command file_commands[] = {
	{ "lock", "MIB", 1, lock_memory },
	{ "read", "ROOT LIST SEED PROCESSES COUNT", 5, read_files },
	{ "pread", "ROOT LIST COUNT SEED PROCESSES", 5, pread_files },
	{ "stat", "ROOT LIST SEED PROCESSES", 4, stat_files },
	{ 0 },
};
