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

#include "fs/daemon/process/daemon.h"
#include "fs/daemon/control/message.h"
#include "lib/base/clock.h"

#define CONNECTIONS_MAX 128
#define PROGRESS_EVERY_MS 100
#define FINISH_WAIT_MS 5000
#define SEND_TIMEOUT_S 30

struct connection {
	struct connection *prev, *next;
	struct control *control;
	int fd;
	struct ucred peer;
	gid_t *groups; /* the peer's supplementary ones; owned */
	size_t group_count;
	atomic_bool cancelled;
	bool gone;        /* the client hung up; control.lock */
	uint64_t told_ms; /* when progress was sent last; its own thread */
};

struct control {
	char *store;
	uid_t owner;
	struct control_handler handler;
	int listen_fd, wake_fd;
	pthread_t acceptor;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t change;
	struct connection *connections;
	unsigned serving; /* connections that may use the store */
	unsigned waiting; /* connections that answer when it is closed */
	bool stopping, closed;
	int close_result;
};

void control_address(int store_dir_fd, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "/proc/self/fd/%d/" DAEMON_SOCKET, store_dir_fd);
}

static void wake(struct control *control)
{
	uint64_t one = 1;

	(void)!write(control->wake_fd, &one, sizeof(one));
}

static void send_progress(void *arg, json_t *state)
{
	struct connection *connection = arg;
	uint64_t now = clock_ms();

	if (now - connection->told_ms < PROGRESS_EVERY_MS)
		return;
	connection->told_ms = now;
	if (message_send(connection->fd, json_pack("{s:O}", "progress", state)) < 0)
		atomic_store(&connection->cancelled, true);
}

/* The answer of an umount of the last mount promises that everything is on disk: the store is closed first. */
static int wait_closed(struct control *control, struct error *err)
{
	int result;

	pthread_mutex_lock(&control->lock);
	control->serving--;
	control->waiting++;
	pthread_cond_broadcast(&control->change);
	while (!control->closed)
		pthread_cond_wait(&control->change, &control->lock);
	result = control->close_result;
	pthread_mutex_unlock(&control->lock);
	return result < 0 ? error_set(err, result, "unmounted, but the store could not be closed: %s", strerror(-result)) : 0;
}

static bool is_stopping(struct control *control)
{
	pthread_mutex_lock(&control->lock);
	bool stopping = control->stopping;
	pthread_mutex_unlock(&control->lock);
	return stopping;
}

/*
 * Runs one request; returns false when the connection is over. ret_waited: the store is closed and must not be touched
 * any more.
 */
static bool answer(struct connection *connection, const json_t *request, int fd, bool *ret_waited)
{
	struct control *control = connection->control;
	json_t *result_json = NULL;
	struct error err = {0};
	struct control_call call = {
		.op = json_string_value(json_object_get(request, "op")),
		.args = json_object_get(request, "args"),
		.uid = connection->peer.uid,
		.gid = connection->peer.gid,
		.groups = connection->groups,
		.group_count = connection->group_count,
		.fd = fd,
		.cancelled = &connection->cancelled,
		.progress = send_progress,
		.progress_arg = connection,
	};
	int result;

	if (is_stopping(control))
		result = error_set(&err, -ESHUTDOWN, "the daemon is leaving");
	else if (!call.op)
		result = error_set(&err, -EINVAL, "the request names no operation");
	else
		result = control->handler.run(control->handler.arg, &call, &result_json, &err);
	if (result == -ECANCELED && is_stopping(control))
		result = error_set(&err, -ESHUTDOWN, "the daemon is leaving");
	if (result == 0 && call.answer_when_closed) {
		*ret_waited = true;
		result = wait_closed(control, &err);
	}
	if (result < 0) {
		json_decref(result_json);
		error_default(&err, result, "%s", call.op ? call.op : "request");
		return message_send(connection->fd, message_from_error(&err)) == 0;
	}
	return message_send(connection->fd, json_pack("{s:o}", "result", result_json ? result_json : json_object())) == 0;
}

static void refuse(int fd, int code, const char *text, const char *hint)
{
	struct error err = {0};

	error_set(&err, code, "%s", text);
	error_hint(&err, "%s", hint);
	(void)!message_send(fd, message_from_error(&err));
}

static void serve_requests(struct connection *connection, bool *ret_waited)
{
	struct message_reader reader = {.fd = connection->fd, .limit = MESSAGE_REQUEST_MAX, .takes_descriptors = true, .passed = -1};
	json_t *request;
	bool go_on;
	int got;

	go_on = message_send(connection->fd, json_pack("{s:s, s:s, s:i}", "hello", "corpusfs", "version", CORPUSFS_VERSION, "pid",
	                                               (int)getpid())) == 0;
	while (go_on && !*ret_waited) {
		got = message_receive(&reader, &request);
		if (got == -EBADMSG || got == -EMSGSIZE)
			refuse(connection->fd, got, "the request is not understood", "");
		if (got <= 0)
			break;
		go_on = answer(connection, request, reader.passed, ret_waited);
		if (reader.passed >= 0)
			close(reader.passed);
		reader.passed = -1;
		json_decref(request);
	}
	message_reader_clear(&reader);
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

static void connection_free(struct connection *connection)
{
	close(connection->fd);
	free(connection->groups);
	free(connection);
}

static void *connection_main(void *arg)
{
	struct connection *connection = arg;
	struct control *control = connection->control;
	bool waited = false;

	serve_requests(connection, &waited);
	pthread_mutex_lock(&control->lock);
	DL_DELETE(control->connections, connection);
	/* While the acceptor polls the descriptor, closing it alone would not tell the client. */
	shutdown(connection->fd, SHUT_RDWR);
	connection_free(connection);
	if (waited)
		control->waiting--;
	else
		control->serving--;
	pthread_cond_broadcast(&control->change);
	pthread_mutex_unlock(&control->lock);
	return NULL;
}

static bool peer_allowed(const struct control *control, const struct ucred *peer)
{
	return peer->uid == 0 || peer->uid == control->owner || peer->uid == geteuid();
}

static void accept_one(struct control *control)
{
	struct timeval timeout = {.tv_sec = SEND_TIMEOUT_S};
	int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct connection *connection;
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t len = sizeof(peer);
	pthread_t thread;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || !peer_allowed(control, &peer)) {
		refuse(fd, -EACCES, "only root and the owner of the store may do that", "");
		close(fd);
		return;
	}
	connection = xcalloc(1, sizeof(*connection));
	connection->control = control;
	connection->fd = fd;
	connection->peer = peer;
	load_groups(connection);
	pthread_mutex_lock(&control->lock);
	DL_APPEND(control->connections, connection);
	control->serving++;
	if (pthread_create(&thread, NULL, connection_main, connection) == 0) {
		pthread_detach(thread);
	} else {
		DL_DELETE(control->connections, connection);
		control->serving--;
		connection_free(connection);
	}
	pthread_mutex_unlock(&control->lock);
}

/* Fills `polls` with the connections whose client is there; returns how many. */
static nfds_t watch_connections(struct control *control, struct pollfd *polls)
{
	struct connection *connection;
	nfds_t count = 0;

	DL_FOREACH (control->connections, connection)
		if (!connection->gone && count < CONNECTIONS_MAX)
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

static void *acceptor_main(void *arg)
{
	struct control *control = arg;
	struct pollfd polls[CONNECTIONS_MAX + 2];

	for (;;) {
		polls[0] = (struct pollfd){.fd = control->wake_fd, .events = POLLIN};
		pthread_mutex_lock(&control->lock);
		bool stopping = control->stopping;
		nfds_t count = watch_connections(control, polls + 2);
		pthread_mutex_unlock(&control->lock);
		/* Beyond the limit, newcomers wait in the socket's queue until somebody has gone. */
		polls[1] = (struct pollfd){.fd = count < CONNECTIONS_MAX ? control->listen_fd : -1, .events = POLLIN};
		if (stopping)
			return NULL;
		if (poll(polls, count + 2, count < CONNECTIONS_MAX ? -1 : PROGRESS_EVERY_MS) < 0)
			continue;
		/*
		 * A descriptor polled above may belong to a newer connection by now; that one is polled again before it is believed.
		 */
		pthread_mutex_lock(&control->lock);
		for (nfds_t i = 0; i < count; i++) {
			struct pollfd again = {.fd = polls[i + 2].fd, .events = POLLRDHUP};
			if (polls[i + 2].revents && poll(&again, 1, 0) == 1)
				note_gone(control, again.fd);
		}
		pthread_mutex_unlock(&control->lock);
		if (polls[1].revents)
			accept_one(control);
	}
}

/* A socket that a killed daemon left is replaced: we hold the store's lock, so nobody listens there. */
static int listen_at(struct control *control, struct error *err)
{
	AUTO_CLOSE int dir = open(control->store, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct sockaddr_un address;
	struct stat st;

	if (dir < 0 || fstat(dir, &st) < 0)
		return error_set(err, -errno, "%s: %s", control->store, strerror(errno));
	control->owner = st.st_uid;
	control_address(dir, &address);
	if (unlinkat(dir, DAEMON_SOCKET, 0) < 0 && errno != ENOENT)
		return error_set(err, -errno, "%s/" DAEMON_SOCKET " could not be removed: %s", control->store, strerror(errno));
	control->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->listen_fd < 0 || bind(control->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fchmodat(dir, DAEMON_SOCKET, 0600, 0) < 0 || listen(control->listen_fd, CONNECTIONS_MAX) < 0)
		return error_set(err, -errno, "%s/" DAEMON_SOCKET " could not be made: %s", control->store, strerror(errno));
	/* Root's daemon serves the store's owner too; where this is not permitted we are the owner. */
	(void)!fchownat(dir, DAEMON_SOCKET, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW);
	return 0;
}

static void control_free(struct control *control)
{
	if (control->listen_fd >= 0)
		close(control->listen_fd);
	if (control->wake_fd >= 0)
		close(control->wake_fd);
	pthread_cond_destroy(&control->change);
	pthread_mutex_destroy(&control->lock);
	free(control->store);
	free(control);
}

int control_start(const char *store, const struct control_handler *handler, struct control **ret_control, struct error *err)
{
	struct control *control = xcalloc(1, sizeof(*control));
	pthread_condattr_t monotonic;
	int result;

	*control = (struct control){.store = xstrdup(store), .handler = *handler, .listen_fd = -1};
	control->wake_fd = eventfd(0, EFD_CLOEXEC);
	pthread_mutex_init(&control->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&control->change, &monotonic);
	pthread_condattr_destroy(&monotonic);
	result = control->wake_fd < 0 ? error_set(err, -errno, "no event descriptor: %s", strerror(errno))
	                              : listen_at(control, err);
	if (result == 0) {
		result = -pthread_create(&control->acceptor, NULL, acceptor_main, control);
		if (result < 0)
			error_set(err, result, "no thread could be started: %s", strerror(-result));
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
	AUTO_FREE char *path = xasprintf("%s/" DAEMON_SOCKET, control->store);
	struct connection *connection;

	unlink(path);
	pthread_mutex_lock(&control->lock);
	control->stopping = true;
	pthread_mutex_unlock(&control->lock);
	wake(control);
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
		waited = pthread_cond_timedwait(&control->change, &control->lock, &until);
	pthread_mutex_unlock(&control->lock);
	/* A client that does not take its answer keeps its thread; the process ends with it. */
	if (waited == 0)
		control_free(control);
}
