/*
 * FUSE over io_uring (Linux 6.14, Documentation/filesystems/fuse/fuse-io-uring.rst): the kernel puts a request into memory of ours, and
 * takes the answer from there with the same system call that waits for the next one. Each processor has a queue of its own, whose threads
 * run there: a request is answered on the processor of who asked. Measured beside other work (load 20): Python's open() and read() of a warm
 * file take 91 us of processor time by /dev/fuse and 63 by rings, of which ext4 takes 44. A request that asks for nothing took 65 us and
 * takes 40; with four clients 19 and 13.
 *
 * What does not come this way, forgets and interrupts, comes by /dev/fuse, and notifications go there.
 *
 *   rings_possible  whether root has switched them on, and this process may have them
 *   rings_new       before INIT is answered; NULL: this system has none, or they cannot be made
 *   rings_start     after INIT, whose answer must have the flag: the kernel sends nothing before all queues are there
 *   rings_take      an answer; false: it belongs to no ring
 *   rings_send      the caller has answered its request, and goes on for a while
 *   rings_buffer    where the caller can make the answer, SESSION_TRANSFER_MAX bytes; NULL: it is no thread of a ring
 *   rings_free      after the session ended
 *
 * A thread has one request at a time, and waits until it is answered, whoever does that. So rings are for mounts whose requests are answered
 * soon: those of snapshots.
 *
 * Threads: any, except rings_new, rings_start and rings_free.
 */
#ifndef CORPUSFS_FUSE_SESSION_RINGS_H
#define CORPUSFS_FUSE_SESSION_RINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct rings;

struct rings_options {
	void *(*begin)(void *arg);                         /* by each thread; what it gives is `own` */
	void (*run)(void *own, void *request, size_t len); /* a request as from /dev/fuse */
	void (*end)(void *own);                            /* the thread's last deed */
	void *arg;
};

#define RINGS_SWITCH "/sys/module/fuse/parameters/enable_uring"
#define RINGS_INIT_FLAG2 (1U << 9) /* FUSE_OVER_IO_URING, in flags2 */

bool rings_possible(void);
struct rings *rings_new(size_t transfer_max);
void rings_free(struct rings *rings); /* NULL is fine */
unsigned rings_threads(const struct rings *rings); /* that rings_start begins */

/* 0, or what the kernel says against it: then nothing runs, and the session must be given up. */
int rings_start(struct rings *rings, int fd, const struct rings_options *options);

bool rings_take(struct rings *rings, const struct iovec *iov, int count);
void rings_send(struct rings *rings);
void *rings_buffer(struct rings *rings);
bool rings_is_buffer(struct rings *rings, const void *buffer);

#endif
