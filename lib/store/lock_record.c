#include "lib/store/lock_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/process_mark.h"

#define BLOCK 4096
#define COPY_TRIES 3
#define ID_MAX 256
#define XFS_MAGIC 0x58465342
#define ZFS_MAGIC 0x2fc12fc1
#define BCACHEFS_MAGIC 0xca451a4e

/* --- of this process --- */

/* Filesystems of one host, whose page cache is one for all who use them there. Of all others, caches are not to be believed. */
static bool is_local(int fd)
{
	static const long known[] = {EXT4_SUPER_MAGIC, XFS_MAGIC,  BTRFS_SUPER_MAGIC, TMPFS_MAGIC,    F2FS_SUPER_MAGIC,
	                             ZFS_MAGIC,        RAMFS_MAGIC, OVERLAYFS_SUPER_MAGIC, BCACHEFS_MAGIC};
	struct statfs fs;

	for (size_t i = 0; fstatfs(fd, &fs) == 0 && i < ARRAY_SIZE(known); i++)
		if (fs.f_type == known[i])
			return true;
	return false;
}

/* The first line of a file, "" if it cannot be read. */
static void read_line(const char *path, char *out, size_t size)
{
	AUTO_BUF text = BUF_INIT;

	out[0] = '\0';
	if (file_read(path, ID_MAX, &text) < 0)
		return;
	buf_add_u8(&text, 0);
	const char *line = (const char *)text.data;
	snprintf(out, size, "%.*s", (int)strcspn(line, "\n "), line);
}

static void make_word(char word[LOCK_WORD_LEN + 1])
{
	uint64_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		abort();
	snprintf(word, LOCK_WORD_LEN + 1, "%016" PRIx64, number);
}

int lock_record_of_us(int lock_fd, struct lock_record *ret_record)
{
	struct lock_record us = {.pid = getpid()};
	struct utsname name;
	struct stat st;
	char state;

	if (fstat(lock_fd, &st) < 0)
		return -errno;
	us.device = st.st_dev;
	us.inode = st.st_ino;
	us.local = is_local(lock_fd);
	us.pid_namespace = procfs_pid_namespace();
	snprintf(us.host, sizeof(us.host), "%s", uname(&name) == 0 ? name.nodename : "");
	snprintf(us.command, sizeof(us.command), "%s", program_invocation_short_name);
	read_line("/etc/machine-id", us.machine, sizeof(us.machine));
	procfs_boot(us.boot);
	if (!procfs_stat(us.pid, &state, &us.started))
		us.started = 0;
	make_word(us.word);
	*ret_record = us;
	return 0;
}

/* --- the file --- */

int lock_record_open(int dir, const char *name, int flags, bool local)
{
	int fd = local ? -EINVAL : file_open_inside(dir, name, flags | O_DIRECT, 0644);

	/* Not every filesystem can do without its cache. */
	return fd == -EINVAL ? file_open_inside(dir, name, flags, 0644) : fd;
}

static int write_block(int fd, off_t at, const char *text)
{
	_Alignas(BLOCK) char block[BLOCK] = "";
	ssize_t put;

	snprintf(block, sizeof(block), "%s", text);
	do
		put = pwrite(fd, block, sizeof(block), at);
	while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : put == sizeof(block) ? 0 : -ENOSPC;
}

static int read_block(int fd, off_t at, char block[BLOCK])
{
	size_t have = 0;

	/* A short read is not the end of the file: taken for one, it would say that the store is somebody else's. */
	while (have < BLOCK) {
		const ssize_t got = pread(fd, block + have, BLOCK - have, at + (off_t)have);

		if (got == 0)
			return -EBADMSG;
		if (got < 0 && errno != EINTR)
			return -errno;
		have += got > 0 ? (size_t)got : 0;
	}
	block[BLOCK - 1] = '\0';
	return 0;
}

int lock_record_write(int fd, const struct lock_record *record)
{
	AUTO_FREE char *text = xasprintf(
		"word %s\nhost %s\nmachine %s\nboot %s\npid-namespace %" PRIu64 "\npid %d\nstarted %" PRIu64 "\nfile %u:%u %" PRIu64
		"\nlocal %d\ncommand %s\nend %s\n",
		record->word, record->host, record->machine, record->boot, record->pid_namespace, (int)record->pid, record->started,
		major(record->device), minor(record->device), record->inode, record->local, record->command, record->word);

	return write_block(fd, 0, text);
}

int lock_record_write_beat(int fd, uint64_t beat)
{
	AUTO_FREE char *text = xasprintf("beat %" PRIu64 "\n", beat);

	return write_block(fd, BLOCK, text);
}

int lock_record_save(int fd, char *ret_bytes)
{
	_Alignas(BLOCK) char block[BLOCK];
	int result = 0;

	_Static_assert(LOCK_RECORD_LEN == 2 * BLOCK, "two blocks");
	for (size_t at = 0; at < LOCK_RECORD_LEN && result == 0; at += BLOCK) {
		result = read_block(fd, (off_t)at, block);
		if (result == 0)
			memcpy(ret_bytes + at, block, BLOCK);
	}
	return result;
}

int lock_record_restore(int fd, const char *bytes)
{
	int result = write_block(fd, 0, bytes);

	return result < 0 ? result : write_block(fd, BLOCK, bytes + BLOCK);
}

/* Takes the line "KEY VALUE" off the text. */
static bool take(char **text, const char *key, char *out, size_t size)
{
	size_t len = strlen(key), end = strcspn(*text, "\n");

	if (strncmp(*text, key, len) != 0 || (*text)[len] != ' ' || (*text)[end] != '\n' || end - len - 1 >= size)
		return false;
	snprintf(out, size, "%.*s", (int)(end - len - 1), *text + len + 1);
	*text += end + 1;
	return true;
}

static bool take_number(char **text, const char *key, uint64_t *ret_number)
{
	char value[24], *end;

	if (!take(text, key, value, sizeof(value)) || value[0] < '0' || value[0] > '9')
		return false;
	errno = 0;
	*ret_number = strtoull(value, &end, 10);
	return errno == 0 && *end == '\0';
}

static bool decode(char *text, struct lock_record *record)
{
	char end[LOCK_WORD_LEN + 1], file[64];
	unsigned device_major, device_minor;
	uint64_t pid, local;
	bool whole = take(&text, "word", record->word, sizeof(record->word)) && take(&text, "host", record->host, sizeof(record->host)) &&
	             take(&text, "machine", record->machine, sizeof(record->machine)) &&
	             take(&text, "boot", record->boot, sizeof(record->boot)) && take_number(&text, "pid-namespace", &record->pid_namespace) &&
	             take_number(&text, "pid", &pid) && take_number(&text, "started", &record->started) &&
	             take(&text, "file", file, sizeof(file)) && take_number(&text, "local", &local) &&
	             take(&text, "command", record->command, sizeof(record->command)) && take(&text, "end", end, sizeof(end));

	if (!whole || strlen(end) != LOCK_WORD_LEN || strcmp(end, record->word) != 0 || pid == 0 || pid > INT32_MAX ||
	    sscanf(file, "%u:%u %" SCNu64, &device_major, &device_minor, &record->inode) != 3)
		return false;
	record->device = makedev(device_major, device_minor);
	record->pid = (pid_t)pid;
	record->local = local != 0;
	return true;
}

int lock_record_read(int dir, const char *name, bool local, struct lock_record *ret_record, uint64_t *ret_beat)
{
	AUTO_CLOSE int fd = lock_record_open(dir, name, O_RDONLY, local);
	_Alignas(BLOCK) char block[BLOCK];
	struct lock_record record = {0};

	if (fd < 0)
		return fd;
	int result = read_block(fd, 0, block);
	if (result == 0 && !decode(block, &record))
		result = -EBADMSG;
	if (result == 0)
		result = read_block(fd, BLOCK, block);
	if (result == 0 && sscanf(block, "beat %" SCNu64, ret_beat) != 1)
		result = -EBADMSG;
	if (result == 0)
		*ret_record = record;
	return result;
}

int lock_record_check(int fd, int dir, const char *name, const struct lock_record *record)
{
	_Alignas(BLOCK) char block[BLOCK];
	AUTO_CLOSE int fresh = record->local ? -1 : lock_record_open(dir, name, O_RDONLY, false);
	char *text = block, word[LOCK_WORD_LEN + 1];

	if (!record->local && fresh < 0)
		return fresh == -ENOENT ? -ESTALE : fresh;
	int result = read_block(record->local ? fd : fresh, 0, block);
	if (result < 0)
		return result == -EBADMSG ? -ESTALE : result;
	return take(&text, "word", word, sizeof(word)) && strcmp(word, record->word) == 0 ? 0 : -ESTALE;
}

/* --- all of a directory --- */

static bool is_record_name(const char *name)
{
	const char *word = name + strlen(LOCK_RECORD_PREFIX);

	return strcmp(name, LOCK_RECORD_FREE) == 0 || (strncmp(name, LOCK_RECORD_PREFIX, strlen(LOCK_RECORD_PREFIX)) == 0 &&
	                                        strlen(word) == LOCK_WORD_LEN && strspn(word, "0123456789abcdef") == LOCK_WORD_LEN);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct lock_record_name *)a)->text, ((const struct lock_record_name *)b)->text);
}

int lock_records_list(int dir, struct lock_records *ret_names)
{
	DIR *entries = file_entries(dir);
	struct lock_records names = {0};
	int result = entries ? 0 : -errno, more;
	const char *name;

	while (result == 0 && (more = file_next_entry(entries, &name)) != 0) {
		if (more < 0)
			result = more;
		else if (is_record_name(name))
			snprintf(array_new(&names)->text, LOCK_RECORD_NAME_MAX, "%.*s", LOCK_RECORD_NAME_MAX - 1, name);
	}
	if (entries)
		closedir(entries);
	if (names.count > 0)
		qsort(names.items, names.count, sizeof(*names.items), by_text);
	*ret_names = names;
	return result;
}

/* --- the writer --- */

static enum lock_writer process_state(const struct lock_record *record)
{
	switch (process_look(record->pid, record->started)) {
	case PROCESS_GONE: return LOCK_WRITER_DEAD;
	case PROCESS_STOPPED: return LOCK_WRITER_STOPPED;
	default: return LOCK_WRITER_RUNS; /* where other users' processes are hidden, that there is one must be enough */
	}
}

enum lock_writer lock_record_writer(const struct lock_record *record, const struct lock_record *us)
{
	const bool same_boot = us->boot[0] && strcmp(record->boot, us->boot) == 0;

	/* It locked the same file in the same kernel: its lock would have kept us out. */
	if (same_boot && record->device == us->device && record->inode == us->inode)
		return LOCK_WRITER_DEAD;
	if (same_boot && us->pid_namespace && record->pid_namespace == us->pid_namespace)
		return process_state(record);
	/* This machine has started anew since, and nobody but it can reach the disk. */
	if (!same_boot && us->boot[0] && us->machine[0] && strcmp(record->machine, us->machine) == 0 && strcmp(record->host, us->host) == 0 &&
	    record->local && us->local)
		return LOCK_WRITER_DEAD;
	return LOCK_WRITER_UNKNOWN;
}

/* The writer's own open file of that name, opened anew. */
static int open_writer_s(pid_t pid, const char *name)
{
	AUTO_FREE char *place = xasprintf("/proc/%d/fd", (int)pid);
	DIR *entries = opendir(place);
	int fd = -ENOENT;

	if (!entries)
		return -errno;
	for (struct dirent *entry = readdir(entries); entry && fd == -ENOENT; entry = readdir(entries)) {
		char target[PATH_MAX];
		ssize_t len = readlinkat(dirfd(entries), entry->d_name, target, sizeof(target) - 1);
		target[MAX(len, 0)] = '\0';
		const char *slash = strrchr(target, '/');
		if (!slash || strcmp(slash + 1, name) != 0)
			continue;
		fd = openat(dirfd(entries), entry->d_name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		fd = fd < 0 ? -errno : fd;
	}
	closedir(entries);
	return fd;
}

static int has_beat(int fd, uint64_t beat)
{
	_Alignas(BLOCK) char block[BLOCK];
	uint64_t seen;
	int result = read_block(fd, BLOCK, block);

	return result < 0 ? result : sscanf(block, "beat %" SCNu64, &seen) == 1 && seen == beat;
}

int lock_record_is_copy(int dir, const char *name, bool local, const struct lock_record *record)
{
	uint64_t mark;
	int result = 0;

	/* The writer's own beat may come in between, or another who asks, but not each time. */
	for (int i = 0; i < COPY_TRIES && result == 0; i++) {
		AUTO_CLOSE int here = lock_record_open(dir, name, O_RDWR, local);
		if (here < 0 || getrandom(&mark, sizeof(mark), 0) != sizeof(mark))
			return here < 0 ? here : -EIO;
		result = lock_record_write_beat(here, mark);
		AUTO_CLOSE int there = result == 0 ? open_writer_s(record->pid, name) : -1;
		if (result == 0)
			result = there < 0 ? there : has_beat(there, mark);
		if (result == 1)
			return 0;
		/* Elsewhere, if it still stands here. Else the writer, or somebody else who asks, has written over it. */
		if (result == 0)
			result = has_beat(here, mark);
		if (result == 1)
			return 1;
	}
	return result < 0 ? result : -EAGAIN;
}
