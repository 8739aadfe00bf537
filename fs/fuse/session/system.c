#include "fs/fuse/session/system.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "lib/base/buf.h"
#include "lib/base/shell.h"

#define READ_AHEAD_KB 4096
#define KEPT_FD 3 /* a child's only one beside the standard ones */
#define SYSTEM_FSTYPE "fuse.corpusfs"

/* mountinfo writes blanks and backslashes as three octal digits. In place. */
static void unescape(char *text)
{
	char *out = text;

	while (*text) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' && text[2] <= '7' && text[3] >= '0' &&
		    text[3] <= '7') {
			*out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
			text += 4;
		} else {
			*out++ = *text++;
		}
	}
	*out = 0;
}

/* "36 35 98:0 /root /mountpoint options ... - type source superoptions" */
static bool parse_line(char *line, const char *mountpoint, struct system_mount *ret_mount)
{
	char *rest = NULL, *field = strtok_r(line, " ", &rest), *type;
	struct system_mount found = {0};

	for (int i = 0; field && i < 4; i++) {
		if (i == 2 && sscanf(field, "%u:%u", &found.major, &found.minor) != 2)
			return false;
		field = strtok_r(NULL, " ", &rest);
	}
	if (!field)
		return false;
	unescape(field);
	type = strstr(rest, "- ");
	if (strcmp(field, mountpoint) || !type)
		return false;
	snprintf(found.type, sizeof(found.type), "%.*s", (int)strcspn(type + 2, " "), type + 2);
	*ret_mount = found;
	return true;
}

int system_find_mount(const char *mountpoint, struct system_mount *ret_mount)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t cap = 0;
	int result = -ENOENT;

	if (!file)
		return -errno;
	while (getline(&line, &cap, file) > 0) {
		if (parse_line(line, mountpoint, ret_mount))
			result = 0;
	}
	free(line);
	fclose(file);
	return result;
}

bool system_device_mounted(unsigned minor)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	unsigned one_major, one_minor;
	char *line = NULL;
	size_t cap = 0;
	bool found = false;

	while (file && getline(&line, &cap, file) > 0)
		found |= sscanf(line, "%*u %*u %u:%u", &one_major, &one_minor) == 2 && one_major == 0 && one_minor == minor;
	free(line);
	if (file)
		fclose(file);
	return found;
}

/* Between fork and exec or exit: only async-signal-safe calls, and no descriptor of the daemon stays open. */
static void child(const char *mountpoint, bool lazy)
{
	const char *const argv[] = {"fusermount3", lazy ? "-uzq" : "-uq", "--", mountpoint, NULL};

	close_range(3, ~0U, 0);
	if (!umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)))
		_exit(0);
	if (errno != EPERM)
		_exit(errno);
	execvp(argv[0], (char *const *)argv);
	_exit(errno);
}

/* What the child exits with is an errno. */
static int wait_child(pid_t pid)
{
	int status;

	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

int system_umount(const char *mountpoint, bool lazy)
{
	pid_t pid = fork();
	int result;

	if (pid == 0)
		child(mountpoint, lazy);
	result = wait_child(pid);
	/* fusermount3 says 1 for every failure, which is EPERM's number; nearly always it is busy */
	return result == -EPERM ? -EBUSY : result;
}

int system_bind(const char *source, const char *mountpoint)
{
	pid_t pid = fork();

	if (pid == 0) {
		close_range(3, ~0U, 0);
		_exit(mount(source, mountpoint, NULL, MS_BIND, NULL) ? errno : 0);
	}
	return wait_child(pid);
}

/* In a child: the mount is made where nobody sees it, and the directory taken from there. */
static int show_below(const struct system_again *what, const char *options)
{
	AUTO_CLOSE int home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *directory = xasprintf("%s/%s", what->mountpoint, what->below);
	AUTO_CLOSE int tree = -1;

	if (home < 0 || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount(what->source, what->mountpoint, SYSTEM_FSTYPE, what->flags, options))
		return errno;
	tree = open_tree(AT_FDCWD, directory, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0 || setns(home, CLONE_NEWNS) || move_mount(tree, "", AT_FDCWD, what->mountpoint, MOVE_MOUNT_F_EMPTY_PATH))
		return errno;
	return 0;
}

int system_mount_again(const struct system_again *what)
{
	AUTO_FREE char *options = xasprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", KEPT_FD);
	pid_t pid = fork();

	if (pid == 0) {
		if (what->fd != KEPT_FD && dup2(what->fd, KEPT_FD) < 0)
			_exit(errno);
		close_range(KEPT_FD + 1, ~0U, 0);
		if (what->below[0])
			_exit(show_below(what, options));
		_exit(mount(what->source, what->mountpoint, SYSTEM_FSTYPE, what->flags, options) ? errno : 0);
	}
	return wait_child(pid);
}

static int write_setting(const struct system_mount *mount, const char *name, const char *value)
{
	AUTO_FREE char *path = xasprintf("/sys/class/bdi/%u:%u/%s", mount->major, mount->minor, name);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

unsigned system_tune(const struct system_mount *mount)
{
	AUTO_FREE char *value = xasprintf("%u", READ_AHEAD_KB), *path = NULL;
	unsigned now = 0;
	FILE *file;
	int failed;

	failed = write_setting(mount, "strict_limit", "0");
	failed |= write_setting(mount, "max_ratio", "60");
	failed |= write_setting(mount, "read_ahead_kb", value);
	if (!failed)
		return READ_AHEAD_KB;
	path = xasprintf("/sys/class/bdi/%u:%u/read_ahead_kb", mount->major, mount->minor);
	file = fopen(path, "re");
	if (file && fscanf(file, "%u", &now) != 1)
		now = 0;
	if (file)
		fclose(file);
	return now;
}

int system_mount_failed(const char *mountpoint, const char *mount_options, struct error *err)
{
	int code;

	if (access("/dev/fuse", F_OK)) {
		code = error_set(err, -ENODEV, "/dev/fuse is missing");
		error_hint(err, "load the module with `modprobe fuse`, or give the container the device");
	} else if (geteuid() == 0) {
		code = error_set(err, -EPERM, "cannot mount on %s: the kernel refused (the line above says why)",
		                 mountpoint);
	} else {
		AUTO_FREE char *user = xasprintf("%u", (unsigned)geteuid());
		code = error_set(err, -EACCES, "cannot mount on %s as user %u: fusermount3 refused", mountpoint, (unsigned)geteuid());
		if (access(mountpoint, W_OK))
			error_hint_shell(err, "the directory must be that user's: chown %s %s", user, mountpoint);
		else if (strstr(mount_options, ",allow_other"))
			error_hint(err, "allow_other needs a line user_allow_other in /etc/fuse.conf, which root writes");
	}
	return code;
}
