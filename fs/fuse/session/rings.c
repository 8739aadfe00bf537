/*
 * A ring's state:
 *
 *   IDLE --ring_main--> RUNS --rings_take--> ANSWERED --rings_send, next_request--> IDLE
 *
 * When it is IDLE its memory is the kernel's, which may fill it with the next request at any time.
 */
#include "fs/fuse/session/rings.h"

#include <errno.h>
#include <linux/fuse.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"

#define SETUP_FLAGS (IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED)

#define PAGE 4096U
#define POSSIBLE "/sys/devices/system/cpu/possible"
#define POSSIBLE_MAX 256
#define QUEUES_MAX 64
/* Of a queue: so many reads can wait for the disk at a time; with many processors few of them do. */
#define THREADS_MAX 4U
#define THREADS_MIN 2U
#define THREADS_ALL 16U

/* include/uapi/linux/fuse.h, 7.42 */
#define CMD_REGISTER 1
#define CMD_COMMIT_AND_FETCH 2
#define HEADER_LEN 128

struct request_header {
	uint8_t in_out[HEADER_LEN]; /* struct fuse_in_header, then struct fuse_out_header */
	uint8_t op_in[HEADER_LEN];
	uint64_t flags, commit_id;
	uint32_t payload_len, padding;
	uint64_t reserved;
};

struct command {
	uint64_t flags, commit_id;
	uint16_t queue;
	uint8_t padding[6];
};

/* Who reads so much at once reads on, and asks for the next before he has this: more processors than his own can work on it. */
#define WIDE (256U << 10)

#define SQE_LEN 128 /* IORING_SETUP_SQE128 */
#define SQE_COMMAND 48

enum { IDLE, RUNS, ANSWERED };

struct ring {
	struct rings *rings;
	pthread_t thread;
	unsigned queue;
	int fd;                          /* of the io_uring; -1: none */
	uint8_t *shared, *sqes;          /* its memory */
	size_t shared_len, sqes_len;
	struct io_uring_params params;

	struct request_header *header;
	uint8_t *area, *payload; /* a page lies in front of the payload, for the request's beginning */
	struct iovec iov[2];     /* for the kernel: header and payload */
	_Atomic uint64_t unique; /* of the request that is not answered yet; 0: none */
	atomic_int state;
	bool is_wide;    /* its thread may run anywhere */
	unsigned queued; /* commands that the kernel has not taken from our queue */
	int result;      /* of registering; 1: not known yet */
};

struct rings {
	struct rings_options options;
	size_t transfer_max;
	int fd;
	cpu_set_t everywhere; /* where our threads may run */
	pthread_key_t own; /* the calling thread's ring */
	pthread_mutex_t lock; /* guards the results; a leaf */
	pthread_cond_t changed; /* a result, or a request that another thread answered */
	struct ring *items;
	unsigned count, started;
};

/* --- memory that is shared with the kernel --- */

static void *map(int fd, size_t len, uint64_t what)
{
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED | MAP_POPULATE, fd, (off_t)what);

	return memory == MAP_FAILED ? NULL : memory;
}

static bool ring_init(struct ring *ring)
{
	struct io_uring_params *params = &ring->params;
	const size_t area_len = 2 * PAGE + ring->rings->transfer_max;

	ring->params.flags = SETUP_FLAGS;
	ring->fd = (int)syscall(SYS_io_uring_setup, 2, params);
	if (ring->fd < 0 || !(params->features & IORING_FEAT_SINGLE_MMAP))
		return false;
	ring->shared_len = MAX(params->sq_off.array + params->sq_entries * sizeof(uint32_t),
	                       params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe));
	ring->sqes_len = (size_t)params->sq_entries * SQE_LEN;
	ring->shared = map(ring->fd, ring->shared_len, IORING_OFF_SQ_RING);
	ring->sqes = map(ring->fd, ring->sqes_len, IORING_OFF_SQES);
	ring->header = map(-1, PAGE, 0);
	ring->area = map(-1, area_len, 0);
	if (!ring->shared || !ring->sqes || !ring->header || !ring->area)
		return false;
	ring->payload = ring->area + PAGE;
	ring->iov[0] = (struct iovec){.iov_base = ring->header, .iov_len = sizeof(*ring->header)};
	ring->iov[1] = (struct iovec){.iov_base = ring->payload, .iov_len = ring->rings->transfer_max + PAGE};
	return true;
}

static void ring_clear(struct ring *ring)
{
	if (ring->fd >= 0)
		close(ring->fd);
	if (ring->shared)
		munmap(ring->shared, ring->shared_len);
	if (ring->sqes)
		munmap(ring->sqes, ring->sqes_len);
	if (ring->header)
		munmap(ring->header, PAGE);
	if (ring->area)
		munmap(ring->area, 2 * PAGE + ring->rings->transfer_max);
}

static _Atomic uint32_t *word(const struct ring *ring, uint32_t offset)
{
	return (_Atomic uint32_t *)(void *)(ring->shared + offset);
}

/* Hands on what is queued. With IORING_ENTER_GETEVENTS it waits for a request. */
static long enter(struct ring *ring, unsigned flags)
{
	const long taken = syscall(SYS_io_uring_enter, ring->fd, ring->queued, flags ? 1 : 0, flags, NULL, 0);

	if (taken > 0)
		ring->queued -= MIN((unsigned)taken, ring->queued);
	return taken;
}

/* Puts the command into the queue for the kernel, which has it with the next enter(). */
static void prepare(struct ring *ring, unsigned operation)
{
	_Atomic uint32_t *tail = word(ring, ring->params.sq_off.tail);
	const uint32_t at = atomic_load_explicit(tail, memory_order_relaxed), slot = at & (ring->params.sq_entries - 1);
	struct io_uring_sqe *sqe = (void *)(ring->sqes + (size_t)slot * SQE_LEN);
	struct command *command = (void *)((uint8_t *)sqe + SQE_COMMAND);

	memset(sqe, 0, SQE_LEN);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = ring->rings->fd;
	sqe->cmd_op = operation;
	if (operation == CMD_REGISTER) {
		sqe->addr = (uintptr_t)ring->iov;
		sqe->len = ARRAY_SIZE(ring->iov);
	} else {
		command->commit_id = ring->header->commit_id;
	}
	command->queue = (uint16_t)ring->queue;
	atomic_store_explicit(word(ring, ring->params.sq_off.array) + slot, slot, memory_order_relaxed);
	atomic_store_explicit(tail, at + 1, memory_order_release);
	ring->queued++;
}

/* 1: nothing is there yet; else the result of the command: 0 a request, or an error, which ends the ring. */
static int completed(struct ring *ring)
{
	_Atomic uint32_t *head = word(ring, ring->params.cq_off.head);
	const uint32_t at = atomic_load_explicit(head, memory_order_relaxed);
	const struct io_uring_cqe *cqes = (const void *)(ring->shared + ring->params.cq_off.cqes);
	int result;

	if (at == atomic_load_explicit(word(ring, ring->params.cq_off.tail), memory_order_acquire))
		return 1;
	result = cqes[at & (ring->params.cq_entries - 1)].res;
	atomic_store_explicit(head, at + 1, memory_order_release);
	return MIN(result, 0);
}

/* --- the threads --- */

/* The kernel has the request in two pieces; libfuse wants them as they come from /dev/fuse. */
static void *assemble(struct ring *ring, size_t *ret_len)
{
	struct fuse_in_header in;
	uint8_t *start = ring->payload;
	size_t op_len;

	memcpy(&in, ring->header->in_out, sizeof(in));
	if (in.len < sizeof(in) || ring->header->payload_len > in.len - sizeof(in) || ring->header->payload_len > ring->iov[1].iov_len)
		return NULL;
	*ret_len = in.len;
	op_len = in.len - sizeof(in) - ring->header->payload_len;
	if (op_len > HEADER_LEN)
		return NULL;
	start -= op_len;
	memcpy(start, ring->header->op_in, op_len);
	start -= sizeof(in);
	memcpy(start, &in, sizeof(in));
	return start;
}

static void wait_for_answer(struct ring *ring)
{
	struct rings *rings = ring->rings;

	if (atomic_load(&ring->state) != RUNS)
		return;
	pthread_mutex_lock(&rings->lock);
	while (atomic_load(&ring->state) == RUNS)
		pthread_cond_wait(&rings->changed, &rings->lock);
	pthread_mutex_unlock(&rings->lock);
}

/* False: the session has ended. */
static bool next_request(struct ring *ring)
{
	int result;

	if (atomic_exchange(&ring->state, IDLE) == ANSWERED)
		prepare(ring, CMD_COMMIT_AND_FETCH);
	while ((result = completed(ring)) == 1) {
		if (enter(ring, IORING_ENTER_GETEVENTS) < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY)
			return false;
	}
	return result == 0;
}

/* Where the thread runs: on the processor of its queue, or anywhere. A processor that is off asks for nothing: it does not matter then. */
static void run_where(struct ring *ring, bool wide)
{
	cpu_set_t set = ring->rings->everywhere;

	ring->is_wide = wide;
	if (!wide) {
		CPU_ZERO(&set);
		CPU_SET(ring->queue, &set);
	}
	(void)sched_setaffinity(0, sizeof(set), &set);
}

static bool is_wide(const struct fuse_in_header *request)
{
	return request->opcode == FUSE_READ && ((const struct fuse_read_in *)(request + 1))->size > WIDE;
}

/* As completed(). */
static int register_ring(struct ring *ring)
{
	run_where(ring, false);
	if (syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
		return -errno;
	prepare(ring, CMD_REGISTER);
	return enter(ring, 0) == 1 ? completed(ring) : -EIO;
}

static void tell_result(struct ring *ring, int result)
{
	pthread_mutex_lock(&ring->rings->lock);
	ring->result = result;
	pthread_cond_broadcast(&ring->rings->changed);
	pthread_mutex_unlock(&ring->rings->lock);
}

static void *ring_main(void *arg)
{
	struct ring *ring = arg;
	struct rings *rings = ring->rings;
	void *own = rings->options.begin(rings->options.arg);
	const int result = register_ring(ring);
	bool more;

	(void)pthread_setspecific(rings->own, ring);
	tell_result(ring, MIN(result, 0));
	more = result == 0 || (result == 1 && next_request(ring));
	while (more) {
		size_t len;
		const struct fuse_in_header *request = assemble(ring, &len);

		if (!request)
			break; /* not the protocol that we know: the kernel ends what waits when the descriptor is closed */
		if (is_wide(request) != ring->is_wide)
			run_where(ring, !ring->is_wide);
		atomic_store(&ring->state, RUNS);
		atomic_store(&ring->unique, request->unique);
		rings->options.run(own, ring->payload - (len - ring->header->payload_len), len);
		wait_for_answer(ring);
		more = next_request(ring);
	}
	rings->options.end(own);
	return NULL;
}

/* --- */

/* Queues: the kernel wants one for each processor that there may ever be. 0: too many, or unknown. */
static unsigned count_queues(void)
{
	AUTO_BUF text = BUF_INIT;
	const char *last;
	unsigned long highest;

	if (file_read(POSSIBLE, POSSIBLE_MAX, &text))
		return 0;
	buf_add_u8(&text, 0);
	/* "0-3", or "0,2-7": the last number is the highest */
	last = (const char *)text.data + strcspn((const char *)text.data, "\n");
	while (last > (const char *)text.data && last[-1] >= '0' && last[-1] <= '9')
		last--;
	highest = strtoul(last, NULL, 10);
	return highest < QUEUES_MAX ? (unsigned)highest + 1 : 0;
}

bool rings_possible(void)
{
	AUTO_BUF content = BUF_INIT;
	struct io_uring_params params = {.flags = SETUP_FLAGS};
	AUTO_CLOSE int fd = -1;

	if (file_read(RINGS_SWITCH, 16, &content) < 0 || content.len == 0 || content.data[0] != 'Y')
		return false;
	fd = (int)syscall(SYS_io_uring_setup, 2, &params);
	return fd >= 0;
}

struct rings *rings_new(size_t transfer_max)
{
	const unsigned queues = count_queues();
	const unsigned threads = queues ? MIN(MAX(THREADS_ALL / queues, THREADS_MIN), THREADS_MAX) : 0;
	struct rings *rings = xcalloc(1, sizeof(*rings));
	bool made = queues > 0;

	rings->transfer_max = transfer_max;
	if (sched_getaffinity(0, sizeof(rings->everywhere), &rings->everywhere))
		made = false;
	pthread_mutex_init(&rings->lock, NULL);
	pthread_cond_init(&rings->changed, NULL);
	rings->items = xcalloc((size_t)queues * threads + 1, sizeof(*rings->items));
	if (pthread_key_create(&rings->own, NULL)) {
		free(rings->items);
		free(rings);
		return NULL;
	}
	for (; made && rings->count < queues * threads; rings->count++) {
		struct ring *ring = &rings->items[rings->count];

		ring->rings = rings;
		ring->queue = rings->count % queues;
		ring->result = 1;
		made = ring_init(ring);
	}
	if (!made) {
		rings_free(rings);
		return NULL;
	}
	return rings;
}

void rings_free(struct rings *rings)
{
	if (!rings)
		return;
	for (unsigned i = 0; i < rings->started; i++)
		pthread_join(rings->items[i].thread, NULL);
	for (unsigned i = 0; i < rings->count; i++)
		ring_clear(&rings->items[i]);
	(void)pthread_key_delete(rings->own);
	pthread_cond_destroy(&rings->changed);
	pthread_mutex_destroy(&rings->lock);
	free(rings->items);
	free(rings);
}

unsigned rings_threads(const struct rings *rings)
{
	return rings->count;
}

int rings_start(struct rings *rings, int fd, const struct rings_options *options)
{
	int result = 0;

	rings->fd = fd;
	rings->options = *options;
	for (; rings->started < rings->count && !result; rings->started++)
		result = -pthread_create(&rings->items[rings->started].thread, NULL, ring_main, &rings->items[rings->started]);
	if (result)
		rings->started--;
	pthread_mutex_lock(&rings->lock);
	for (unsigned i = 0; i < rings->started; i++) {
		while (rings->items[i].result == 1)
			pthread_cond_wait(&rings->changed, &rings->lock);
		result = result ? result : rings->items[i].result;
	}
	pthread_mutex_unlock(&rings->lock);
	return result;
}

static struct ring *find(struct rings *rings, uint64_t unique)
{
	struct ring *own = pthread_getspecific(rings->own);

	if (own && atomic_load(&own->unique) == unique)
		return own;
	for (unsigned i = 0; i < rings->count; i++) {
		if (atomic_load(&rings->items[i].unique) == unique)
			return &rings->items[i];
	}
	return NULL;
}

bool rings_take(struct rings *rings, const struct iovec *iov, int count)
{
	struct fuse_out_header out;
	struct ring *ring;
	size_t len = 0;

	memcpy(&out, iov[0].iov_base, sizeof(out));
	ring = out.unique ? find(rings, out.unique) : NULL;
	if (!ring)
		return false;
	for (int i = 1; i < count; i++) {
		if (iov[i].iov_len > ring->iov[1].iov_len - len) {
			out.error = -EIO;
			len = 0;
			break;
		}
		if (iov[i].iov_base != ring->payload + len)
			memcpy(ring->payload + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	out.len = (uint32_t)(sizeof(out) + len);
	memcpy(ring->header->in_out, &out, sizeof(out));
	ring->header->payload_len = (uint32_t)len;
	atomic_store(&ring->unique, 0);
	if (ring == pthread_getspecific(rings->own)) {
		atomic_store(&ring->state, ANSWERED);
		return true;
	}
	pthread_mutex_lock(&rings->lock);
	atomic_store(&ring->state, ANSWERED);
	pthread_cond_broadcast(&rings->changed);
	pthread_mutex_unlock(&rings->lock);
	return true;
}

void rings_send(struct rings *rings)
{
	struct ring *own = pthread_getspecific(rings->own);
	int answered = ANSWERED;

	if (!own || !atomic_compare_exchange_strong(&own->state, &answered, IDLE))
		return;
	prepare(own, CMD_COMMIT_AND_FETCH);
	/* if the kernel does not take it now, it does so in next_request() */
	(void)enter(own, 0);
}

void *rings_buffer(struct rings *rings)
{
	struct ring *own = pthread_getspecific(rings->own);

	return own && atomic_load(&own->state) == RUNS ? own->payload : NULL;
}

bool rings_is_buffer(struct rings *rings, const void *buffer)
{
	const struct ring *own = pthread_getspecific(rings->own);

	return own && buffer == own->payload;
}
