#include "fs/daemon/process/mounts.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "fs/daemon/process/mount_args.h"
#include "fs/daemon/process/mounts_inside.h"
#include "fs/fuse/mount/mount.h"
#include "lib/backup/leases.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/ops/json.h"
#include "lib/store/uncommitted.h"

#define WAIT_STEP_MS 200
#define BUSY_STEP_MS 100
#define BUSY_TRIES 4
#define ABORTED_WAIT_MS 5000
#define ENDING_WAIT_MS 20000 /* for a session that the kernel has ended to commit what was written */
#define DETACHED_WAIT_MS 1000 /* for a session to end after a lazy umount, if nobody has files open */

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
	const int result = mount_result(mount);
	struct entry *entry;

	pthread_mutex_lock(&mounts->lock);
	while (!(entry = find_mount(mounts, mount)) && mounts->starting > 0)
		pthread_cond_wait(&mounts->change, &mounts->lock);
	if (entry) {
		log_line(mounts->log, "info", "unmounted", "mountpoint=%s", entry->places->mountpoint);
		take_away(mounts, entry);
	}
	/* a mount that ends before others has nothing to do with how they end */
	if (mounts->leaving && mounts->result == 0)
		mounts->result = result;
	pthread_mutex_unlock(&mounts->lock);
}

struct mounts *mounts_new(struct store *store, struct log *log, int event_fd, struct keeper *keeper)
{
	struct mounts *mounts = xcalloc(1, sizeof(*mounts));

	*mounts = (struct mounts){.store = store, .log = log, .event_fd = event_fd};
	pthread_mutex_init(&mounts->lock, NULL);
	pthread_cond_init(&mounts->change, NULL);
	mounts->group = mount_group_new(store, &(struct mount_log){.line = group_log, .arg = mounts}, keeper);
	mounts->leases = leases_new(&(struct leases_options){.store = store, .is_wanted = mounts_want_lease, .log = mounts_log, .arg = mounts});
	if (!mounts->group || !mounts->leases) {
		mounts_free(mounts);
		return NULL;
	}
	mount_group_on_end(mounts->group, mount_ended, mounts);
	return mounts;
}

void mounts_free(struct mounts *mounts)
{
	if (!mounts)
		return;
	leases_free(mounts->leases);
	mounts_reap(mounts);
	mount_group_free(mounts->group);
	pthread_cond_destroy(&mounts->change);
	pthread_mutex_destroy(&mounts->lock);
	free(mounts);
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

/* The serving entry at the mountpoint, or that was there, referenced; NULL if there is none. */
static struct entry *entry_get(struct mounts *mounts, const char *mountpoint)
{
	struct entry *entry, *shown = NULL, *was_there = NULL;

	pthread_mutex_lock(&mounts->lock);
	DL_FOREACH (mounts->entries, entry) {
		if (entry->mount && entry_shows_at(entry, mountpoint))
			shown = entry; /* the newest is on top */
		else if (entry->mount && entry_has_place(entry, mountpoint))
			was_there = entry;
	}
	entry = shown ? shown : was_there;
	if (entry)
		entry->refs++;
	pthread_mutex_unlock(&mounts->lock);
	return entry;
}

static void entry_put(struct mounts *mounts, struct entry *entry)
{
	pthread_mutex_lock(&mounts->lock);
	entry->refs--;
	pthread_mutex_unlock(&mounts->lock);
	wake_main(mounts);
}

/* The entry in whose kernel caches these files may be for writing, or will be. Caller holds the lock. */
static struct entry *find_writer(const struct mounts *mounts, const struct mount_source *source)
{
	struct entry *entry, *found = NULL;

	DL_FOREACH (mounts->entries, entry) {
		if (mount_args_overlap(&entry->source, source))
			found = entry;
	}
	return found;
}

/*
 * The writer of these files, referenced; one that is still starting is waited for. If there is none, a new entry is, in the same hold of the lock, the
 * one that is starting: it takes over args. NULL: the daemon leaves.
 */
static struct entry *find_or_begin(struct mounts *mounts, json_t *args, const struct mount_source *source, bool *ret_is_new, struct error *err)
{
	struct entry *entry;

	pthread_mutex_lock(&mounts->lock);
	while ((entry = find_writer(mounts, source)) && !entry->mount)
		pthread_cond_wait(&mounts->change, &mounts->lock);
	*ret_is_new = !entry;
	if (mounts->leaving) {
		entry = NULL;
	} else if (entry) {
		entry->refs++;
	} else {
		entry = entry_new(args, source);
		DL_APPEND(mounts->entries, entry);
		mounts->starting++;
	}
	pthread_mutex_unlock(&mounts->lock);
	if (entry)
		return entry;
	json_decref(args);
	error_set(err, -ESHUTDOWN, "the daemon is leaving");
	return NULL;
}

static bool wait_ended(struct mounts *mounts, struct entry *entry, uint64_t limit_ms)
{
	struct timespec until = clock_after_ms(limit_ms);
	int waited = 0;

	pthread_mutex_lock(&mounts->lock);
	while (!entry->ended && waited == 0)
		waited = pthread_cond_clockwait(&mounts->change, &mounts->lock, CLOCK_MONOTONIC, &until);
	bool ended = entry->ended;
	pthread_mutex_unlock(&mounts->lock);
	return ended;
}

/* Waits for a session that ends because it shows nowhere any more. False: it does not, since files are open in it. */
static bool ends(struct mounts *mounts, struct entry *entry)
{
	if (mount_shows_anywhere(entry->mount))
		return false;
	while (!wait_ended(mounts, entry, DETACHED_WAIT_MS)) {
		if (!mount_is_ending(entry->mount))
			return false;
	}
	return true;
}

/* The same files again for writing: one session, two places. Takes over args, but for -ENOTCONN: the session has just ended. */
static int bind_entry(struct mounts *mounts, struct entry *entry, json_t *args, const struct mount_options *options,
                      const struct mount_source *source, json_t **ret_result, struct error *err)
{
	const struct mount_options *has = mount_get_options(entry->mount);
	AUTO_FREE char *dataset = mount_args_dataset_name(mounts->store, &entry->source, has->dataset);
	AUTO_FREE char *missing = json_object_get(args, "lease") && !entry_has_lease(entry) ? xstrdup("a lease") : mount_args_missing(has, options, args);
	const char *name = dataset ? dataset : "the store";
	int result;

	if (!mount_args_cover(&entry->source, source) || geteuid() != 0) {
		result = mount_args_refuse(name, has->mountpoint, !mount_shows_anywhere(entry->mount), err);
	} else if (missing) {
		result = error_set(err, -EBUSY, "%s is mounted for writing on %s already, without %s", name, has->mountpoint, missing);
		error_hint(err, "both places share one set of options: leave it out, or unmount the first");
	} else {
		result = mount_bind(entry->mount, options, err);
		if (result == -ENOTCONN)
			return result;
	}
	if (result < 0) {
		json_decref(args);
		return result;
	}
	log_line(mounts->log, "info", "bound", "mountpoint=%s to=%s", options->mountpoint, has->mountpoint);
	*ret_result = json_pack("{s:o, s:o}", "mountpoint", json_from_bytes(options->mountpoint), "bound_to",
	                        json_from_bytes(has->mountpoint));
	pthread_mutex_lock(&mounts->lock);
	entry_add_place(entry, args);
	/* a daemon after this one knows the mount by its first place, if not by this */
	(void)!entry_keep(entry);
	pthread_mutex_unlock(&mounts->lock);
	return 0;
}

static int start_session(struct mounts *mounts, struct entry *entry, const struct mount_options *options, struct error *err)
{
	struct mount *mount = NULL;
	int result = fault_point("mount-before-session");

	/* the entry is in the list: so the lease is wanted */
	if (result == 0 && entry_has_lease(entry))
		result = leases_begin(mounts->leases, entry->source.dataset, NULL, err);
	if (result == 0)
		result = mount_start(mounts->group, options, &mount, err);
	pthread_mutex_lock(&mounts->lock);
	mounts->starting--;
	entry->mount = mount;
	/* the name may have come to another one just then */
	if (result == 0)
		entry->source.dataset = mount_dataset(mount);
	if (result == 0 && entry_keep(entry) < 0)
		log_line(mounts->log, "warning", "not-kept", "mountpoint=%s text=\"if the daemon dies, this mount ends\"", options->mountpoint);
	if (result < 0)
		take_away(mounts, entry);
	pthread_cond_broadcast(&mounts->change);
	pthread_mutex_unlock(&mounts->lock);
	return result;
}

/* Shows what a writer has at one more place. 1: its session has just ended, and args are still the caller's. */
static int join_writer(struct mounts *mounts, struct entry *entry, json_t *args, const struct mount_options *options,
                       const struct mount_source *source, json_t **ret_result, struct error *err)
{
	if (ends(mounts, entry))
		return 1;
	int result = bind_entry(mounts, entry, args, options, source, ret_result, err);
	if (result != -ENOTCONN)
		return result;
	if (wait_ended(mounts, entry, ENDING_WAIT_MS))
		return 1;
	json_decref(args);
	return error_default(err, result, "a mount that is ending takes too long; try again");
}

int mounts_start(struct mounts *mounts, const json_t *args, json_t **ret_result, struct error *err)
{
	json_t *copy = json_deep_copy(args);
	struct mount_options options;
	struct mount_source source;
	struct entry *entry;
	bool is_new;
	int result = mount_args_to_options(copy, &options, err);

	if (result == 0)
		result = mount_args_find_source(mounts->store, &options, &source, err);
	if (result < 0) {
		json_decref(copy);
		return result;
	}
	while ((entry = find_or_begin(mounts, copy, &source, &is_new, err)) && !is_new) {
		result = join_writer(mounts, entry, copy, &options, &source, ret_result, err);
		entry_put(mounts, entry);
		if (result <= 0)
			return result;
	}
	if (!entry)
		return -ESHUTDOWN;
	result = start_session(mounts, entry, &options, err);
	if (result == 0) {
		log_line(mounts->log, "info", "mounted", "mountpoint=%s dataset=%s snapshot=%s read_only=%d", options.mountpoint,
		         options.dataset ? options.dataset : "", options.snapshot ? options.snapshot : "", options.read_only);
		*ret_result = json_pack("{s:o}", "mountpoint", json_from_bytes(options.mountpoint));
	}
	entry_put(mounts, entry);
	return result < 0 ? error_default(err, result, "%s could not be mounted", "the store") : 0;
}

/*
 * Somebody who just looks, as another umount does, keeps a mount busy for a moment only. Lazily, what is in use is detached, and only
 * that, so that it is known whether it was.
 */
static int stop_place(struct entry *entry, const char *mountpoint, bool lazy, bool *ret_detached, struct error *err)
{
	int result = mount_stop(entry->mount, mountpoint, false, err);

	for (int i = 0; result == -EBUSY && !lazy && i < BUSY_TRIES; i++) {
		clock_pause_us(BUSY_STEP_MS * 1000);
		result = mount_stop(entry->mount, mountpoint, false, err);
	}
	*ret_detached = lazy && result < 0 && mount_shows_at(entry->mount, mountpoint);
	return *ret_detached ? mount_stop(entry->mount, mountpoint, true, err) : result;
}

/*
 * After the mount was taken away from a place. Open files of a detached mount live on, and so does a copy of it in another mount namespace:
 * what was written so far is committed here.
 */
static int finish_stop(struct mounts *mounts, struct entry *entry, const char *mountpoint, bool detached,
                       struct mounts_stopped *ret_stopped, struct error *err)
{
	/* the end of the mount tells it, too: perhaps to somebody else who unmounts it */
	const int lost = mount_look_lost(entry->mount);
	const bool elsewhere = mount_shows_anywhere(entry->mount), ended = !elsewhere && ends(mounts, entry);
	int result = ended ? mount_result(entry->mount) : store_sync(mounts->store);

	leases_sweep(mounts->leases);
	result = result < 0 ? result : lost;
	pthread_mutex_lock(&mounts->lock);
	*ret_stopped = (struct mounts_stopped){.last = ended && mounts->leaving,
	                                       .in_use = detached && !elsewhere && !ended,
	                                       .lives_on = !detached && !elsewhere && !ended};
	pthread_mutex_unlock(&mounts->lock);
	if (result < 0) {
		AUTO_FREE char *file = uncommitted_file(mounts->store, NULL, 0);
		/* as long as there are other mounts, it is tried again, and this one may have nothing to do with it */
		const bool is_kept = file && lost == 0 && !ret_stopped->last;

		error_set(err, result, is_kept ? "%s is unmounted, but not all that was written to the store is on disk"
		                               : "%s is unmounted, but some of what was written there is lost", mountpoint);
		(void)uncommitted_explain(mounts->store, NULL, 0, err);
		/* that hint is of no use then: nothing is tried again, and there is no mount */
		if (!is_kept)
			error_hint(err, "%s/log tells more; corpusfs damage says what is hurt", store_path(mounts->store));
	}
	return result;
}

int mounts_stop(struct mounts *mounts, const char *mountpoint, bool lazy, struct mounts_stopped *ret_stopped, struct error *err)
{
	struct entry *entry = entry_get(mounts, mountpoint);
	bool detached = false;
	int result;

	if (!entry) {
		error_set(err, -ENOENT, "%s is not mounted by this store's daemon", mountpoint);
		error_hint(err, "corpusfs status shows its mounts");
		return -ENOENT;
	}
	result = stop_place(entry, mountpoint, lazy, &detached, err);
	/* Somebody else's umount may have come first. */
	if (result == 0 || !mount_shows_at(entry->mount, mountpoint))
		result = finish_stop(mounts, entry, mountpoint, detached, ret_stopped, err);
	entry_put(mounts, entry);
	return result < 0 ? error_default(err, result, "%s could not be unmounted", mountpoint) : 0;
}

void mounts_wait(struct mounts *mounts, const char *mountpoint, const atomic_bool *cancelled)
{
	struct entry *entry = entry_get(mounts, mountpoint);
	struct error err = {0};

	if (!entry)
		return;
	pthread_mutex_lock(&mounts->lock);
	while (!entry->ended && !atomic_load(cancelled) && entry_has_place(entry, mountpoint)) {
		struct timespec until = clock_after_ms(WAIT_STEP_MS);
		pthread_cond_clockwait(&mounts->change, &mounts->lock, CLOCK_MONOTONIC, &until);
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
	log_line(mounts->log, "warning", "abort", "mountpoint=%s text=\"files were open\"", mount_get_options(entry->mount)->mountpoint);
	mount_abort(entry->mount);
	return wait_ended(mounts, entry, ABORTED_WAIT_MS);
}

static void stop_places(struct mounts *mounts, struct entry *entry)
{
	int result = 0;

	while (result == 0) {
		AUTO_FREE char *mountpoint = NULL;
		struct error err = {0};

		pthread_mutex_lock(&mounts->lock);
		if (entry_first_shown(entry))
			mountpoint = xstrdup(entry_first_shown(entry));
		pthread_mutex_unlock(&mounts->lock);
		if (!mountpoint)
			return;
		result = mount_stop(entry->mount, mountpoint, true, &err);
		if (result < 0)
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
		pthread_mutex_lock(&mounts->lock);
		entry = entry_at(mounts, left);
		pthread_mutex_unlock(&mounts->lock);
		if (!entry)
			return left;
		stop_places(mounts, entry);
		if (!wait_ended(mounts, entry, DETACHED_WAIT_MS) && !cut_off(mounts, entry))
			left++;
		entry_put(mounts, entry);
	}
}
