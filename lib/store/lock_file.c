#include "lib/store/lock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/procfs.h"

#define TEXT_MAX 128
/* The file has no text for a moment: an owner comes or goes, or lock_file_owner() looks. */
#define RETRIES 50
#define RETRY_US 10000

/* Who is written in the file; the command's name goes to `command`. */
static pid_t read_owner(int fd, char command[TEXT_MAX])
{
	char text[TEXT_MAX];
	ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
	long pid = 0;

	command[0] = '\0';
	if (got <= 0)
		return 0;
	text[got] = '\0';
	text[strcspn(text, "\n")] = '\0';
	char *end;
	errno = 0;
	pid = strtol(text, &end, 10);
	if (errno || pid <= 0)
		return 0;
	snprintf(command, TEXT_MAX, "%s", *end == ' ' ? end + 1 : end);
	return (pid_t)pid;
}

/*
 * By the kernel: who has taken the lock of the file. The text is missing for a moment, or where the disk was full when it was to be written. Who
 * took it may have gone, and left it to others; then it is not known.
 */
static pid_t find_holder(int fd, char command[TEXT_MAX])
{
	FILE *locks = fopen("/proc/locks", "re");
	char line[TEXT_MAX], name[PROCFS_TEXT_MAX];
	struct stat st;
	long holder = 0;

	if (!locks)
		return 0;
	while (!holder && fstat(fd, &st) == 0 && fgets(line, sizeof(line), locks)) {
		unsigned long long ino;
		unsigned major_number, minor_number;
		long pid;

		if (sscanf(line, "%*d: FLOCK %*s %*s %ld %x:%x:%llu", &pid, &major_number, &minor_number, &ino) == 4 && pid > 0 &&
		    ino == st.st_ino && makedev(major_number, minor_number) == st.st_dev)
			holder = pid;
	}
	fclose(locks);
	if (!holder || (kill((pid_t)holder, 0) < 0 && errno == ESRCH))
		return 0;
	procfs_name((pid_t)holder, name);
	snprintf(command, TEXT_MAX, "%s", name);
	return (pid_t)holder;
}

void lock_file_write_owner(int fd)
{
	char text[TEXT_MAX];
	int len = snprintf(text, sizeof(text), "%ld %s\n", (long)getpid(), program_invocation_short_name);

	len = MIN(len, TEXT_MAX - 1);
	/*
	 * It may be lacking: a full disk must not keep the store shut. So it is written over what the last owner left, in the room that this has; and
	 * if there was none, the file gets a length, as an empty one would say that all was written. A part of a text would be another's number.
	 */
	if ((pwrite(fd, text, (size_t)len, 0) != len || ftruncate(fd, len) < 0) && ftruncate(fd, 0) == 0)
		(void)!ftruncate(fd, 1);
}

static int in_use(const char *store, pid_t pid, const char *command, struct error *err)
{
	error_set(err, -EBUSY, "the store %s is in use by process %ld (%s)", store, (long)pid, command);
	error_hint(err, "unmount it or end that process first");
	return -EBUSY;
}

int lock_file_take(const struct store_dir *dir, int *ret_fd, struct error *err)
{
	const char *store_path = dir->path;
	char command[TEXT_MAX];
	int fd = file_open_inside(dir->fd, LOCK_NAME, O_RDWR | O_CREAT, 0600);
	pid_t owner = 0;

	if (fd == -EUCLEAN)
		return error_set(err, -EBADMSG, "%s/" LOCK_NAME " is not a regular file", store_path);
	if (fd < 0)
		return error_set(err, fd, "cannot lock the store %s: %s", store_path, error_text(fd));
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		int result = errno == EWOULDBLOCK ? -EBUSY : -errno;
		if (result == -EINTR)
			continue;
		owner = read_owner(fd, command);
		if (owner && kill(owner, 0) < 0 && errno == ESRCH)
			owner = 0;
		if (result == -EBUSY && owner == 0 && i < RETRIES) {
			clock_pause_us(RETRY_US);
			continue;
		}
		if (result == -EBUSY && !owner)
			owner = find_holder(fd, command);
		if (result == -EBUSY && owner)
			in_use(store_path, owner, command, err);
		else
			error_set(err, result, "cannot lock the store %s: %s", store_path, error_text(result));
		close(fd);
		return result;
	}
	*ret_fd = fd;
	return 0;
}

/* Who looks whether there is an owner shares it for a moment (lock_file_owner). */
static int lock_patiently(int fd, int how)
{
	int result = flock(fd, how | LOCK_NB) < 0 ? -errno : 0;

	for (int i = 0; result == -EWOULDBLOCK && i < RETRIES; i++) {
		clock_pause_us(RETRY_US);
		result = flock(fd, how | LOCK_NB) < 0 ? -errno : 0;
	}
	return result;
}

/* The lock belongs to what is open, not to who has it open. Another store may lie at its path by now. */
int lock_file_again(const struct store_dir *dir, int kept_fd, int how, int *ret_fd, struct error *err)
{
	int fd, result;

	if (!lock_file_is_of(kept_fd, dir->fd))
		return error_set(err, -ESTALE, "%s is not the store that was open before: it was moved, or its file " LOCK_NAME " was removed",
		                 dir->path);
	fd = fcntl(kept_fd, F_DUPFD_CLOEXEC, 3);
	result = fd < 0 ? -errno : lock_patiently(fd, how);
	if (result < 0) {
		if (fd >= 0)
			close(fd);
		return error_set(err, result == -EWOULDBLOCK ? -EBUSY : result, "cannot lock the store %s: %s", dir->path, error_text(result));
	}
	*ret_fd = fd;
	return 0;
}

int lock_file_share(const struct store_dir *dir, int kept_fd, int *ret_fd, struct error *err)
{
	const char *store_path = dir->path;

	if (kept_fd >= 0)
		return lock_file_again(dir, kept_fd, LOCK_SH, ret_fd, err);
	/* If that may be: who goes on with it may write the store, and NFS locks what is written only for who may write the file. */
	int fd = file_open_inside(dir->fd, LOCK_NAME, O_RDWR, 0);
	if (fd < 0)
		fd = file_open_inside(dir->fd, LOCK_NAME, O_RDONLY, 0);
	if (fd < 0 && fd != -ENOENT && fd != -EACCES)
		return error_set(err, fd, "cannot lock the store %s: %s", store_path, error_text(fd));
	if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0) {
		char command[TEXT_MAX];
		int result = errno == EWOULDBLOCK ? -EBUSY : -errno;
		pid_t owner = read_owner(fd, command);

		if (!owner)
			owner = find_holder(fd, command);
		close(fd);
		return result == -EBUSY && owner ? in_use(dir->path, owner, command, err)
		                                 : error_set(err, result, "cannot lock the store %s: %s", dir->path, error_text(result));
	}
	*ret_fd = fd >= 0 ? fd : -1;
	return 0;
}

void lock_file_unshare(int fd, bool opened)
{
	if (fd >= 0 && opened)
		flock(fd, LOCK_UN);
	if (fd >= 0)
		close(fd);
}

/* If the owner's text stays it misleads nobody: the kernel says whether there is a lock. It is written over, since the disk may be full. */
static void write_result(int fd, int result)
{
	char text[TEXT_MAX];
	int len = snprintf(text, sizeof(text), "0 %d\n", -result);

	if (pwrite(fd, text, (size_t)len, 0) == len)
		(void)!ftruncate(fd, len);
	else if (result == 0)
		(void)!ftruncate(fd, 0);
}

int lock_file_result(int dir_fd)
{
	AUTO_CLOSE int fd = file_open_inside(dir_fd, LOCK_NAME, O_RDONLY, 0);
	char text[TEXT_MAX];
	ssize_t got = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
	int number;

	if (got == 0)
		return 0;
	text[MAX(got, 0)] = '\0';
	return got > 0 && sscanf(text, "0 %d\n", &number) == 1 && number >= 0 ? -number : -ENOTCONN;
}

void lock_file_release(int fd, bool written, int result)
{
	if (fd >= 0 && written)
		write_result(fd, result);
	/* Others may have the same lock open, to keep it for us; now nobody has the store. */
	if (fd >= 0 && written)
		flock(fd, LOCK_UN);
	if (fd >= 0)
		close(fd);
}

bool lock_file_is_of(int fd, int dir_fd)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && fstatat(dir_fd, LOCK_NAME, &there, AT_SYMLINK_NOFOLLOW) == 0 && ours.st_dev == there.st_dev &&
	       ours.st_ino == there.st_ino;
}

char *lock_file_place(int fd)
{
	AUTO_FREE char *link = xasprintf("/proc/self/fd/%d", fd);
	char path[PATH_MAX];
	const ssize_t len = readlink(link, path, sizeof(path));
	char *end;

	if (len <= 0 || len == sizeof(path))
		return NULL;
	path[len] = '\0';
	end = strrchr(path, '/');
	if (!end || end == path)
		return NULL;
	*end = '\0';
	/* The file may have been removed, or its filesystem detached. */
	AUTO_CLOSE int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return dir >= 0 && lock_file_is_of(fd, dir) ? xstrdup(path) : NULL;
}

pid_t lock_file_owner(int dir_fd)
{
	AUTO_CLOSE int fd = file_open_inside(dir_fd, LOCK_NAME, O_RDONLY, 0);
	char command[TEXT_MAX];

	if (fd < 0)
		return 0;
	/* This takes a shared lock for a moment. lock_file_take() finds no owner's text then, and waits. */
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		return 0;
	pid_t owner = read_owner(fd, command);
	return owner ? owner : -1;
}
