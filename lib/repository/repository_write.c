/*
 * Writing. A hand collects sealed blobs until it has a pack's worth, gives the pack the SHA-256 of its bytes as name, puts it, and then lists it
 * in the index file in the making, which the writer puts when it is long enough. So what an index names is always there.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "lib/chunk/digest.h"
#include "lib/repository/blob_set.h"
#include "lib/repository/repository.h"

#define PACK_BYTES (15U << 20) /* with its last blob and its header it fits into pack_file.c's room, which is 16 MiB */
/*
 * An index file is put when it names so many blobs. The first ones are put sooner, after 64 MiB, 128 more, 256 more and so on: who is killed
 * loses at most half of what was written, or 3 GiB, and many terabytes have but a few index files more.
 */
#define INDEX_BLOBS 50000U
#define INDEX_FIRST_BYTES (64U << 20)
#define INDEX_LAST_BYTES (1ULL << 40) /* no more is doubled: by then the number of blobs decides */

#define UNHASHED_MIN (64U << 10)

struct repository_writer {
	struct repository *repository;
	const struct blob_index *known;
	bool discards;
	int (*may_put)(void *arg, struct error *err); /* NULL: it may */
	void *may_put_arg;
	struct object_names passed_over; /* packs, sorted */
	char mark[INDEX_MARK_TEXT]; /* of index files; "": none */
	pthread_mutex_t lock; /* guards what follows */
	struct blob_set claims; /* blobs that a hand has taken on */
	struct index_writer index;
	uint64_t index_bytes, index_full; /* of packs that it names, and with how many it is put */
	struct object_names packs, index_files;
	struct writer_counts counts;
};

struct repository_hand {
	struct repository_writer *writer;
	struct pack_file packs[2]; /* of data, of trees: who lists directories fetches packs of trees only */
	struct seal *seal;
	struct codec *codec;
	struct digest *digest;
	struct digest_job unhashed;
	struct writer_counts counts; /* of both packs, since the last one was put */
};

struct repository_writer *repository_writer_new(struct repository *repository, const struct blob_index *known)
{
	struct repository_writer *writer = xcalloc(1, sizeof(*writer));

	writer->repository = repository;
	writer->known = known;
	writer->index_full = INDEX_FIRST_BYTES;
	pthread_mutex_init(&writer->lock, NULL);
	return writer;
}

void repository_writer_go_on(struct repository_writer *writer, const char *mark, const struct object_names *packs)
{
	(void)snprintf(writer->mark, sizeof(writer->mark), "%s", mark);
	array_append(&writer->packs, packs->items, packs->count);
}

void repository_writer_pass_over(struct repository_writer *writer, const struct object_names *packs)
{
	array_append(&writer->passed_over, packs->items, packs->count);
}

void repository_writer_ask(struct repository_writer *writer, int (*may_put)(void *arg, struct error *err), void *arg)
{
	writer->may_put = may_put;
	writer->may_put_arg = arg;
}

void repository_writer_discard(struct repository_writer *writer)
{
	writer->discards = true;
}

void repository_writer_free(struct repository_writer *writer)
{
	if (!writer)
		return;
	blob_set_clear(&writer->claims);
	buf_clear(&writer->index.json);
	array_clear(&writer->packs);
	array_clear(&writer->index_files);
	array_clear(&writer->passed_over);
	pthread_mutex_destroy(&writer->lock);
	free(writer);
}

static bool is_known(const struct repository_writer *writer, const struct blob_id *id, bool is_tree)
{
	struct blob_place place;
	bool found = false;

	if (writer->passed_over.count == 0)
		return blob_index_has(writer->known, id, is_tree);
	for (unsigned copy = 0; !found && blob_index_find(writer->known, id, is_tree, copy, &place); copy++)
		found = !object_names_have_id(&writer->passed_over, &place.pack);
	return found;
}

/* Whether the blob is known or claimed; if it is not, it is claimed now, if the caller wants it. */
static bool find_claim(struct repository_writer *writer, const struct blob_id *id, bool is_tree, bool wanted)
{
	bool found;

	if (is_known(writer, id, is_tree))
		return true;
	pthread_mutex_lock(&writer->lock);
	found = wanted ? !blob_set_put(&writer->claims, id, is_tree) : blob_set_has(&writer->claims, id, is_tree);
	pthread_mutex_unlock(&writer->lock);
	return found;
}

bool repository_writer_has(struct repository_writer *writer, const struct blob_id *id, bool is_tree)
{
	return find_claim(writer, id, is_tree, false);
}

bool repository_writer_claim(struct repository_writer *writer, const struct blob_id *id, bool is_tree)
{
	return !find_claim(writer, id, is_tree, true);
}

struct repository_hand *repository_hand_new(struct repository_writer *writer)
{
	struct repository_hand *hand = xcalloc(1, sizeof(*hand));

	hand->writer = writer;
	hand->seal = seal_new(&writer->repository->key);
	hand->codec = codec_new();
	hand->digest = digest_new();
	return hand;
}

void repository_hand_drop(struct repository_hand *hand)
{
	if (!hand)
		return;
	pack_file_clear(&hand->packs[0]);
	pack_file_clear(&hand->packs[1]);
	digest_free(hand->digest);
	codec_free(hand->codec);
	seal_free(hand->seal);
	free(hand);
}

/* Takes the index file in the making out of the writer, when it is long enough or `all` is to be written. Under the lock. */
static struct buf take_index(struct repository_writer *writer, bool all)
{
	struct buf json = BUF_INIT;

	if (writer->index.blobs == 0 || (!all && writer->index.blobs < INDEX_BLOBS && writer->index_bytes < writer->index_full))
		return json;
	index_writer_end(&writer->index, NULL, 0);
	if (writer->mark[0])
		index_writer_mark(&writer->index, writer->mark);
	json = writer->index.json;
	writer->index = (struct index_writer){0};
	writer->index_bytes = 0;
	if (writer->index_full < INDEX_LAST_BYTES)
		writer->index_full *= 2;
	return json;
}

static int may_put(struct repository_writer *writer, struct error *err)
{
	return writer->may_put ? writer->may_put(writer->may_put_arg, err) : 0;
}

static int put_index(struct repository_writer *writer, struct buf *json, struct error *err)
{
	char name[BLOB_ID_TEXT];
	struct blob_id id;
	int r;

	if (json->len == 0 || writer->discards)
		return 0;
	r = may_put(writer, err);
	if (r < 0)
		return r;
	r = repository_put_file(writer->repository, OBJECT_INDEX, json, name, err);
	if (r < 0 || blob_id_parse(name, &id) < 0)
		return r;
	pthread_mutex_lock(&writer->lock);
	array_add(&writer->index_files, id);
	pthread_mutex_unlock(&writer->lock);
	return 0;
}

static void add_counts(struct writer_counts *to, const struct writer_counts *from)
{
	to->data_blobs += from->data_blobs;
	to->tree_blobs += from->tree_blobs;
	to->plain += from->plain;
	to->stored += from->stored;
	to->packs += from->packs;
}

struct digest_job *repository_hand_unhashed(struct repository_hand *hand)
{
	struct pack_file *pack = &hand->packs[0];
	const size_t left = pack->bytes.len - (size_t)pack->hashed.len;

	if (left < UNHASHED_MIN || !digest_takes_pieces(hand->digest))
		return NULL;
	hand->unhashed = (struct digest_job){.data = pack->bytes.data + pack->hashed.len, .len = left - left % DIGEST_PIECE, .begun = &pack->hashed};
	return &hand->unhashed;
}

/* What is left of it. */
static void hash_pack(struct repository_hand *hand, struct pack_file *pack, struct blob_id *ret_id)
{
	struct digest_job job = {.data = pack->bytes.data + pack->hashed.len, .len = pack->bytes.len - (size_t)pack->hashed.len,
	                         .sha256 = ret_id->bytes, .begun = pack->hashed.len ? &pack->hashed : NULL}, *jobs = &job;

	digest_many(hand->digest, &jobs, 1);
	pack->hashed = (struct digest_begun){0};
}

static int put_pack(struct repository_hand *hand, struct pack_file *pack, struct error *err)
{
	struct repository_writer *writer = hand->writer;
	struct objects *objects = writer->repository->objects;
	const size_t len = pack->bytes.len;
	AUTO_BUF index = BUF_INIT;
	char name[BLOB_ID_TEXT];
	struct blob_id id;
	int r;

	if (pack->blobs.count == 0)
		return 0;
	r = writer->discards ? 0 : may_put(writer, err);
	if (r < 0)
		return r;
	pack_file_end(pack, hand->seal);
	hash_pack(hand, pack, &id);
	blob_id_text(&id, name);
	r = writer->discards ? 0 : objects->place->put(objects, OBJECT_PACK, name, pack->bytes.data, pack->bytes.len);
	if (r < 0) {
		pack->bytes.len = len; /* without a header in the midst of it, should more be added and it be put again */
		return objects_put_failed(OBJECT_PACK, r, err);
	}
	hand->counts.packs++;
	pthread_mutex_lock(&writer->lock);
	index_writer_add(&writer->index, &id, pack->blobs.items, pack->blobs.count);
	writer->index_bytes += pack->bytes.len;
	array_add(&writer->packs, id);
	add_counts(&writer->counts, &hand->counts);
	index = take_index(writer, false);
	pthread_mutex_unlock(&writer->lock);
	hand->counts = (struct writer_counts){0};
	buf_reset(&pack->bytes);
	array_reset(&pack->blobs);
	return put_index(writer, &index, err);
}

int repository_hand_end(struct repository_hand *hand, struct error *err)
{
	int r = put_pack(hand, &hand->packs[0], err);

	if (r == 0)
		r = put_pack(hand, &hand->packs[1], err);
	repository_hand_drop(hand);
	return r;
}

int repository_hand_add(struct repository_hand *hand, const struct new_blob *blob, struct error *err)
{
	struct pack_file *pack = &hand->packs[blob->is_tree];
	struct pack_blob place = {.id = blob->id, .is_tree = blob->is_tree};
	const bool may_pack = hand->writer->repository->version >= 2;
	AUTO_FREE uint8_t *made = NULL;
	const void *packed = may_pack ? blob->packed : NULL;
	size_t packed_len = blob->packed_len, stored;

	if (blob->len > BLOB_BYTES_MAX)
		return error_set(err, -EFBIG, "a blob of %zu bytes is longer than a repository of ours may have", blob->len);
	/* So that no pack is longer than its reader has room for. */
	if (pack->bytes.len + blob->len + SEAL_EXTRA > BLOB_BYTES_MAX && pack->blobs.count > 0) {
		int r = put_pack(hand, pack, err);

		if (r < 0)
			return r;
	}
	stored = pack->bytes.len;
	if (!packed && may_pack) {
		int r = codec_pack_tight(hand->codec, blob->plain, blob->len, blob->level, &made, &packed_len);

		if (r < 0)
			return error_set(err, r, "no memory for a blob of %zu bytes", blob->len);
		if (r == 1)
			packed = made;
	}
	if (packed)
		place.plain = (uint32_t)blob->len;
	pack_file_add(pack, hand->seal, &place, packed ? packed : blob->plain, packed ? packed_len : blob->len);
	hand->counts.plain += blob->len;
	hand->counts.stored += pack->bytes.len - stored;
	if (blob->is_tree)
		hand->counts.tree_blobs++;
	else
		hand->counts.data_blobs++;
	return pack->bytes.len >= PACK_BYTES ? put_pack(hand, pack, err) : 0;
}

static struct object_names copy_names(struct repository_writer *writer, const struct object_names *names)
{
	struct object_names copy = {0};

	pthread_mutex_lock(&writer->lock);
	array_append(&copy, names->items, names->count);
	pthread_mutex_unlock(&writer->lock);
	return copy;
}

struct object_names repository_writer_packs(struct repository_writer *writer)
{
	return copy_names(writer, &writer->packs);
}

struct object_names repository_writer_index_files(struct repository_writer *writer)
{
	return copy_names(writer, &writer->index_files);
}

int repository_writer_end(struct repository_writer *writer, struct writer_counts *ret_counts, struct error *err)
{
	AUTO_BUF index = take_index(writer, true);
	int r = put_index(writer, &index, err);

	if (r == 0)
		*ret_counts = writer->counts;
	return r;
}
