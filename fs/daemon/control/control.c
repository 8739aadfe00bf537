#include "fs/daemon/control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <utlist.h>

#include "fs/daemon/control/connection.h"
#include "lib/base/clock.h"

#define CONNECTIONS_MAX 128
#define FULL_WAIT_MS 100
#define FINISH_WAIT_MS 5000
#define SIGNS_EVERY_MS 2000

/* However long the path of the store is. */
static void set_address(int store_dir_fd, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "/proc/self/fd/%d/" DAEMON_SOCKET, store_dir_fd);
}

static void take_wake(struct control *control)
{
	uint64_t count;

	(void)!read(control->wake_fd, &count, sizeof(count));
}

static void load_groups(struct connection *connection)
{
	socklen_t len = 0;

	/* Asked with no room, the kernel says how much it needs. */
	if (getsockopt(connection->fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return;
	connection->groups = xmalloc(len);
	if (getsockopt(connection->fd, SOL_SOCKET, SO_PEERGROUPS, connection->groups, &len) == 0)
		connection->group_count = len / sizeof(*connection->groups);
}

/* What the daemon may, its callers may: it mounts, reads and writes for them. */
static bool peer_allowed(const struct ucred *peer)
{
	return peer->uid == 0 || peer->uid == geteuid();
}

/* False: there is no descriptor for it now. */
static bool accept_one(struct control *control)
{
	int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct connection *connection, *refused = NULL;
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t len = sizeof(peer);
	pthread_t thread;

	if (fd < 0)
		return errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || !peer_allowed(&peer)) {
		connection_refuse(fd, -EACCES, "only root and who runs the store's daemon may do that");
		close(fd);
		return true;
	}
	connection = xcalloc(1, sizeof(*connection));
	connection->control = control;
	connection->fd = fd;
	pthread_mutex_init(&connection->sending, NULL);
	connection->peer = peer;
	connection->idle_since_ms = clock_ms();
	load_groups(connection);
	pthread_mutex_lock(&control->lock);
	DL_APPEND(control->connections, connection);
	control->serving++;
	if (pthread_create(&thread, NULL, connection_main, connection) == 0) {
		pthread_detach(thread);
	} else {
		DL_DELETE(control->connections, connection);
		control->serving--;
		refused = connection;
	}
	pthread_mutex_unlock(&control->lock);
	if (refused) {
		connection_refuse(fd, -EAGAIN, "the daemon cannot start a thread to answer: the system has too many (ulimit -u, TasksMax)");
		connection_free(refused);
	}
	return true;
}

/* Fills `polls` with the connections whose client is there and may stay; returns how many. */
static nfds_t watch_connections(struct control *control, struct pollfd *polls)
{
	struct connection *connection;
	nfds_t count = 0;

	DL_FOREACH (control->connections, connection)
		if (!connection->gone && !connection->evicted && count < CONNECTIONS_MAX)
			polls[count++] = (struct pollfd){.fd = connection->fd, .events = POLLRDHUP};
	return count;
}

static void note_gone(struct control *control, int fd)
{
	struct connection *connection;

	DL_FOREACH (control->connections, connection)
		if (connection->fd == fd) {
			connection->gone = true;
			atomic_store(&connection->cancelled, true);
		}
}

/*
 * The client hears the end of the stream; what it has sent is still read and answered, and what it sends from now on fails at once, so
 * that it never wonders whether something was done.
 */
static bool evict_idle(struct control *control)
{
	struct connection *connection, *longest = NULL;

	pthread_mutex_lock(&control->lock);
	DL_FOREACH (control->connections, connection)
		if (!connection->busy && !connection->gone && !connection->evicted &&
		    (!longest || connection->idle_since_ms < longest->idle_since_ms))
			longest = connection;
	if (longest) {
		longest->evicted = true;
		shutdown(longest->fd, SHUT_RD);
	}
	pthread_mutex_unlock(&control->lock);
	return longest != NULL;
}

/*
 * A descriptor polled before may belong to a newer connection by now; that one is polled again before it is believed.
 */
static void look_who_has_gone(struct control *control, const struct pollfd *polls, nfds_t count)
{
	pthread_mutex_lock(&control->lock);
	for (nfds_t i = 0; i < count; i++) {
		struct pollfd again = {.fd = polls[i].fd, .events = POLLRDHUP};
		if (polls[i].revents && poll(&again, 1, 0) == 1)
			note_gone(control, again.fd);
	}
	pthread_mutex_unlock(&control->lock);
}

/* How long it may be until the next look, in milliseconds; -1: nobody wants to know. Caller holds the lock. */
static int tell_who_waits(struct control *control)
{
	const uint64_t now = clock_ms();
	const bool is_time = now >= control->told_ms + SIGNS_EVERY_MS;
	struct connection *connection;
	bool any = false;

	DL_FOREACH (control->connections, connection) {
		any = any || (connection->busy && connection->wants_signs);
		if (is_time)
			connection_tell_alive(connection);
	}
	if (is_time)
		control->told_ms = now;
	return any ? (int)(control->told_ms + SIGNS_EVERY_MS - now) : -1;
}

static void *acceptor_main(void *arg)
{
	struct control *control = arg;
	struct pollfd polls[CONNECTIONS_MAX + 2];
	bool wait = false; /* there is no room for one more now */

	for (;;) {
		polls[0] = (struct pollfd){.fd = control->wake_fd, .events = POLLIN};
		pthread_mutex_lock(&control->lock);
		bool stopping = control->stopping;
		nfds_t count = watch_connections(control, polls + 2);
		int rest_ms = tell_who_waits(control);
		pthread_mutex_unlock(&control->lock);
		bool full = count >= CONNECTIONS_MAX;
		if (stopping)
			return NULL;
		/* Newcomers wait in the socket's queue until somebody has gone or may be sent away. */
		polls[1] = (struct pollfd){.fd = wait ? -1 : control->listen_fd, .events = POLLIN};
		int ready = poll(polls, count + 2, wait ? FULL_WAIT_MS : rest_ms);
		wait = false;
		if (ready < 0)
			continue;
		if (polls[0].revents)
			take_wake(control);
		look_who_has_gone(control, polls + 2, count);
		if (polls[1].revents && full) {
			wait = !evict_idle(control);
		} else if (polls[1].revents && !accept_one(control)) {
			evict_idle(control);
			wait = true;
		}
	}
}

/* A socket that a killed daemon left is replaced: we hold the store's lock, so nobody listens there. */
static int listen_at(struct control *control, struct error *err)
{
	struct sockaddr_un address;
	struct stat st;

	set_address(control->dir, &address);
	if (unlinkat(control->dir, DAEMON_SOCKET, 0) < 0 && errno != ENOENT)
		return error_set(err, -errno, "the store's " DAEMON_SOCKET " could not be removed: %s", strerror(errno));
	control->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->listen_fd < 0 || bind(control->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fchmodat(control->dir, DAEMON_SOCKET, 0600, 0) < 0 || listen(control->listen_fd, CONNECTIONS_MAX) < 0)
		return error_set(err, -errno, "the store's " DAEMON_SOCKET " could not be made: %s", strerror(errno));
	if (fstatat(control->dir, DAEMON_SOCKET, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		control->socket.dev = st.st_dev;
		control->socket.ino = st.st_ino;
	}
	return 0;
}

void control_remove_socket(struct control *control)
{
	struct stat st;

	if (control->socket.ino && fstatat(control->dir, DAEMON_SOCKET, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == control->socket.dev &&
	    st.st_ino == control->socket.ino)
		(void)!unlinkat(control->dir, DAEMON_SOCKET, 0);
}

static void control_free(struct control *control)
{
	if (control->listen_fd >= 0)
		close(control->listen_fd);
	if (control->wake_fd >= 0)
		close(control->wake_fd);
	pthread_cond_destroy(&control->change);
	pthread_mutex_destroy(&control->lock);
	free(control);
}

int control_start(int store_dir, const struct control_handler *handler, struct control **ret_control, struct error *err)
{
	struct control *control = xcalloc(1, sizeof(*control));
	int result;

	*control = (struct control){.dir = store_dir, .handler = *handler, .listen_fd = -1};
	control->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&control->lock, NULL);
	pthread_cond_init(&control->change, NULL);
	result = control->wake_fd < 0 ? error_set(err, -errno, "no event descriptor: %s", strerror(errno))
	                              : listen_at(control, err);
	if (result == 0) {
		result = -pthread_create(&control->acceptor, NULL, acceptor_main, control);
		if (result < 0)
			error_set(err, result, "no thread could be started: %s", error_text(result));
	}
	if (result < 0) {
		control_free(control);
		return result;
	}
	*ret_control = control;
	return 0;
}

void control_stop(struct control *control)
{
	struct connection *connection;

	control_remove_socket(control);
	pthread_mutex_lock(&control->lock);
	control->stopping = true;
	pthread_mutex_unlock(&control->lock);
	control_wake(control);
	pthread_join(control->acceptor, NULL);
	close(control->listen_fd);
	control->listen_fd = -1;
	pthread_mutex_lock(&control->lock);
	DL_FOREACH (control->connections, connection) {
		/* A request already received is still read, and told to try again. */
		shutdown(connection->fd, SHUT_RD);
		atomic_store(&connection->cancelled, true);
	}
	while (control->serving > 0)
		pthread_cond_wait(&control->change, &control->lock);
	pthread_mutex_unlock(&control->lock);
}

void control_finish(struct control *control, int close_result)
{
	struct timespec until = clock_after_ms(FINISH_WAIT_MS);
	int waited = 0;

	if (!control)
		return;
	pthread_mutex_lock(&control->lock);
	control->closed = true;
	control->close_result = close_result;
	pthread_cond_broadcast(&control->change);
	while (control->waiting > 0 && waited == 0)
		waited = pthread_cond_clockwait(&control->change, &control->lock, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&control->lock);
	/* A client that does not take its answer keeps its thread; the process ends with it. */
	if (waited == 0)
		control_free(control);
}
