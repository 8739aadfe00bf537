/*
 * Under an exclusive lock. Until 5, nothing that anybody relies on is removed:
 *
 *   1. All trees of all snapshots are walked: the blobs that they name are used. A tree, or a list of a backup's own
 *      packs, that cannot be read ends it: nothing is removed.
 *   2. Of a used blob with several copies, those stay that a remaining backup wrote into packs of its own (a full backup shares nothing on
 *      purpose), or, if there is no such one, the first. A copy in a pack that is not there, or beyond its end, is none; a used blob without any
 *      copy ends it, too.
 *   3. A pack none of whose blobs stay goes. One of which more than max_unused is not to stay is written anew: its blobs that stay are verified
 *      and added to new packs, which are put, with index files that name them. A backup's own pack is not: its copies would be nobody's own then.
 *   4. A new index of all packs that stay is put.
 *   5. The snapshot files that are to be forgotten, which counted as gone from the beginning, are removed; then the old index files.
 *   6. The packs that go are removed, and those that no index names.
 *
 * Where there is no room for 3 and 4, what was put is taken back: index files first, then the packs that they name. What was to be written anew
 * then stays as it is, and what goes whole goes all the same. Where nothing does, fewer packs are written anew, those first that free most for each
 * byte that is written. All of it is done again then, for there is more room. Where there is not even room for the index, the packs that no index
 * names go first: a backup that filled the disk leaves such. If that is not enough, the files of the old index that name nothing but packs that go are
 * removed after 5's snapshot files, and then these packs. Where there is neither, nothing goes.
 *
 * Objects that somebody began and never put go, too, when nothing was written to them for OBJECTS_LEFT_AGE_S. The lock keeps writers away but those that take
 * none (a key that is added) or wait for it; an object takes seconds.
 *
 * A crash before 4 leaves new packs beside the old; until 6, both indexes, which name the same blobs; after it, packs that nobody names. At each
 * moment every blob that is used is in a pack that an index names, and no index that is left names a pack that is gone.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/backup/backup_info.h"
#include "lib/backup/prune_inside.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"

/* To forget is the last thing: what the store still has comes back with the next backup, and the rest of a hurt one can be restored. */
#define DAMAGED_HINT \
	"a new incremental backup may bring back what is missing, or, if it is an index that is damaged, corpusfs backup rebuild-index REPOSITORY; " \
	"of what corpusfs backup verify REPOSITORY names after that, restore --keep-going gives the rest; then forget it, and prune"

/* --- 1: what is used --- */

static int tree_comes(void *arg)
{
	return prune_stopped(arg);
}

static int tree_problem(void *arg, const struct used_problem *problem)
{
	struct prune *prune = arg;

	const bool is_damaged = problem->code == -EBADMSG || problem->code == -ENOENT;
	const int r = is_damaged ? -EBADMSG : problem->code;

	(void)error_set(&prune->why, r, "backup %.8s: %s: %s%s%s; nothing is removed", problem->snapshot->name, *problem->path ? problem->path : "/",
	                problem->what, is_damaged ? "" : ": ", is_damaged ? "" : strerror(-r));
	if (is_damaged)
		error_hint(&prune->why, "%s", DAMAGED_HINT);
	return r;
}

/* The packs that the backup wrote are its own. What restic made lists none. Where it cannot be known, a copy of its own might go. */
static int own_packs(struct prune *prune, const struct snapshot_file *snapshot, struct error *err)
{
	struct object_names own = {0};
	struct error why = {0};
	int r = backup_info_own_packs(prune->reader, snapshot, &own, &why);
	struct pack *pack;

	if (r < 0) {
		(void)error_set(err, r, "%s; nothing is removed", why.text);
		if (r == -EBADMSG)
			error_hint(err, "%s", DAMAGED_HINT);
	}
	for (size_t i = 0; i < own.count; i++) {
		HASH_FIND(hh, prune->packs, &own.items[i], sizeof(own.items[i]), pack);
		if (pack)
			pack->is_owned = true;
	}
	array_clear(&own);
	return r;
}

static int find_used(struct prune *prune, struct error *err)
{
	const struct used_walk walk = {.reader = prune->reader, .problem = tree_problem, .tree = tree_comes, .arg = prune};
	struct snapshot_files snapshots = {0};
	const struct object_names *gone = prune->options->forget;
	int r = snapshot_files_read(prune->repository, false, &snapshots, err);

	transfer_tell(&prune->transfer, "trees");
	for (size_t i = 0; i < snapshots.count && r == 0; i++) {
		if (gone && object_names_have(gone, snapshots.items[i].name))
			continue;
		r = used_blobs_add(prune->used, &walk, &snapshots.items[i]);
		if (r == 0)
			r = own_packs(prune, &snapshots.items[i], err);
		else if (prune->why.code < 0 && err)
			*err = prune->why;
	}
	snapshot_files_clear(&snapshots);
	return r;
}

/* --- 2: what stays --- */

/* An index names a pack once, and its blobs one after another. */
static void add_packs(struct prune *prune)
{
	const struct blob_index *index = prune->repository->index;
	struct pack *pack = NULL;

	for (size_t i = 0; i < blob_index_count(index); i++) {
		const struct blob_place place = blob_index_place(index, i);

		if (!pack || !blob_id_equal(&pack->id, &place.pack)) {
			pack = xcalloc(1, sizeof(*pack));
			pack->id = place.pack;
			pack->first = i;
			HASH_ADD(hh, prune->packs, id, sizeof(pack->id), pack);
		}
		pack->count++;
	}
	prune->used = used_blobs_new(index);
	prune->placed = used_blobs_new(index);
	prune->stays = xcalloc(blob_index_count(index) / 8 + 1, 1);
}

static void let_stay(struct prune *prune, struct pack *pack, size_t i, uint32_t length)
{
	const size_t number = pack->first + i;

	prune->stays[number / 8] |= (uint8_t)(1U << number % 8);
	pack->kept += length;
}

static void place_blobs(struct prune *prune, bool owned)
{
	struct pack *pack, *next;

	HASH_ITER (hh, prune->packs, pack, next) {
		if (pack->is_owned != owned)
			continue;
		for (size_t i = 0; i < pack->count; i++) {
			const struct pack_blob blob = prune_blob_of(prune, pack, i);

			if ((uint64_t)blob.offset + blob.length > pack->size)
				continue;
			if (!used_blobs_has(prune->used, &blob.id, blob.is_tree))
				continue;
			if (used_blobs_put(prune->placed, &blob.id, blob.is_tree) || owned)
				let_stay(prune, pack, i, blob.length);
		}
	}
}

static int note_listed(void *arg, const char *name, uint64_t size)
{
	struct prune *prune = arg;
	struct listed listed = {.size = size};

	if (blob_id_parse(name, &listed.id) == 0)
		array_add(&prune->listed, listed);
	return 0;
}

static void note_size(struct prune *prune, const struct listed *listed)
{
	struct pack *pack;

	HASH_FIND(hh, prune->packs, &listed->id, sizeof(listed->id), pack);
	if (pack)
		pack->size = listed->size;
	else
		array_add(&prune->unnamed, listed->id);
	prune->counts->packs++;
	prune->counts->bytes += listed->size;
	prune->counts->bytes_freed += pack ? 0 : listed->size;
}

static int choose(struct prune *prune, struct error *err)
{
	struct pack *pack, *next;

	for (size_t i = 0; i < prune->listed.count; i++)
		note_size(prune, &prune->listed.items[i]);
	prune->counts->packs_removed = prune->unnamed.count;
	place_blobs(prune, true);
	place_blobs(prune, false);
	if (used_blobs_count(prune->placed) != used_blobs_count(prune->used)) {
		(void)error_set(err, -EBADMSG, "of %llu blobs that backups name, %llu are in no pack that is there; nothing is removed",
		                (unsigned long long)used_blobs_count(prune->used),
		                (unsigned long long)(used_blobs_count(prune->used) - used_blobs_count(prune->placed)));
		error_hint(err, "%s", DAMAGED_HINT);
		return -EBADMSG;
	}
	HASH_ITER (hh, prune->packs, pack, next) {
		const uint64_t unused = pack->size > pack->kept ? pack->size - pack->kept : 0;
		const bool is_much = unused > (uint64_t)pack->count * 64 + 1024 && unused * 100 > pack->size * prune->options->max_unused;

		pack->goes = pack->kept == 0;
		pack->is_rewritten = pack->is_worth = !pack->goes && !pack->is_owned && is_much;
		prune->counts->packs_removed += pack->goes;
		prune->counts->packs_rewritten += pack->is_rewritten;
		if (pack->goes || pack->is_rewritten)
			prune->counts->bytes_freed += unused;
	}
	return 0;
}

/* --- 3 and 4: what is put --- */

/* Nobody relies on it yet: the lock is exclusive. */
static int take_back(struct prune *prune, struct error *err)
{
	int r = prune_remove(prune, OBJECT_INDEX, &prune->put_indexes, err);

	if (r == 0)
		r = prune_remove(prune, OBJECT_PACK, &prune->put_packs, err);
	array_clear(&prune->put_indexes);
	array_clear(&prune->put_packs);
	return r;
}

static int put_once(struct prune *prune, struct error *err)
{
	int r = prune->counts->packs_rewritten > 0 ? prune_rewrite(prune, err) : 0;

	if (r == 0)
		r = prune_stopped(prune);
	if (r == 0)
		r = fault_point("backup-prune-before-index");
	/* What is put from here on replaces what was listed before. */
	return r == 0 ? prune_write_index(prune, err) : r;
}

/* To free anything. */
static int no_room(struct prune *prune, int code, struct error *err)
{
	if (err && err->code == code)
		error_hint(err, "the disk of the repository is full: make room on it; %llu MiB are enough to begin with",
		           (unsigned long long)((prune_needed(prune) >> 20) + 1));
	return code;
}

static int put_new(struct prune *prune, struct error *err)
{
	bool made_room = false;

	for (;;) {
		const int r = put_once(prune, err);
		int done;

		if (r != -ENOSPC && r != -EDQUOT)
			return r;
		done = take_back(prune, err);
		if (done < 0)
			return done;
		if (prune->unnamed.count > 0) {
			done = prune_remove_unnamed(prune, err);
			if (done < 0)
				return done;
		} else if (prune->counts->packs_rewritten > 0) {
			if (prune->counts->packs_removed > 0)
				prune_give_up_rewriting(prune);
			else
				prune_rewrite_less(prune);
			if (prune->counts->packs_removed + prune->counts->packs_rewritten == 0)
				return no_room(prune, r, err);
		} else {
			done = made_room ? 0 : prune_make_room(prune, err);
			if (done <= 0)
				return done < 0 ? done : no_room(prune, r, err);
			made_room = true;
		}
		if (err)
			*err = (struct error){0};
	}
}

/* --- 6: the packs --- */

static int remove_packs(struct prune *prune, struct error *err)
{
	struct object_names names = {0};
	struct pack *pack, *next;
	int r;

	HASH_ITER (hh, prune->packs, pack, next) {
		if (pack->goes || pack->is_rewritten)
			array_add(&names, pack->id);
	}
	transfer_tell(&prune->transfer, "remove");
	r = prune_remove(prune, OBJECT_PACK, &names, err);
	if (r == 0)
		r = prune_remove_unnamed(prune, err);
	array_clear(&names);
	return r;
}

/* --- the whole --- */

static int remove_left(struct prune *prune, struct error *err)
{
	const time_t before = clock_now().tv_sec - OBJECTS_LEFT_AGE_S;
	int r = objects_clean(prune->repository->objects, before, prune->options->dry_run, &prune->counts->left);

	return r < 0 ? error_set(err, r, "what a writer that died had begun cannot be removed: %s", strerror(-r)) : 0;
}

static int change(struct prune *prune, struct error *err)
{
	const bool any = prune->counts->packs_removed + prune->counts->packs_rewritten > 0;
	int r = any ? put_new(prune, err) : 0;

	if (r == 0)
		r = prune_stopped(prune);
	if (r == 0)
		r = prune_forget(prune, err);
	if (r < 0 || !any)
		return r;
	r = fault_point("backup-prune-before-old-index");
	if (r == 0)
		r = repository_lock_check(prune->lock, err);
	if (r == 0)
		r = prune_remove(prune, OBJECT_INDEX, &prune->old_indexes, err);
	if (r == 0)
		r = fault_point("backup-prune-before-packs");
	if (r == 0)
		r = repository_lock_check(prune->lock, err);
	return r < 0 ? r : remove_packs(prune, err);
}

static int run(struct prune *prune, struct error *err)
{
	struct objects *objects = prune->repository->objects;
	int r = objects->place->list(objects, OBJECT_PACK, note_listed, prune);

	if (r < 0)
		return error_set(err, r, "the packs of the repository cannot be listed: %s", strerror(-r));
	/* What comes after it was listed stays, although whoever brings it should have waited: packs come first, then index files, then snapshots. */
	r = repository_list(prune->repository, OBJECT_INDEX, &prune->old_indexes, err);
	if (r == 0)
		r = repository_load_index(prune->repository, false, err);
	if (r < 0)
		return r;
	add_packs(prune);
	r = find_used(prune, err);
	if (r == 0)
		r = choose(prune, err);
	if (r == 0)
		r = remove_left(prune, err);
	return r < 0 || prune->options->dry_run ? r : change(prune, err);
}

static void clear(struct prune *prune)
{
	struct pack *pack, *next;

	HASH_ITER (hh, prune->packs, pack, next) {
		HASH_DEL(prune->packs, pack);
		free(pack);
	}
	free(prune->stays);
	array_clear(&prune->unnamed);
	array_clear(&prune->listed);
	array_clear(&prune->old_indexes);
	array_clear(&prune->put_indexes);
	array_clear(&prune->put_packs);
	used_blobs_free(prune->used);
	used_blobs_free(prune->placed);
	repository_reader_free(prune->reader);
}

static int run_pass(const struct prune_options *options, struct prune_counts *ret_counts, struct error *err)
{
	struct prune prune = {.options = options, .repository = options->repository, .lock = options->lock,
	                      .counts = ret_counts};
	struct transfer_counts counts;
	int r, failed;

	*ret_counts = (struct prune_counts){0};
	transfer_begin(&prune.transfer, &options->transfer);
	prune.reader = repository_reader_new(options->repository);
	r = run(&prune, err);
	if (ret_counts->no_room || r == -ENOSPC || r == -EDQUOT)
		ret_counts->needed = prune_needed(&prune);
	clear(&prune);
	failed = transfer_end(&prune.transfer, &counts, r < 0 ? NULL : err);
	return r < 0 ? r : failed;
}

static void add_pass(struct prune_counts *counts, const struct prune_counts *pass)
{
	counts->packs_removed += pass->packs_removed;
	counts->packs_rewritten += pass->packs_rewritten;
	counts->bytes_freed += pass->bytes_freed;
	counts->left.count += pass->left.count;
	counts->left.bytes += pass->left.bytes;
	counts->no_room = pass->no_room;
	counts->needed = pass->needed;
}

static int stop_at_first(void *arg, const char *name, uint64_t size)
{
	(void)arg;
	(void)name;
	(void)size;
	return -EEXIST;
}

/* Where a folder that was lost looks like an empty one, all packs would go. */
static int check_that_backups_are_listed(struct repository *repository, struct error *err)
{
	struct objects *objects = repository->objects;
	struct object_names backups = {0};
	int r = repository_list(repository, OBJECT_SNAPSHOT, &backups, err);
	const bool any = backups.count > 0;

	array_clear(&backups);
	if (r < 0 || any || objects->place->list(objects, OBJECT_PACK, stop_at_first, NULL) != -EEXIST)
		return r;
	(void)error_set(err, -ENOENT, "there are packs and no backup, and this server does not tell whether the folder %s is there; nothing is removed",
	                object_folder(OBJECT_SNAPSHOT));
	error_hint(err, "if all backups were forgotten: make one, then prune");
	return -ENOENT;
}

int prune_run(const struct prune_options *options, struct prune_counts *ret_counts, struct error *err)
{
	struct prune_options next = *options;
	struct prune_counts pass;
	uint64_t bytes = UINT64_MAX; /* at the beginning of the pass before */
	int r;

	*ret_counts = (struct prune_counts){0};
	r = objects_hides_missing(options->repository->objects) ? check_that_backups_are_listed(options->repository, err) : 0;
	if (r == 0)
		r = run_pass(options, ret_counts, err);
	pass = *ret_counts;
	next.forget = NULL;
	/* It ends also where a pass has freed nothing that the place knows of. */
	while (r == 0 && pass.no_room && pass.bytes < bytes) {
		bytes = pass.bytes;
		r = run_pass(&next, &pass, err);
		if (r == 0)
			add_pass(ret_counts, &pass);
	}
	if ((r != -ENOSPC && r != -EDQUOT) || bytes == UINT64_MAX)
		return r;
	/* There was no room for this pass, but for those before. */
	ret_counts->needed = pass.needed;
	if (err)
		*err = (struct error){0};
	return 0;
}
