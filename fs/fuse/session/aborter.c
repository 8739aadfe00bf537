#include "fs/fuse/session/aborter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/supervise/service.h"
#include "lib/base/buf.h"

#define CONNECTIONS "/sys/fs/fuse/connections"
#define WATCHED_MAX 256

enum { LIFE_FD, COMMAND_FD, CONTROL_FD, SUPERVISOR_FD }; /* the aborter's descriptors */

struct command {
	enum { COMMAND_ADD, COMMAND_REMOVE, COMMAND_ABORT } what;
	unsigned connection;
	bool kept;
};

struct aborter {
	pid_t pid;
	int command_fd;
	int life_fd; /* for the keeper, until it has its own */
	pthread_t keeper;
	pthread_mutex_t lock; /* guards the two below */
	pthread_cond_t change;
	bool kept, leave;
};

/* --- in the aborter's process: after a fork among threads, so only system calls and the stack --- */

struct watched {
	unsigned connection;
	bool kept;
	int fd; /* of its "abort", which goes on meaning this connection when the number has been given away */
};

struct watch {
	struct watched all[WATCHED_MAX];
	size_t count;
};

/* A mount of fusectl that nobody sees, or the usual one. */
static int open_control(void)
{
	int context = fsopen("fusectl", FSOPEN_CLOEXEC), fd = -1;

	if (context >= 0 && !fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		fd = fsmount(context, FSMOUNT_CLOEXEC, 0);
	if (context >= 0)
		close(context);
	return fd >= 0 ? fd : open(CONNECTIONS, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void abort_connection(const struct watched *watched)
{
	(void)!write(watched->fd, "1", 1);
}

static void add(struct watch *watch, unsigned connection, bool kept)
{
	struct watched *watched = &watch->all[watch->count];
	char path[32];

	if (watch->count == WATCHED_MAX)
		return;
	snprintf(path, sizeof(path), "%u/abort", connection);
	*watched = (struct watched){.connection = connection, .kept = kept, .fd = openat(CONTROL_FD, path, O_WRONLY | O_CLOEXEC)};
	watch->count += watched->fd >= 0;
}

static void obey(struct watch *watch, const struct command *command)
{
	if (command->what == COMMAND_ADD) {
		add(watch, command->connection, command->kept);
		return;
	}
	for (size_t i = 0; i < watch->count; i++) {
		if (watch->all[i].connection != command->connection)
			continue;
		if (command->what == COMMAND_ABORT) {
			abort_connection(&watch->all[i]);
			continue;
		}
		close(watch->all[i].fd);
		watch->all[i--] = watch->all[--watch->count];
	}
}

/* goes_on: a service manager will see to it, whoever dies. */
static void __attribute__((noreturn)) watch_life(bool supervised, bool goes_on)
{
	struct pollfd polls[] = {{.fd = LIFE_FD, .events = POLLIN}, {.fd = COMMAND_FD, .events = POLLIN}};
	struct watch watch = {.count = 0};
	struct command command;

	do {
		if (poll(polls, ARRAY_SIZE(polls), -1) < 0 && errno != EINTR)
			_exit(1);
		while (recv(COMMAND_FD, &command, sizeof(command), MSG_DONTWAIT) == sizeof(command))
			obey(&watch, &command);
	} while (!polls[0].revents);
	/* Another daemon goes on with those that are kept, if there is still somebody to start it. */
	goes_on = goes_on || (supervised && poll(&(struct pollfd){.fd = SUPERVISOR_FD, .events = POLLIN}, 1, 0) == 0);
	for (size_t i = 0; i < watch.count; i++)
		if (!goes_on || !watch.all[i].kept)
			abort_connection(&watch.all[i]);
	_exit(0);
}

static void __attribute__((noreturn)) aborter_main(int life_fd, int command_fd, int supervisor_fd)
{
	const bool supervised = supervisor_fd >= 0, managed = service_keeps();
	int control;

	/* What a terminal or a service manager says to all is for the daemon. */
	setsid();
	prctl(PR_SET_NAME, "corpusfs-abort");
	for (char **variable = environ; variable && *variable; variable++)
		memset(*variable, 0, strlen(*variable));
	(void)!chdir("/");
	/* First out of the way, then to their places. */
	life_fd = fcntl(life_fd, F_DUPFD, SUPERVISOR_FD + 1);
	command_fd = fcntl(command_fd, F_DUPFD, SUPERVISOR_FD + 1);
	supervisor_fd = supervised ? fcntl(supervisor_fd, F_DUPFD, SUPERVISOR_FD + 1) : -1;
	if (dup2(life_fd, LIFE_FD) < 0 || dup2(command_fd, COMMAND_FD) < 0 || (supervised && dup2(supervisor_fd, SUPERVISOR_FD) < 0))
		_exit(1);
	close_range(CONTROL_FD, CONTROL_FD, 0);
	close_range(supervised ? SUPERVISOR_FD + 1 : SUPERVISOR_FD, ~0U, 0);
	control = open_control();
	if (control < 0 || (control != CONTROL_FD && dup2(control, CONTROL_FD) < 0))
		_exit(1);
	(void)!write(COMMAND_FD, "", 1);
	watch_life(supervised, managed);
}

/* --- in the daemon --- */

/*
 * Holds the other end of the pipe by which the aborter sees the daemon live, in a descriptor table of its own: it closes
 * when this thread goes, whatever the others wait for.
 */
static void *keeper_main(void *arg)
{
	struct aborter *aborter = arg;

	if (!unshare(CLONE_FILES)) {
		dup2(aborter->life_fd, 0);
		close_range(1, ~0U, 0);
	}
	pthread_mutex_lock(&aborter->lock);
	aborter->kept = true;
	pthread_cond_broadcast(&aborter->change);
	while (!aborter->leave)
		pthread_cond_wait(&aborter->change, &aborter->lock);
	pthread_mutex_unlock(&aborter->lock);
	return NULL;
}

static int start_keeper(struct aborter *aborter)
{
	pthread_mutex_init(&aborter->lock, NULL);
	pthread_cond_init(&aborter->change, NULL);
	if (pthread_create(&aborter->keeper, NULL, keeper_main, aborter))
		return -EAGAIN;
	pthread_mutex_lock(&aborter->lock);
	while (!aborter->kept)
		pthread_cond_wait(&aborter->change, &aborter->lock);
	pthread_mutex_unlock(&aborter->lock);
	return 0;
}

struct aborter *aborter_new(bool supervised)
{
	struct aborter *aborter = xcalloc(1, sizeof(*aborter));
	int life[2] = {-1, -1}, commands[2] = {-1, -1};
	AUTO_CLOSE int supervisor_fd = supervised ? pidfd_open(getppid(), 0) : -1;
	bool good = !pipe2(life, O_CLOEXEC) && !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, commands);
	char ready;

	aborter->life_fd = life[1];
	aborter->command_fd = commands[1];
	aborter->pid = good ? fork() : -1;
	if (aborter->pid == 0)
		aborter_main(life[0], commands[0], supervisor_fd);
	close(commands[0]);
	good = aborter->pid > 0 && read(commands[1], &ready, 1) == 1 && !start_keeper(aborter);
	for (int i = 0; i < 2; i++)
		close(life[i]);
	if (good)
		return aborter;
	close(commands[1]);
	if (aborter->pid > 0)
		waitpid(aborter->pid, NULL, 0);
	free(aborter);
	return NULL;
}

void aborter_free(struct aborter *aborter)
{
	if (!aborter)
		return;
	pthread_mutex_lock(&aborter->lock);
	aborter->leave = true;
	pthread_cond_broadcast(&aborter->change);
	pthread_mutex_unlock(&aborter->lock);
	pthread_join(aborter->keeper, NULL);
	close(aborter->command_fd);
	while (waitpid(aborter->pid, NULL, 0) < 0 && errno == EINTR)
		;
	pthread_cond_destroy(&aborter->change);
	pthread_mutex_destroy(&aborter->lock);
	free(aborter);
}

/* An aborter that has gone, or does not read, is no reason for the daemon to stop. */
static void command(struct aborter *aborter, const struct command *command)
{
	if (aborter)
		(void)!send(aborter->command_fd, command, sizeof(*command), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void aborter_add(struct aborter *aborter, unsigned connection, bool kept)
{
	command(aborter, &(struct command){COMMAND_ADD, connection, kept});
}

void aborter_remove(struct aborter *aborter, unsigned connection)
{
	command(aborter, &(struct command){.what = COMMAND_REMOVE, .connection = connection});
}

void aborter_abort(struct aborter *aborter, unsigned connection)
{
	command(aborter, &(struct command){.what = COMMAND_ABORT, .connection = connection});
}

int aborter_open(unsigned connection)
{
	AUTO_CLOSE int control = open_control();
	char path[32];

	snprintf(path, sizeof(path), "%u/abort", connection);
	return control < 0 ? -1 : openat(control, path, O_WRONLY | O_CLOEXEC);
}
