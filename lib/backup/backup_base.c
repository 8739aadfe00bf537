#include "lib/backup/backup_base.h"

#include <errno.h>
#include <stdio.h>

#include "lib/backup/backup_find.h"
#include "lib/backup/lost_packs.h"
#include "lib/base/clock.h"
#include "lib/repository/origin.h"

/* --- which one --- */

/* Complete ones only, or all. */
static const struct snapshot_file *newest(const struct snapshot_files *snapshots, const char *dataset_tag, const char *type_tag, bool all)
{
	for (size_t i = snapshots->count; i-- > 0;) {
		const struct snapshot_file *snapshot = &snapshots->items[i];

		if (snapshot_file_has_tag(snapshot, dataset_tag) && (!type_tag || snapshot_file_has_tag(snapshot, type_tag)) &&
		    (all || backup_is_complete(snapshot)))
			return snapshot;
	}
	return NULL;
}

static const struct snapshot_file *choose_base(const struct snapshot_files *snapshots, const struct backup_aim *aim)
{
	const struct snapshot_file *found;

	if (aim->type == BACKUP_INCREMENTAL)
		return newest(snapshots, aim->dataset_tag, NULL, true);
	found = newest(snapshots, aim->dataset_tag, "type=full", false);
	return found ? found : newest(snapshots, aim->dataset_tag, "type=full", true);
}

static int no_base(const struct backup_base *base, const struct backup_aim *aim, struct error *err)
{
	(void)error_set(err, -ENOENT, "there is no %s backup of the dataset in the repository", aim->type == BACKUP_DIFFERENTIAL ? "full" : "earlier");
	if (*base->damaged)
		error_hint(err, "it may be that of snapshot file %.8s, which is damaged: corpusfs backup forget REPOSITORY %.8s removes it; "
		                "make one with --type full", base->damaged, base->damaged);
	else
		error_hint(err, "make one first, with --type full");
	return -ENOENT;
}

/* Only blobs of these packs. */
struct choice {
	const struct blob_index *from;
	const struct object_names *packs; /* sorted */
	size_t count;
	struct blob_index *index;
	struct pack_blobs blobs; /* of one pack */
};

static int count_blob(void *arg, const struct blob_place *place)
{
	struct choice *choice = arg;

	choice->count++;
	return 0;
}

static int count_pack(void *arg, const struct blob_id *pack)
{
	struct choice *choice = arg;

	return object_names_have_id(choice->packs, pack) ? blob_index_each_of(choice->from, pack, count_blob, choice) : 0;
}

static int take_blob(void *arg, const struct blob_place *place)
{
	struct choice *choice = arg;

	array_add(&choice->blobs, place->blob);
	return 0;
}

static int take_pack(void *arg, const struct blob_id *pack)
{
	struct choice *choice = arg;
	int r;

	if (!object_names_have_id(choice->packs, pack))
		return 0;
	array_reset(&choice->blobs);
	r = blob_index_each_of(choice->from, pack, take_blob, choice);
	if (r == 0 && choice->blobs.count > 0)
		blob_index_add(choice->index, pack, choice->blobs.items, choice->blobs.count);
	return r;
}

/* They are counted first: an index that grows is copied, and takes more. */
int backup_base_index_of(const struct blob_index *index, const struct object_names *packs, struct blob_index **ret_index)
{
	struct choice choice = {.from = index, .packs = packs, .index = blob_index_new()};
	int r = packs->count > 0 ? blob_index_each_pack(index, count_pack, &choice) : 0;

	blob_index_reserve(choice.index, choice.count);
	if (r == 0 && choice.count > 0)
		r = blob_index_each_pack(index, take_pack, &choice);
	array_clear(&choice.blobs);
	*ret_index = choice.index;
	return r;
}

/* The blobs of the packs that may be relied on, and of those that were put already. */
static int know_packs(struct backup_base *base, const struct repository *repository, const struct object_names *may)
{
	struct object_names packs = {0};
	int r;

	for (size_t i = 0; i < may->count; i++)
		if (!object_names_have_id(&base->lost, &may->items[i]))
			array_add(&packs, may->items[i]);
	array_append(&packs, base->put.items, base->put.count);
	object_names_sort(&packs);
	r = backup_base_index_of(repository->index, &packs, &base->known);
	array_clear(&packs);
	return r;
}

/* ret_packs: those that it wrote. */
static int take_base(struct backup_base *base, struct repository *repository, const struct snapshot_file *found, bool fills_holes,
		     struct object_names *ret_packs, struct error *err)
{
	struct repository_reader *reader = repository_reader_new(repository);
	const char *full, *full_snapshot;
	json_t *info = NULL;
	int r = snapshot_file_read(repository, found->name, &base->snapshot, err);

	if (r == 0)
		r = backup_info_read(reader, &base->snapshot, &info, err);
	repository_reader_free(reader);
	if (r == -EBADMSG)
		error_hint(err, "make a full one, which relies on no other: --type full; corpusfs backup verify REPOSITORY names all that is damaged");
	if (r < 0)
		return r;
	full = json_string_value(json_object_get(info, "full"));
	full_snapshot = json_string_value(json_object_get(info, full ? "full_snapshot" : "snapshot"));
	(void)snprintf(base->full, sizeof(base->full), "%s", full ? full : found->name);
	base->full_snapshot = xstrdup_or_null(full_snapshot);
	base->doubt = base->snapshot.is_rewritten ? "restic changed it, or something that is said of it, after it was made"
						  : backup_info_doubt(info, repository, &base->lost);
	entry_paths_read(&base->exact, json_object_get(info, "exact"));
	entry_paths_read(&base->large, json_object_get(info, "large"));
	entry_paths_read(&base->left_out, json_object_get(info, "left_out"));
	if (!base->doubt && !backup_is_complete(&base->snapshot) && base->left_out.entries.count == 0)
		base->doubt = "an earlier version made it, which did not note what it left out";
	if (fills_holes)
		entry_paths_add_without_zeros(&base->left_out, &base->exact);
	base->exists = true;
	backup_info_packs(info, ret_packs);
	json_decref(info);
	return 0;
}

/* --- clocks --- */

static bool is_later(const struct timespec *time, const struct timespec *than)
{
	return time->tv_sec > than->tv_sec || (time->tv_sec == than->tv_sec && time->tv_nsec > than->tv_nsec);
}

/*
 * A backup of an earlier snapshot that has a later time: it passes for the newest. NULL: none. A copy of the store on another host gives out the same
 * numbers to snapshots of its own, so those of this host count alone.
 */
static const struct snapshot_file *find_misdated(const struct snapshot_files *snapshots, const struct backup_aim *aim)
{
	const struct origin here = origin_of_process();

	for (size_t i = snapshots->count; i-- > 0 && is_later(&snapshots->items[i].time, &aim->taken);) {
		const struct snapshot_file *snapshot = &snapshots->items[i];
		const uint32_t view = backup_view(snapshot);

		if (view > 0 && view < aim->view && snapshot_file_has_tag(snapshot, aim->dataset_tag) && backup_is_complete(snapshot) &&
		    strcmp(snapshot->host, here.host) == 0)
			return snapshot;
	}
	return NULL;
}

/* Of a snapshot that was just taken: the clock was set since, or had been set before. A backup of a later snapshot that others make is no matter. */
static int check_taken(const struct backup_aim *aim, const struct snapshot_file *misdated, const struct timespec *now, struct error *err)
{
	char taken_text[32], other_text[32];

	if (!misdated && !is_later(&aim->taken, now))
		return 0;
	clock_format(aim->taken.tv_sec, taken_text);
	clock_format(misdated ? misdated->time.tv_sec : now->tv_sec, other_text);
	if (misdated)
		(void)error_set(err, -ETIME, "the snapshot is of %s, and backup %.8s, of an earlier one, of %s: the clock was set meanwhile", taken_text,
		                misdated->name, other_text);
	else
		(void)error_set(err, -ETIME, "the snapshot is of %s, and it is %s now: the clock was set meanwhile", taken_text, other_text);
	error_hint(err, "do it again, with another snapshot");
	return -ETIME;
}

static int check_clock(const struct snapshot_files *snapshots, const struct backup_aim *aim, const struct snapshot_file *misdated, struct error *err)
{
	const struct snapshot_file *last = newest(snapshots, aim->dataset_tag, NULL, false);
	const struct timespec now = clock_now();
	char then_text[32], now_text[32];

	if (!last || !is_later(&last->time, &now))
		return check_taken(aim, misdated, &now, err);
	clock_format(last->time.tv_sec, then_text);
	clock_format(now.tv_sec, now_text);
	(void)error_set(err, -ETIME, "backup %.8s of the dataset is of %s, and it is %s now: this clock is wrong, or was when that one was made", last->name,
	                then_text, now_text);
	error_hint(err, "set the clock; or back up a snapshot that you take yourself, and then: corpusfs backup forget REPOSITORY %.8s", last->name);
	return -ETIME;
}

int backup_base_find(struct backup_base *base, struct repository *repository, const struct backup_aim *aim, struct error *err)
{
	const enum backup_type type = aim->type;
	struct snapshot_files snapshots = {0};
	const struct snapshot_file *found = NULL, *misdated;
	struct object_names packs = {0};
	const bool only_warns = type == BACKUP_FULL && !aim->is_new; /* nothing depends on the backups that there are */
	int r = snapshot_files_read(repository, true, &snapshots, only_warns ? NULL : err);

	*base = (struct backup_base){0};
	if (only_warns)
		r = 0;
	if (snapshots.damaged.count > 0)
		blob_id_text(&snapshots.damaged.items[0], base->damaged);
	misdated = find_misdated(&snapshots, aim);
	if (misdated)
		(void)snprintf(base->misdated, sizeof(base->misdated), "%s", misdated->name);
	if (r == 0 && aim->is_new)
		r = check_clock(&snapshots, aim, misdated, err);
	if (r == 0 && type != BACKUP_FULL)
		found = choose_base(&snapshots, aim);
	if (r == 0 && type != BACKUP_FULL && !found && !(type == BACKUP_INCREMENTAL && aim->share))
		r = no_base(base, aim, err);
	if (r == 0)
		r = repository_load_changed_index(repository, err);
	if (r == 0 && (found || backup_relies_on_all(type, aim->share)))
		r = lost_packs_find(repository, &base->lost, err);
	if (r == 0 && found)
		r = take_base(base, repository, found, aim->fills_holes, &packs, err);
	if (r == 0 && backup_relies_on_all(type, aim->share)) {
		base->known = repository->index;
		base->known_is_repository = true;
		if (type == BACKUP_INCREMENTAL)
			unfinished_packs_of_all(aim->store, repository, &base->passed_over);
		array_append(&base->passed_over, base->lost.items, base->lost.count);
		object_names_sort(&base->passed_over);
	} else if (r == 0) {
		r = unfinished_packs(aim->unfinished, repository, &base->put, err);
		if (r == 0)
			r = know_packs(base, repository, &packs);
	}
	array_clear(&packs);
	snapshot_files_clear(&snapshots);
	return r;
}

/* --- what changed --- */

static bool is_snapshot_of_then(const struct backup_base *base, struct store *store, struct view *view, uint32_t *ret_view)
{
	const uint32_t number = backup_view(&base->snapshot);
	struct timespec taken;

	if (number == 0 || snapshot_taken(store, number, &taken) < 0)
		return false;
	/* A store that was put back from a copy may have given the number to another one. */
	if (taken.tv_sec != base->snapshot.time.tv_sec || taken.tv_nsec != base->snapshot.time.tv_nsec)
		return false;
	*ret_view = number;
	return true;
}

int backup_base_compare(struct backup_base *base, struct store *store, struct view *view)
{
	struct diff_sides sides = {.chunks = store_chunks(store), .one_family = true, .by_touched = true};
	static const struct diff_options options = {0};
	uint32_t number;
	int r;

	if (!base->exists || base->doubt || !is_snapshot_of_then(base, store, view, &number) || store_view_by_number(store, number, &base->view) < 0)
		return 0;
	if (view_family(base->view) != view_family(view))
		return 0;
	scan_of_view(&base->then, base->view);
	scan_of_view(&base->now, view);
	sides.a = base->then;
	sides.b = base->now;
	sides.options = &options;
	base->has_changes = true;
	r = diff_touched_read(&sides, DIFF_MEMORY, &base->touched);
	return r;
}

bool backup_base_lacks(const struct backup_base *base, const char *path)
{
	size_t first;

	return base->left_out.entries.count > 0 &&
	       (entry_paths_find(&base->left_out, path) || entry_paths_below(&base->left_out, path, &first) > 0);
}

int backup_base_is_touched(struct backup_base *base, uint64_t ino, bool is_dir)
{
	int r;

	if (!base->has_changes)
		return 1;
	r = spill_has(is_dir ? base->touched.way_b : base->touched.files, ino);
	if (r == 1 && !is_dir)
		base->met++;
	return r;
}

bool backup_base_met_all(const struct backup_base *base)
{
	return !base->has_changes || base->met == base->touched.names;
}

void backup_base_forget_changes(struct backup_base *base)
{
	if (!base->has_changes)
		return;
	diff_touched_clear(&base->touched);
	scan_clear(&base->then);
	scan_clear(&base->now);
	base->has_changes = false;
}

void backup_base_clear(struct backup_base *base, struct store *store)
{
	backup_base_forget_changes(base);
	if (base->view)
		store_view_put(store, base->view);
	if (base->known && !base->known_is_repository)
		blob_index_free(base->known);
	entry_paths_clear(&base->exact);
	entry_paths_clear(&base->large);
	entry_paths_clear(&base->left_out);
	array_clear(&base->put);
	array_clear(&base->passed_over);
	array_clear(&base->lost);
	free(base->full_snapshot);
	snapshot_file_clear(&base->snapshot);
	*base = (struct backup_base){0};
}
