#include "fs/cli/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clean.h"

static const int watched[] = {SIGINT, SIGTERM, SIGHUP};

/* A signal's handler has no argument to find its state by. */
static atomic_bool came;
static atomic_int which;
static atomic_int connection = -1;

static void handle(int number)
{
	const int saved = errno, fd = atomic_load(&connection);

	atomic_store(&which, number);
	atomic_store(&came, true);
	if (fd >= 0)
		shutdown(fd, SHUT_WR);
	errno = saved;
}

void interrupt_watch(void)
{
	/* Whoever started us may want a signal to be ignored (nohup). */
	for (size_t i = 0; i < ARRAY_SIZE(watched); i++) {
		struct sigaction old, action = {.sa_handler = handle, .sa_flags = (int)SA_RESETHAND | SA_RESTART};

		if (sigaction(watched[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(watched[i], &action, NULL);
	}
}

void interrupt_with_parent(void)
{
	const pid_t parent = getppid();

	prctl(PR_SET_PDEATHSIG, SIGHUP);
	if (getppid() != parent)
		raise(SIGHUP);
}

bool interrupt_came(void)
{
	return atomic_load(&came);
}

atomic_bool *interrupt_flag(void)
{
	return &came;
}

void interrupt_set_connection(int fd)
{
	atomic_store(&connection, fd);
	if (fd >= 0 && interrupt_came())
		shutdown(fd, SHUT_WR);
}

void interrupt_end(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	if (!interrupt_came())
		return;
	sigaction(atomic_load(&which), &action, NULL);
	raise(atomic_load(&which));
}

void interrupt_end_with(const char *left)
{
	if (!interrupt_came())
		return;
	fflush(stdout);
	fprintf(stderr, "corpusfs: interrupted; %s\n", left);
	interrupt_end();
}
