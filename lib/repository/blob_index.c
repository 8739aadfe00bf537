#include "lib/repository/blob_index.h"

#include <errno.h>

#include "lib/repository/json_scan.h"

#define FIRST_SLOTS 1024U
#define EMPTY 0U /* a slot holds the number of an entry plus one */

struct entry {
	struct blob_id id;
	uint32_t pack, offset, length, plain_and_tree; /* the top bit says that it is a tree */
};
#define TREE_BIT (1U << 31)
#define MARK "corpusfs_writer"

struct known_pack {
	struct blob_id id;
	uint32_t first; /* of its entries; they end where those of the next pack begin */
};

/* Packs of an index file with a mark. */
struct marked {
	char mark[INDEX_MARK_TEXT];
	size_t first, end;
};

struct blob_index {
	ARRAY(struct entry) entries;
	ARRAY(struct known_pack) packs;
	uint32_t *slots, slot_count; /* a power of two, at most three quarters full */
	uint32_t *pack_slots, pack_slot_count;
	ARRAY(struct marked) marked;
};

struct blob_index *blob_index_new(void)
{
	struct blob_index *index = xcalloc(1, sizeof(*index));

	index->slot_count = index->pack_slot_count = FIRST_SLOTS;
	index->slots = xcalloc(FIRST_SLOTS, sizeof(*index->slots));
	index->pack_slots = xcalloc(FIRST_SLOTS, sizeof(*index->pack_slots));
	return index;
}

void blob_index_free(struct blob_index *index)
{
	if (!index)
		return;
	array_clear(&index->entries);
	array_clear(&index->packs);
	array_clear(&index->marked);
	free(index->slots);
	free(index->pack_slots);
	free(index);
}

static uint32_t slot_of(const struct blob_id *id, uint32_t slot_count)
{
	uint32_t hash;

	memcpy(&hash, id->bytes, sizeof(hash));
	return hash & (slot_count - 1);
}

static void place_in(uint32_t *slots, uint32_t slot_count, const struct blob_id *id, uint32_t value)
{
	uint32_t slot = slot_of(id, slot_count);

	while (slots[slot] != EMPTY)
		slot = (slot + 1) & (slot_count - 1);
	slots[slot] = value;
}

static void grow_entries(struct blob_index *index)
{
	if (index->entries.count < (size_t)index->slot_count / 4 * 3)
		return;
	free(index->slots);
	index->slot_count *= 2;
	index->slots = xcalloc(index->slot_count, sizeof(*index->slots));
	for (size_t i = 0; i < index->entries.count; i++)
		place_in(index->slots, index->slot_count, &index->entries.items[i].id, (uint32_t)i + 1);
}

static void grow_packs(struct blob_index *index)
{
	if (index->packs.count < (size_t)index->pack_slot_count / 4 * 3)
		return;
	free(index->pack_slots);
	index->pack_slot_count *= 2;
	index->pack_slots = xcalloc(index->pack_slot_count, sizeof(*index->pack_slots));
	for (size_t i = 0; i < index->packs.count; i++)
		place_in(index->pack_slots, index->pack_slot_count, &index->packs.items[i].id, (uint32_t)i + 1);
}

/* The number of the pack plus one; EMPTY: it is not known. */
static uint32_t find_pack(const struct blob_index *index, const struct blob_id *pack)
{
	uint32_t slot = slot_of(pack, index->pack_slot_count), number;

	while ((number = index->pack_slots[slot]) != EMPTY && !blob_id_equal(&index->packs.items[number - 1].id, pack))
		slot = (slot + 1) & (index->pack_slot_count - 1);
	return number;
}

static uint32_t add_pack(struct blob_index *index, const struct blob_id *pack)
{
	array_add(&index->packs, (struct known_pack){.id = *pack, .first = (uint32_t)index->entries.count});
	place_in(index->pack_slots, index->pack_slot_count, pack, (uint32_t)index->packs.count);
	grow_packs(index);
	return (uint32_t)index->packs.count;
}

void blob_index_reserve(struct blob_index *index, size_t count)
{
	array_reserve(&index->entries, count);
}

void blob_index_add(struct blob_index *index, const struct blob_id *pack, const struct pack_blob *blobs, size_t count)
{
	uint32_t number;

	/* An index file lists a pack whole: what is known is known. */
	if (find_pack(index, pack) != EMPTY)
		return;
	number = add_pack(index, pack);
	for (size_t i = 0; i < count; i++) {
		const struct pack_blob *blob = &blobs[i];

		array_add(&index->entries, (struct entry){.id = blob->id, .pack = number - 1, .offset = blob->offset, .length = blob->length,
		                                          .plain_and_tree = blob->plain | (blob->is_tree ? TREE_BIT : 0)});
		place_in(index->slots, index->slot_count, &blob->id, (uint32_t)index->entries.count);
		grow_entries(index);
	}
}

static struct blob_place place_of(const struct blob_index *index, const struct entry *entry)
{
	return (struct blob_place){
		.pack = index->packs.items[entry->pack].id,
		.blob = {.id = entry->id, .offset = entry->offset, .length = entry->length, .plain = entry->plain_and_tree & ~TREE_BIT,
	                 .is_tree = entry->plain_and_tree & TREE_BIT},
	};
}

/* The number of the entry plus one; EMPTY: there is none. */
static uint32_t find_entry(const struct blob_index *index, const struct blob_id *id, bool is_tree, unsigned copy)
{
	uint32_t slot = slot_of(id, index->slot_count), number;

	while ((number = index->slots[slot]) != EMPTY) {
		const struct entry *entry = &index->entries.items[number - 1];

		if (blob_id_equal(&entry->id, id) && is_tree == !!(entry->plain_and_tree & TREE_BIT) && copy-- == 0)
			break;
		slot = (slot + 1) & (index->slot_count - 1);
	}
	return number;
}

bool blob_index_find(const struct blob_index *index, const struct blob_id *id, bool is_tree, unsigned copy, struct blob_place *ret_place)
{
	const uint32_t number = find_entry(index, id, is_tree, copy);

	if (number == EMPTY)
		return false;
	*ret_place = place_of(index, &index->entries.items[number - 1]);
	return true;
}

bool blob_index_number(const struct blob_index *index, const struct blob_id *id, bool is_tree, size_t *ret_number)
{
	const uint32_t number = find_entry(index, id, is_tree, 0);

	if (number == EMPTY)
		return false;
	*ret_number = number - 1;
	return true;
}

struct blob_place blob_index_place(const struct blob_index *index, size_t number)
{
	return place_of(index, &index->entries.items[number]);
}

bool blob_index_has(const struct blob_index *index, const struct blob_id *id, bool is_tree)
{
	return find_entry(index, id, is_tree, 0) != EMPTY;
}

size_t blob_index_count(const struct blob_index *index)
{
	return index->entries.count;
}

static int each_between(const struct blob_index *index, size_t first, size_t end, int (*each)(void *arg, const struct blob_place *place), void *arg)
{
	int r = 0;

	for (size_t i = first; i < end && r == 0; i++) {
		struct blob_place place = place_of(index, &index->entries.items[i]);

		r = each(arg, &place);
	}
	return r;
}

int blob_index_each(const struct blob_index *index, int (*each)(void *arg, const struct blob_place *place), void *arg)
{
	return each_between(index, 0, index->entries.count, each, arg);
}

int blob_index_each_of(const struct blob_index *index, const struct blob_id *pack, int (*each)(void *arg, const struct blob_place *place), void *arg)
{
	const uint32_t number = find_pack(index, pack);

	if (number == EMPTY)
		return 0;
	return each_between(index, index->packs.items[number - 1].first,
	                    number < index->packs.count ? index->packs.items[number].first : index->entries.count, each, arg);
}

int blob_index_each_pack(const struct blob_index *index, int (*each)(void *arg, const struct blob_id *pack), void *arg)
{
	int r = 0;

	for (size_t i = 0; i < index->packs.count && r == 0; i++)
		r = each(arg, &index->packs.items[i].id);
	return r;
}

int blob_index_each_marked(const struct blob_index *index, const char *mark, int (*each)(void *arg, const struct blob_id *pack), void *arg)
{
	int r = 0;

	for (size_t i = 0; i < index->marked.count; i++) {
		const struct marked *marked = &index->marked.items[i];

		for (size_t pack = marked->first; pack < marked->end && r == 0 && strcmp(marked->mark, mark) == 0; pack++)
			r = each(arg, &index->packs.items[pack].id);
	}
	return r;
}

size_t blob_index_packs(const struct blob_index *index)
{
	return index->packs.count;
}

bool blob_index_has_pack(const struct blob_index *index, const struct blob_id *pack)
{
	return find_pack(index, pack) != EMPTY;
}

/* --- index files --- */

/* The next value, an id. */
static bool read_id(struct json_scan *scan, struct blob_id *ret_id)
{
	struct json_text text;

	return json_scan_string(scan, &text) && blob_id_parse_text(text.text, text.len, ret_id) == 0;
}

static bool read_number(struct json_scan *scan, uint32_t *ret_number)
{
	uint64_t number;

	if (!json_scan_number(scan, &number) || number >= TREE_BIT)
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

static bool read_type(struct json_scan *scan, bool *ret_is_tree)
{
	struct json_text text;

	if (!json_scan_string(scan, &text))
		return false;
	*ret_is_tree = json_text_is(&text, "tree");
	return true;
}

static int read_blob(struct json_scan *scan, struct pack_blob *ret_blob)
{
	struct pack_blob blob = {0};
	bool good = json_scan_open(scan, '{'), has_id = false, has_type = false;
	struct json_text key;

	while (good && json_scan_key(scan, &key)) {
		if (json_text_is(&key, "id"))
			good = has_id = read_id(scan, &blob.id);
		else if (json_text_is(&key, "type"))
			good = has_type = read_type(scan, &blob.is_tree);
		else if (json_text_is(&key, "offset"))
			good = read_number(scan, &blob.offset);
		else if (json_text_is(&key, "length"))
			good = read_number(scan, &blob.length);
		else if (json_text_is(&key, "uncompressed_length"))
			good = read_number(scan, &blob.plain);
		else
			json_scan_skip(scan);
	}
	if (!good || scan->bad || !has_id || !has_type || blob.length < SEAL_EXTRA)
		return -EBADMSG;
	*ret_blob = blob;
	return 0;
}

static int read_blobs(struct json_scan *scan, struct pack_blobs *blobs)
{
	int r;

	if (json_scan_null(scan))
		return 0;
	r = json_scan_open(scan, '[') ? 0 : -EBADMSG;
	while (r == 0 && json_scan_item(scan)) {
		struct pack_blob blob;

		r = read_blob(scan, &blob);
		if (r == 0)
			array_add(blobs, blob);
	}
	return r;
}

static int read_pack(struct blob_index *index, struct json_scan *scan, struct pack_blobs *room)
{
	int r = json_scan_open(scan, '{') ? 0 : -EBADMSG;
	struct blob_id pack;
	struct json_text key;
	bool has_id = false;

	array_reset(room);
	while (r == 0 && json_scan_key(scan, &key)) {
		if (json_text_is(&key, "id"))
			r = (has_id = read_id(scan, &pack)) ? 0 : -EBADMSG;
		else if (json_text_is(&key, "blobs"))
			r = read_blobs(scan, room);
		else
			json_scan_skip(scan);
	}
	if (r < 0 || scan->bad || !has_id)
		return -EBADMSG;
	blob_index_add(index, &pack, room->items, room->count);
	return 0;
}

static int read_packs(struct blob_index *index, struct json_scan *scan)
{
	struct pack_blobs room = {0};
	int r = json_scan_open(scan, '[') ? 0 : -EBADMSG;

	while (r == 0 && json_scan_item(scan))
		r = read_pack(index, scan, &room);
	array_clear(&room);
	return r;
}

/* One that is longer than ours are is nobody's. */
static int read_mark(struct json_scan *scan, char mark[INDEX_MARK_TEXT])
{
	struct json_text text;

	if (!json_scan_string(scan, &text))
		return -EBADMSG;
	if (text.len < INDEX_MARK_TEXT)
		memcpy(mark, text.text, text.len);
	return 0;
}

int blob_index_read(struct blob_index *index, const char *json, size_t len)
{
	struct json_scan scan = json_scan_over(json, len);
	struct marked marked = {.first = index->packs.count};
	struct json_text key;
	bool has_packs = false;
	int r = json_scan_open(&scan, '{') ? 0 : -EBADMSG;

	while (r == 0 && json_scan_key(&scan, &key)) {
		if (json_text_is(&key, "packs")) {
			has_packs = true;
			r = read_packs(index, &scan);
		} else if (json_text_is(&key, MARK)) {
			r = read_mark(&scan, marked.mark);
		} else {
			json_scan_skip(&scan);
		}
	}
	marked.end = index->packs.count;
	if (marked.mark[0])
		array_add(&index->marked, marked);
	return r == 0 && has_packs && json_scan_end(&scan) ? 0 : -EBADMSG;
}

void index_writer_add(struct index_writer *writer, const struct blob_id *pack, const struct pack_blob *blobs, size_t count)
{
	char text[BLOB_ID_TEXT];

	blob_id_text(pack, text);
	buf_addf(&writer->json, "%s{\"id\":\"%s\",\"blobs\":[", writer->json.len == 0 ? "{\"packs\":[" : ",", text);
	for (size_t i = 0; i < count; i++) {
		blob_id_text(&blobs[i].id, text);
		buf_addf(&writer->json, "%s{\"id\":\"%s\",\"type\":\"%s\",\"offset\":%u,\"length\":%u", i == 0 ? "" : ",", text,
		         blobs[i].is_tree ? "tree" : "data", blobs[i].offset, blobs[i].length);
		if (blobs[i].plain)
			buf_addf(&writer->json, ",\"uncompressed_length\":%u", blobs[i].plain);
		buf_add_u8(&writer->json, '}');
	}
	buf_addf(&writer->json, "]}");
	writer->blobs += count;
}

void index_writer_end(struct index_writer *writer, const struct blob_id *supersedes, size_t count)
{
	char text[BLOB_ID_TEXT];

	buf_addf(&writer->json, writer->json.len == 0 ? "{\"packs\":[]" : "]");
	for (size_t i = 0; i < count; i++) {
		blob_id_text(&supersedes[i], text);
		buf_addf(&writer->json, "%s\"%s\"", i == 0 ? ",\"supersedes\":[" : ",", text);
	}
	buf_addf(&writer->json, count > 0 ? "]}" : "}");
}

void index_writer_mark(struct index_writer *writer, const char *mark)
{
	writer->json.len--; /* the brace at the end */
	buf_addf(&writer->json, ",\"" MARK "\":\"%s\"}", mark);
}
