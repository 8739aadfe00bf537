/*
 * All code between the /dev/fuse descriptor and libfuse: the threads that read requests, what libfuse 3.14 cannot
 * negotiate or pass on, and notifications. It mounts the kernel's side and serves until the kernel ends the session.
 * Requests may also come by io_uring (rings.h); notices.c has the notifications.
 * Before libfuse sees a request, the session asks its `holder` (fs/fuse/freeze/gate.h), which may hold it back.
 *
 * What libfuse 3.14 does not know is bridged by rewriting requests before libfuse sees them and its INIT reply
 * afterwards:
 *   - FUSE_HANDLE_KILLPRIV_V2 and FUSE_SETXATTR_EXT are added to the INIT reply
 *   - WRITE: write_flags are put into lock_owner (nobody else uses it), so that the operation sees FUSE_WRITE_KILL_SUIDGID
 *   - OPEN: FUSE_OPEN_KILL_SUIDGID becomes SESSION_OPEN_KILL_PRIV in the flags
 *   - SETXATTR: the long form becomes the short one, with SESSION_XATTR_KILL_SGID in the flags
 *   - TMPFILE becomes CREATE with the name "/"
 *
 * A session can go on after its daemon has died, in another that has the descriptor of /dev/fuse and what was kept (fs/supervise/kept.h). libfuse
 * is given the INIT request of then once more, and its answer is swallowed. The kernel is asked to send again what it had sent and got
 * no answer to (FUSE_NOTIFY_RESEND, Linux 6.9): such a request has its top bit set. It may have been done already, so that only the answer was
 * lost. Most may be done twice: whoever asked is still waiting, so the second time counts. Of those that may not, the batch
 * that did it carries the request's number (lib/tree/inodes/mark.h); session_request() tells the operation.
 */
#ifndef CORPUSFS_FUSE_SESSION_SESSION_H
#define CORPUSFS_FUSE_SESSION_SESSION_H

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "fs/fuse/session/unanswered.h"
#include "fs/supervise/kept.h"
#include "lib/base/error.h"

#define SESSION_OPEN_KILL_PRIV (1 << 30)
#define SESSION_XATTR_KILL_SGID (1 << 30)
#define SESSION_TMPFILE_NAME "/"
#define SESSION_TRANSFER_MAX (1U << 20) /* max_write and max_read */

struct session;

/*
 * One per reader thread: the view whose request it is running (`writes`: a write; `looks`: one that changes nothing), 0 for none or one that the
 * holder does not care about.
 */
struct session_slot {
	_Atomic uint32_t view, writes, looks;
	struct session_slot *prev, *next; /* the holder's */
};

/* Places in what is kept (running), of threads that run requests which others have read, each one at a time. Who reads them has one of the first. */
enum session_place {
	SESSION_PLACE_HELD = KEPT_THREADS - 1, /* what was held back */
	SESSION_PLACE_WORKER = KEPT_THREADS - 2, /* these are of the group's workers; of them, only this one makes changes that are marked */
	SESSION_PLACE_DROPPER = KEPT_THREADS - 3,
	SESSION_PLACE_DIGESTS = KEPT_THREADS - 4,
	SESSION_PLACE_NONE = KEPT_THREADS, /* it runs no requests */
};

/* Who may hold requests back. All are called with `arg`. */
struct session_holder {
	void (*add)(void *arg, struct session_slot *slot); /* the thread begins, and ends */
	void (*remove)(void *arg, struct session_slot *slot);
	/* True: the request runs now, and `leave` follows. False: the holder has copied it and feeds it to session_process() later. */
	bool (*enter)(void *arg, struct session_slot *slot, const void *request, size_t len);
	void (*leave)(void *arg, struct session_slot *slot);
	void *arg;
};

struct session_options {
	const struct fuse_lowlevel_ops *ops;
	const char *mountpoint;
	const char *mount_options; /* comma separated, for libfuse and the kernel */
	unsigned threads;
	bool rings; /* its requests may come by io_uring (rings.h) */
	struct session_holder holder;
	struct latency *latency; /* or NULL */
	struct kept_session *kept;       /* the session does not free it */
	int fd;                  /* of /dev/fuse, of a session that goes on with what is kept, and becomes the session's; -1: a new one */
	bool keeps;              /* somebody would go on with it: what was done is marked in the database */
	unsigned place;          /* the first of KEPT_THREADS places for marks (lib/tree/inodes/mark.h) */
	struct kv *marks;        /* where they are, for a session that goes on */
	uint32_t guilty;         /* a request that comes again with so much guilt is answered with EIO */
	/* The kernel's side is there, and no request was read yet: whoever wants to go on with it takes the descriptor. */
	int (*begun)(void *arg, int fd);
	void (*refused)(void *arg, uint32_t opcode, uint64_t node); /* a request that killed the daemon too often */
	_Atomic uint32_t *progress; /* or NULL: becomes 1 with the first answer */
	void (*ended)(void *arg);    /* by the last reader thread, as its last deed */
	void *arg;                   /* also the requests' userdata */
};

/*
 * Mounts, answers INIT and starts the threads. `ret_session` is set at once and stays set when it fails: session_free
 * it then too. It must point to the first member of what `arg` points to.
 */
WARN_UNUSED int session_start(const struct session_options *options, struct session **ret_session, struct error *err);
void session_free(struct session *session); /* after it ended */

/* The request that this thread is running. */
struct session_request {
	uint64_t number; /* without the bit of a repetition */
	bool again;      /* another daemon had it before */
	bool done;       /* and did it; only where a change of names or attributes may not be done twice */
};
const struct session_request *session_request(void);

/* Around a change that the group's worker makes for a request of another thread, so that it is known to be done. */
void session_mark_begin(struct session *session, uint64_t request);
void session_mark_end(void);

/* Feeds one request to libfuse; for the holder, which held it back. */
void session_process(struct session *session, void *request, size_t len);

int session_fd(const struct session *session); /* of /dev/fuse; stays the session's */

/* Buffers of SESSION_TRANSFER_MAX bytes for read replies. */
void *session_buffer_get(struct session *session);
void session_buffer_put(struct session *session, void *buffer);

/* For who has answered a request and goes on for a while: the answer waits no longer. The request is not looked at any more. */
void session_send(struct session *session);

/*
 * Notifications: never from a request's thread and never with a lock that a request may need. They may wait for the
 * kernel, which may wait for requests. 0 also when the kernel does not know the inode or name.
 */
int session_notify_inode(struct session *session, uint64_t node); /* attributes and pages; dirty pages are written back first */
int session_notify_attributes(struct session *session, uint64_t node); /* pages stay */
int session_notify_range(struct session *session, uint64_t node, uint64_t offset, uint64_t length); /* attributes and some pages */
int session_notify_entry(struct session *session, uint64_t parent, const char *name); /* who stands in it has lost it */
/* The kernel asks anew before it uses the name again; without session_has_expiry (before Linux 6.2) as session_notify_entry. */
int session_expire_entry(struct session *session, uint64_t parent, const char *name);
bool session_has_expiry(const struct session *session);
int session_notify_epoch(struct session *session); /* all names; -ENOSYS without session_has_epoch (before Linux 6.16) */
bool session_has_epoch(const struct session *session);

bool session_writes_at_close(const struct session *session); /* even when it does not ask for FLUSH: since Linux 5.17 */

struct session_info {
	uint64_t requests;
	unsigned protocol_minor;
	bool killpriv_v2;
	bool rings; /* requests come by io_uring */
};
bool session_oldest(struct session *session, struct unanswered_request *ret_request); /* that waits for an answer; false: none does */
void session_get_info(const struct session *session, struct session_info *ret_info);

#endif
