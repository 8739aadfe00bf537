#include "fs/daemon/mounts.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "fs/fuse/mount.h"
#include "lib/base/clock.h"

#define WAIT_STEP_MS 200
#define BUSY_STEP_MS 100
#define BUSY_TRIES 4
#define ABORTED_WAIT_MS 5000
#define DETACHED_WAIT_MS 1000 /* for a session to end after a lazy umount, if nobody has files open */

struct entry {
	struct entry *prev, *next;
	struct mount *mount; /* NULL while it starts */
	json_t *args;        /* owned; the mountpoint's text lives in it */
	const char *mountpoint;
	unsigned refs;
	bool ended;
	atomic_bool detached; /* out of the tree of mounts, but files are open in it */
};

struct mounts {
	struct store *store;
	struct log *log;
	struct mount_group *group;
	int event_fd;

	pthread_mutex_t lock;  /* guards all below and all of each entry but what never changes */
	pthread_cond_t change; /* an entry started or ended */
	struct entry *entries; /* starting or serving */
	struct entry *ended;   /* to be freed when nobody refers to them */
	unsigned starting;
	bool leaving;
};

static void wake_main(struct mounts *mounts)
{
	uint64_t one = 1;

	(void)!write(mounts->event_fd, &one, sizeof(one));
}

static void group_log(void *arg, const char *level, const char *text)
{
	struct mounts *mounts = arg;

	log_line(mounts->log, level, "mount", "text=\"%s\"", text);
}

static void take_away(struct mounts *mounts, struct entry *entry)
{
	DL_DELETE(mounts->entries, entry);
	entry->ended = true;
	DL_APPEND(mounts->ended, entry);
	if (!mounts->entries)
		mounts->leaving = true;
	pthread_cond_broadcast(&mounts->change);
	wake_main(mounts);
}

static struct entry *find_mount(struct mounts *mounts, const struct mount *mount)
{
	struct entry *entry;

	DL_FOREACH (mounts->entries, entry)
		if (entry->mount == mount)
			return entry;
	return NULL;
}

/* On a thread of its own. A mount may end before mount_start returned: then its entry learns of it first. */
static void mount_ended(void *arg, struct mount *mount)
{
	struct mounts *mounts = arg;
	struct entry *entry;

	pthread_mutex_lock(&mounts->lock);
	while (!(entry = find_mount(mounts, mount)) && mounts->starting > 0)
		pthread_cond_wait(&mounts->change, &mounts->lock);
	if (entry) {
		log_line(mounts->log, "info", "unmounted", "mountpoint=%s", entry->mountpoint);
		take_away(mounts, entry);
	}
	pthread_mutex_unlock(&mounts->lock);
}

struct mounts *mounts_new(struct store *store, struct log *log, int event_fd)
{
	struct mounts *mounts = xcalloc(1, sizeof(*mounts));
	pthread_condattr_t monotonic;

	*mounts = (struct mounts){.store = store, .log = log, .event_fd = event_fd};
	pthread_mutex_init(&mounts->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&mounts->change, &monotonic);
	pthread_condattr_destroy(&monotonic);
	mounts->group = mount_group_new(store, &(struct mount_log){.line = group_log, .arg = mounts});
	mount_group_on_end(mounts->group, mount_ended, mounts);
	return mounts;
}

void mounts_free(struct mounts *mounts)
{
	if (!mounts)
		return;
	mounts_reap(mounts);
	mount_group_free(mounts->group);
	pthread_cond_destroy(&mounts->change);
	pthread_mutex_destroy(&mounts->lock);
	free(mounts);
}

static void entry_free(struct entry *entry)
{
	if (entry->mount)
		mount_free(entry->mount);
	json_decref(entry->args);
	free(entry);
}

void mounts_reap(struct mounts *mounts)
{
	struct entry *entry, *next, *unused = NULL;

	pthread_mutex_lock(&mounts->lock);
	DL_FOREACH_SAFE (mounts->ended, entry, next) {
		if (entry->refs > 0)
			continue;
		DL_DELETE(mounts->ended, entry);
		DL_APPEND(unused, entry);
	}
	pthread_mutex_unlock(&mounts->lock);
	DL_FOREACH_SAFE (unused, entry, next)
		entry_free(entry);
}

bool mounts_finished(struct mounts *mounts)
{
	pthread_mutex_lock(&mounts->lock);
	bool finished = mounts->leaving && !mounts->entries && !mounts->ended;
	pthread_mutex_unlock(&mounts->lock);
	return finished;
}

/* The serving entry at the mountpoint, referenced; NULL if there is none. */
static struct entry *entry_get(struct mounts *mounts, const char *mountpoint)
{
	struct entry *entry, *found = NULL;

	pthread_mutex_lock(&mounts->lock);
	DL_FOREACH (mounts->entries, entry)
		if (entry->mount && !entry->detached && strcmp(entry->mountpoint, mountpoint) == 0)
			found = entry; /* the newest is on top */
	if (found)
		found->refs++;
	pthread_mutex_unlock(&mounts->lock);
	return found;
}

static void entry_put(struct mounts *mounts, struct entry *entry)
{
	pthread_mutex_lock(&mounts->lock);
	entry->refs--;
	pthread_mutex_unlock(&mounts->lock);
	wake_main(mounts);
}

static int options_from_args(const json_t *args, struct mount_options *ret_options, struct error *err)
{
	const char *snapdir = "hidden", *mountpoint = json_string_value(json_object_get(args, "mountpoint"));
	struct mount_options options = {
		.mountpoint = mountpoint,
		.dataset = json_string_value(json_object_get(args, "dataset")),
		.snapshot = json_string_value(json_object_get(args, "snapshot")),
		.read_only = json_is_true(json_object_get(args, "read_only")),
		.allow_other = json_is_true(json_object_get(args, "allow_other")),
		.acl = json_is_true(json_object_get(args, "acl")),
		.debug = json_is_true(json_object_get(args, "debug")),
		.extra = "",
	};

	if (!mountpoint || mountpoint[0] != '/')
		return error_set(err, -EINVAL, "the mountpoint is missing or not an absolute path");
	if (options.snapshot && !options.dataset)
		return error_set(err, -EINVAL, "a snapshot is named without its dataset");
	if (json_is_string(json_object_get(args, "extra")))
		options.extra = json_string_value(json_object_get(args, "extra"));
	if (json_is_string(json_object_get(args, "snapdir")))
		snapdir = json_string_value(json_object_get(args, "snapdir"));
	if (strcmp(snapdir, "visible") == 0)
		options.snapdir = SNAPDIR_VISIBLE;
	else if (strcmp(snapdir, "off") == 0)
		options.snapdir = SNAPDIR_OFF;
	else if (strcmp(snapdir, "hidden") == 0)
		options.snapdir = SNAPDIR_HIDDEN;
	else
		return error_set(err, -EINVAL, "snapdir=%s is not one of hidden, visible, off", snapdir);
	*ret_options = options;
	return 0;
}

/* Says which of dataset and snapshot is not there, before the kernel is asked for anything. */
static int source_check(struct mounts *mounts, const struct mount_options *options, struct error *err)
{
	struct view *view;
	int result;

	if (!options->dataset)
		return 0;
	result = options->snapshot ? store_snapshot(mounts->store, options->dataset, options->snapshot, &view)
	                           : store_head(mounts->store, options->dataset, &view);
	if (result == 0) {
		store_view_put(mounts->store, view);
		return 0;
	}
	error_set(err, result, "%s \"%s%s%s\" %s", options->snapshot ? "snapshot" : "dataset", options->dataset,
	          options->snapshot ? "@" : "", options->snapshot ? options->snapshot : "",
	          result == -ENOENT ? "is not in the store" : strerror(-result));
	if (result == -ENOENT)
		error_hint(err, "corpusfs %s list shows those there are", options->snapshot ? "snapshot" : "dataset");
	return result;
}

static struct entry *entry_begin(struct mounts *mounts, json_t *args, struct error *err)
{
	struct entry *entry = xcalloc(1, sizeof(*entry));

	*entry = (struct entry){.args = args, .mountpoint = json_string_value(json_object_get(args, "mountpoint")), .refs = 1};
	pthread_mutex_lock(&mounts->lock);
	bool leaving = mounts->leaving;
	if (!leaving) {
		DL_APPEND(mounts->entries, entry);
		mounts->starting++;
	}
	pthread_mutex_unlock(&mounts->lock);
	if (!leaving)
		return entry;
	entry_free(entry);
	error_set(err, -ESHUTDOWN, "the daemon is leaving");
	return NULL;
}

int mounts_start(struct mounts *mounts, const json_t *args, json_t **ret_result, struct error *err)
{
	json_t *copy = json_deep_copy(args);
	struct mount_options options;
	struct mount *mount = NULL;
	struct entry *entry;
	int result = options_from_args(copy, &options, err);

	if (result < 0) {
		json_decref(copy);
		return result;
	}
	entry = entry_begin(mounts, copy, err);
	if (!entry)
		return -ESHUTDOWN;
	result = source_check(mounts, &options, err);
	if (result == 0)
		result = mount_start(mounts->group, &options, &mount, err);
	pthread_mutex_lock(&mounts->lock);
	mounts->starting--;
	entry->mount = mount;
	if (result < 0)
		take_away(mounts, entry);
	pthread_cond_broadcast(&mounts->change);
	pthread_mutex_unlock(&mounts->lock);
	if (result == 0) {
		log_line(mounts->log, "info", "mounted", "mountpoint=%s dataset=%s snapshot=%s read_only=%d", options.mountpoint,
		         options.dataset ? options.dataset : "", options.snapshot ? options.snapshot : "", options.read_only);
		*ret_result = json_pack("{s:s}", "mountpoint", options.mountpoint);
	}
	entry_put(mounts, entry);
	return result < 0 ? error_default(err, result, "%s could not be mounted", "the store") : 0;
}

static bool wait_ended(struct mounts *mounts, struct entry *entry, uint64_t limit_ms)
{
	struct timespec until = clock_after_ms(limit_ms);
	int waited = 0;

	pthread_mutex_lock(&mounts->lock);
	while (!entry->ended && waited == 0)
		waited = pthread_cond_timedwait(&mounts->change, &mounts->lock, &until);
	bool ended = entry->ended;
	entry->detached = !ended;
	pthread_mutex_unlock(&mounts->lock);
	return ended;
}

/* Open files of a detached mount live on; what was written to them so far is committed here. */
static int stop_lazily(struct mounts *mounts, struct entry *entry, bool *ret_in_use, struct error *err)
{
	int result = mount_stop(entry->mount, true, err);

	if (result < 0)
		return result;
	*ret_in_use = !wait_ended(mounts, entry, DETACHED_WAIT_MS);
	result = *ret_in_use ? store_sync(mounts->store) : 0;
	return result < 0 ? error_set(err, result, "%s is detached, but not all is on disk: %s", entry->mountpoint,
	                              strerror(-result))
	                  : 0;
}

/* Somebody who just looks, as another umount does, keeps a mount busy for a moment only. */
static int stop_unused(struct entry *entry, struct error *err)
{
	const struct timespec step = {.tv_nsec = BUSY_STEP_MS * 1000000L};
	int result = mount_stop(entry->mount, false, err);

	for (int i = 0; result == -EBUSY && i < BUSY_TRIES; i++) {
		nanosleep(&step, NULL);
		result = mount_stop(entry->mount, false, err);
	}
	return result;
}

int mounts_stop(struct mounts *mounts, const char *mountpoint, bool lazy, struct mounts_stopped *ret_stopped, struct error *err)
{
	struct entry *entry = entry_get(mounts, mountpoint);
	struct mounts_stopped stopped = {0};
	int result;

	if (!entry) {
		error_set(err, -ENOENT, "%s is not mounted by this store's daemon", mountpoint);
		error_hint(err, "corpusfs status shows its mounts");
		return -ENOENT;
	}
	result = lazy ? stop_lazily(mounts, entry, &stopped.in_use, err) : stop_unused(entry, err);
	pthread_mutex_lock(&mounts->lock);
	/* Somebody else's umount may have come first. */
	if (entry->ended)
		result = 0;
	while (result == 0 && !stopped.in_use && !entry->ended)
		pthread_cond_wait(&mounts->change, &mounts->lock);
	stopped.last = mounts->leaving && !stopped.in_use;
	pthread_mutex_unlock(&mounts->lock);
	entry_put(mounts, entry);
	if (result < 0)
		return error_default(err, result, "%s could not be unmounted", mountpoint);
	*ret_stopped = stopped;
	return 0;
}

void mounts_wait(struct mounts *mounts, const char *mountpoint, const atomic_bool *cancelled)
{
	struct entry *entry = entry_get(mounts, mountpoint);
	struct error err = {0};

	if (!entry)
		return;
	pthread_mutex_lock(&mounts->lock);
	while (!entry->ended && !atomic_load(cancelled)) {
		struct timespec until = clock_after_ms(WAIT_STEP_MS);
		pthread_cond_timedwait(&mounts->change, &mounts->lock, &until);
	}
	bool ended = entry->ended;
	pthread_mutex_unlock(&mounts->lock);
	if (!ended && mount_stop(entry->mount, true, &err) < 0)
		log_line(mounts->log, "error", "umount", "mountpoint=%s text=\"%s\"", mountpoint, err.text);
	entry_put(mounts, entry);
}

/* The serving entry of that number in the list, referenced. Caller holds the lock. */
static struct entry *entry_at(struct mounts *mounts, size_t number)
{
	struct entry *entry, *found = NULL;

	DL_FOREACH (mounts->entries, entry)
		if (entry->mount && number-- == 0) {
			found = entry;
			break;
		}
	if (found)
		found->refs++;
	return found;
}

/* Files are open in it and may be for ever: they are brought in, and then they are stale. */
static bool cut_off(struct mounts *mounts, struct entry *entry)
{
	log_line(mounts->log, "warning", "abort", "mountpoint=%s text=\"files were open\"", entry->mountpoint);
	mount_abort(entry->mount);
	return wait_ended(mounts, entry, ABORTED_WAIT_MS);
}

size_t mounts_stop_all(struct mounts *mounts)
{
	struct entry *entry;
	size_t left = 0;

	pthread_mutex_lock(&mounts->lock);
	mounts->leaving = true;
	while (mounts->starting > 0)
		pthread_cond_wait(&mounts->change, &mounts->lock);
	pthread_mutex_unlock(&mounts->lock);
	for (;;) {
		struct error err = {0};
		pthread_mutex_lock(&mounts->lock);
		entry = entry_at(mounts, left);
		pthread_mutex_unlock(&mounts->lock);
		if (!entry)
			return left;
		if (!entry->detached && mount_stop(entry->mount, true, &err) < 0)
			log_line(mounts->log, "warning", "umount", "mountpoint=%s text=\"%s\"", entry->mountpoint, err.text);
		if (!wait_ended(mounts, entry, DETACHED_WAIT_MS) && !cut_off(mounts, entry))
			left++;
		entry_put(mounts, entry);
	}
}

static json_t *entry_to_json(struct entry *entry)
{
	json_t *row = json_deep_copy(entry->args);
	struct mount_status status = {0};

	mount_get_status(entry->mount, &status);
	json_object_set_new(row, "detached", json_boolean(entry->detached));
	json_object_set_new(row, "requests", json_integer((json_int_t)status.requests));
	json_object_set_new(row, "open_files", json_integer((json_int_t)status.open_files));
	json_object_set_new(row, "protocol_minor", json_integer(status.protocol_minor));
	json_object_set_new(row, "writeback", json_boolean(status.writeback));
	json_object_set_new(row, "killpriv_v2", json_boolean(status.killpriv_v2));
	json_object_set_new(row, "no_open", json_boolean(status.no_open));
	json_object_set_new(row, "read_ahead_kb", json_integer(status.read_ahead_kb));
	return row;
}

json_t *mounts_list(struct mounts *mounts)
{
	json_t *list = json_array();
	struct entry *entry;

	for (size_t i = 0;; i++) {
		pthread_mutex_lock(&mounts->lock);
		entry = entry_at(mounts, i);
		pthread_mutex_unlock(&mounts->lock);
		if (!entry)
			return list;
		json_array_append_new(list, entry_to_json(entry));
		entry_put(mounts, entry);
	}
}

uint64_t mounts_requests(struct mounts *mounts)
{
	uint64_t requests = 0;
	struct entry *entry;

	for (size_t i = 0;; i++) {
		struct mount_status status = {0};
		pthread_mutex_lock(&mounts->lock);
		entry = entry_at(mounts, i);
		pthread_mutex_unlock(&mounts->lock);
		if (!entry)
			return requests;
		mount_get_status(entry->mount, &status);
		requests += status.requests;
		entry_put(mounts, entry);
	}
}

int mounts_flush(struct mounts *mounts)
{
	return mount_flush_kernel(mounts->group, NULL);
}
