#include "fs/supervise/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs/supervise/pass.h"

#define GIVE_UP_STARTS 5
#define GIVE_UP_MS 60000
#define PAUSE_MS 200 /* after a daemon that answered nothing */
#define GOING_MS 2000 /* for one that runs no more to be gone */
#define OOM_SCORE "-600"
#define LINE_MAX_LEN 256

struct supervisor {
	struct supervisor_page *page;
	int page_fd, ready_fd, socket, life_fd, signal_fd;
	pid_t pid;
	int status;
	bool gone;              /* status is the daemon's */
	uint64_t failed_ms[GIVE_UP_STARTS]; /* starts that came to nothing, the last ones */
	unsigned failed;
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int supervisor_page_new(struct supervisor_page **ret_page, int *ret_fd)
{
	int fd = memfd_create("corpusfs-supervisor", MFD_CLOEXEC);
	struct supervisor_page *page;

	if (fd < 0 || ftruncate(fd, sizeof(*page)) < 0)
		return -errno;
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (page == MAP_FAILED) {
		close(fd);
		return -ENOMEM;
	}
	page->magic = SUPERVISOR_MAGIC;
	page->lock_fd = page->journal_fd = -1;
	*ret_page = page;
	*ret_fd = fd;
	return 0;
}

static void drop_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* --- the daemon's process --- */

static void inherit(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

static void __attribute__((noreturn)) be_daemon(struct supervisor *supervisor, int socket, int life_fd)
{
	struct supervisor_page *page = supervisor->page;
	char numbers[4][16];
	char *argv[] = {(char[]){"corpusfs"}, (char[]){SUPERVISOR_ARGUMENT}, numbers[0], numbers[1], numbers[2], numbers[3], NULL};
	const int fds[] = {supervisor->page_fd, socket, life_fd, supervisor->ready_fd};
	sigset_t none;

	for (int i = 0; i < 4; i++) {
		snprintf(numbers[i], sizeof(numbers[i]), "%d", fds[i]);
		inherit(fds[i]);
	}
	inherit(page->lock_fd);
	inherit(page->journal_fd);
	for (int i = 0; i < SUPERVISOR_SESSIONS; i++) {
		if (!atomic_load(&page->sessions[i].used))
			continue;
		inherit(page->sessions[i].fuse_fd);
		inherit(page->sessions[i].memory_fd);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(page->program, argv);
	/* an upgrade may have taken it away for a moment */
	execv("/proc/self/exe", argv);
	_exit(127);
}

static int start(struct supervisor *supervisor)
{
	struct supervisor_page *page = supervisor->page;
	int sockets[2], life[2];

	atomic_store(&page->ready, 0);
	atomic_store(&page->progress, 0);
	atomic_store(&page->leaving, 0);
	atomic_store(&page->restart, 0);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	if (pipe2(life, O_CLOEXEC) < 0) {
		close(sockets[0]);
		close(sockets[1]);
		return -errno;
	}
	supervisor->gone = false;
	supervisor->pid = fork();
	if (supervisor->pid == 0)
		be_daemon(supervisor, sockets[1], life[1]);
	close(sockets[1]);
	close(life[1]);
	supervisor->socket = sockets[0];
	supervisor->life_fd = life[0];
	drop_fd(&supervisor->ready_fd);
	return supervisor->pid < 0 ? -EAGAIN : 0;
}

/* --- what it holds --- */

static void drop(struct supervisor_page *page, unsigned number)
{
	struct supervisor_session *session = &page->sessions[number];

	if (!atomic_exchange(&session->used, 0))
		return;
	drop_fd(&session->fuse_fd);
	drop_fd(&session->memory_fd);
	drop_fd(&session->abort_fd);
}

static void take(struct supervisor *supervisor, const struct pass *pass)
{
	struct supervisor_page *page = supervisor->page;

	if (pass->what == SUPERVISOR_KEEP && pass->number < SUPERVISOR_SESSIONS && pass->count >= 2) {
		drop(page, pass->number);
		page->sessions[pass->number].fuse_fd = pass->fds[0];
		page->sessions[pass->number].memory_fd = pass->fds[1];
		page->sessions[pass->number].abort_fd = pass->fds[2];
		atomic_store(&page->sessions[pass->number].used, 1);
	} else if (pass->what == SUPERVISOR_DROP && pass->number < SUPERVISOR_SESSIONS) {
		drop(page, pass->number);
	} else if (pass->what == SUPERVISOR_STORE && pass->count == 2) {
		drop_fd(&page->lock_fd);
		drop_fd(&page->journal_fd);
		page->lock_fd = pass->fds[0];
		page->journal_fd = pass->fds[1];
	} else if (pass->what == SUPERVISOR_LOG && pass->count == 1) {
		/* so that whoever waits for the caller's output to end does not wait for us */
		dup2(pass->fds[0], STDERR_FILENO);
		close(pass->fds[0]);
	} else {
		for (unsigned i = 0; i < pass->count; i++)
			close(pass->fds[i]);
	}
	(void)!pass_send(supervisor->socket, &(struct pass){.what = pass->what, .number = pass->number});
}

/* --- giving up --- */

static void say(const char *level, const char *event, const char *text)
{
	char line[LINE_MAX_LEN], when[32];
	struct tm parts;
	time_t now = time(NULL);
	int len;

	gmtime_r(&now, &parts);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
	len = snprintf(line, sizeof(line), "%s %s %s %s\n", when, level, event, text);
	(void)!write(STDERR_FILENO, line, (size_t)(len < LINE_MAX_LEN ? len : LINE_MAX_LEN - 1));
}

static void describe_end(const struct supervisor *supervisor, char text[LINE_MAX_LEN])
{
	if (!supervisor->gone)
		snprintf(text, LINE_MAX_LEN, "pid=%d signal=KILL", (int)supervisor->pid);
	else if (WIFSIGNALED(supervisor->status))
		snprintf(text, LINE_MAX_LEN, "pid=%d signal=%s", (int)supervisor->pid, sigabbrev_np(WTERMSIG(supervisor->status)));
	else
		snprintf(text, LINE_MAX_LEN, "pid=%d exit=%d", (int)supervisor->pid, WEXITSTATUS(supervisor->status));
}

static void give_up(struct supervisor *supervisor)
{
	struct supervisor_page *page = supervisor->page;
	char text[LINE_MAX_LEN];

	snprintf(text, sizeof(text), "text=\"the daemon died %u times in a minute without answering anything; its mounts have ended\"", GIVE_UP_STARTS);
	say("error", "gave-up", text);
	for (unsigned i = 0; i < SUPERVISOR_SESSIONS; i++) {
		if (atomic_load(&page->sessions[i].used) && page->sessions[i].abort_fd >= 0)
			(void)!write(page->sessions[i].abort_fd, "1", 1);
		drop(page, i);
	}
}

/* Whether a daemon that has died is not to be followed by another; `ret_code`: our exit code then. */
static bool is_over(struct supervisor *supervisor, int *ret_code)
{
	struct supervisor_page *page = supervisor->page;
	const bool clean = supervisor->gone && WIFEXITED(supervisor->status);
	char text[LINE_MAX_LEN];

	*ret_code = clean ? WEXITSTATUS(supervisor->status) : 1;
	page->dead_asked = clean && atomic_load(&page->restart);
	if (page->dead_asked)
		return false;
	if ((clean && (*ret_code == 0 || atomic_load(&page->leaving))) || (!atomic_load(&page->ready) && !page->dead))
		return true;
	describe_end(supervisor, text);
	say("warning", "died", text);
	page->crashes++;
	if (atomic_load(&page->progress)) {
		supervisor->failed = 0;
		return false;
	}
	supervisor->failed_ms[supervisor->failed++ % GIVE_UP_STARTS] = now_ms();
	if (supervisor->failed >= GIVE_UP_STARTS && now_ms() - supervisor->failed_ms[supervisor->failed % GIVE_UP_STARTS] < GIVE_UP_MS) {
		give_up(supervisor);
		*ret_code = 1;
		return true;
	}
	nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
	return false;
}

/* --- waiting --- */

static void take_signals(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGCHLD && supervisor->pid > 0 && !supervisor->gone)
			kill(supervisor->pid, (int)info.ssi_signo);
	}
	/* also those whose successor was started before they were gone */
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid <= 0)
			return;
		if (pid == supervisor->pid) {
			supervisor->status = status;
			supervisor->gone = true;
		}
	}
}

/* Returns when the daemon runs no more. */
static void wait_for(struct supervisor *supervisor)
{
	enum { SIGNALS, SOCKET, LIFE };
	struct pollfd polls[] = {{.fd = supervisor->signal_fd, .events = POLLIN},
	                         {.fd = supervisor->socket, .events = POLLIN},
	                         {.fd = supervisor->life_fd, .events = POLLIN}};
	uint64_t ended_ms = 0;

	while (!supervisor->gone && (!ended_ms || now_ms() - ended_ms < GOING_MS)) {
		struct pass pass;

		if (poll(polls, 3, ended_ms ? 20 : -1) < 0 && errno != EINTR)
			return;
		if (polls[SOCKET].revents && pass_receive(supervisor->socket, &pass) > 0)
			take(supervisor, &pass);
		else if (polls[SOCKET].revents)
			polls[SOCKET].fd = -1;
		if (polls[LIFE].revents) {
			polls[LIFE].fd = -1;
			ended_ms = now_ms();
		}
		take_signals(supervisor);
	}
}

static void begin(struct supervisor *supervisor)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	sigset_t set;

	prctl(PR_SET_NAME, SUPERVISOR_NAME);
	if (fd >= 0)
		(void)!write(fd, OOM_SCORE, strlen(OOM_SCORE));
	drop_fd(&fd);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	supervisor->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int supervisor_run(struct supervisor_page *page, int page_fd, int ready_fd)
{
	struct supervisor supervisor = {
		.page = page, .page_fd = page_fd, .ready_fd = ready_fd, .socket = -1, .life_fd = -1, .status = 0};
	int code;

	begin(&supervisor);
	for (;;) {
		if (start(&supervisor) < 0) {
			supervisor.gone = true;
			supervisor.status = W_EXITCODE(1, 0);
		} else {
			wait_for(&supervisor);
		}
		drop_fd(&supervisor.socket);
		drop_fd(&supervisor.life_fd);
		if (is_over(&supervisor, &code))
			return code;
		page->dead = supervisor.pid;
		page->dead_status = supervisor.status;
		page->dead_known = supervisor.gone;
		page->restarts++;
	}
}
