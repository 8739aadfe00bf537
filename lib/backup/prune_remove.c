/* What a prune removes, also before its new index is there, where that has no room. prune.c says in which order, and why nobody misses it. */
#include <errno.h>

#include "lib/backup/prune_inside.h"
#include "lib/base/fault.h"

int prune_remove(struct prune *prune, enum object_kind kind, const struct object_names *names, struct error *err)
{
	struct objects *objects = prune->repository->objects;
	int r = 0;

	for (size_t i = 0; i < names->count && r == 0; i++) {
		char name[BLOB_ID_TEXT];

		blob_id_text(&names->items[i], name);
		r = fault_point("backup-prune-remove");
		/* The machine may have slept: others have counted the lock for nothing then, and what goes may be what they rely on. */
		if (r == 0 && repository_lock_lost(prune->lock))
			return repository_lock_check(prune->lock, err);
		if (r == 0)
			r = objects->place->remove(objects, kind, name);
		if (r == -ENOENT)
			r = 0;
		if (r < 0)
			(void)error_set(err, r, "%s %.8s cannot be removed: %s", object_kind_text(kind), name, strerror(-r));
	}
	return r;
}

int prune_remove_unnamed(struct prune *prune, struct error *err)
{
	int r = prune->unnamed.count > 0 ? repository_lock_check(prune->lock, err) : 0;

	if (r == 0)
		r = prune_remove(prune, OBJECT_PACK, &prune->unnamed, err);
	if (r == 0)
		array_clear(&prune->unnamed);
	return r;
}

int prune_forget(struct prune *prune, struct error *err)
{
	const struct object_names *names = prune->has_forgotten ? NULL : prune->options->forget;
	int r = names && names->count > 0 ? repository_lock_check(prune->lock, err) : 0;

	for (size_t i = 0; names && i < names->count && r == 0; i++) {
		const struct object_names one = {.items = &names->items[i], .count = 1};

		r = prune_remove(prune, OBJECT_SNAPSHOT, &one, err);
		if (r == 0)
			prune->counts->forgotten++;
	}
	prune->has_forgotten = r == 0;
	return r;
}

/* --- where there is no room for the index --- */

static int meet_pack(void *arg, const struct blob_id *id)
{
	struct prune *prune = arg;
	struct pack *pack;

	HASH_FIND(hh, prune->packs, id, sizeof(*id), pack);
	return !pack || !pack->goes;
}

static int note_named(void *arg, const struct blob_id *id)
{
	struct prune *prune = arg;
	struct pack *pack;

	HASH_FIND(hh, prune->packs, id, sizeof(*id), pack);
	if (pack)
		pack->is_named = true;
	return 0;
}

/* 1: all packs that the index file names go. 0: it stays for now, and so do they. */
static int look_at_index(struct prune *prune, const struct blob_id *id, struct error *err)
{
	struct blob_index *packs = blob_index_new();
	int r = repository_read_index_file(prune->repository, id, packs, err);

	if (r == 0)
		r = blob_index_each_pack(packs, meet_pack, prune) == 0;
	if (r == 0)
		r = blob_index_each_pack(packs, note_named, prune);
	blob_index_free(packs);
	return r;
}

static int remove_packs(struct prune *prune, struct error *err)
{
	struct object_names names = {0};
	struct pack *pack, *next;
	int r;

	HASH_ITER (hh, prune->packs, pack, next) {
		if (pack->goes && !pack->is_named)
			array_add(&names, pack->id);
	}
	r = prune_remove(prune, OBJECT_PACK, &names, err);
	array_clear(&names);
	return r;
}

/* In prune.c's order. */
static int remove_with_indexes(struct prune *prune, const struct object_names *indexes, struct error *err)
{
	int r = prune_forget(prune, err);

	if (r == 0)
		r = repository_lock_check(prune->lock, err);
	if (r == 0)
		r = prune_remove(prune, OBJECT_INDEX, indexes, err);
	if (r == 0)
		r = repository_lock_check(prune->lock, err);
	return r < 0 ? r : remove_packs(prune, err);
}

int prune_make_room(struct prune *prune, struct error *err)
{
	struct object_names indexes = {0};
	int r = 0;

	for (size_t i = 0; i < prune->old_indexes.count && r >= 0; i++) {
		r = look_at_index(prune, &prune->old_indexes.items[i], err);
		if (r == 1)
			array_add(&indexes, prune->old_indexes.items[i]);
	}
	if (r >= 0)
		r = indexes.count > 0 ? remove_with_indexes(prune, &indexes, err) : 0;
	if (r == 0)
		r = indexes.count > 0;
	array_clear(&indexes);
	return r;
}
