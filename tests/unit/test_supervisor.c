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
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/supervise/keeper.h"
#include "fs/supervise/supervisor.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/procfs.h"

#define DEAD 0
#define ALIVE 3
#define TOLD 4
#define LEFT 5
#define TRIES_US 700000 /* the supervisor has tried by then to start another */

/* What the first daemon does, and what the tests look at, in the supervisor's memory. */
enum { SEEMS_DEAD, DIES_WHEN_TOLD, LEAVES, DIES };
struct play {
	int what;
	_Atomic pid_t daemon;  /* the first one, when it has begun */
	_Atomic int go_on;
};

static struct play *play_of(struct supervisor_page *page)
{
	return (struct play *)(void *)page->options;
}

static bool runs(pid_t pid)
{
	uint64_t started;
	char state;

	return procfs_stat(pid, &state, &started) && state != 'Z';
}

static int wait_for_signal(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	return sigwait(&set, &number) ? 0 : number;
}

/*
 * The first one lets the supervisor believe that it is dead, and goes on: the next one looks for it. Or it dies when it is told to end, and
 * the next one is told, too. Or it leaves, and is seen for long afterwards.
 */
static int be_daemon(char **words)
{
	struct supervisor_page *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, (int)strtol(words[0], NULL, 10), 0);

	if (page == MAP_FAILED)
		return 1;
	atomic_store(&page->ready_ms, 1);
	if (page->dead[0]) {
		atomic_store(&page->leaving, 1);
		if (play_of(page)->what == DIES_WHEN_TOLD)
			return wait_for_signal() == SIGTERM ? TOLD : DEAD;
		return runs(page->dead[0]) ? ALIVE : DEAD;
	}
	atomic_store(&play_of(page)->daemon, getpid());
	if (play_of(page)->what == DIES_WHEN_TOLD && wait_for_signal() == SIGTERM)
		raise(SIGKILL);
	while ((play_of(page)->what == LEAVES || play_of(page)->what == DIES) && !atomic_load(&play_of(page)->go_on))
		clock_pause_us(1000);
	if (play_of(page)->what == DIES)
		raise(SIGKILL);
	if (play_of(page)->what == LEAVES) {
		atomic_store(&page->leaving, 1);
		atomic_store(&page->left, 1 + LEFT);
		_exit(LEFT); /* without what a sanitizer does at the end, which does not work where we are traced */
	}
	close((int)strtol(words[2], NULL, 10));
	for (;;)
		pause();
}

static pid_t start(int what, struct supervisor_page **ret_page)
{
	int page_fd;
	pid_t child;

	assert_int_equal(supervisor_page_new(ret_page, &page_fd), 0);
	play_of(*ret_page)->what = what;
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(supervisor_run(*ret_page, page_fd, -1, false));
	close(page_fd);
	return child;
}

static pid_t first_daemon(struct supervisor_page *page)
{
	while (!atomic_load(&play_of(page)->daemon))
		clock_pause_us(1000);
	return atomic_load(&play_of(page)->daemon);
}

static void a_signal_that_kills_a_daemon_before_it_has_ended_reaches_the_next_one(void **state)
{
	struct supervisor_page *page;
	pid_t child = start(DIES_WHEN_TOLD, &page);
	int status;

	(void)state;
	first_daemon(page);
	kill(child, SIGTERM);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), TOLD);
	assert_int_equal(page->crashes, 1);
	munmap(page, sizeof(*page));
}

/* Here because we trace it, so that the supervisor does not learn of its end. */
static void a_daemon_that_has_left_and_is_not_gone_yet_has_not_died(void **state)
{
	struct supervisor_page *page;
	pid_t child = start(LEAVES, &page), daemon = first_daemon(page);
	int status;

	(void)state;
	if (ptrace(PTRACE_SEIZE, daemon, NULL, NULL) < 0) {
		kill(daemon, SIGKILL);
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		skip();
	}
	atomic_store(&play_of(page)->go_on, 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), LEFT);
	assert_int_equal(page->crashes, 0);
	assert_int_equal(waitpid(daemon, &status, 0), daemon);
	munmap(page, sizeof(*page));
}

/* Here since it may have no more descriptors. It goes on as soon as there is room. */
static void what_cannot_be_started_is_no_daemon_that_died(void **state)
{
	struct supervisor_page *page;
	pid_t child = start(DIES, &page), daemon = first_daemon(page);
	struct rlimit before, none;
	int status;

	(void)state;
	assert_int_equal(prlimit(child, RLIMIT_NOFILE, NULL, &before), 0);
	none = (struct rlimit){.rlim_max = before.rlim_max};
	assert_int_equal(prlimit(child, RLIMIT_NOFILE, &none, NULL), 0);
	atomic_store(&play_of(page)->go_on, 1);
	while (kill(daemon, 0) == 0)
		clock_pause_us(1000);
	clock_pause_us(TRIES_US);
	assert_int_equal(prlimit(child, RLIMIT_NOFILE, &before, NULL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), DEAD);
	assert_int_equal(page->crashes, 1);
	assert_int_equal(page->dead[0], daemon);
	assert_int_equal(page->dead[1], 0);
	munmap(page, sizeof(*page));
}

/* Somebody waits for his mount. */
static void the_first_that_cannot_be_started_is_given_up_at_once(void **state)
{
	struct supervisor_page *page;
	int page_fd, status;
	pid_t child;

	(void)state;
	assert_int_equal(supervisor_page_new(&page, &page_fd), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){0});
		_exit(supervisor_run(page, page_fd, -1, false));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_int_equal(page->crashes, 0);
	close(page_fd);
	munmap(page, sizeof(*page));
}

static void whom_it_takes_for_dead_is_dead_before_another_goes_on(void **state)
{
	struct supervisor_page *page;
	pid_t child = start(SEEMS_DEAD, &page);
	int status;

	(void)state;
	assert_int_equal(waitpid(child, &status, 0), child);
	if (page->dead[0] > 0)
		kill(page->dead[0], SIGKILL);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), DEAD);
}

/* Each daemon finds the marks of the one before, in whose place are its own then. */
static void what_was_done_is_known_as_long_as_daemons_die(void **state)
{
	struct kept_session *session;

	(void)state;
	assert_int_equal(kept_map(-1, &session), 0);
	for (uint64_t death = 0; death < 30; death++)
		for (uint64_t i = 1; i <= KEPT_THREADS; i++) {
			kept_note_done(session, 2 * (death * KEPT_THREADS + i));
			kept_note_done(session, 2);
		}
	for (uint64_t i = 1; i <= 30 * KEPT_THREADS; i++) {
		assert_true(kept_was_done(session, 2 * i));
		assert_false(kept_was_done(session, 2 * i + 1));
	}
	assert_false(kept_was_done(session, 0));
	kept_unmap(session);
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
		cmocka_unit_test(a_signal_that_kills_a_daemon_before_it_has_ended_reaches_the_next_one),
		cmocka_unit_test(a_daemon_that_has_left_and_is_not_gone_yet_has_not_died),
		cmocka_unit_test(what_cannot_be_started_is_no_daemon_that_died),
		cmocka_unit_test(the_first_that_cannot_be_started_is_given_up_at_once),
		cmocka_unit_test(what_was_done_is_known_as_long_as_daemons_die),
		cmocka_unit_test(a_daemon_without_descriptors_of_its_own_is_not_taken_for_dead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
