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
 */
#ifndef CORPUSFS_FUSE_SESSION_SESSION_H
#define CORPUSFS_FUSE_SESSION_SESSION_H

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "fs/fuse/session/unanswered.h"
#include "lib/base/error.h"

#define SESSION_OPEN_KILL_PRIV (1 << 30)
#define SESSION_XATTR_KILL_SGID (1 << 30)
#define SESSION_TMPFILE_NAME "/"
#define SESSION_TRANSFER_MAX (1U << 20) /* max_write and max_read */

struct session;

/* One per reader thread: the view whose request it is running (`writes`: a write), 0 for none or one that the holder does not care about. */
struct session_slot {
	_Atomic uint32_t view, writes;
	struct session_slot *prev, *next; /* the holder's */
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
	void (*ended)(void *arg);    /* by the last reader thread, as its last deed */
	void *arg;                   /* also the requests' userdata */
};

/*
 * Mounts, answers INIT and starts the threads. `ret_session` is set at once and stays set when it fails: session_free
 * it then too. It must point to the first member of what `arg` points to.
 */
WARN_UNUSED int session_start(const struct session_options *options, struct session **ret_session, struct error *err);
void session_free(struct session *session); /* after it ended */

/* Feeds one request to libfuse; for the holder, which held it back. */
void session_process(struct session *session, void *request, size_t len);

int session_fd(const struct session *session); /* of /dev/fuse; stays the session's */
bool session_is_connected(const struct session *session); /* false: the kernel has ended it */

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
