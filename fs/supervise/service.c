#include "fs/supervise/service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fds.h"

#define FIRST_PASSED 3 /* SD_LISTEN_FDS_START */
#define PASSED_MAX 100000
#define NAME_MAX_LEN 32
#define MESSAGE_MAX 96
#define SEND_S 1
#define BARRIER_MS 5000

/* --- to the manager --- */

/* -1: it is no number, or not there. */
static long number_of(const char *variable)
{
	const char *text = getenv(variable);
	char *end = NULL;
	const long number = text ? strtol(text, &end, 10) : -1;

	return end && end > text && !*end ? number : -1;
}

static bool address_of(struct sockaddr_un *ret_address, socklen_t *ret_len)
{
	const char *path = getenv("NOTIFY_SOCKET");
	const size_t len = path && number_of("FDSTORE") > 0 ? strlen(path) : 0;

	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (len < 2 || len >= sizeof(ret_address->sun_path) || (path[0] != '/' && path[0] != '@'))
		return false;
	memcpy(ret_address->sun_path, path, len);
	if (path[0] == '@')
		ret_address->sun_path[0] = '\0';
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return true;
}

static void send_text(const char *text, int fd)
{
	const struct timeval limit = {.tv_sec = SEND_S};
	struct sockaddr_un address;
	socklen_t len;

	if (!address_of(&address, &len))
		return;
	AUTO_CLOSE int to = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (to < 0)
		return;
	setsockopt(to, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	(void)!fds_send(to, text, strlen(text), &fd, fd >= 0, (const struct sockaddr *)&address, len);
}

bool service_keeps(void)
{
	struct sockaddr_un address;
	socklen_t len;

	return address_of(&address, &len);
}

void service_keep(const char *name, int fd)
{
	char text[MESSAGE_MAX];

	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	send_text(text, -1);
	if (fd < 0)
		return;
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
	send_text(text, fd);
}

void service_is_main(void)
{
	char text[MESSAGE_MAX];

	snprintf(text, sizeof(text), "MAINPID=%d", (int)getpid());
	send_text(text, -1);
}

static const char *const session_parts[] = {"fuse", "memory", "abort"};

static void keep_parts(unsigned number, const int fds[3])
{
	char name[NAME_MAX_LEN];

	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s.%u", session_parts[i], number);
		service_keep(name, fds[i]);
	}
}

void service_keep_session(unsigned number, const struct supervisor_session *session)
{
	keep_parts(number, (const int[]){session->fuse_fd, session->memory_fd, session->abort_fd});
}

void service_forget_session(unsigned number)
{
	keep_parts(number, (const int[]){-1, -1, -1});
}

void service_forget(const struct supervisor_page *page)
{
	static const char *const names[] = {SERVICE_PAGE, SERVICE_LOG, SERVICE_LOCK, SERVICE_JOURNAL};

	for (unsigned i = 0; i < SUPERVISOR_SESSIONS; i++)
		if (!page || atomic_load(&page->sessions[i].used))
			service_forget_session(i);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		service_keep(names[i], -1);
}

/* --- from the manager --- */

struct passed {
	int page_fd, log_fd, lock_fd, journal_fd;
	int sessions[SUPERVISOR_SESSIONS][3];
};

/* Where the descriptor of that name belongs; NULL: it is none of ours. */
static int *place_of(struct passed *passed, const char *name)
{
	const struct {
		const char *name;
		int *place;
	} single[] = {{SERVICE_PAGE, &passed->page_fd}, {SERVICE_LOG, &passed->log_fd}, {SERVICE_LOCK, &passed->lock_fd}, {SERVICE_JOURNAL, &passed->journal_fd}};

	for (size_t i = 0; i < ARRAY_SIZE(single); i++)
		if (strcmp(name, single[i].name) == 0)
			return single[i].place;
	for (unsigned i = 0; i < 3; i++) {
		const size_t len = strlen(session_parts[i]);
		unsigned number;
		char more;

		if (strncmp(name, session_parts[i], len) == 0 && sscanf(name + len, ".%u%c", &number, &more) == 1 && number < SUPERVISOR_SESSIONS)
			return &passed->sessions[number][i];
	}
	return NULL;
}

/* How many were passed to this process; what it starts is not to take them for its own. */
static int take_variables(char **ret_names)
{
	const char *names = getenv("LISTEN_FDNAMES");
	const long count = number_of("LISTEN_FDS");
	const bool is_ours = names && number_of("LISTEN_PID") == (long)getpid() && count > 0 && count < PASSED_MAX;

	*ret_names = is_ours ? xstrdup(names) : NULL;
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return is_ours ? (int)count : 0;
}

/* Out of the way of those that a new process has its own use for. */
static void sort(struct passed *passed, int count, char *names)
{
	char *rest = names, *name;

	memset(passed, 0xff, sizeof(*passed)); /* -1 */
	for (int fd = FIRST_PASSED; fd < FIRST_PASSED + count && (name = strsep(&rest, ":")); fd++) {
		int *place = place_of(passed, name);

		if (!place || *place >= 0)
			continue;
		*place = fcntl(fd, F_DUPFD_CLOEXEC, SERVICE_FD_MIN);
		close(fd);
	}
}

/* Nobody can go on with a session of which a part is missing: whoever asks its mount is to learn that, and not to wait for ever. */
static void end_session(unsigned number, int fds[3])
{
	if (fds[2] >= 0)
		(void)!write(fds[2], "1", 1);
	for (unsigned i = 0; i < 3; i++) {
		clean_close(&fds[i]);
		fds[i] = -1;
	}
	service_forget_session(number);
}

/* Its numbers are those of the process that is gone. Returns how many connections were ended. */
static unsigned number_anew(struct supervisor_page *page, struct passed *passed)
{
	unsigned ended = 0;

	page->lock_fd = passed->lock_fd;
	page->journal_fd = passed->journal_fd;
	for (unsigned i = 0; i < SUPERVISOR_SESSIONS; i++) {
		int *fds = passed->sessions[i];
		struct supervisor_session *session = &page->sessions[i];
		const bool is_whole = fds[0] >= 0 && fds[1] >= 0;

		/* the manager lets go of a connection that has ended, not of what was beside it */
		ended += !is_whole && fds[0] >= 0;
		if (!is_whole && (fds[0] >= 0 || fds[1] >= 0 || fds[2] >= 0))
			end_session(i, fds);
		session->fuse_fd = fds[0];
		session->memory_fd = fds[1];
		session->abort_fd = fds[2];
		atomic_store(&session->used, is_whole);
	}
	return ended;
}

/* sd_notify_barrier(3): the manager closes the descriptor when it has come to this message. */
static void wait_for_manager(void)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	send_text("BARRIER=1", fds[1]);
	close(fds[1]);
	(void)!poll(&(struct pollfd){.fd = fds[0]}, 1, BARRIER_MS);
	close(fds[0]);
}

/* The store's lock goes with the last descriptor of it. */
static int give_up(struct passed *passed, struct error *err)
{
	for (unsigned i = 0; i < SUPERVISOR_SESSIONS; i++)
		if (passed->sessions[i][2] >= 0)
			(void)!write(passed->sessions[i][2], "1", 1);
	for (size_t i = 0; i < sizeof(*passed) / sizeof(int); i++)
		clean_close((const int *)passed + i);
	service_forget(NULL);
	wait_for_manager();
	error_set(err, -EXDEV, "what the service manager kept is of another version of corpusfs: those mounts have ended, and what was not committed is lost");
	error_hint(err, "corpusfs restart before the service is stopped takes it over");
	return -EXDEV;
}

int service_take(struct service_taken *ret_taken, struct error *err)
{
	AUTO_FREE char *names = NULL;
	const int count = take_variables(&names);
	struct supervisor_page *page;
	struct passed passed;
	struct stat st;

	if (count == 0)
		return 0;
	sort(&passed, count, names);
	if (passed.page_fd < 0)
		return 0;
	if (fstat(passed.page_fd, &st) < 0 || st.st_size != sizeof(*page))
		return give_up(&passed, err);
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, passed.page_fd, 0);
	if (page == MAP_FAILED)
		return error_set(err, -ENOMEM, "no memory for what the service manager kept");
	if (page->magic != SUPERVISOR_MAGIC || page->heritage != SUPERVISOR_HERITAGE)
		return give_up(&passed, err);
	const unsigned ended = number_anew(page, &passed);
	*ret_taken = (struct service_taken){.page = page, .page_fd = passed.page_fd, .log_fd = passed.log_fd, .ended = ended};
	return 1;
}
