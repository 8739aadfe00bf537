#include "fs/fuse/session/session.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/fuse/session/adapt.h"
#include "fs/fuse/session/buffers.h"
#include "fs/fuse/session/done.h"
#include "fs/fuse/session/parking.h"
#include "fs/fuse/session/latency.h"
#include "fs/fuse/session/rings.h"
#include "fs/fuse/session/system.h"
#include "lib/base/buf.h"

#define REQUEST_MAX (SESSION_TRANSFER_MAX + 16384U) /* libfuse and kernel want a page for the headers beside the payload */
#define NOTIFY_RESEND 7 /* FUSE_NOTIFY_RESEND, protocol 7.40 */
#define UNIQUE_RESEND (1ULL << 63) /* FUSE_UNIQUE_RESEND */

struct server {
	struct session *session;
	struct session_slot slot;
	pthread_t thread;
	void *buffer;
	unsigned place;
};

static _Thread_local struct session_request current;
static _Thread_local unsigned current_place = SESSION_PLACE_HELD;

struct session {
	struct session_options options;
	struct fuse_session *fuse;
	int fd;
	struct server *servers;
	unsigned server_count;
	struct parking parking;
	struct rings *rings; /* NULL: all requests come by the descriptor */
	struct unanswered unanswered;
	atomic_uint running;
	_Atomic uint64_t requests, interrupts;

	/* of INIT, which is answered before the threads start */
	uint64_t init_unique, init_offered;
	bool resumes;                 /* the kernel has the answer to INIT already */
	struct session_info info;

	struct buffers buffers;
};

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct session *session = *(struct session **)userdata;
	const struct fuse_out_header *out = iov[0].iov_base;

	if (session->init_unique && out->unique == session->init_unique) {
		session->info.killpriv_v2 = adapt_init(session->init_offered, session->rings ? RINGS_INIT_FLAG2 : 0, iov, count);
		session->init_unique = 0;
		if (session->resumes)
			return (ssize_t)out->len;
	}
	unanswered_end(&session->unanswered, out->unique);
	if (session->rings && rings_take(session->rings, iov, count))
		return (ssize_t)out->len;
	return writev(fd, iov, count);
}

/* Never called, since the threads read for themselves; libfuse insists on having it. */
static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
	return read(fd, buf, len);
}

const struct session_request *session_request(void)
{
	return &current;
}

static void process(struct session *session, void *request, size_t len)
{
	const struct fuse_in_header *in = request;
	const bool marked = session->options.keeps && adapt_is_marked(in->opcode);
	struct fuse_buf buf = {.mem = request};

	current = (struct session_request){.number = in->unique & ~UNIQUE_RESEND, .again = in->unique & UNIQUE_RESEND};
	current.done = current.again && kept_was_done(session->options.kept, current.number);
	if (marked)
		done_begin(&session->options, current.number, current_place);
	buf.size = adapt_request(session->init_offered, request, len);
	fuse_session_process_buf(session->fuse, &buf);
	if (marked)
		done_end();
}

/* A reader may run what was held back before its own request. */
void session_process(struct session *session, void *request, size_t len)
{
	_Atomic uint64_t *running = &session->options.kept->running[current_place];
	const uint64_t own = atomic_exchange(running, ((const struct fuse_in_header *)request)->unique & ~UNIQUE_RESEND);

	process(session, request, len);
	atomic_store(running, own);
}

void session_mark_begin(struct session *session, uint64_t request)
{
	if (session->options.keeps)
		done_begin(&session->options, request, SESSION_PLACE_WORKER);
}

void session_mark_end(void)
{
	done_end();
}

static void refuse(struct session *session, const struct fuse_in_header *in)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = -EIO, .unique = in->unique};

	session->options.refused(session->options.arg, in->opcode, in->nodeid);
	(void)!write(session->fd, &out, sizeof(out));
}

static void serve(struct server *server, uint64_t unique, pid_t thread, size_t len)
{
	struct session *session = server->session;
	const struct session_holder *holder = &session->options.holder;

	if ((unique & UNIQUE_RESEND) && kept_guilt(session->options.kept, unique & ~UNIQUE_RESEND) >= session->options.guilty) {
		refuse(session, server->buffer);
		return;
	}
	unanswered_begin(&session->unanswered, server->buffer, thread);
	if (!holder->enter(holder->arg, &server->slot, server->buffer, len)) {
		unanswered_moved(&session->unanswered, unique, UNANSWERED_HELD);
		return;
	}
	process(session, server->buffer, len);
	holder->leave(holder->arg, &server->slot);
	unanswered_moved(&session->unanswered, unique, UNANSWERED_HANDED_ON);
}

static void note_request(struct session *session, const struct fuse_in_header *in)
{
	latency_note(session->options.latency);
	atomic_fetch_add_explicit(&session->requests, 1, memory_order_relaxed);
	if (in->opcode == FUSE_INTERRUPT)
		atomic_fetch_add_explicit(&session->interrupts, 1, memory_order_relaxed);
}

static void no_longer_running(struct session *session)
{
	if (atomic_fetch_sub(&session->running, 1) == 1)
		session->options.ended(session->options.arg);
}

/* The last deed of a thread that answered. */
static void server_end(struct server *server)
{
	struct session *session = server->session;
	const struct session_holder *holder = &session->options.holder;

	holder->remove(holder->arg, &server->slot);
	no_longer_running(session);
}

/*
 * These threads are of the ordinary scheduling class. As SCHED_BATCH they would let their clients go on for a moment when they wake (four
 * warm readers on two processors, read-write mount: 4.0 instead of 3.2 GB/s), but would wait for several milliseconds behind any process
 * that is always busy (a cold file beside two of those: 4,000 us instead of 250).
 */
static void *server_main(void *arg)
{
	struct server *server = arg;
	struct session *session = server->session;
	const struct fuse_in_header *in = server->buffer;
	const pid_t thread = gettid();
	_Atomic uint64_t *running = &session->options.kept->running[server->place];

	current_place = server->place;
	parking_return(&session->parking);
	for (;;) {
		ssize_t got = read(session->fd, server->buffer, REQUEST_MAX);

		if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
			continue;
		if (got < (ssize_t)sizeof(struct fuse_in_header))
			break; /* ENODEV: unmounted; anything else: the connection was cut */
		parking_take(&session->parking);
		note_request(session, in);
		atomic_store_explicit(running, in->unique & ~UNIQUE_RESEND, memory_order_relaxed);
		serve(server, in->unique, thread, (size_t)got);
		atomic_store_explicit(running, 0, memory_order_relaxed);
		if (session->options.progress && !atomic_load_explicit(session->options.progress, memory_order_relaxed))
			atomic_store(session->options.progress, 1);
		parking_return(&session->parking);
	}
	parking_end(&session->parking);
	server_end(server);
	return NULL;
}

/* --- threads of rings --- */

static void *ring_begin(void *arg)
{
	struct server *server = xcalloc(1, sizeof(*server));

	server->session = arg;
	server->session->options.holder.add(server->session->options.holder.arg, &server->slot);
	return server;
}

static void ring_run(void *own, void *request, size_t len)
{
	struct server *server = own;

	server->buffer = request;
	note_request(server->session, request);
	serve(server, ((const struct fuse_in_header *)request)->unique, gettid(), len);
}

static void ring_end(void *own)
{
	struct server *server = own;

	server_end(server);
	free(server);
}

static int process_init(struct session *session, void *buffer, size_t len)
{
	const struct fuse_in_header *in = buffer;
	const struct fuse_init_in *init = (const struct fuse_init_in *)(in + 1);

	session->init_unique = in->unique;
	session->init_offered = init->flags;
	if (session->options.rings && (init->flags & FUSE_INIT_EXT) && (init->flags2 & RINGS_INIT_FLAG2))
		session->rings = rings_new(SESSION_TRANSFER_MAX);
	session->info.rings = session->rings != NULL;
	session->info.protocol_minor = init->minor;
	process(session, buffer, len);
	return fuse_session_exited(session->fuse) ? -EPROTO : 0;
}

/* The kernel sends INIT at once; until it is answered nothing else comes. */
static int answer_init(struct session *session)
{
	AUTO_FREE void *buffer = xmalloc(REQUEST_MAX);
	const struct fuse_in_header *in = buffer;
	ssize_t got;

	do {
		got = read(session->fd, buffer, REQUEST_MAX);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if ((size_t)got < sizeof(*in) + offsetof(struct fuse_init_in, flags2) || in->opcode != FUSE_INIT)
		return -EPROTO;
	if ((size_t)got <= KEPT_INIT_MAX) {
		memcpy(session->options.kept->init, buffer, (size_t)got);
		session->options.kept->init_len = (uint32_t)got;
	}
	return process_init(session, buffer, (size_t)got);
}

/* As answer_init, with the request of then. */
static int repeat_init(struct session *session)
{
	const struct kept_session *kept = session->options.kept;
	AUTO_FREE void *buffer = xmalloc(REQUEST_MAX);

	if (kept->init_len < sizeof(struct fuse_in_header) + offsetof(struct fuse_init_in, flags2) || kept->init_len > KEPT_INIT_MAX)
		return -EPROTO;
	memcpy(buffer, kept->init, kept->init_len);
	session->resumes = true;
	return process_init(session, buffer, kept->init_len);
}

static int start_rings(struct session *session)
{
	const struct rings_options options = {.begin = ring_begin, .run = ring_run, .end = ring_end, .arg = session};

	return session->rings ? rings_start(session->rings, session->fd, &options) : 0;
}

static int start_servers(struct session *session)
{
	const struct session_holder *holder = &session->options.holder;
	const unsigned count = session->options.threads;

	session->servers = xcalloc(count, sizeof(*session->servers));
	for (unsigned i = 0; i < count; i++) {
		session->servers[i].buffer = request_buffer_new(REQUEST_MAX, session->options.keeps);
		if (!session->servers[i].buffer)
			return -ENOMEM;
	}
	/* and one for session_start: nobody is told that a session ended which did not come up */
	atomic_store(&session->running, 1 + count + (session->rings ? rings_threads(session->rings) : 0));
	for (unsigned i = 0; i < count; i++) {
		struct server *server = &session->servers[i];

		server->session = session;
		server->place = i;
		holder->add(holder->arg, &server->slot);
	}
	for (; session->server_count < count; session->server_count++) {
		struct server *server = &session->servers[session->server_count];

		if (pthread_create(&server->thread, NULL, server_main, server))
			break;
	}
	/* With fewer threads than planned it still works; without any it cannot. */
	for (unsigned i = session->server_count; i < count; i++)
		holder->remove(holder->arg, &session->servers[i].slot);
	atomic_fetch_sub(&session->running, count - session->server_count);
	return session->server_count ? 0 : -EAGAIN;
}

static struct fuse_session *make_fuse_session(const struct session_options *options, struct session **userdata)
{
	AUTO_FREE char *joined = xasprintf("-o%s", options->mount_options);
	char *argv[] = {(char[]){"corpusfs"}, joined, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *fuse;

	fuse = fuse_session_new(&args, options->ops, sizeof(*options->ops), userdata);
	fuse_opt_free_args(&args);
	return fuse;
}

/* What the daemon before had not answered comes again, before anything else. */
static int ask_again(struct session *session)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = NOTIFY_RESEND};

	done_learn(&session->options);
	/* ENODEV: it is unmounted, which the threads find out */
	return write(session->fd, &out, sizeof(out)) < 0 && errno != ENODEV && errno != ENOENT ? -errno : 0;
}

/* Without a mount of its own: libfuse is given the descriptor by fuse_session_custom_io. */
static int go_on(struct session *session, const struct fuse_custom_io *io)
{
	int result;

	session->fd = session->options.fd;
	result = fuse_session_custom_io(session->fuse, io, session->fd);
	if (!result)
		result = repeat_init(session);
	if (!result)
		result = ask_again(session);
	return result;
}

static int begin(struct session *session, const struct fuse_custom_io *io)
{
	int result;

	session->fd = fuse_session_fd(session->fuse);
	result = fuse_session_custom_io(session->fuse, io, session->fd);
	if (!result)
		result = answer_init(session);
	if (!result && session->options.begun)
		result = session->options.begun(session->options.arg, session->fd);
	return result;
}

static int start(const struct session_options *options, struct session **ret_session, struct error *err)
{
	static const struct fuse_custom_io io = {.writev = io_writev, .read = io_read};
	struct session *session = xcalloc(1, sizeof(*session));
	int result;

	session->options = *options;
	session->fd = -1;
	buffers_init(&session->buffers);
	parking_init(&session->parking);
	*ret_session = session;
	session->fuse = make_fuse_session(options, options->arg);
	if (!session->fuse) {
		error_set(err, -EINVAL, "mount options not understood: %s", options->mount_options);
		return -EINVAL;
	}
	if (options->fd < 0 && fuse_session_mount(session->fuse, options->mountpoint))
		return system_mount_failed(options->mountpoint, options->mount_options, err);
	result = options->fd < 0 ? begin(session, &io) : go_on(session, &io);
	if (!result)
		result = start_servers(session);
	if (!result)
		result = start_rings(session);
	if (result) {
		error_set(err, result, "the kernel does not talk to us on %s: %s", options->mountpoint, error_text(result));
		fuse_session_unmount(session->fuse);
		return result;
	}
	no_longer_running(session);
	return 0;
}

int session_start(const struct session_options *options, struct session **ret_session, struct error *err)
{
	int result = start(options, ret_session, err);

	if (result && (*ret_session)->rings) {
		/* whatever rings need here and have not: it goes without them */
		struct session_options plain = *options;

		plain.rings = false;
		session_free(*ret_session);
		result = start(&plain, ret_session, err);
	}
	return result;
}

/*
 * An INTERRUPT that comes after its request was answered is kept by libfuse 3.14, one is dropped with each further request, and what is left
 * at the end is not freed. So there are further requests: that nothing be forgotten.
 */
static void drop_interrupts(struct session *session)
{
	struct {
		struct fuse_in_header in;
		struct fuse_forget_in forget;
	} request = {.in = {.len = sizeof(request), .opcode = FUSE_FORGET, .nodeid = FUSE_ROOT_ID}};

	fuse_session_exit(session->fuse); /* libfuse is silent then about answers that nobody takes */
	for (uint64_t left = atomic_load(&session->interrupts); left > 0; left--)
		process(session, &request, sizeof(request));
}

void session_free(struct session *session)
{
	if (!session)
		return;
	for (unsigned i = 0; session->servers && i < session->options.threads; i++) {
		if (i < session->server_count)
			pthread_join(session->servers[i].thread, NULL);
		request_buffer_free(session->servers[i].buffer, REQUEST_MAX);
	}
	free(session->servers);
	rings_free(session->rings);
	if (session->fuse) {
		drop_interrupts(session);
		/* The kernel's side is gone already; this frees what libfuse keeps for it. */
		fuse_session_unmount(session->fuse);
		fuse_session_destroy(session->fuse);
	}
	parking_clear(&session->parking);
	buffers_clear(&session->buffers);
	free(session);
}

int session_fd(const struct session *session)
{
	return session->fd;
}

void *session_buffer_get(struct session *session)
{
	void *buffer = session->rings ? rings_buffer(session->rings) : NULL;

	return buffer ? buffer : buffers_get(&session->buffers);
}

void session_buffer_put(struct session *session, void *buffer)
{
	if (!session->rings || !rings_is_buffer(session->rings, buffer))
		buffers_put(&session->buffers, buffer);
}

void session_send(struct session *session)
{
	if (session->rings)
		rings_send(session->rings);
}

bool session_writes_at_close(const struct session *session)
{
	return session->info.protocol_minor >= 36;
}

void session_get_info(const struct session *session, struct session_info *ret_info)
{
	*ret_info = session->info;
	ret_info->requests = atomic_load_explicit(&session->requests, memory_order_relaxed);
}

bool session_oldest(struct session *session, struct unanswered_request *ret_request)
{
	return unanswered_oldest(&session->unanswered, ret_request);
}
