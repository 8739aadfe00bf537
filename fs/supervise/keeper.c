#include "fs/supervise/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fs/supervise/pass.h"
#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/base/procfs.h"

#define ANSWER_S 5

struct keeper {
	struct supervisor_page *page;
	int socket, life_fd;
	bool taken[SUPERVISOR_SESSIONS]; /* lock */
	pthread_mutex_t lock;            /* one call at a time, since each waits for its answer */
	pthread_t life;
	pthread_cond_t change;
	bool lives, is_apart; /* is_apart: the life thread has descriptors of its own */
};

/*
 * Lives as long as the process. Its descriptor closes when this thread goes, whatever the others wait for: see fs/fuse/session/aborter.c. Where
 * that is not to be had, it closes with the last thread.
 */
static void *life_main(void *arg)
{
	struct keeper *keeper = arg;

	pthread_mutex_lock(&keeper->lock);
	keeper->is_apart = !fault_point("daemon-own-descriptors") && !unshare(CLONE_FILES);
	if (keeper->is_apart) {
		dup2(keeper->life_fd, 0);
		close_range(1, ~0U, 0);
	}
	keeper->lives = true;
	pthread_cond_broadcast(&keeper->change);
	for (;;)
		pthread_cond_wait(&keeper->change, &keeper->lock);
	return NULL;
}

static void keep_to_oneself(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static int start_life(struct keeper *keeper)
{
	sigset_t all, before;
	int result;

	/* signals are for the daemon's main thread, which has not taken them yet */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	result = pthread_create(&keeper->life, NULL, life_main, keeper);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result)
		return -EAGAIN;
	pthread_mutex_lock(&keeper->lock);
	while (!keeper->lives)
		pthread_cond_wait(&keeper->change, &keeper->lock);
	pthread_mutex_unlock(&keeper->lock);
	if (keeper->is_apart)
		close(keeper->life_fd);
	return 0;
}

/* -1: it is none. */
static int descriptor(const char *word)
{
	char *end;
	const long number = strtol(word, &end, 10);

	return *end || number < 0 || number > INT_MAX ? -1 : (int)number;
}

int keeper_attach(char **words, struct keeper **ret_keeper, int *ret_ready_fd)
{
	const int page_fd = descriptor(words[0]), ready_fd = descriptor(words[3]);
	struct supervisor_page *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
	const struct timeval limit = {.tv_sec = ANSWER_S};
	struct keeper *keeper;
	char state;
	int result;

	if (page == MAP_FAILED || page->magic != SUPERVISOR_MAGIC)
		return -EINVAL;
	close(page_fd);
	if (!procfs_stat(getpid(), &state, &page->daemon_started))
		page->daemon_started = 0;
	page->daemon = getpid();
	keeper = xcalloc(1, sizeof(*keeper));
	keeper->page = page;
	keeper->socket = descriptor(words[1]);
	keeper->life_fd = descriptor(words[2]);
	pthread_mutex_init(&keeper->lock, NULL);
	pthread_cond_init(&keeper->change, NULL);
	keep_to_oneself(keeper->socket);
	setsockopt(keeper->socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(keeper->socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	keep_to_oneself(keeper->life_fd);
	keep_to_oneself(ready_fd);
	keep_to_oneself(page->lock_fd);
	keep_to_oneself(page->journal_fd);
	for (int i = 0; i < SUPERVISOR_SESSIONS; i++) {
		keeper->taken[i] = atomic_load(&page->sessions[i].used);
		if (!keeper->taken[i])
			continue;
		keep_to_oneself(page->sessions[i].fuse_fd);
		keep_to_oneself(page->sessions[i].memory_fd);
	}
	result = start_life(keeper);
	if (result < 0)
		return result;
	*ret_keeper = keeper;
	*ret_ready_fd = ready_fd;
	return 0;
}

struct supervisor_page *keeper_page(struct keeper *keeper)
{
	return keeper->page;
}

bool keeper_lives(const struct keeper *keeper)
{
	struct pollfd polled = {.fd = keeper->socket};

	return poll(&polled, 1, 0) >= 0 && !polled.revents;
}

int keeper_socket(const struct keeper *keeper)
{
	return keeper->socket;
}

int keeper_number(struct keeper *keeper)
{
	int number = 0;

	pthread_mutex_lock(&keeper->lock);
	while (number < SUPERVISOR_SESSIONS && keeper->taken[number])
		number++;
	if (number < SUPERVISOR_SESSIONS)
		keeper->taken[number] = true;
	pthread_mutex_unlock(&keeper->lock);
	return number < SUPERVISOR_SESSIONS ? number : -EMFILE;
}

/* Answers that came too late. */
static void drop_answers(struct keeper *keeper)
{
	struct pollfd polled = {.fd = keeper->socket, .events = POLLIN};
	struct pass answer;

	while (poll(&polled, 1, 0) == 1 && polled.revents == POLLIN && pass_receive(keeper->socket, &answer) > 0)
		;
}

/* -EPIPE: it has gone; -EMFILE: it cannot keep it. Caller holds the lock. */
static int ask(struct keeper *keeper, const struct pass *pass)
{
	struct pass answer;
	int result;

	drop_answers(keeper);
	result = pass_send(keeper->socket, pass);
	if (result < 0)
		return result == -ECONNRESET ? -EPIPE : result;
	/* one that came too late may still be on its way */
	do
		result = pass_receive(keeper->socket, &answer);
	while (result > 0 && ((answer.what & ~SUPERVISOR_REFUSED) != pass->what || answer.number != pass->number));
	if (result <= 0)
		return result == 0 || result == -ECONNRESET ? -EPIPE : result;
	return answer.what & SUPERVISOR_REFUSED ? -EMFILE : 0;
}

/* A supervisor that has gone keeps nothing; the daemon lives on without. Caller holds the lock. */
static int tell(struct keeper *keeper, const struct pass *pass)
{
	const int result = ask(keeper, pass);

	return result == -EPIPE ? 0 : result;
}

int keeper_keep(struct keeper *keeper, unsigned number, int fuse_fd, int memory_fd, int abort_fd)
{
	const struct pass pass = {.what = SUPERVISOR_KEEP,
	                          .number = number,
	                          .fds = {fuse_fd, memory_fd, abort_fd},
	                          .count = abort_fd >= 0 ? 3 : 2};
	int result;

	pthread_mutex_lock(&keeper->lock);
	result = tell(keeper, &pass);
	pthread_mutex_unlock(&keeper->lock);
	return result;
}

void keeper_drop(struct keeper *keeper, unsigned number)
{
	pthread_mutex_lock(&keeper->lock);
	(void)!tell(keeper, &(struct pass){.what = SUPERVISOR_DROP, .number = number});
	keeper->taken[number] = false;
	pthread_mutex_unlock(&keeper->lock);
}

int keeper_keep_store(struct keeper *keeper, int lock_fd, int journal_fd)
{
	int result;

	pthread_mutex_lock(&keeper->lock);
	result = tell(keeper, &(struct pass){.what = SUPERVISOR_STORE, .fds = {lock_fd, journal_fd, -1}, .count = 2});
	pthread_mutex_unlock(&keeper->lock);
	return result;
}

void keeper_keep_log(struct keeper *keeper, int fd)
{
	pthread_mutex_lock(&keeper->lock);
	(void)!tell(keeper, &(struct pass){.what = SUPERVISOR_LOG, .fds = {fd, -1, -1}, .count = 1});
	pthread_mutex_unlock(&keeper->lock);
}

int keeper_pass_program(struct keeper *keeper, int fd)
{
	int result;

	pthread_mutex_lock(&keeper->lock);
	result = ask(keeper, &(struct pass){.what = SUPERVISOR_PROGRAM, .fds = {fd, -1, -1}, .count = 1});
	pthread_mutex_unlock(&keeper->lock);
	return result;
}
