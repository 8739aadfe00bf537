#include "fs/cli/warm_place.h"

#include <errno.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>

/* --- in a mount --- */

static int walk_mount(const struct warm_place *place, warm_each_fn each, void *arg, struct error *err)
{
	char *const paths[] = {(char *)place->path, NULL};
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_XDEV | FTS_NOCHDIR, NULL);
	int r = fts ? 0 : error_set(err, -errno, "%s: %s", place->path, strerror(errno));

	for (FTSENT *found; r == 0 && (errno = 0, found = fts_read(fts));) {
		const bool is_file = found->fts_info == FTS_F && S_ISREG(found->fts_statp->st_mode);
		const struct warm_entry entry = {.path = found->fts_path, .is_dir = found->fts_info == FTS_D, .is_file = is_file,
		                                 .is_top = found->fts_level == 0, .size = is_file ? (uint64_t)found->fts_statp->st_size : 0};

		if (found->fts_info == FTS_DNR || found->fts_info == FTS_ERR || found->fts_info == FTS_NS)
			r = error_set(err, -found->fts_errno, "%s: %s", found->fts_path, strerror(found->fts_errno));
		else if (found->fts_info != FTS_DP)
			r = each(arg, &entry, err);
	}
	if (r == 0 && errno != 0)
		r = error_set(err, -errno, "%s: %s", place->path, strerror(errno));
	if (fts)
		fts_close(fts);
	return r;
}

static uint64_t number(const json_t *status, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(status, key));
}

static int state_of_mount(const struct warm_place *place, struct warm_state *ret_state, struct error *err)
{
	json_t *status = NULL;
	int r = remote_mount_ask(place->path, &status, err);

	if (r < 0)
		return r;
	*ret_state = (struct warm_state){.stopped = json_is_true(json_object_get(status, "cache_stopped")), .blobs = number(status, "cache_blobs"),
	                                 .limit = number(status, "cache_limit"), .read = number(status, "read_bytes")};
	json_decref(status);
	return 0;
}

/* --- without one --- */

static int failed(const struct warm_place *place, int code, struct error *err)
{
	return error_set(err, code, "%s: %s", place->path, code == -EIO ? REMOTE_AWAY : error_text(code));
}

struct walk {
	const struct warm_place *place;
	warm_each_fn each;
	void *arg;
	struct error *err;
	bool told; /* what ended it */
};

static int take(void *arg, const struct browse_entry *found)
{
	struct walk *walk = arg;
	const mode_t mode = found->stat.st_mode;
	const struct warm_entry entry = {.id = found->id, .is_dir = S_ISDIR(mode), .is_file = S_ISREG(mode),
	                                 .is_top = found->id == walk->place->from.id, .size = S_ISREG(mode) ? (uint64_t)found->stat.st_size : 0};
	const int r = walk->each(walk->arg, &entry, walk->err);

	walk->told = r < 0;
	return r;
}

static int bring(const struct warm_place *place, const struct warm_entry *entry, struct remote_step *step, struct error *err)
{
	struct browse_step next = {.id = entry->id, .position = step->position, .offset = step->offset};
	struct browse_brought brought;
	const int r = browse_bring(place->browsing->browse, &next, &brought);

	if (r < 0)
		return failed(place, r, err);
	*step = (struct remote_step){.position = next.position, .offset = next.offset, .at_end = next.at_end, .files = brought.files,
	                             .bytes = brought.bytes, .failed = brought.failed};
	return 0;
}

static int pin(const struct warm_place *place, enum warm_pin what)
{
	struct browse *browse = place->browsing->browse;

	switch (what) {
	case WARM_PIN: return browse_pin(browse, place->from.id);
	case WARM_UNPIN: return browse_unpin(browse, place->from.id);
	case WARM_UNPIN_ALL: break;
	}
	return browse_unpin_all(browse);
}

/* --- either --- */

static int not_pinned(const struct warm_place *place, int code, struct error *err)
{
	switch (code) {
	case -ENOBUFS:
		(void)error_set(err, -ENOSPC, "%s: more would be pinned than seven eighths of the cache", place->path);
		error_hint(err, "use it with a larger cache_size, or corpusfs unpin what is pinned; corpusfs status lists it");
		return -ENOSPC;
	case -ENOENT:
		(void)error_set(err, code, "%s: nothing is pinned by this path", place->path);
		error_hint(err, "corpusfs status lists what is pinned, of which backup; --all lets all of it go");
		return code;
	case -EINVAL: return error_set(err, code, "%s: that is no part of a backup", place->path);
	case -EPERM: return error_set(err, code, "%s: only root and who has mounted it may say what is pinned", place->path);
	case -EOPNOTSUPP: return remote_mount_no_cache(err);
	default: return failed(place, code, err);
	}
}

int warm_place_pin(const struct warm_place *place, enum warm_pin what, struct error *err)
{
	static const char *const names[] = {[WARM_PIN] = "pin", [WARM_UNPIN] = "unpin", [WARM_UNPIN_ALL] = "unpin.all"};
	const int r = place->browsing ? pin(place, what) : remote_mount_do(place->path, names[what]);

	return r < 0 ? not_pinned(place, r, err) : 0;
}

int warm_place_missing(const struct warm_place *place, uint64_t *ret_bytes, struct error *err)
{
	const int r = place->browsing ? browse_pin_missing(place->browsing->browse, place->from.id, ret_bytes) : remote_mount_missing(place->path, ret_bytes);

	return r < 0 ? not_pinned(place, r, err) : 0;
}

int warm_place_walk(const struct warm_place *place, warm_each_fn each, void *arg, struct error *err)
{
	struct walk walk = {.place = place, .each = each, .arg = arg, .err = err};
	int r;

	if (!place->browsing)
		return walk_mount(place, each, arg, err);
	r = browse_walk(place->browsing->browse, &place->from, take, &walk);
	return r < 0 && !walk.told ? failed(place, r, err) : r;
}

int warm_place_bring(const struct warm_place *place, const struct warm_entry *entry, struct remote_step *step, struct error *err)
{
	return place->browsing ? bring(place, entry, step, err) : remote_mount_bring(entry->path, step, err);
}

int warm_place_state(const struct warm_place *place, struct warm_state *ret_state, struct error *err)
{
	struct browse_state state;

	if (!place->browsing)
		return state_of_mount(place, ret_state, err);
	state = browse_state(place->browsing->browse);
	*ret_state = (struct warm_state){.stopped = state.disk.failed, .blobs = state.disk.blobs, .limit = state.disk.limit};
	return 0;
}
