/*
 * A snapshot is one instant for all writers although the kernel caches what they write. The steps, with why each is
 * needed:
 *
 *   1. With everything running, dirty pages are written back and committed, so that the rest is short.
 *   2. The gate closes: new requests of the views wait, those that are running end. But who stores into a shared
 *      mapping asks nobody, and a write(2) that waits keeps its pages locked, which step 3 needs. So reads and writes of
 *      files open for writing still pass, and:
 *   3. Each such file's pages are written back and unmapped; from then on it is sealed: its reads and writes wait
 *      too, so whoever writes through a mapping stops at its next page fault. Whoever wrote A before B cannot have B in and
 *      A out: either A's write(2) had been answered, or the store into A's mapping had ended before A was sealed and was
 *      written back with it.
 *   4. The writes that passed end, and all is committed.
 *   5. The caller freezes the views, whose changes are now only what was accepted, writes its records, and
 *      thaws: the gate opens.
 *
 * A file is not invalidated again while it is sealed: a request that waits at the gate holds its page locked. Should the
 * steps not come to an end in FREEZE_LIMIT_MS, a watcher opens the gate, and the snapshot fails with -EBUSY.
 */
#include "fs/fuse/session/mount_group.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>
#include <utlist.h>

#include "fs/fuse/session/node.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/store/datasets.h"

#define FREEZE_LIMIT_MS 10000
#define LET_PASS_STEPS 200 /* 10 ms */
#define LET_PASS_STEP_US 50

struct open_count {
	uint32_t view;
	unsigned opens;
	UT_hash_handle hh;
};

void group_log(struct mount_group *group, const char *level, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (group->log.line)
		group->log.line(group->log.arg, level, text);
}

void group_count_open(struct mount_group *group, struct view *view, int step)
{
	const uint32_t number = view_number(view);
	struct open_count *entry;

	if (!view_read_only(view))
		return;
	pthread_mutex_lock(&group->lock);
	HASH_FIND(hh, group->open_counts, &number, sizeof(number), entry);
	if (!entry) {
		entry = xcalloc(1, sizeof(*entry));
		entry->view = number;
		HASH_ADD(hh, group->open_counts, view, sizeof(entry->view), entry);
	}
	entry->opens += (unsigned)step;
	if (!entry->opens) {
		HASH_DEL(group->open_counts, entry);
		free(entry);
	}
	pthread_mutex_unlock(&group->lock);
}

void group_add(struct mount_group *group, struct mount *mount)
{
	pthread_mutex_lock(&group->lock);
	DL_APPEND(group->mounts, mount);
	atomic_fetch_add(&group->sessions, 1);
	pthread_mutex_unlock(&group->lock);
}

size_t group_mounts(struct mount_group *group, struct mount ***ret_mounts)
{
	struct mount *mount;
	size_t count = 0;

	pthread_mutex_lock(&group->lock);
	DL_COUNT(group->mounts, mount, count);
	*ret_mounts = xcalloc(count + 1, sizeof(**ret_mounts));
	count = 0;
	DL_FOREACH (group->mounts, mount) {
		mount->refs++;
		(*ret_mounts)[count++] = mount;
	}
	pthread_mutex_unlock(&group->lock);
	return count;
}

static int commit_writer(struct mount *mount, uint64_t id)
{
	const struct node node = node_decode(id, atomic_load(&mount->root_view));
	struct inode *inode;
	struct view *view;
	int result;

	result = store_view_by_number(mount->group->store, node.view, &view);
	if (result)
		return result == -ESTALE ? 0 : result;
	result = inode_open(view, node.ino, &inode);
	if (!result) {
		result = inode_commit(inode);
		inode_close(inode);
	}
	store_view_put(mount->group->store, view);
	return result == -ESTALE ? 0 : result;
}

int group_flush(struct mount *mount, uint32_t view)
{
	AUTO_FREE uint64_t *nodes = NULL;
	const size_t count = writers_list(&mount->writers, view, atomic_load(&mount->root_view), &nodes);
	int result = 0;

	for (size_t i = 0; i < count; i++) {
		const int one = session_notify_inode(mount->session, nodes[i]);

		result = result ? result : one;
	}
	return result;
}

static int commit_writers(struct mount *mount, uint32_t view)
{
	AUTO_FREE uint64_t *nodes = NULL;
	const size_t count = writers_list(&mount->writers, view, atomic_load(&mount->root_view), &nodes);
	int result = 0;

	for (size_t i = 0; i < count && !result; i++)
		result = commit_writer(mount, nodes[i]);
	return result;
}

static int flush_and_commit(struct mount *mount, uint32_t view)
{
	const int result = group_flush(mount, view);

	return result ? result : commit_writers(mount, view);
}

static int name_writers(struct mount *mount, uint32_t view)
{
	writers_name(&mount->writers);
	return 0;
}

/*
 * Who waits for the end of his head start keeps pages locked, perhaps such as the next try to take them away would wait for, and so on
 * until none is left: a page that is stored into all the time is asked for again before we are back. So a try begins when none waits.
 */
static void let_pass(struct mount *mount, uint64_t node)
{
	for (int i = 0; i < LET_PASS_STEPS && !writers_let_pass(&mount->writers, node); i++)
		clock_pause_us(LET_PASS_STEP_US);
}

/* Step 3 for one mount and view. */
static int seal(struct mount *mount, uint32_t view)
{
	AUTO_FREE uint64_t *nodes = NULL;
	const size_t count = writers_list_named(&mount->writers, view, atomic_load(&mount->root_view), &nodes);
	int result = 0;

	for (size_t i = 0; i < count && !result; i++) {
		uint64_t passed;

		do {
			let_pass(mount, nodes[i]);
			passed = writers_begin_seal(&mount->writers, nodes[i]);
			result = clock_ms() < mount->group->freeze_until_ms ? session_notify_inode(mount->session, nodes[i]) : -EBUSY;
		} while (!result && !writers_seal(&mount->writers, nodes[i], passed));
	}
	return result;
}

/* Does step(mount, view) for the read-write mounts; the first failure ends it. */
static int each_writable(struct mount_group *group, const uint32_t *views, size_t count,
                         int (*step)(struct mount *mount, uint32_t view))
{
	struct mount **mounts;
	const size_t mount_count = group_mounts(group, &mounts);
	int result = 0;

	for (size_t i = 0; i < mount_count; i++) {
		for (size_t v = 0; v < count && !result && !mounts[i]->read_only; v++)
			result = step(mounts[i], views[v]);
		mount_put(mounts[i]);
	}
	free(mounts);
	return result;
}

static void open_gate(struct mount_group *group)
{
	struct mount **mounts;
	const size_t count = group_mounts(group, &mounts);

	for (size_t i = 0; i < count; i++) {
		writers_unseal_all(&mounts[i]->writers);
		mount_put(mounts[i]);
	}
	free(mounts);
	gate_open(group->gate);
}

struct watch {
	struct mount_group *group;
	pthread_mutex_t lock; /* guards the two below */
	pthread_cond_t cond;
	bool done, gave_up;
};

static void *watch_main(void *arg)
{
	struct watch *watch = arg;
	const struct timespec until = clock_after_ms(FREEZE_LIMIT_MS);
	int waited = 0;

	pthread_mutex_lock(&watch->lock);
	while (!watch->done && waited != ETIMEDOUT)
		waited = pthread_cond_clockwait(&watch->cond, &watch->lock, CLOCK_MONOTONIC, &until);
	watch->gave_up = !watch->done;
	pthread_mutex_unlock(&watch->lock);
	if (watch->gave_up)
		open_gate(watch->group);
	return NULL;
}

/* Steps 2 to 4 under the watcher's eyes. */
static int close_and_seal(struct mount_group *group, const uint32_t *views, size_t count)
{
	struct watch watch = {.group = group, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	pthread_t watcher;
	int result;

	if (pthread_create(&watcher, NULL, watch_main, &watch))
		return -EAGAIN;
	group->freeze_until_ms = clock_ms() + FREEZE_LIMIT_MS;
	gate_close(group->gate, views, count);
	result = gate_drain(group->gate, clock_ms() + FREEZE_LIMIT_MS / 2);
	if (!result)
		result = each_writable(group, views, count, name_writers);
	if (!result)
		result = each_writable(group, views, count, seal);
	if (!result)
		result = gate_drain_writes(group->gate, clock_ms() + FREEZE_LIMIT_MS / 2);
	if (!result)
		result = each_writable(group, views, count, commit_writers);
	pthread_mutex_lock(&watch.lock);
	watch.done = true;
	pthread_cond_signal(&watch.cond);
	pthread_mutex_unlock(&watch.lock);
	pthread_join(watcher, NULL);
	return watch.gave_up && !result ? -EBUSY : result;
}

static int hook_freeze(void *arg, const uint32_t *views, size_t count)
{
	struct mount_group *group = arg;
	int result;

	pthread_mutex_lock(&group->notify_lock);
	result = each_writable(group, views, count, flush_and_commit);
	if (!result)
		result = close_and_seal(group, views, count);
	if (result) {
		open_gate(group);
		pthread_mutex_unlock(&group->notify_lock);
		group_log(group, "warning", "could not hold the writers back: %s", strerror(-result));
		return result;
	}
	group->frozen = true;
	return 0;
}

static void hook_thaw(void *arg, const uint32_t *views, size_t count)
{
	struct mount_group *group = arg;

	if (!group->frozen)
		return; /* the freeze had failed */
	open_gate(group);
	group->frozen = false;
	pthread_mutex_unlock(&group->notify_lock);
}

/* The head has a new view: nothing that the kernel remembers of the old one may answer for it. */
static void head_replaced(struct mount_group *group, uint32_t dataset, const char *name)
{
	struct dataset_info info;
	struct mount **mounts;
	size_t count;

	if (dataset_get_by_id(group->store, dataset, &info))
		return;
	atomic_fetch_add(&group->generation, 1);
	count = group_mounts(group, &mounts);
	for (size_t i = 0; i < count; i++) {
		struct mount *mount = mounts[i];

		if (mount->dataset == dataset && !mount->options.snapshot)
			atomic_store(&mount->root_view, info.view);
		if (!mount->dataset)
			session_notify_entry(mount->session, NODE_MOUNT_ROOT, info.name);
		if (!mount->dataset || (mount->dataset == dataset && !mount->options.snapshot)) {
			if (session_has_epoch(mount->session))
				session_notify_epoch(mount->session);
			session_notify_inode(mount->session, NODE_MOUNT_ROOT);
		}
		mount_put(mount);
	}
	free(mounts);
}

/* A whole subtree was exchanged under the kernel's feet: told at once, and again later for answers that are under way. */
static void tree_changed(struct mount_group *group, uint32_t dataset, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	AUTO_FREE char *above = xasprintf("%.*s", (int)(slash ? slash - path : 0), path);
	struct dataset_info info;
	struct view *head;
	struct attr dir;
	int result;

	if (dataset_get_by_id(group->store, dataset, &info) || store_view_by_number(group->store, info.view, &head))
		return;
	result = view_resolve(head, above, &dir);
	store_view_put(group->store, head);
	if (!result)
		changes_tell_name(group, info.view, dir.ino, name);
}

static void hook_changed(void *arg, enum store_event event, uint32_t dataset, const char *name)
{
	struct mount_group *group = arg;
	struct dataset_info info;

	switch (event) {
	case STORE_DATASETS_CHANGED:
		atomic_store(&group->changed_s, clock_now().tv_sec);
		changes_note_list(group, 0, name);
		break;
	case STORE_SNAPSHOTS_CHANGED:
		if (!dataset_get_by_id(group->store, dataset, &info))
			changes_note_list(group, info.view, name);
		break;
	case STORE_HEAD_REPLACED: head_replaced(group, dataset, name); break;
	case STORE_TREE_CHANGED: tree_changed(group, dataset, name); break;
	}
}

static void hook_entry_changed(void *arg, uint32_t view, uint64_t dir, const char *name)
{
	struct mount_group *group = arg;

	if (atomic_load_explicit(&group->sessions, memory_order_relaxed) > 0)
		changes_note_entry(group, view, dir, name);
}

static bool hook_busy(void *arg, uint32_t view)
{
	struct mount_group *group = arg;
	struct open_count *entry;
	struct mount *mount;
	bool busy;

	pthread_mutex_lock(&group->lock);
	HASH_FIND(hh, group->open_counts, &view, sizeof(view), entry);
	busy = entry != NULL;
	DL_FOREACH (group->mounts, mount)
		busy |= mount->options.snapshot && atomic_load(&mount->root_view) == view;
	pthread_mutex_unlock(&group->lock);
	return busy;
}

struct mount_group *mount_group_new(struct store *store, const struct mount_log *log)
{
	struct mount_group *group = xcalloc(1, sizeof(*group));
	struct store_hooks hooks = {
		.freeze = hook_freeze, .thaw = hook_thaw, .changed = hook_changed, .busy = hook_busy,
		.entry_changed = hook_entry_changed, .arg = group};
	struct stat stat_buf;

	group->store = store;
	group->log = *log;
	group->owner_uid = geteuid();
	group->owner_gid = getegid();
	if (!stat(store_path(store), &stat_buf)) {
		group->owner_uid = stat_buf.st_uid;
		group->owner_gid = stat_buf.st_gid;
	}
	atomic_store(&group->changed_s, clock_now().tv_sec);
	pthread_mutex_init(&group->notify_lock, NULL);
	pthread_mutex_init(&group->lock, NULL);
	pthread_cond_init(&group->ended_cond, NULL);
	group->guard = aborter_new();
	group->gate = gate_new();
	group->latency = latency_new();
	group->slow = worker_new();
	group->digests = worker_new();
	group->changes = changes_new(group);
	store_set_hooks(store, &hooks);
	return group;
}

void mount_group_settle(struct mount_group *group)
{
	changes_settle(group);
}

void mount_group_free(struct mount_group *group)
{
	const struct store_hooks none = {0};

	if (!group)
		return;
	pthread_mutex_lock(&group->lock);
	while (group->alive)
		pthread_cond_wait(&group->ended_cond, &group->lock);
	pthread_mutex_unlock(&group->lock);
	worker_free(group->slow);
	worker_free(group->digests);
	changes_free(group->changes);
	store_set_hooks(group->store, &none);
	latency_free(group->latency);
	gate_free(group->gate);
	aborter_free(group->guard);
	pthread_cond_destroy(&group->ended_cond);
	pthread_mutex_destroy(&group->lock);
	pthread_mutex_destroy(&group->notify_lock);
	free(group);
}

void mount_group_on_end(struct mount_group *group, void (*ended)(void *arg, struct mount *mount), void *arg)
{
	pthread_mutex_lock(&group->lock);
	group->on_end = ended;
	group->on_end_arg = arg;
	pthread_mutex_unlock(&group->lock);
}

int mount_flush_kernel(struct mount_group *group, struct mount *mount)
{
	const uint32_t any = 0;
	int result;

	pthread_mutex_lock(&group->notify_lock);
	result = mount ? group_flush(mount, any) : each_writable(group, &any, 1, group_flush);
	pthread_mutex_unlock(&group->notify_lock);
	return result;
}
