#include "lib/backup/rebuild_index.h"

#include <errno.h>

#include "lib/base/fault.h"
#include "lib/repository/locks.h"

#define INDEX_BLOBS 50000U

struct rebuild {
	struct repository *repository;
	struct transfer transfer;
	struct repository_lock *lock;
	struct repository_reader *reader;
	struct rebuild_counts *counts;
	struct index_writer writer;
	struct object_names old;
	bool has_old_index; /* the repository's index is what of the old one could be read */
};

/* The last one says whose place they take: before it the old ones count, too. */
static int put_index(struct rebuild *rebuild, bool last, struct error *err)
{
	char name[BLOB_ID_TEXT];
	int r;

	index_writer_end(&rebuild->writer, rebuild->old.items, last ? rebuild->old.count : 0);
	r = repository_put_file(rebuild->repository, OBJECT_INDEX, &rebuild->writer.json, name, err);
	buf_clear(&rebuild->writer.json);
	rebuild->writer = (struct index_writer){0};
	return r;
}

struct pack_search {
	uint64_t size;
	struct pack_blobs *blobs;
};

static int take_old_place(void *arg, const struct blob_place *place)
{
	const struct pack_search *search = arg;

	if ((uint64_t)place->blob.offset + place->blob.length <= search->size)
		array_add(search->blobs, place->blob);
	return 0;
}

/* Only now that somebody needs it. Of what is damaged in it, nothing is told. */
static int load_old_index(struct rebuild *rebuild, struct error *err)
{
	struct error why = {0};
	int r = rebuild->has_old_index ? 0 : repository_load_index(rebuild->repository, true, &why);

	rebuild->has_old_index = r == 0;
	if (r < 0 && err)
		*err = why;
	return r;
}

/* The pack does not say any more what is in it. What the old index said of it may still be there: each blob is verified when it is read. */
static int keep_old_places(struct rebuild *rebuild, const struct blob_id *pack, const char *name, struct pack_blobs *blobs, struct error *err)
{
	struct objects *objects = rebuild->repository->objects;
	struct pack_search search = {.blobs = blobs};
	int r = objects->place->size(objects, OBJECT_PACK, name, &search.size);

	array_reset(blobs);
	if (r == 0)
		r = load_old_index(rebuild, err);
	if (r == 0)
		r = blob_index_each_of(rebuild->repository->index, pack, take_old_place, &search);
	if (r < 0)
		return r;
	rebuild->counts->problems++;
	transfer_problem(&rebuild->transfer, "pack", name, -EBADMSG,
	                 blobs->count > 0 ? "its header is damaged: what the old index says of it is kept"
	                                  : "its header is damaged: no index names what is in it");
	return 0;
}

static int add_pack(struct rebuild *rebuild, const struct blob_id *pack, struct error *err)
{
	struct pack_blobs blobs = {0};
	char name[BLOB_ID_TEXT];
	int r = repository_read_pack_header(rebuild->reader, pack, &blobs);

	blob_id_text(pack, name);
	if (r == -EBADMSG || r == -EIO)
		r = keep_old_places(rebuild, pack, name, &blobs, err);
	if (r < 0) {
		(void)error_default(err, r, "pack %.8s cannot be read", name);
	} else if (blobs.count > 0) {
		rebuild->counts->packs++;
		rebuild->counts->blobs += blobs.count;
		index_writer_add(&rebuild->writer, pack, blobs.items, blobs.count);
	}
	array_clear(&blobs);
	if (r == 0 && rebuild->writer.blobs >= INDEX_BLOBS)
		return put_index(rebuild, false, err);
	return r;
}

/* --- what is gone --- */

struct gone {
	const struct object_names *packs; /* that are there */
	struct object_names names;
};

static int note_gone(void *arg, const struct blob_id *pack)
{
	struct gone *gone = arg;

	if (!object_names_have_id(gone->packs, pack))
		array_add(&gone->names, *pack);
	return 0;
}

/* Of what cannot be read, nothing is told. */
static int look_into_old(struct rebuild *rebuild, const struct blob_id *id, struct gone *gone, struct error *err)
{
	struct blob_index *index = blob_index_new();
	int r = repository_read_index_file(rebuild->repository, id, index, err);

	if (r == 0)
		r = blob_index_each_pack(index, note_gone, gone);
	blob_index_free(index);
	return r == -EBADMSG || r == -ENOENT ? 0 : r;
}

static int tell_gone(struct rebuild *rebuild, const struct object_names *packs, struct error *err)
{
	struct gone gone = {.packs = packs};
	struct error why = {0};
	int r = 0;

	for (size_t i = 0; i < rebuild->old.count && r == 0; i++)
		r = look_into_old(rebuild, &rebuild->old.items[i], &gone, &why);
	object_names_sort(&gone.names);
	for (size_t i = 0; i < gone.names.count && r == 0; i++) {
		char name[BLOB_ID_TEXT];

		if (i > 0 && blob_id_equal(&gone.names.items[i], &gone.names.items[i - 1]))
			continue;
		blob_id_text(&gone.names.items[i], name);
		rebuild->counts->problems++;
		transfer_problem(&rebuild->transfer, "pack", name, -ENOENT, "an old index names it, and it is not there: what was in it is lost");
	}
	array_clear(&gone.names);
	if (r < 0 && err)
		*err = why;
	return r;
}

static int remove_old(struct rebuild *rebuild, struct error *err)
{
	struct objects *objects = rebuild->repository->objects;
	int r = 0;

	for (size_t i = 0; i < rebuild->old.count && r == 0; i++) {
		char name[BLOB_ID_TEXT];

		blob_id_text(&rebuild->old.items[i], name);
		r = objects->place->remove(objects, OBJECT_INDEX, name);
		if (r == -ENOENT)
			r = 0;
		if (r < 0)
			(void)error_set(err, r, "index file %.8s cannot be removed: %s", name, strerror(-r));
	}
	return r;
}

static int run(struct rebuild *rebuild, struct error *err)
{
	struct object_names packs = {0};
	int r = repository_list(rebuild->repository, OBJECT_INDEX, &rebuild->old, err);

	if (r == 0)
		r = repository_list(rebuild->repository, OBJECT_PACK, &packs, err);
	for (size_t i = 0; i < packs.count && r == 0; i++) {
		r = add_pack(rebuild, &packs.items[i], err);
		if (i % 16 == 0)
			transfer_tell_part(&rebuild->transfer, "packs", i, packs.count);
		if (r == 0 && (transfer_stopped(&rebuild->transfer) || repository_lock_lost(rebuild->lock)))
			r = error_set(err, -ECANCELED, "cancelled; the old index is as it was");
	}
	if (r == 0)
		r = tell_gone(rebuild, &packs, err);
	array_clear(&packs);
	if (r == 0)
		r = put_index(rebuild, true, err);
	if (r == 0)
		r = fault_point("rebuild-index-before-old");
	if (r == 0)
		r = repository_lock_check(rebuild->lock, err);
	return r < 0 ? r : remove_old(rebuild, err);
}

int rebuild_index_run(struct repository *repository, const struct transfer_options *options, struct rebuild_counts *ret_counts, struct error *err)
{
	struct rebuild rebuild = {.repository = repository, .counts = ret_counts};
	struct transfer_counts counts;
	int r, failed;

	*ret_counts = (struct rebuild_counts){0};
	transfer_begin(&rebuild.transfer, options);
	rebuild.reader = repository_reader_new(repository);
	r = repository_lock_take(repository, true, &rebuild.lock, err);
	if (r == 0)
		r = run(&rebuild, err);
	repository_lock_release(rebuild.lock);
	repository_reader_free(rebuild.reader);
	buf_clear(&rebuild.writer.json);
	array_clear(&rebuild.old);
	failed = transfer_end(&rebuild.transfer, &counts, r < 0 ? NULL : err);
	return r < 0 ? r : failed;
}
