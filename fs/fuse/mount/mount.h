/*
 * Mounts of a store: the kernel's side. A mount_group holds all mounts of one store's daemon and answers the store's
 * hooks (freeze, thaw, changed, busy); each mount is one FUSE session with its own threads.
 *
 *   group = mount_group_new(store, log)
 *   mount_start(group, options, &mount)     mounts, answers INIT, starts serving, and returns when the mount answers
 *   mount_stop(mount, place) | the kernel ends the session (umount, fusermount3 -u) -> group's `ended` callback
 *   mount_group_free(group)
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_MOUNT_MOUNT_H
#define CORPUSFS_FUSE_MOUNT_MOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/fuse/group/options.h"
#include "lib/store/store.h"

struct keeper;
struct kept_session;
struct mount;
struct mount_group;

/* keeper: what a daemon after this one needs is kept there; NULL: there will be none. */
/* NULL: a thread could not be started. */
struct mount_group *mount_group_new(struct store *store, const struct mount_log *log, struct keeper *keeper);
void mount_group_free(struct mount_group *group); /* all mounts must have ended */

/* What operations have changed is seen in all mounts. Waits a second at most. */
void mount_group_resumed(struct mount_group *group); /* all mounts of the daemon before this one serve */
void mount_group_settle(struct mount_group *group);

/* Bytes of memory that names of open directories take, and how much they may. */
void mount_group_names(struct mount_group *group, uint64_t *ret_bytes, uint64_t *ret_budget);

/*
 * Called once per mount, from a thread of its own, when its session ended and everything it had accepted is
 * committed.
 */
void mount_group_on_end(struct mount_group *group, void (*ended)(void *arg, struct mount *mount), void *arg);

/*
 * -EBUSY something is mounted there already / not empty is fine; -ENOENT, -ENOTDIR mountpoint; -EACCES; -ENODEV no
 * /dev/fuse.
 */
WARN_UNUSED int mount_start(struct mount_group *group, const struct mount_options *options, struct mount **ret_mount,
                            struct error *err);

/*
 * Goes on with a session that the keeper has, whose daemon has died. `kept` and its descriptor are the mount's in any case, fuse_fd on success.
 * `guilt`: how much the requests that were being worked at have to do with that. mount_serve() must follow.
 */
struct mount_resume {
	struct kept_session *kept;
	int fuse_fd, kept_fd;
	unsigned number;
	uint32_t guilt;
};
WARN_UNUSED int mount_resume(struct mount_group *group, const struct mount_options *options, const struct mount_resume *from,
                             struct mount **ret_mount, struct error *err);
/* From now on requests are answered, those first that the daemon before left unanswered. */
WARN_UNUSED int mount_serve(struct mount *mount, struct error *err);
/* What the mount's places are, for the daemon after this one; as text. -E2BIG */
WARN_UNUSED int mount_keep_places(struct mount *mount, const char *text);

/*
 * Shows the mount (of the whole store: a dataset of it, if options name one) at another place too, or again where it shows nowhere. The
 * session then lasts until all its places are unmounted. Root only. -ENOTCONN, without a text: its session has just ended.
 */
WARN_UNUSED int mount_bind(struct mount *mount, const struct mount_options *options, struct error *err);
bool mount_shows_at(const struct mount *mount, const char *mountpoint);
bool mount_shows_anywhere(const struct mount *mount); /* false: its session ends as soon as nothing is open in it */

/*
 * Flushes the kernel's pages, then takes the mount away from one place, the first or a bound one; -EBUSY when files are open or a process
 * stands in it (nothing changed then, unless `lazy`). Was it the last place, then the session ends soon, and the group's `ended` is called.
 */
WARN_UNUSED int mount_stop(struct mount *mount, const char *mountpoint, bool lazy, struct error *err);
bool mount_is_ending(const struct mount *mount); /* the kernel has ended the session; what it had accepted is being committed */
WARN_UNUSED int mount_result(struct mount *mount); /* how that went, after it ended; as mount_lost() if that is why not all is on disk */
/*
 * Brings in what the kernel holds of open files, then ends the session although they are open: whoever uses them gets
 * ENOTCONN. Returns before it has ended, and does nothing where that is not permitted.
 */
void mount_abort(struct mount *mount);
void mount_free(struct mount *mount); /* after it ended */

/* Whether files on that device are seen through one of our mounts, whatever bind mount or namespace leads there. */
bool mount_group_has_device(struct mount_group *group, dev_t device);

const struct mount_options *mount_get_options(const struct mount *mount);
uint32_t mount_snapshot(const struct mount *mount); /* that it is of, by its view's number, for the same reason; 0: of none */
uint32_t mount_dataset(const struct mount *mount); /* that it is of, by id: its name may be another by now; 0: all of the store */

/*
 * Brings in what the kernel holds of all open files of this mount (NULL: of all mounts): write-back done when it
 * returns.
 */
WARN_UNUSED int mount_flush_kernel(struct mount_group *group, struct mount *mount);
/*
 * Why something is lost, with this mount (NULL: with all), -ENOSPC for example: that the kernel wrote back of mapped files, and has forgotten;
 * or that was accepted before a crash (mount_group_note_lost). Told once; 0: nothing is.
 */
WARN_UNUSED int mount_lost(struct mount_group *group, struct mount *mount);
void mount_group_note_lost(struct mount_group *group, uint32_t view, uint64_t ino, int error); /* of this file, after mount_resume */
WARN_UNUSED int mount_look_lost(struct mount *mount); /* the same, and it is told to whoever asks next */

struct mount_status {
	uint64_t requests, open_files;
	unsigned protocol_minor;
	bool killpriv_v2, no_open, io_uring;
	bool supervised; /* another daemon can go on with it */
	unsigned read_ahead_kb;
};
void mount_get_status(struct mount *mount, struct mount_status *ret_status);

/* Requests that wait for an answer. */
struct mount_waiting {
	int64_t count; /* -1: not known */
	uint64_t ms;   /* since when the oldest does that was read; its operation, "" if there is none */
	const char *op;
	char where[96];
	uint64_t ino, unique;
};
void mount_get_waiting(struct mount *mount, struct mount_waiting *ret_waiting);

#endif
