/* The supervisor and a daemon that is this program: who is taken for dead is dead before another one goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/supervise/keeper.h"
#include "fs/supervise/supervisor.h"
#include "lib/base/buf.h"
#include "lib/base/procfs.h"

#define DEAD 0
#define ALIVE 3

static bool runs(pid_t pid)
{
	uint64_t started;
	char state;

	return procfs_stat(pid, &state, &started) && state != 'Z';
}

/* The first one lets the supervisor believe that it is dead, and goes on. The next one looks for it. */
static int be_daemon(char **words)
{
	struct supervisor_page *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, (int)strtol(words[0], NULL, 10), 0);

	if (page == MAP_FAILED)
		return 1;
	atomic_store(&page->ready_ms, 1);
	if (page->dead) {
		atomic_store(&page->leaving, 1);
		return runs(page->dead) ? ALIVE : DEAD;
	}
	close((int)strtol(words[2], NULL, 10));
	for (;;)
		pause();
}

static void whom_it_takes_for_dead_is_dead_before_another_goes_on(void **state)
{
	struct supervisor_page *page;
	int page_fd, status;
	pid_t child;

	(void)state;
	assert_int_equal(supervisor_page_new(&page, &page_fd), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(supervisor_run(page, page_fd, -1));
	assert_int_equal(waitpid(child, &status, 0), child);
	if (page->dead > 0)
		kill(page->dead, SIGKILL);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), DEAD);
}

static struct keeper *kept; /* lives as long as the process */

/* As where unshare(2) is forbidden. */
static void a_daemon_without_descriptors_of_its_own_is_not_taken_for_dead(void **state)
{
	struct supervisor_page *page;
	int page_fd, sockets[2], life[2], ready_fd;
	char texts[4][16];
	char *words[4];

	(void)state;
	assert_int_equal(supervisor_page_new(&page, &page_fd), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
	assert_int_equal(pipe(life), 0);
	const int fds[] = {page_fd, sockets[1], life[1], -1};
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		snprintf(texts[i], sizeof(texts[i]), "%d", fds[i]);
		words[i] = texts[i];
	}
	setenv("CORPUSFS_FAULT", "daemon-own-descriptors:enomem", 1);
	assert_int_equal(keeper_attach(words, &kept, &ready_fd), 0);
	struct pollfd polled = {.fd = life[0], .events = POLLIN};
	assert_int_equal(poll(&polled, 1, 0), 0);
	munmap(page, sizeof(*page));
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], SUPERVISOR_ARGUMENT) == 0)
		return be_daemon(argv + 2);

	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whom_it_takes_for_dead_is_dead_before_another_goes_on),
		cmocka_unit_test(a_daemon_without_descriptors_of_its_own_is_not_taken_for_dead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
