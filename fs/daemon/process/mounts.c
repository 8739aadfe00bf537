#include "fs/daemon/process/mounts.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "fs/daemon/process/mount_args.h"
#include "fs/fuse/mount/mount.h"
#include "lib/base/clock.h"

#define WAIT_STEP_MS 200
#define BUSY_STEP_MS 100
#define BUSY_TRIES 4
#define ABORTED_WAIT_MS 5000
#define DETACHED_WAIT_MS 1000 /* for a session to end after a lazy umount, if nobody has files open */

/* Another place where a mount shows. */
struct place {
	struct place *prev, *next;
	json_t *args; /* owned; the mountpoint's text lives in it */
	const char *mountpoint;
};

struct entry {
	struct entry *prev, *next;
	struct mount *mount;  /* NULL while it starts */
	struct place *places; /* beside the mountpoint; some may have been unmounted by hand */
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

static void place_free(struct entry *entry, struct place *place)
{
	DL_DELETE(entry->places, place);
	json_decref(place->args);
	free(place);
}

static void entry_free(struct entry *entry)
{
	while (entry->places)
		place_free(entry, entry->places);
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

/* Caller holds the lock. Places that were unmounted by hand are forgotten on the way. */
static struct place *find_place(struct entry *entry, const char *mountpoint)
{
	struct place *place, *next, *found = NULL;

	DL_FOREACH_SAFE (entry->places, place, next) {
		if (!mount_shows_at(entry->mount, place->mountpoint))
			place_free(entry, place);
		else if (strcmp(place->mountpoint, mountpoint) == 0)
			found = place;
	}
	return found;
}

/* The serving entry at the mountpoint, referenced; NULL if there is none. */
static struct entry *entry_get(struct mounts *mounts, const char *mountpoint)
{
	struct entry *entry, *found = NULL;

	pthread_mutex_lock(&mounts->lock);
	DL_FOREACH (mounts->entries, entry) {
		if (!entry->mount)
			continue;
		if ((!entry->detached && strcmp(entry->mountpoint, mountpoint) == 0) || find_place(entry, mountpoint))
			found = entry; /* the newest is on top */
	}
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

/* Says which of dataset and snapshot is not there, before the kernel is asked for anything. */
static int source_check(struct mounts *mounts, const struct mount_options *options, struct error *err)
{
	struct view *view;
	int result = options->read_only || options->snapshot ? 0 : store_check_writable(mounts->store, err);

	if (result < 0)
		error_hint(err, "mount it read-only: corpusfs mount -o ro");
	if (result < 0 || !options->dataset)
		return result;
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

/* The entry whose kernel caches are the only ones that may hold these files for writing; referenced. */
static struct entry *get_writer(struct mounts *mounts, const struct mount_options *options)
{
	struct entry *entry, *found = NULL;

	if (options->read_only || options->snapshot || geteuid() != 0)
		return NULL;
	pthread_mutex_lock(&mounts->lock);
	DL_FOREACH (mounts->entries, entry) {
		const struct mount_options *has = entry->mount ? mount_get_options(entry->mount) : NULL;

		if (!has || has->read_only || entry->detached || !mount_shows_at(entry->mount, entry->mountpoint))
			continue;
		if (!has->dataset || (options->dataset && strcmp(has->dataset, options->dataset) == 0))
			found = entry;
	}
	if (found)
		found->refs++;
	pthread_mutex_unlock(&mounts->lock);
	return found;
}

/* The same files again for writing: one session, two places. Takes over args. */
static int bind_entry(struct mounts *mounts, struct entry *entry, json_t *args, const struct mount_options *options,
                      json_t **ret_result, struct error *err)
{
	const struct mount_options *has = mount_get_options(entry->mount);
	struct place *place;
	int result = source_check(mounts, options, err);

	if (result == 0 && ((options->allow_other && !has->allow_other) || (options->acl && !has->acl))) {
		result = error_set(err, -EBUSY, "%s is mounted for writing on %s already, without %s",
		                   has->dataset ? has->dataset : "the store", has->mountpoint,
		                   options->acl && !has->acl ? "acl" : "allow_other");
		error_hint(err, "both places share one set of options: leave it out, or unmount the first");
	} else if (result == 0) {
		result = mount_bind(entry->mount, options, err);
	}
	if (result < 0) {
		json_decref(args);
		return result;
	}
	place = xcalloc(1, sizeof(*place));
	*place = (struct place){.args = args, .mountpoint = options->mountpoint};
	log_line(mounts->log, "info", "bound", "mountpoint=%s to=%s", options->mountpoint, has->mountpoint);
	*ret_result = json_pack("{s:s, s:s}", "mountpoint", options->mountpoint, "bound_to", has->mountpoint);
	pthread_mutex_lock(&mounts->lock);
	DL_APPEND(entry->places, place);
	pthread_mutex_unlock(&mounts->lock);
	return 0;
}

int mounts_start(struct mounts *mounts, const json_t *args, json_t **ret_result, struct error *err)
{
	json_t *copy = json_deep_copy(args);
	struct mount_options options;
	struct mount *mount = NULL;
	struct entry *entry;
	int result = mount_args_to_options(copy, &options, err);

	if (result < 0) {
		json_decref(copy);
		return result;
	}
	entry = get_writer(mounts, &options);
	if (entry) {
		result = bind_entry(mounts, entry, copy, &options, ret_result, err);
		entry_put(mounts, entry);
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
static int stop_lazily(struct mounts *mounts, struct entry *entry, const char *mountpoint, bool *ret_in_use, struct error *err)
{
	int result = mount_stop(entry->mount, mountpoint, true, err);

	if (result < 0)
		return result;
	if (mount_shows_anywhere(entry->mount))
		return 0;
	*ret_in_use = !wait_ended(mounts, entry, DETACHED_WAIT_MS);
	result = *ret_in_use ? store_sync(mounts->store) : 0;
	return result < 0 ? error_set(err, result, "%s is detached, but not all is on disk: %s", entry->mountpoint,
	                              strerror(-result))
	                  : 0;
}

/* Somebody who just looks, as another umount does, keeps a mount busy for a moment only. */
static int stop_unused(struct entry *entry, const char *mountpoint, struct error *err)
{
	int result = mount_stop(entry->mount, mountpoint, false, err);

	for (int i = 0; result == -EBUSY && i < BUSY_TRIES; i++) {
		clock_pause_us(BUSY_STEP_MS * 1000);
		result = mount_stop(entry->mount, mountpoint, false, err);
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
	result = lazy ? stop_lazily(mounts, entry, mountpoint, &stopped.in_use, err) : stop_unused(entry, mountpoint, err);
	const bool elsewhere = result == 0 && mount_shows_anywhere(entry->mount);
	if (elsewhere && store_sync(mounts->store) < 0)
		log_line(mounts->log, "error", "sync", "mountpoint=%s", mountpoint);
	pthread_mutex_lock(&mounts->lock);
	/* Somebody else's umount may have come first. */
	if (entry->ended)
		result = 0;
	while (result == 0 && !stopped.in_use && !elsewhere && !entry->ended)
		pthread_cond_wait(&mounts->change, &mounts->lock);
	stopped.last = mounts->leaving && !stopped.in_use && !elsewhere;
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
	while (!entry->ended && !atomic_load(cancelled) &&
	       (strcmp(entry->mountpoint, mountpoint) == 0 || find_place(entry, mountpoint))) {
		struct timespec until = clock_after_ms(WAIT_STEP_MS);
		pthread_cond_timedwait(&mounts->change, &mounts->lock, &until);
	}
	bool ended = entry->ended;
	pthread_mutex_unlock(&mounts->lock);
	if (!ended && mount_shows_at(entry->mount, mountpoint) && mount_stop(entry->mount, mountpoint, true, &err) < 0)
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

static void stop_places(struct mounts *mounts, struct entry *entry)
{
	for (;;) {
		AUTO_FREE char *mountpoint = NULL;
		struct error err = {0};

		pthread_mutex_lock(&mounts->lock);
		if (entry->places) {
			mountpoint = xstrdup(entry->places->mountpoint);
			place_free(entry, entry->places);
		}
		pthread_mutex_unlock(&mounts->lock);
		if (!mountpoint)
			return;
		if (mount_shows_at(entry->mount, mountpoint) && mount_stop(entry->mount, mountpoint, true, &err) < 0)
			log_line(mounts->log, "warning", "umount", "mountpoint=%s text=\"%s\"", mountpoint, err.text);
	}
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
		stop_places(mounts, entry);
		if (!entry->detached && mount_shows_at(entry->mount, entry->mountpoint) &&
		    mount_stop(entry->mount, entry->mountpoint, true, &err) < 0)
			log_line(mounts->log, "warning", "umount", "mountpoint=%s text=\"%s\"", entry->mountpoint, err.text);
		if (!wait_ended(mounts, entry, DETACHED_WAIT_MS) && !cut_off(mounts, entry))
			left++;
		entry_put(mounts, entry);
	}
}

/* One of the places of an entry, with what its session says. */
static json_t *place_to_json(struct entry *entry, const json_t *args)
{
	json_t *row = json_deep_copy(args);
	struct mount_status status = {0};

	mount_get_status(entry->mount, &status);
	json_object_set_new(row, "detached", json_boolean(args == entry->args && !mount_shows_at(entry->mount, entry->mountpoint)));
	if (args != entry->args)
		json_object_set_new(row, "bound_to", json_string(entry->mountpoint));
	json_object_set_new(row, "requests", json_integer((json_int_t)status.requests));
	json_object_set_new(row, "open_files", json_integer((json_int_t)status.open_files));
	json_object_set_new(row, "protocol_minor", json_integer(status.protocol_minor));
	json_object_set_new(row, "killpriv_v2", json_boolean(status.killpriv_v2));
	json_object_set_new(row, "no_open", json_boolean(status.no_open));
	json_object_set_new(row, "read_ahead_kb", json_integer(status.read_ahead_kb));
	return row;
}

json_t *mounts_list(struct mounts *mounts)
{
	json_t *list = json_array();
	struct entry *entry;
	struct place *place;

	for (size_t i = 0;; i++) {
		pthread_mutex_lock(&mounts->lock);
		entry = entry_at(mounts, i);
		pthread_mutex_unlock(&mounts->lock);
		if (!entry)
			return list;
		json_array_append_new(list, place_to_json(entry, entry->args));
		pthread_mutex_lock(&mounts->lock);
		find_place(entry, "");
		DL_FOREACH (entry->places, place)
			json_array_append_new(list, place_to_json(entry, place->args));
		pthread_mutex_unlock(&mounts->lock);
		entry_put(mounts, entry);
	}
}

bool mounts_has_device(struct mounts *mounts, dev_t device)
{
	return mount_group_has_device(mounts->group, device);
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

void mounts_settle(struct mounts *mounts)
{
	mount_group_settle(mounts->group);
}
