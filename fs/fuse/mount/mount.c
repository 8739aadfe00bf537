#include "fs/fuse/mount/mount.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

#include "fs/fuse/group/mount_group.h"
#include "fs/fuse/mount/end.h"
#include "fs/fuse/mount/places.h"
#include "fs/fuse/notify/hooks.h"
#include "fs/fuse/ops/ops.h"
#include "fs/fuse/ops/table.h"
#include "fs/fuse/session/rings.h"
#include "fs/fuse/session/system.h"
#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/store/snapshots.h"
#include "lib/store/unknown.h"

#define THREADS_MIN 4
#define THREADS_MAX 16
#define GUILTY 15

/* Commas and backslashes separate mount options; a path may have them. */
static void add_escaped(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == ',' || *text == '\\')
			buf_add_u8(out, '\\');
		buf_add_u8(out, (uint8_t)*text);
	}
}

static char *kernel_options(const struct mount *mount)
{
	struct buf text = BUF_INIT;

	buf_addf(&text, "default_permissions,subtype=corpusfs,noatime,%s%s", mount->read_only ? "ro" : "rw",
	         mount->options.allow_other ? ",allow_other" : "");
	if (mount->options.debug)
		buf_addf(&text, ",debug");
	if (mount->options.extra && mount->options.extra[0])
		buf_addf(&text, ",%s", mount->options.extra);
	buf_addf(&text, ",fsname=");
	add_escaped(&text, store_path(mount->group->store));
	if (mount->options.dataset) {
		buf_addf(&text, ":");
		add_escaped(&text, mount->options.dataset);
	}
	if (mount->options.snapshot) {
		buf_addf(&text, "@");
		add_escaped(&text, mount->options.snapshot);
	}
	buf_add_u8(&text, 0);
	return (char *)text.data;
}

/* The snapshot that is pinned, or else the dataset's head. */
static void set_root(struct mount *mount, const struct dataset_info *dataset)
{
	mount->dataset = dataset->id;
	head_views_note(mount->group->heads, dataset->id, dataset->view);
	if (mount->pinned)
		mount->gate.root.snapshot = view_number(mount->pinned);
	else
		mount->gate.root.dataset = dataset->id;
}

static int find_root(struct mount *mount, struct error *err)
{
	struct store *store = mount->group->store;
	struct dataset_info dataset;
	int result;

	if (!mount->options.dataset)
		return 0;
	result = dataset_get(store, mount->options.dataset, &dataset);
	if (result)
		return unknown_or_failed(store, mount->options.dataset, NULL, result, err);
	if (mount->options.snapshot)
		result = store_snapshot(store, mount->options.dataset, mount->options.snapshot, &mount->pinned);
	if (result)
		return unknown_or_failed(store, mount->options.dataset, mount->options.snapshot, result, err);
	set_root(mount, &dataset);
	return 0;
}

/* What it is a mount of may have another name by now, and something else its name. */
static int find_root_again(struct mount *mount, struct error *err)
{
	const struct kept_session *kept = mount->kept;
	struct store *store = mount->group->store;
	struct dataset_info dataset;
	int result;

	if (!kept->dataset)
		return 0;
	result = fault_point("mount-resume");
	if (!result)
		result = dataset_get_by_id(store, kept->dataset, &dataset);
	if (!result && kept->snapshot)
		result = store_view_by_number(store, kept->snapshot, &mount->pinned);
	if (result)
		return unknown_or_failed(store, mount->options.dataset, mount->options.snapshot, result, err);
	set_root(mount, &dataset);
	return 0;
}

static struct mount *mount_new(struct mount_group *group, const struct mount_options *options)
{
	struct mount *mount = xcalloc(1, sizeof(*mount));

	mount->group = group;
	mount->gate.gate = freeze_gate(group->freeze);
	mount->gate.root.heads = group->heads;
	mount->refs = 1;
	mount->options = *options;
	mount->options.mountpoint = mount->gate.mountpoint = xstrdup(options->mountpoint);
	mount->options.dataset = xstrdup_or_null(options->dataset);
	mount->options.snapshot = xstrdup_or_null(options->snapshot);
	mount->options.extra = xstrdup_or_null(options->extra);
	mount->read_only = options->read_only || options->snapshot;
	mount->options.read_only = mount->read_only;
	writers_init(&mount->gate.writers);
	lost_init(&mount->gate.lost);
	mount->kept_fd = -1;
	pthread_mutex_init(&mount->keep_lock, NULL);
	mutex_take(&group->lock);
	group->alive++;
	mutex_give(&group->lock);
	return mount;
}

/* Two page caches over the same files would not know of each other. Caller holds the group's lock. */
static int check_other_writers(struct mount_group *group, const struct mount *mount, struct error *err)
{
	const struct mount *other;

	DL_FOREACH (group->mounts, other) {
		if (mount->read_only || other->read_only || (other->dataset && mount->dataset && other->dataset != mount->dataset))
			continue;
		error_set(err, -EBUSY, "%s is mounted for writing on %s already",
		          mount->options.dataset ? mount->options.dataset : "the store", other->options.mountpoint);
		error_hint(err, "mount it with -o ro, or show the same files there too with mount --bind");
		return -EBUSY;
	}
	return 0;
}

/* From now on others see it. One reference is for the caller's mount_free, one for the session's end. */
static int enter_group(struct mount_group *group, struct mount *mount, struct error *err)
{
	int result;

	mutex_take(&group->lock);
	result = check_other_writers(group, mount, err);
	if (!result) {
		mount->refs++;
		group_add(group, mount);
	}
	mutex_give(&group->lock);
	if (!result && !mount->read_only)
		freeze_attach(group->freeze, &mount->gate);
	return result;
}

static void leave_group(struct mount_group *group, struct mount *mount)
{
	if (!mount->read_only)
		freeze_detach(group->freeze, &mount->gate);
	mutex_take(&group->lock);
	group_remove(group, mount);
	mount->refs--;
	mutex_give(&group->lock);
}

/* The kernel's side of a new mount is there. */
static int begun(void *arg, int fd)
{
	struct mount *mount = arg;

	return mount->kept_fd < 0 ? 0 : keeper_keep(mount->group->keeper, mount->number, fd, mount->kept_fd, -1);
}

static void refused(void *arg, uint32_t opcode, uint64_t node)
{
	struct mount *mount = arg;

	group_log(mount->group, "error", "%s: %s of inode %llu is answered with an error, since daemons have died of it", mount->options.mountpoint,
	          unanswered_name(opcode), (unsigned long long)node_decode(node, &mount->gate.root).ino);
}

/* fd: of /dev/fuse, of a session that is there; -1: none. */
static int serve(struct mount *mount, int fd, struct error *err)
{
	struct mount_group *group = mount->group;
	AUTO_FREE char *options = kernel_options(mount);
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	const unsigned wanted = cpus > 0 ? 2 * (unsigned)cpus : THREADS_MIN;
	const struct session_options session_options = {
		.ops = &mount_ops,
		.mountpoint = mount->options.mountpoint,
		.mount_options = options,
		.threads = MIN(MAX(wanted, THREADS_MIN), THREADS_MAX),
		.rings = mount->rings,
		.holder = gate_holder(&mount->gate),
		.latency = mount->options.deep_idle ? NULL : group->latency,
		.kept = mount->kept,
		.fd = fd,
		.keeps = mount->kept_fd >= 0,
		.place = mount->number * KEPT_THREADS,
		.marks = store_kv(group->store),
		.guilty = GUILTY,
		.begun = begun,
		.refused = refused,
		.progress = group->keeper ? &keeper_page(group->keeper)->progress : NULL,
		.ended = mount_session_ended,
		.arg = mount,
	};
	int result = fd < 0 ? enter_group(group, mount, err) : 0;

	if (result)
		return result;
	result = session_start(&session_options, &mount->gate.session, err);
	if (result)
		leave_group(group, mount);
	return result;
}

/* The supervisor can end the connection when it gives up, even if the daemon does not go. */
static void keep_end(struct mount *mount)
{
	AUTO_CLOSE int fd = mount->kept_fd >= 0 ? aborter_open(mount->gate.connection) : -1;

	pthread_mutex_lock(&mount->keep_lock);
	/* without it, the connection ends with its last descriptor */
	if (fd >= 0 && !mount->is_dropped)
		(void)!keeper_keep(mount->group->keeper, mount->number, session_fd(mount_session(mount)), mount->kept_fd, fd);
	pthread_mutex_unlock(&mount->keep_lock);
}

static void watch_over(struct mount *mount, const struct system_mount *there)
{
	struct mount_group *group = mount->group;

	mount->read_ahead_kb = system_tune(there);
	mutex_take(&group->lock);
	if (!mount->ended) {
		mount->gate.connection = mount->kept->connection = there->minor;
		aborter_add(group->aborter, mount->gate.connection, mount->kept_fd >= 0);
	}
	mutex_give(&group->lock);
	keep_end(mount);
}

/*
 * Memory for who goes on with the mount; without anybody, of this process. Requests by rings and a daemon that follows exclude each other: what
 * the kernel had handed to a ring's thread is not sent again (FUSE_NOTIFY_RESEND goes through what /dev/fuse handed out), and the rings
 * end with their threads. A snapshot loses nothing with its daemon, so where root has switched rings on, it has them.
 */
static int make_kept(struct mount *mount, struct error *err)
{
	struct keeper *keeper = mount->rings ? NULL : mount->group->keeper;
	int result = 0, number = -1, fd = -1;

	if (keeper) {
		number = keeper_number(keeper);
		result = number < 0 ? number : kept_create(&fd);
	}
	if (result == 0)
		result = kept_map(fd, &mount->kept);
	if (number >= 0 && fd >= 0) {
		mount->number = (unsigned)number;
		mount->kept_fd = fd;
	} else if (number >= 0) {
		keeper_drop(keeper, (unsigned)number);
	}
	if (result == 0 && getrandom(&mount->kept->session, sizeof(mount->kept->session), 0) < 0)
		result = -errno;
	if (result == 0) {
		mount->kept->dataset = mount->dataset;
		mount->kept->snapshot = mount->pinned ? view_number(mount->pinned) : 0;
		lost_keep(&mount->gate.lost, &mount->kept->lost);
		result = opens_init(&mount->opens, mount->kept);
	}
	if (result == -EMFILE)
		return error_set(err, result, "a store cannot be mounted more than %d times at once", SUPERVISOR_SESSIONS);
	return result < 0 ? error_set(err, result, "no memory for a mount: %s", error_text(result)) : 0;
}

int mount_start(struct mount_group *group, const struct mount_options *options, struct mount **ret_mount, struct error *err)
{
	struct mount *mount = mount_new(group, options);
	struct system_mount there;
	struct error local = {0};
	int result;

	err = err ? err : &local;
	result = place_check(options->mountpoint, err);
	if (!result)
		result = find_root(mount, err);
	mount->rings = mount->pinned && !options->supervise && rings_possible();
	if (!result)
		result = make_kept(mount, err);
	if (!result)
		result = serve(mount, -1, err);
	if (result) {
		if (mount->kept_fd >= 0)
			keeper_drop(group->keeper, mount->number);
		mount_put(mount);
		return result;
	}
	if (!system_find_mount(options->mountpoint, &there))
		watch_over(mount, &there);
	*ret_mount = mount;
	return 0;
}

static struct opened *open_again(void *arg, const struct kept_open *kept)
{
	return kept->flags & KEPT_OPEN_DIRECTORY ? dirs_resume(arg, kept) : files_resume(arg, kept);
}

int mount_resume(struct mount_group *group, const struct mount_options *options, const struct mount_resume *from, struct mount **ret_mount,
                 struct error *err)
{
	struct mount *mount = mount_new(group, options);
	int result;

	mount->kept = from->kept;
	mount->kept_fd = from->kept_fd;
	mount->number = from->number;
	mount->fuse_fd = from->fuse_fd;
	lost_keep(&mount->gate.lost, &mount->kept->lost);
	result = opens_init(&mount->opens, mount->kept);
	if (!result)
		result = find_root_again(mount, err);
	if (!result)
		result = enter_group(group, mount, err);
	if (result) {
		mount_put(mount);
		return error_default(err, result, "no memory for a mount");
	}
	opens_resume(&mount->opens, open_again, mount);
	kept_suspect(mount->kept, from->guilt);
	*ret_mount = mount;
	return 0;
}

int mount_serve(struct mount *mount, struct error *err)
{
	struct mount_group *group = mount->group;
	int result = serve(mount, mount->fuse_fd, err);

	if (result)
		return result;
	mutex_take(&group->lock);
	if (!mount->ended) {
		mount->gate.connection = mount->kept->connection;
		aborter_add(group->aborter, mount->gate.connection, true);
	}
	mutex_give(&group->lock);
	keep_end(mount);
	hooks_tell_all(mount);
	return 0;
}

void mount_free(struct mount *mount)
{
	if (mount)
		mount_put(mount);
}

uint32_t mount_snapshot(const struct mount *mount)
{
	return mount->options.snapshot ? mount_root_view(mount) : 0;
}

uint32_t mount_dataset(const struct mount *mount)
{
	return mount->dataset;
}

const struct mount_options *mount_get_options(const struct mount *mount)
{
	return &mount->options;
}

void mount_get_status(struct mount *mount, struct mount_status *ret_status)
{
	struct session_info info;

	session_get_info(mount_session(mount), &info);
	*ret_status = (struct mount_status){
		.requests = info.requests,
		.open_files = atomic_load(&mount->open_files),
		.protocol_minor = info.protocol_minor,
		.killpriv_v2 = info.killpriv_v2,
		.io_uring = info.rings,
		.supervised = mount->kept_fd >= 0 && keeper_lives(mount->group->keeper),
		.no_open = mount->read_only,
		.read_ahead_kb = mount->read_ahead_kb,
	};
}
