#include "fs/daemon/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fs/daemon/control/message.h"
#include "lib/base/descriptors.h"

#define OOM_SCORE "-500"
#define READY_FD 3
/* Tables of the database, directories of transfers, callers at the socket; with fewer it would start and then answer nobody. */
#define DESCRIPTORS_MIN 256

static void leave_callers_descriptors(int ready_fd)
{
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	if (ready_fd != READY_FD)
		dup3(ready_fd, READY_FD, O_CLOEXEC);
}

static void __attribute__((noreturn)) be_daemon(int (*run)(void *arg, int ready_fd), void *arg, int ready_fd)
{
	setsid();
	/* A session's leader could get a terminal again by opening one; its child cannot. */
	pid_t pid = fork();
	if (pid != 0)
		_exit(pid < 0);
	leave_callers_descriptors(ready_fd);
	close_range(READY_FD + 1, ~0U, 0);
	if (chdir("/") < 0)
		_exit(1);
	exit(run(arg, READY_FD));
}

static int wait_ready(int fd, json_t **ret_result, struct error *err)
{
	struct message_reader reader = {.fd = fd, .limit = MESSAGE_REQUEST_MAX};
	json_t *message = NULL;
	int result = message_receive(&reader, &message);

	message_reader_clear(&reader);
	if (result <= 0) {
		error_set(err, -EIO, "the daemon ended while it was starting");
		error_hint(err, "see the file \"log\" in the store's directory");
		return -EIO;
	}
	if (json_object_get(message, "error"))
		result = message_to_error(message, err);
	else
		*ret_result = json_incref(json_object_get(message, "result"));
	json_decref(message);
	return result < 0 ? result : 0;
}

int process_spawn(int (*run)(void *arg, int ready_fd), void *arg, json_t **ret_result, struct error *err)
{
	int pipe_fds[2], result;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set(err, -errno, "no pipe could be made: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		be_daemon(run, arg, pipe_fds[1]);
	result = pid < 0 ? error_set(err, -errno, "no process could be started: %s", strerror(errno)) : 0;
	close(pipe_fds[1]);
	if (pid > 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		result = wait_ready(pipe_fds[0], ret_result, err);
	}
	close(pipe_fds[0]);
	return result;
}

int process_tune(struct error *err)
{
	const uint64_t descriptors = descriptors_raise();
	struct rlimit no_core = {0, 0};
	AUTO_CLOSE int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	prctl(PR_SET_NAME, DAEMON_PROCESS_NAME);
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	umask(022);
	/* Not permitted to everybody; then the daemon is a process like others. */
	if (fd >= 0)
		(void)!write(fd, OOM_SCORE, strlen(OOM_SCORE));
	if (descriptors >= DESCRIPTORS_MIN)
		return 0;
	error_set(err, -EMFILE, "a mount needs to have %d files open, and only %llu are allowed here", DESCRIPTORS_MIN,
		  (unsigned long long)descriptors);
	error_hint(err, "raise the hard limit: ulimit -Hn, or nofile in /etc/security/limits.conf");
	return -EMFILE;
}
