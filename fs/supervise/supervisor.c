#include "fs/supervise/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs/supervise/pass.h"
#include "fs/supervise/service.h"
#include "lib/base/descriptors.h"
#include "lib/base/procfs.h"

#define GIVE_UP_STARTS 5
#define GIVE_UP_MS 30000    /* what hinders a start may be over by then */
#define HEALTHY_MS 60000   /* who has served for so long was well */
#define FREE_DEATHS 3      /* so many, soon one after the other, are followed at once */
#define PAUSE_MS 200       /* after a daemon that answered nothing, and between those that are killed again and again */
#define PAUSE_MAX_MS 5000
#define GOING_MS 2000      /* for one that runs no more to be gone */
#define START_TRIES 300    /* a second apart */
#define OOM_SCORE "-600"
#define LINE_MAX_LEN 256

struct supervisor {
	struct supervisor_page *page;
	int page_fd, ready_fd, socket, life_fd, signal_fd;
	int program_fd;      /* of what has served; -1: our own */
	int next_fd;         /* that was passed, and has not served yet; -1: none */
	bool tries_next;     /* the daemon is that */
	pid_t pid;
	int status;
	bool gone;           /* status is the daemon's */
	uint64_t started_ms;
	unsigned failed;     /* starts that came to nothing, in a row */
	uint64_t failing_ms; /* since the first of them */
	unsigned quick;      /* deaths soon after the start, in a row */
	bool resumes;        /* it goes on for another supervisor, and no daemon has served yet */
	int ending;          /* the signal by which all is to end; 0: none came */
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void drop_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void ending_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
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
	sigset_t set;

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
	/* what comes before it can take signals waits for it, and does not end it as a crash would */
	ending_signals(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	if (supervisor->tries_next)
		execveat(supervisor->next_fd, "", argv, environ, AT_EMPTY_PATH);
	else if (supervisor->program_fd >= 0)
		execveat(supervisor->program_fd, "", argv, environ, AT_EMPTY_PATH);
	else
		execv("/proc/self/exe", argv);
	_exit(127);
}

static int start_once(struct supervisor *supervisor)
{
	int sockets[2], life[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return -errno;
	if (pipe2(life, O_CLOEXEC) < 0) {
		close(sockets[0]);
		close(sockets[1]);
		return -errno;
	}
	pid = fork();
	if (pid == 0)
		be_daemon(supervisor, sockets[1], life[1]);
	close(sockets[1]);
	close(life[1]);
	if (pid < 0) {
		close(sockets[0]);
		close(life[0]);
		return -EAGAIN;
	}
	supervisor->pid = pid;
	supervisor->socket = sockets[0];
	supervisor->life_fd = life[0];
	return 0;
}

/* Where there is no room for a process or a descriptor, there may be some soon; nobody has died then. Who mounts does not wait for that. */
static int start(struct supervisor *supervisor)
{
	struct supervisor_page *page = supervisor->page;
	const int tries = page->dead[0] ? START_TRIES : 1;
	int result = -EAGAIN;

	atomic_store(&page->ready_ms, 0);
	atomic_store(&page->progress, 0);
	atomic_store(&page->leaving, 0);
	atomic_store(&page->left, 0);
	atomic_store(&page->restart, 0);
	supervisor->gone = false;
	supervisor->tries_next = supervisor->next_fd >= 0;
	for (int i = 0; i < tries && result < 0; i++) {
		if (i > 0)
			nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
		supervisor->started_ms = now_ms();
		result = start_once(supervisor);
	}
	/* who starts the service again waits for the one that serves */
	if (!supervisor->resumes)
		drop_fd(&supervisor->ready_fd);
	/* what came when there was nobody to hear it, or somebody who could not end any more */
	if (result == 0 && supervisor->ending)
		kill(supervisor->pid, supervisor->ending);
	return result;
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

/* The program that was passed before has served, or has not come up. */
static void settle_program(struct supervisor *supervisor, bool good)
{
	if (good) {
		drop_fd(&supervisor->program_fd);
		supervisor->program_fd = supervisor->next_fd;
		supervisor->next_fd = -1;
	} else {
		drop_fd(&supervisor->next_fd);
		atomic_store(&supervisor->page->fell_back, 1);
	}
	supervisor->tries_next = false;
}

static void take_program(struct supervisor *supervisor, int fd)
{
	if (supervisor->tries_next)
		settle_program(supervisor, true); /* it answers commands */
	drop_fd(&supervisor->next_fd);
	supervisor->next_fd = fd;
	atomic_store(&supervisor->page->fell_back, 0);
}

static void take(struct supervisor *supervisor, const struct pass *pass)
{
	struct supervisor_page *page = supervisor->page;
	uint32_t answer = pass->what;

	if (pass->what == SUPERVISOR_KEEP && pass->number < SUPERVISOR_SESSIONS && pass->count >= 2) {
		drop(page, pass->number);
		page->sessions[pass->number].fuse_fd = pass->fds[0];
		page->sessions[pass->number].memory_fd = pass->fds[1];
		page->sessions[pass->number].abort_fd = pass->fds[2];
		atomic_store(&page->sessions[pass->number].used, 1);
		service_keep_session(pass->number, &page->sessions[pass->number]);
	} else if (pass->what == SUPERVISOR_DROP && pass->number < SUPERVISOR_SESSIONS) {
		drop(page, pass->number);
		service_forget_session(pass->number);
	} else if (pass->what == SUPERVISOR_STORE && pass->count == 2) {
		drop_fd(&page->lock_fd);
		drop_fd(&page->journal_fd);
		page->lock_fd = pass->fds[0];
		page->journal_fd = pass->fds[1];
		service_keep(SERVICE_LOCK, page->lock_fd);
		service_keep(SERVICE_JOURNAL, page->journal_fd);
	} else if (pass->what == SUPERVISOR_LOG && pass->count == 1) {
		/* so that whoever waits for the caller's output to end does not wait for us */
		dup2(pass->fds[0], STDERR_FILENO);
		service_keep(SERVICE_LOG, STDERR_FILENO);
		close(pass->fds[0]);
	} else if (pass->what == SUPERVISOR_PROGRAM && pass->count == 1) {
		take_program(supervisor, pass->fds[0]);
	} else {
		/* there may have been no descriptors left for what it passed */
		answer |= SUPERVISOR_REFUSED;
		for (unsigned i = 0; i < pass->count; i++)
			close(pass->fds[i]);
	}
	(void)!pass_send(supervisor->socket, &(struct pass){.what = answer, .number = pass->number});
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

static void give_up(struct supervisor *supervisor, const char *why)
{
	struct supervisor_page *page = supervisor->page;
	char text[LINE_MAX_LEN];

	snprintf(text, sizeof(text), "text=\"%s: the mounts have ended, what was not committed is lost\"", why);
	say("error", "gave-up", text);
	for (unsigned i = 0; i < SUPERVISOR_SESSIONS; i++) {
		if (atomic_load(&page->sessions[i].used) && page->sessions[i].abort_fd >= 0)
			(void)!write(page->sessions[i].abort_fd, "1", 1);
		if (atomic_load(&page->sessions[i].used))
			service_forget_session(i);
		drop(page, i);
	}
}

/* How long the next one waits. Somebody who kills daemons is not their failure, and waits for the next one before he kills it, too. */
static unsigned pause_after(const struct supervisor *supervisor)
{
	const bool answered = atomic_load(&supervisor->page->progress);
	const bool killed = !supervisor->gone || (WIFSIGNALED(supervisor->status) && WTERMSIG(supervisor->status) == SIGKILL);
	unsigned more = supervisor->quick > FREE_DEATHS ? supervisor->quick - FREE_DEATHS : 0, ms = 0;

	if (more > 0)
		ms = PAUSE_MS << (more < 6 ? more - 1 : 5);
	if (!answered && ms < PAUSE_MS)
		ms = PAUSE_MS;
	if (answered && killed && ms > PAUSE_MS)
		ms = PAUSE_MS;
	return ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS;
}

static void count_death(struct supervisor *supervisor)
{
	struct supervisor_page *page = supervisor->page;
	const uint64_t now = now_ms(), ready_ms = atomic_load(&page->ready_ms);
	char text[LINE_MAX_LEN];

	describe_end(supervisor, text);
	say("warning", "died", text);
	page->crashes++;
	supervisor->quick = now - supervisor->started_ms < HEALTHY_MS ? supervisor->quick + 1 : 1;
	supervisor->resumes = supervisor->resumes && !ready_ms;
	if (atomic_load(&page->progress) || (ready_ms && now - ready_ms > HEALTHY_MS))
		supervisor->failed = 0;
	else if (supervisor->failed++ == 0)
		supervisor->failing_ms = now;
}

/* Whether a daemon that has died is not to be followed by another; `ret_code`: our exit code then. */
static bool is_over(struct supervisor *supervisor, int *ret_code)
{
	struct supervisor_page *page = supervisor->page;
	/* one that is not gone yet may have done all that it had to */
	const int left = atomic_load(&page->left);
	const bool clean = supervisor->gone ? WIFEXITED(supervisor->status) : left > 0, ready = atomic_load(&page->ready_ms);
	unsigned ms;

	*ret_code = !clean ? 1 : supervisor->gone ? WEXITSTATUS(supervisor->status) : left - 1;
	page->dead_asked = atomic_load(&page->restart) && (clean || !supervisor->gone);
	if ((clean && atomic_load(&page->leaving)) || (!ready && !page->dead[0]))
		return true;
	if (page->dead_asked) {
		page->restarts++;
		supervisor->quick = 0;
		return false;
	}
	count_death(supervisor);
	if (supervisor->tries_next)
		settle_program(supervisor, ready);
	if (supervisor->failed >= GIVE_UP_STARTS && now_ms() - supervisor->failing_ms >= GIVE_UP_MS) {
		give_up(supervisor, "daemons died one after the other without answering anything");
		*ret_code = 1;
		return true;
	}
	ms = pause_after(supervisor);
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
	return false;
}

/* --- waiting --- */

static void take_signals(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		/* the next one hears of it, too, if this one dies before it has ended */
		supervisor->ending = (int)info.ssi_signo;
		if (supervisor->pid > 0 && !supervisor->gone)
			kill(supervisor->pid, supervisor->ending);
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

		if (poll(polls, 3, ended_ms ? 20 : -1) < 0) {
			/* for want of memory, say: that is no word of the daemon */
			for (int i = 0; i < 3; i++)
				polls[i].revents = 0;
			nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
		}
		if (polls[SOCKET].revents && pass_receive(supervisor->socket, &pass) > 0)
			take(supervisor, &pass);
		else if (polls[SOCKET].revents)
			polls[SOCKET].fd = -1;
		if (polls[LIFE].revents) {
			polls[LIFE].fd = -1;
			ended_ms = now_ms();
			/* Two daemons on one store would be the end of it: whoever is taken for dead shall be. */
			if (!supervisor->gone)
				kill(supervisor->pid, SIGKILL);
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
	ending_signals(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL); /* who ignores it has children vanish */
	(void)descriptors_raise();
	supervisor->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void note_dead(struct supervisor *supervisor)
{
	struct supervisor_page *page = supervisor->page;

	memmove(page->dead + 1, page->dead, (SUPERVISOR_DEAD_MAX - 1) * sizeof(*page->dead));
	page->dead[0] = supervisor->pid;
	page->dead_status = supervisor->status;
	page->dead_known = supervisor->gone;
}

/* The next one is started when this one runs no more. Returns the exit code. */
static int follow(struct supervisor *supervisor)
{
	const struct supervisor_page *page = supervisor->page;
	int code;

	for (;;) {
		if (start(supervisor) < 0) {
			if (page->dead[0])
				give_up(supervisor, "no other daemon could be started");
			return 1;
		}
		wait_for(supervisor);
		drop_fd(&supervisor->socket);
		drop_fd(&supervisor->life_fd);
		if (is_over(supervisor, &code))
			return code;
		note_dead(supervisor);
	}
}

/* It was a child of the supervisor that is gone. */
static void end_last_daemon(struct supervisor *supervisor)
{
	const struct supervisor_page *page = supervisor->page;
	const uint64_t begun_ms = now_ms();
	uint64_t started;
	char state;

	while (procfs_stat(page->daemon, &state, &started) && started == page->daemon_started && state != 'Z' && now_ms() - begun_ms < GOING_MS) {
		kill(page->daemon, SIGKILL);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	supervisor->pid = page->daemon;
	count_death(supervisor);
	note_dead(supervisor);
	supervisor->resumes = true;
}

int supervisor_run(struct supervisor_page *page, int page_fd, int ready_fd, bool goes_on)
{
	struct supervisor supervisor = {
		.page = page, .page_fd = page_fd, .ready_fd = ready_fd, .socket = -1, .life_fd = -1, .program_fd = -1, .next_fd = -1};
	int code;

	begin(&supervisor);
	service_is_main();
	service_keep(SERVICE_PAGE, page_fd);
	if (goes_on)
		end_last_daemon(&supervisor);
	code = follow(&supervisor);
	service_forget(page);
	atomic_store(&page->over, 1);
	return code;
}
