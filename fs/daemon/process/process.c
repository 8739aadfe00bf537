#include "fs/daemon/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fs/daemon/control/message.h"
#include "lib/base/descriptors.h"

#define OOM_SCORE "-500"
#define READY_FD 3
/* Tables of the database, directories of transfers, callers at the socket; with fewer it would start and then answer nobody. */
#define DESCRIPTORS_MIN 256
/* Stacks of threads, heaps, what is mapped. RocksDB ends the process in which it cannot have them, or cannot start its threads. */
#define ADDRESSES_MIN_GIB 4U
#define THREADS_MIN 48U

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

/* Whoever writes to a mount has a limit of his own for his files; the daemon's would be for those of the store. A write beyond it fails. */
static void raise_file_size(void)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	if (getrlimit(RLIMIT_FSIZE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)!setrlimit(RLIMIT_FSIZE, &limit);
}

static void __attribute__((noreturn)) be_daemon(int (*run)(void *arg, int ready_fd), void *arg, unsigned kept_from, int ready_fd)
{
	setsid();
	/* A session's leader could get a terminal again by opening one; its child cannot. */
	pid_t pid = fork();
	if (pid != 0)
		_exit(pid < 0);
	leave_callers_descriptors(ready_fd);
	close_range(READY_FD + 1, kept_from - 1, 0); /* to the last where none is kept */
	if (chdir("/") < 0)
		_exit(1);
	raise_file_size();
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

int process_spawn(int (*run)(void *arg, int ready_fd), void *arg, unsigned kept_from, json_t **ret_result, struct error *err)
{
	int pipe_fds[2], result;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set(err, -errno, "no pipe could be made: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		be_daemon(run, arg, kept_from, pipe_fds[1]);
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

static int check_addresses(struct error *err)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur >= (rlim_t)ADDRESSES_MIN_GIB << 30)
		return 0;
	error_set(err, -ENOMEM, "a mount needs %u GiB of addresses, and only %llu MiB are allowed here", ADDRESSES_MIN_GIB,
		  (unsigned long long)limit.rlim_cur >> 20);
	error_hint(err, "raise the limit: ulimit -v, or as in /etc/security/limits.conf");
	return -ENOMEM;
}

static void *wait_for_start(void *start)
{
	pthread_mutex_lock(start);
	pthread_mutex_unlock(start);
	return NULL;
}

/* Starts as many as there will be, and ends them. */
static int check_threads(struct error *err)
{
	pthread_mutex_t start = PTHREAD_MUTEX_INITIALIZER;
	pthread_t threads[THREADS_MIN];
	unsigned count = 0;

	pthread_mutex_lock(&start);
	while (count < THREADS_MIN && pthread_create(&threads[count], NULL, wait_for_start, &start) == 0)
		count++;
	pthread_mutex_unlock(&start);
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	if (count == THREADS_MIN)
		return 0;
	error_set(err, -EAGAIN, "a mount needs to start %u threads, and only %u can be started here", THREADS_MIN, count);
	error_hint(err, "raise the limit: ulimit -u, nproc in /etc/security/limits.conf, or TasksMax of the service");
	return -EAGAIN;
}

static int check_descriptors(uint64_t descriptors, struct error *err)
{
	if (descriptors >= DESCRIPTORS_MIN)
		return 0;
	error_set(err, -EMFILE, "a mount needs to have %d files open, and only %llu are allowed here", DESCRIPTORS_MIN,
		  (unsigned long long)descriptors);
	error_hint(err, "raise the hard limit: ulimit -Hn, or nofile in /etc/security/limits.conf");
	return -EMFILE;
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
	int result = check_descriptors(descriptors, err);
	if (result == 0)
		result = check_addresses(err);
	return result < 0 ? result : check_threads(err);
}

int process_take_signals(int *ret_signal_fd, int *ret_event_fd, struct error *err)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	*ret_signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	*ret_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *ret_signal_fd < 0 || *ret_event_fd < 0 ? error_set(err, -errno, "no descriptor for signals: %s", strerror(errno)) : 0;
}
