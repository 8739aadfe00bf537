#include "fs/fuse/session/write_back.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/fuse/session/system.h"
#include "lib/base/buf.h"

#define ASK_FD 3 /* the child's only one beside the standard ones, until it opens the root */

struct write_back {
	pid_t pid;
	int fd; /* a byte asks, an errno answers */
};

/* After a fork among threads: only system calls and the stack. */
static void __attribute__((noreturn)) serve(int ask_fd, const char *mountpoint)
{
	int answer, root;
	char ask;

	prctl(PR_SET_NAME, "corpusfs-sync");
	if (ask_fd != ASK_FD && dup2(ask_fd, ASK_FD) < 0)
		_exit(1);
	close_range(ASK_FD + 1, ~0U, 0);
	root = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	answer = root < 0 ? errno : 0;
	while (send(ASK_FD, &answer, sizeof(answer), MSG_NOSIGNAL) == sizeof(answer) && recv(ASK_FD, &ask, 1, 0) == 1)
		answer = syncfs(root) < 0 ? errno : 0;
	_exit(0);
}

static int take_answer(const struct write_back *write_back)
{
	ssize_t got;
	int answer;

	do {
		got = recv(write_back->fd, &answer, sizeof(answer), 0);
	} while (got < 0 && errno == EINTR);
	return got == sizeof(answer) ? -answer : -EIO;
}

struct write_back *write_back_begin(const char *mountpoint, unsigned connection)
{
	struct write_back *write_back;
	struct system_mount there;
	int fds[2];

	if (!connection || system_find_mount(mountpoint, &there) || there.minor != connection || strncmp(there.type, "fuse", 4) != 0)
		return NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return NULL;
	write_back = xcalloc(1, sizeof(*write_back));
	write_back->fd = fds[0];
	write_back->pid = fork();
	if (write_back->pid == 0)
		serve(fds[1], mountpoint);
	close(fds[1]);
	if (write_back->pid > 0 && take_answer(write_back) == 0)
		return write_back;
	write_back_end(write_back);
	return NULL;
}

int write_back_run(struct write_back *write_back)
{
	if (send(write_back->fd, "", 1, MSG_NOSIGNAL) != 1)
		return -errno;
	return take_answer(write_back);
}

void write_back_end(struct write_back *write_back)
{
	if (!write_back)
		return;
	close(write_back->fd);
	while (write_back->pid > 0 && waitpid(write_back->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(write_back);
}
