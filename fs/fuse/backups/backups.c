#include "fs/fuse/backups/backups.h"

#include <errno.h>

#include "fs/fuse/backups/backups_ops.h"
#include "fs/fuse/mount/places.h"
#include "lib/base/buf.h"

#define SESSION_THREADS 4
#define JOB_THREADS 16
#define BRING_THREADS 8
#define AHEAD_THREADS 8
#define PLACES 4096     /* for requests */
#define AHEAD_PLACES 16 /* more come too late */

/* Nobody holds a request of a read-only mount back. */
static void slot_added(void *arg, struct session_slot *slot)
{
	(void)arg;
	(void)slot;
}

static bool enter(void *arg, struct session_slot *slot, const void *request, size_t len)
{
	(void)arg;
	(void)slot;
	(void)request;
	(void)len;
	return true;
}

static void leave(void *arg, struct session_slot *slot)
{
	(void)arg;
	(void)slot;
}

static void session_ended(void *arg)
{
	const struct backups *backups = arg;

	backups->options.ended(backups->options.arg);
}

/* Only requests that come again from a daemon before are refused, and there is none. */
static void refused(void *arg, uint32_t opcode, uint64_t node)
{
	(void)arg;
	(void)opcode;
	(void)node;
}

/* Commas and backslashes separate mount options; a path may have them. */
static void add_escaped(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == ',' || *text == '\\')
			buf_add_u8(out, '\\');
		buf_add_u8(out, (uint8_t)*text);
	}
}

static char *kernel_options(const struct backups_options *options)
{
	struct buf text = BUF_INIT;

	buf_addf(&text, "default_permissions,subtype=corpusfs,noatime,ro%s%s", options->allow_other ? ",allow_other" : "", options->debug ? ",debug" : "");
	if (options->extra && options->extra[0])
		buf_addf(&text, ",%s", options->extra);
	buf_addf(&text, ",fsname=");
	add_escaped(&text, options->source);
	buf_add_u8(&text, 0);
	return (char *)text.data;
}

int backups_start(const struct backups_options *options, struct backups **ret_backups, struct error *err)
{
	struct backups *backups = xcalloc(1, sizeof(*backups));
	AUTO_FREE char *mount_options = kernel_options(options);
	const struct session_options session = {
		.ops = &backups_ops,
		.mountpoint = options->mountpoint,
		.mount_options = mount_options,
		.threads = SESSION_THREADS,
		.holder = {.add = slot_added, .remove = leave, .enter = enter, .leave = leave},
		.fd = -1,
		.refused = refused,
		.ended = session_ended,
		.arg = backups,
	};
	struct session_options with_kept = session;
	int r;

	backups->options = *options;
	r = place_check(options->mountpoint, err);
	if (r == 0) {
		r = kept_map(-1, &backups->kept);
		if (r < 0)
			(void)error_set(err, r, "no memory for a mount: %s", error_text(r));
	}
	if (r == 0) {
		backups->jobs = backups_jobs_new(JOB_THREADS, PLACES);
		backups->bringing = backups_jobs_new(BRING_THREADS, PLACES);
		backups->ahead = backups_jobs_new(AHEAD_THREADS, AHEAD_PLACES);
		if (!backups->jobs || !backups->bringing || !backups->ahead)
			r = error_set(err, -EAGAIN, "no thread could be started for a mount");
	}
	with_kept.kept = backups->kept;
	if (r == 0)
		r = session_start(&with_kept, &backups->session, err);
	if (r < 0) {
		backups_free(backups);
		return r;
	}
	*ret_backups = backups;
	return 0;
}

int backups_drop(struct backups *backups, const char *name)
{
	return name ? session_notify_entry(backups->session, FUSE_ROOT_ID, name) : session_notify_inode(backups->session, FUSE_ROOT_ID);
}

void backups_free(struct backups *backups)
{
	if (!backups)
		return;
	/* Readers last: they start what nobody waits for. */
	backups_jobs_free(backups->bringing);
	backups_jobs_free(backups->jobs);
	backups_jobs_free(backups->ahead);
	session_free(backups->session);
	kept_unmap(backups->kept);
	free(backups);
}
