/* What a prune puts: packs that are written anew, and the index of all that stay. prune.c says when, and what becomes of it where there is no room. */
#include <errno.h>

#include "lib/backup/prune_inside.h"

#define INDEX_BLOBS 50000U
/* What is reckoned for a blob in a pack's header, and in an index file, compressed. */
#define HEADER_ENTRY 41U
#define INDEX_ENTRY 100U
#define FILES_ROOM (64U << 10) /* for the rest of such files, and the blocks and directories that they take */

int prune_stopped(struct prune *prune)
{
	if (repository_lock_lost(prune->lock))
		transfer_fail(&prune->transfer, -ETIMEDOUT, "the lock could not be renewed, and pruning was given up");
	return transfer_stopped(&prune->transfer) ? -ECANCELED : 0;
}

/* --- writing anew --- */

static int rewrite_pack(struct prune *prune, const struct pack *pack, struct repository_hand *hand, struct error *err)
{
	AUTO_BUF bytes = BUF_INIT, plain = BUF_INIT;
	char name[BLOB_ID_TEXT];
	int r;

	blob_id_text(&pack->id, name);
	r = objects_get_whole(prune->repository->objects, OBJECT_PACK, name, PACK_BYTES_MAX, &bytes);
	for (size_t i = 0; i < pack->count && r == 0; i++) {
		const struct pack_blob blob = prune_blob_of(prune, pack, i);
		struct new_blob added = {.id = blob.id, .is_tree = blob.is_tree};

		if (!prune_stays(prune, pack, i))
			continue;
		r = (uint64_t)blob.offset + blob.length > bytes.len ? -EBADMSG
		                                                    : repository_open_blob(prune->reader, &blob, bytes.data + blob.offset, &plain);
		if (r < 0)
			break;
		added.plain = plain.data;
		added.len = plain.len;
		/* What opening it left there is what was sealed. */
		added.packed = blob.plain ? bytes.data + blob.offset + SEAL_IV : NULL;
		added.packed_len = blob.length - SEAL_EXTRA;
		r = repository_hand_add(hand, &added, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? error_set(err, r, "pack %.8s cannot be read, or is damaged; nothing is removed", name) : 0;
}

int prune_rewrite(struct prune *prune, struct error *err)
{
	struct blob_index *nothing = blob_index_new();
	struct repository_writer *writer = repository_writer_new(prune->repository, nothing);
	struct repository_hand *hand = repository_hand_new(writer);
	struct writer_counts counts;
	struct pack *pack, *next;
	uint64_t done = 0;
	int r = 0;

	HASH_ITER (hh, prune->packs, pack, next) {
		if (!pack->is_rewritten || r < 0)
			continue;
		r = rewrite_pack(prune, pack, hand, err);
		transfer_tell_part(&prune->transfer, "packs", ++done, prune->counts->packs_rewritten);
		if (r == 0)
			r = prune_stopped(prune);
	}
	if (r == 0)
		r = repository_hand_end(hand, err);
	else
		repository_hand_drop(hand);
	if (r == 0)
		r = repository_writer_end(writer, &counts, err);
	prune->put_packs = repository_writer_packs(writer);
	prune->put_indexes = repository_writer_index_files(writer);
	repository_writer_free(writer);
	blob_index_free(nothing);
	return r;
}

/* --- where there is no room for all of them --- */

static void let_alone(struct prune *prune, struct pack *pack)
{
	pack->is_rewritten = false;
	prune->counts->packs_rewritten--;
	prune->counts->bytes_freed -= pack->size - pack->kept;
}

void prune_give_up_rewriting(struct prune *prune)
{
	struct pack *pack, *next;

	HASH_ITER (hh, prune->packs, pack, next)
		if (pack->is_rewritten)
			let_alone(prune, pack);
	prune->counts->no_room = true;
}

/* The least first of what is written for each byte of a pack. */
static int compare_shares(const void *a, const void *b)
{
	const struct pack *one = *(struct pack *const *)a, *other = *(struct pack *const *)b;
	const double first = (double)one->kept / (double)one->size, second = (double)other->kept / (double)other->size;

	return first < second ? -1 : first > second;
}

/* NULL: none is worth it. `left`: of those that are not written anew as it stands. */
static struct pack *find_smallest(struct prune *prune, bool left)
{
	struct pack *pack, *next, *smallest = NULL;

	HASH_ITER (hh, prune->packs, pack, next)
		if (pack->is_worth && !(left && pack->is_rewritten) && (!smallest || pack->kept < smallest->kept))
			smallest = pack;
	return smallest;
}

void prune_rewrite_less(struct prune *prune)
{
	struct pack *pack, *next, *smallest = find_smallest(prune, false);
	ARRAY(struct pack *) chosen = {0};
	uint64_t tried = 0, left;

	HASH_ITER (hh, prune->packs, pack, next) {
		if (pack->is_rewritten) {
			array_add(&chosen, pack);
			tried += pack->kept;
		}
	}
	if (chosen.count > 0)
		qsort(chosen.items, chosen.count, sizeof(*chosen.items), compare_shares);
	left = tried / 2;
	for (size_t i = 0; i < chosen.count; i++) {
		if (chosen.items[i]->kept <= left)
			left -= chosen.items[i]->kept;
		else
			let_alone(prune, chosen.items[i]);
	}
	array_clear(&chosen);
	if (prune->counts->packs_rewritten == 0 && smallest && smallest->kept < tried) {
		smallest->is_rewritten = true;
		prune->counts->packs_rewritten = 1;
		prune->counts->bytes_freed += smallest->size - smallest->kept;
	}
	prune->counts->no_room = true;
}

static uint64_t count_staying(const struct prune *prune, const struct pack *pack)
{
	uint64_t count = 0;

	for (size_t i = 0; i < pack->count; i++)
		count += prune_stays(prune, pack, i);
	return count;
}

uint64_t prune_needed(struct prune *prune)
{
	const struct pack *smallest = find_smallest(prune, true);
	uint64_t needed = FILES_ROOM;
	struct pack *pack, *next;

	HASH_ITER (hh, prune->packs, pack, next)
		if (!pack->goes)
			needed += pack->count * INDEX_ENTRY;
	if (smallest)
		needed += smallest->kept + count_staying(prune, smallest) * (HEADER_ENTRY + INDEX_ENTRY);
	return needed;
}

/* --- the index --- */

static int put_index(struct prune *prune, struct index_writer *writer, struct error *err)
{
	char name[BLOB_ID_TEXT];
	struct blob_id id;
	int r;

	index_writer_end(writer, prune->old_indexes.items, prune->old_indexes.count);
	r = repository_put_file(prune->repository, OBJECT_INDEX, &writer->json, name, err);
	if (r == 0 && blob_id_parse(name, &id) == 0)
		array_add(&prune->put_indexes, id);
	buf_clear(&writer->json);
	*writer = (struct index_writer){0};
	return r;
}

int prune_write_index(struct prune *prune, struct error *err)
{
	struct index_writer writer = {0};
	struct pack *pack, *next;
	struct pack_blob *blobs;
	int r = 0;

	HASH_ITER (hh, prune->packs, pack, next) {
		if (pack->goes || pack->is_rewritten || r < 0)
			continue;
		blobs = xcalloc(pack->count, sizeof(*blobs));
		for (size_t i = 0; i < pack->count; i++)
			blobs[i] = prune_blob_of(prune, pack, i);
		index_writer_add(&writer, &pack->id, blobs, pack->count);
		free(blobs);
		if (writer.blobs >= INDEX_BLOBS)
			r = put_index(prune, &writer, err);
	}
	if (r == 0 && writer.blobs > 0)
		r = put_index(prune, &writer, err);
	buf_clear(&writer.json);
	return r;
}
