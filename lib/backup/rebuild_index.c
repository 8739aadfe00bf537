#include "lib/backup/rebuild_index.h"

#include <errno.h>

#include "lib/base/fault.h"
#include "lib/repository/blob_set.h"
#include "lib/repository/locks.h"

#define INDEX_BLOBS 50000U

struct rebuild {
	const struct rebuild_options *options;
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

/* Packs that the old index names and that are not there. */
struct gone {
	const struct object_names *packs; /* that are there */
	const struct blob_index *index;   /* of the file that is looked into */
	struct blob_set names;
	uint64_t bytes;
};

static int add_bytes(void *arg, const struct blob_place *place)
{
	*(uint64_t *)arg += place->blob.length;
	return 0;
}

static int note_gone(void *arg, const struct blob_id *pack)
{
	struct gone *gone = arg;

	if (object_names_have_id(gone->packs, pack) || !blob_set_put(&gone->names, pack, false))
		return 0;
	return blob_index_each_of(gone->index, pack, add_bytes, &gone->bytes);
}

/* Of what is damaged, nothing is known. */
static int look_into_old(struct rebuild *rebuild, const struct blob_id *id, struct gone *gone, struct error *err)
{
	struct blob_index *index = blob_index_new();
	int r = repository_read_index_file(rebuild->repository, id, index, err);

	gone->index = index;
	if (r == 0)
		r = blob_index_each_pack(index, note_gone, gone);
	blob_index_free(index);
	return r == -EBADMSG || r == -ENOENT ? 0 : r;
}

static int refuse(const struct gone *gone, struct error *err)
{
	const unsigned long long count = gone->names.items.count, bytes = gone->bytes;
	char name[BLOB_ID_TEXT];

	blob_id_text(&gone->names.items.items[0].id, name);
	(void)error_set(err, -ENOENT, "%llu pack%s that the index names, with %llu %s in %s, %s not there, %s%.8s; the index is as it was", count,
	                count == 1 ? "" : "s", bytes < 1U << 20 ? bytes : bytes >> 20, bytes < 1U << 20 ? "bytes" : "MiB", count == 1 ? "it" : "them",
	                count == 1 ? "is" : "are", count == 1 ? "" : "the first is ", name);
	error_hint(err, "bring back what is missing, or mount the disk that it is on; if it is lost for good: corpusfs backup rebuild-index REPOSITORY "
	                "--drop-missing");
	return -ENOENT;
}

static void tell_gone(struct rebuild *rebuild, const struct gone *gone)
{
	for (size_t i = 0; i < gone->names.items.count; i++) {
		char name[BLOB_ID_TEXT];

		blob_id_text(&gone->names.items.items[i].id, name);
		rebuild->counts->problems++;
		transfer_problem(&rebuild->transfer, "pack", name, -ENOENT, "an old index names it, and it is not there: what was in it is lost");
	}
}

static int look_for_gone(struct rebuild *rebuild, const struct object_names *packs, struct error *err)
{
	struct gone gone = {.packs = packs};
	struct error why = {0};
	int r = 0;

	for (size_t i = 0; i < rebuild->old.count && r == 0; i++)
		r = look_into_old(rebuild, &rebuild->old.items[i], &gone, &why);
	if (r < 0 && err)
		*err = why;
	if (r == 0 && rebuild->options->drop_missing)
		tell_gone(rebuild, &gone);
	else if (r == 0 && gone.names.items.count > 0)
		r = refuse(&gone, err);
	blob_set_clear(&gone.names);
	return r;
}

/* Where a disk is not mounted, a folder is missing, and a damaged index does not say what is in it. */
static int check_folders(struct rebuild *rebuild, struct error *err)
{
	char folder[OBJECT_FOLDER_TEXT];
	int r = objects_check_pack_folders(rebuild->repository->objects, folder);

	if (r == 0 || (r == -ENOENT && rebuild->options->drop_missing))
		return 0;
	(void)error_set(err, r, "the repository's folder %s %s%s; the index is as it was", folder, r == -ENOENT ? "is missing" : "cannot be opened: ",
	                r == -ENOENT ? "" : strerror(-r));
	/* Without a folder of all packs, nothing can be listed. */
	error_hint(err, "bring it back, or mount the disk that it is on%s",
	           r == -ENOENT && strchr(folder, '/') ? "; if it is lost for good, or was empty: corpusfs backup rebuild-index REPOSITORY --drop-missing" : "");
	return r;
}

/* Whatever is in packs that cannot be listed now, an old index may be the only one that knows it. */
static int list_packs(struct rebuild *rebuild, struct object_names *ret_packs, struct error *err)
{
	int r = repository_list(rebuild->repository, OBJECT_PACK, ret_packs, err);

	return r < 0 ? r : look_for_gone(rebuild, ret_packs, err);
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

/* Where all of it is lost, its folder may be, too. */
static int list_old(struct rebuild *rebuild, struct error *err)
{
	struct objects *objects = rebuild->repository->objects;
	int r = repository_list(rebuild->repository, OBJECT_INDEX, &rebuild->old, NULL);

	if (r == -ENOENT)
		r = objects->place->create(objects);
	return r < 0 ? error_set(err, r, "the repository's index files cannot be listed: %s", error_text(r)) : 0;
}

static int run(struct rebuild *rebuild, struct error *err)
{
	struct object_names packs = {0};
	int r = check_folders(rebuild, err);

	if (r == 0)
		r = list_old(rebuild, err);
	if (r == 0)
		r = list_packs(rebuild, &packs, err);
	for (size_t i = 0; i < packs.count && r == 0; i++) {
		r = add_pack(rebuild, &packs.items[i], err);
		if (i % 16 == 0)
			transfer_tell_part(&rebuild->transfer, "packs", i, packs.count);
		if (r == 0 && (transfer_stopped(&rebuild->transfer) || repository_lock_lost(rebuild->lock)))
			r = error_set(err, -ECANCELED, "cancelled; the old index is as it was");
	}
	array_clear(&packs);
	if (r == 0)
		r = put_index(rebuild, true, err);
	if (r == 0)
		r = fault_point("rebuild-index-before-old");
	if (r == 0)
		r = repository_lock_check(rebuild->lock, err);
	return r < 0 ? r : remove_old(rebuild, err);
}

int rebuild_index_run(const struct rebuild_options *options, struct rebuild_counts *ret_counts, struct error *err)
{
	struct repository *repository = options->repository;
	struct rebuild rebuild = {.options = options, .repository = repository, .counts = ret_counts};
	struct transfer_counts counts;
	int r, failed;

	*ret_counts = (struct rebuild_counts){0};
	transfer_begin(&rebuild.transfer, &options->transfer);
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
