/*
 * A witness: works on a directory at random, keeps a ledger of what it did and what was acknowledged, and says after a crash whether the
 * directory is what it may be.
 *
 *   witness write DIRECTORY LEDGER SEED OPERATIONS     until the operations are done or the filesystem goes away; exit 0. Exit 1: the
 *                                                      filesystem answered something wrong.
 *   witness check DIRECTORY LEDGER [ACKNOWLEDGED BEGUN]   exit 1, and what is wrong: see check.c. The two: bytes of the ledger.
 *   witness accepted DIRECTORY LEDGER [...]            the same, and what write(2) accepted must be there, too, synced or not
 *
 * The directory is a dataset's root, whose snapshots it takes, destroys and rolls back to ($CORPUSFS_BIN -s $CORPUSFS_STORE).
 */
#include "tests/crash/witness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PIECE (512U << 10) /* one request to the daemon, wherever it begins */

extern char **environ;

/* A write that is ended by a signal that kills may be there in part, so the witness is asked to end by one that does not. */
static volatile sig_atomic_t asked_to_end;

static void ask_to_end(int number)
{
	asked_to_end = 1;
}

struct writer {
	const char *directory; /* "." */
	const char *dataset;
	int ledger;
	uint64_t random;
	uint32_t next_snapshot;
	struct model model;
	struct buf data;
};

static uint64_t next_random(struct writer *writer)
{
	writer->random ^= writer->random << 13;
	writer->random ^= writer->random >> 7;
	writer->random ^= writer->random << 17;
	return writer->random;
}

static void note(const struct writer *writer, const struct record *record, const struct buf *content)
{
	if (write(writer->ledger, record, sizeof(*record)) != sizeof(*record) ||
	    (content && write(writer->ledger, content->data, content->len) != (ssize_t)content->len)) {
		perror("witness: ledger");
		exit(2);
	}
}

static int open_file(const struct writer *writer, uint32_t file, const char *suffix, int flags)
{
	AUTO_FREE char *path = xasprintf("%s/f%u%s", writer->directory, file, suffix);
	int fd = open(path, flags | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : fd;
}

int witness_read(const char *directory, int64_t snapshot, uint32_t file, struct buf *ret_content)
{
	AUTO_FREE char *path = snapshot < 0 ? xasprintf("%s/f%u", directory, file)
					    : xasprintf("%s/.snapshots/s%lld/f%u", directory, (long long)snapshot, file);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	buf_reset(ret_content);
	buf_reserve(ret_content, (size_t)st.st_size + 1);
	for (;;) {
		buf_reserve(ret_content, PIECE);
		ssize_t got = read(fd, ret_content->data + ret_content->len, PIECE);
		if (got < 0)
			return -errno;
		if (got == 0)
			return 0;
		ret_content->len += (size_t)got;
	}
}

/* --- operations; each returns 0 or a negative errno --- */

static int put(struct writer *writer, const struct record *record, const char *suffix, int flags)
{
	AUTO_CLOSE int fd = open_file(writer, record->file, suffix, O_WRONLY | O_CREAT | flags);

	if (fd < 0)
		return fd;
	buf_reset(&writer->data);
	buf_reserve(&writer->data, record->length);
	content_make(record->seed, writer->data.data, record->length);
	ssize_t done = pwrite(fd, writer->data.data, record->length, (off_t)record->offset);
	if (done >= 0 && (size_t)done != record->length) {
		fprintf(stderr, "witness: a write of %llu bytes wrote %zd\n", (unsigned long long)record->length, done);
		return -EMSGSIZE;
	}
	return done < 0 ? -errno : 0;
}

static int replace(struct writer *writer, const struct record *record)
{
	AUTO_FREE char *from = xasprintf("%s/f%u.new", writer->directory, record->file);
	AUTO_FREE char *to = xasprintf("%s/f%u", writer->directory, record->file);
	int result = put(writer, record, ".new", O_TRUNC);

	return result == 0 && rename(from, to) < 0 ? -errno : result;
}

static int change(const struct writer *writer, const struct record *record)
{
	AUTO_FREE char *path = xasprintf("%s/f%u", writer->directory, record->file);
	AUTO_FREE char *other = xasprintf("%s/f%u", writer->directory, record->other);
	int result;

	if (record->operation == UNLINK)
		result = unlink(path);
	else if (record->operation == RENAME)
		result = rename(path, other);
	else
		result = truncate(path, (off_t)record->length);
	return result < 0 ? -errno : 0;
}

static int punch(const struct writer *writer, const struct record *record)
{
	AUTO_CLOSE int fd = open_file(writer, record->file, "", O_WRONLY);

	if (fd < 0)
		return fd;
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	return fallocate(fd, mode, (off_t)record->offset, (off_t)record->length) < 0 ? -errno : 0;
}

static int sync_it(const struct writer *writer, const struct record *record)
{
	AUTO_CLOSE int fd = record->operation == SYNC_FILE ? open_file(writer, record->file, "", O_RDONLY)
							   : open(writer->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? (fd == -1 ? -errno : fd) : fsync(fd) < 0 ? -errno : 0;
}

static int roll_back(const struct writer *writer, const struct record *record)
{
	char *program = getenv("CORPUSFS_BIN"), *store = getenv("CORPUSFS_STORE");
	AUTO_FREE char *name = xasprintf("%s@s%u", writer->dataset, record->snapshot);
	char dash[] = "-s", verb[] = "rollback", guard[] = "--no-guard";
	char *arguments[] = {program, dash, store, verb, guard, name, NULL};
	posix_spawn_file_actions_t quietly;
	pid_t child;
	int status;

	posix_spawn_file_actions_init(&quietly);
	posix_spawn_file_actions_addopen(&quietly, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	int result = posix_spawn(&child, program, &quietly, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&quietly);
	if (result != 0 || waitpid(child, &status, 0) != child)
		return -ECHILD;
	return status == 0 ? 0 : -ENOTCONN; /* done or not: whoever checks takes both */
}

static int with_snapshot(const struct writer *writer, const struct record *record)
{
	AUTO_FREE char *path = xasprintf("%s/.snapshots/s%u", writer->directory, record->snapshot);
	int result = record->operation == SNAPSHOT ? mkdir(path, 0777) : rmdir(path);

	return result < 0 ? -errno : 0;
}

static int perform(struct writer *writer, const struct record *record)
{
	switch (record->operation) {
	case WRITE: return put(writer, record, "", 0);
	case REPLACE: return replace(writer, record);
	case PUNCH: return punch(writer, record);
	case SYNC_FILE:
	case SYNC_DIRECTORY: return sync_it(writer, record);
	case SNAPSHOT:
	case DESTROY: return with_snapshot(writer, record);
	case ROLLBACK: return roll_back(writer, record);
	default: return change(writer, record);
	}
}

/* --- which one is next --- */

static const struct {
	enum operation operation;
	unsigned weight;
} weights[] = {
	{WRITE, 44}, {TRUNCATE, 6}, {PUNCH, 5}, {REPLACE, 9}, {UNLINK, 3}, {RENAME, 5}, {SYNC_FILE, 16}, {SYNC_DIRECTORY, 3},
	{SNAPSHOT, 4}, {DESTROY, 3}, {ROLLBACK, 1},
};

static struct snapshot *some_snapshot(struct writer *writer, size_t *ret_count)
{
	struct snapshot *found = NULL;

	*ret_count = 0;
	for (size_t i = 0; i < writer->model.snapshots.count; i++) {
		struct snapshot *snapshot = &writer->model.snapshots.items[i];
		if (snapshot->must_be && next_random(writer) % ++*ret_count == 0)
			found = snapshot;
	}
	return found;
}

/* False: there is nothing to do it with. */
static bool choose(struct writer *writer, struct record *record)
{
	unsigned chance = (unsigned)(next_random(writer) % 99), at = 0;
	size_t snapshots;
	const struct snapshot *snapshot = some_snapshot(writer, &snapshots);

	while (chance >= weights[at].weight)
		chance -= weights[at++].weight;
	*record = (struct record){.operation = weights[at].operation, .file = (uint32_t)(next_random(writer) % FILES)};
	record->other = (record->file + 1 + (uint32_t)(next_random(writer) % (FILES - 1))) % FILES;
	record->seed = next_random(writer);
	const struct object *object = writer->model.names[record->file];
	uint64_t size = object ? object->content.len : 0, small = next_random(writer) % 8192, big = next_random(writer) % PIECE;
	record->length = 1 + (next_random(writer) % 4 ? small : big);
	/* Half of all writes go to the end. */
	record->offset = next_random(writer) % 2 ? size : next_random(writer) % (size + 8192);
	switch (record->operation) {
	case WRITE: return record->offset + record->length <= SIZE_MAX_OF_FILE;
	case REPLACE: record->offset = 0; return true;
	case TRUNCATE: record->length = next_random(writer) % (size + 8192); return object;
	case SYNC_DIRECTORY: return true;
	case SNAPSHOT: record->snapshot = writer->next_snapshot; return snapshots < SNAPSHOTS;
	case DESTROY:
	case ROLLBACK: record->snapshot = snapshot ? snapshot->number : 0; return snapshot;
	default: return object;
	}
}

/* --- failures: the filesystem is there, and did not do it, or did it and said it had not --- */

static bool has_gone(int result)
{
	return result == -ENOTCONN || result == -ECONNABORTED || result == -ENODEV || result == -ENXIO || result == -ESHUTDOWN;
}

static bool is_as(const struct writer *writer, uint32_t file, const struct buf *content)
{
	AUTO_BUF found = BUF_INIT;
	int result = witness_read(writer->directory, -1, file, &found);

	if (result < 0)
		return result == -ENOENT && !content;
	return content && content->len == found.len && memcmp(content->data, found.data, found.len) == 0;
}

/* A failed change of content was made or not made. Whoever does not get to know it, or failed at a name, ends: both may be. */
static int look_after_failure(struct writer *writer, struct record *record)
{
	AUTO_BUF before = BUF_INIT;
	struct object *object = writer->model.names[record->file];

	if (record->operation == SYNC_FILE || record->operation == SYNC_DIRECTORY)
		return 0;
	if (!object || (record->operation != WRITE && record->operation != TRUNCATE && record->operation != PUNCH))
		return -ENOTCONN;
	if (is_as(writer, record->file, &object->content))
		return 0;
	buf_add(&before, object->content.data, object->content.len);
	model_apply(&writer->model, record, NULL, NULL);
	record->applied = is_as(writer, record->file, &object->content);
	return record->applied ? 0 : -ENOTCONN;
}

/* 0; -ENOTCONN: the filesystem is gone, or nothing more can be known. */
static int step(struct writer *writer)
{
	struct record record;

	if (!choose(writer, &record))
		return 0;
	note(writer, &record, NULL);
	record.result = perform(writer, &record);
	if (record.result < 0)
		fprintf(stderr, "operation %u: %s\n", record.operation, strerror(-record.result));
	if (has_gone(record.result))
		return -ENOTCONN;
	record.ended = true;
	if (record.result < 0) {
		if (look_after_failure(writer, &record) < 0)
			return -ENOTCONN;
	} else {
		record.applied = true;
		model_apply(&writer->model, &record, NULL, NULL);
		writer->next_snapshot += record.operation == SNAPSHOT;
	}
	note(writer, &record, NULL);
	return 0;
}

/* Reading gives what was written, or an error. */
static int look(struct writer *writer)
{
	uint32_t file = (uint32_t)(next_random(writer) % FILES);
	const struct object *object = writer->model.names[file];
	AUTO_BUF found = BUF_INIT;
	int result = witness_read(writer->directory, -1, file, &found);

	if (result < 0 && (result != -ENOENT || !object))
		return 0;
	if (!object || result < 0 || found.len != object->content.len || memcmp(found.data, object->content.data, found.len) != 0) {
		fprintf(stderr, "witness: %s/f%u is not what was written (%s, %zu bytes)\n", writer->dataset, file, strerror(-result), found.len);
		return 1;
	}
	return 0;
}

/* --- the beginning: what is there already --- */

static int adopt_files(struct writer *writer, int64_t snapshot)
{
	AUTO_BUF content = BUF_INIT;

	for (uint32_t i = 0; i < FILES; i++) {
		int result = witness_read(writer->directory, snapshot, i, &content);
		if (result == -ENOENT)
			continue;
		if (result < 0)
			return result;
		struct record record = {.operation = ADOPT_FILE, .ended = true, .file = i, .length = content.len};
		struct object *object = xcalloc(1, sizeof(*object));
		buf_add(&object->content, content.data, content.len);
		object->next = writer->model.objects;
		writer->model.objects = writer->model.names[i] = object;
		note(writer, &record, &content);
		AUTO_CLOSE int fd = snapshot < 0 ? open_file(writer, i, "", O_RDONLY) : -1;
		if (snapshot < 0 && (fd < 0 || fsync(fd) < 0))
			return -errno;
	}
	return 0;
}

static int adopt_snapshot(struct writer *writer, uint32_t number)
{
	struct record record = {.operation = ADOPT_SNAPSHOT, .ended = true, .snapshot = number};
	int result = adopt_files(writer, number);

	note(writer, &record, NULL);
	model_apply(&writer->model, &record, NULL, NULL);
	writer->next_snapshot = MAX(writer->next_snapshot, number + 1);
	return result;
}

static int adopt(struct writer *writer)
{
	AUTO_FREE char *path = xasprintf("%s/.snapshots", writer->directory);
	DIR *snapshots = opendir(path);
	int result = snapshots ? 0 : -errno;

	for (struct dirent *entry = snapshots ? readdir(snapshots) : NULL; entry && result == 0; entry = readdir(snapshots)) {
		unsigned number;
		if (sscanf(entry->d_name, "s%u", &number) == 1)
			result = adopt_snapshot(writer, number);
	}
	if (snapshots)
		closedir(snapshots);
	if (result == 0)
		result = adopt_files(writer, -1);
	if (result == 0)
		note(writer, &(struct record){.operation = BEGIN, .ended = true}, NULL);
	return result;
}

int witness_write(const char *directory, const char *ledger, uint64_t seed, unsigned long operations)
{
	struct writer writer = {.directory = ".", .dataset = strrchr(directory, '/') + 1, .random = seed * 2654435761U | 1};
	sigset_t term;
	int result;

	sigaction(SIGTERM, &(struct sigaction){.sa_handler = ask_to_end, .sa_flags = SA_RESTART}, NULL);
	/* Who started it may have asked already. */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &term, NULL);
	writer.ledger = open(ledger, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	/* It stays in this mount: a path might lead elsewhere when that has gone. */
	if (chdir(directory) < 0)
		return 0;
	if (writer.ledger < 0) {
		perror(ledger);
		return 2;
	}
	for (unsigned i = 0; i < 10; i++)
		next_random(&writer);
	result = adopt(&writer);
	for (unsigned long i = 0; i < operations && result == 0 && !asked_to_end; i++)
		result = next_random(&writer) % 20 ? step(&writer) : look(&writer);
	model_clear(&writer.model);
	buf_clear(&writer.data);
	close(writer.ledger);
	return result > 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "write") == 0)
		return witness_write(argv[2], argv[3], strtoull(argv[4], NULL, 10), strtoul(argv[5], NULL, 10));
	bool accepted = argc > 1 && strcmp(argv[1], "accepted") == 0;
	if (argc == 4 && (accepted || strcmp(argv[1], "check") == 0))
		return witness_check(argv[2], argv[3], SIZE_MAX, SIZE_MAX, accepted);
	if (argc == 6 && (accepted || strcmp(argv[1], "check") == 0))
		return witness_check(argv[2], argv[3], strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10), accepted);
	fprintf(stderr, "usage: see the head of witness.c\n");
	return 2;
}
