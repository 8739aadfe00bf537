#include "lib/verify/repair_heal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/chunk/heal.h"
#include "lib/format/record.h"
#include "lib/verify/damage.h"
#include "lib/verify/repair_undo.h"

/* So much is stored at once. */
#define GROUP_BYTES ((size_t)8 << 20)

/* --- what is wanted, and what another store has --- */

/* Damaged chunks for which none stands, and what is known of each. */
struct hurt {
	uint64_t *ids; /* ascending */
	struct wanted_piece *pieces; /* length 0: not known */
	size_t count;
	uint64_t known;
};

static int by_id(const void *a, const void *b)
{
	const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static struct wanted_piece *find_piece(const struct hurt *hurt, uint64_t id)
{
	const uint64_t *found = bsearch(&id, hurt->ids, hurt->count, sizeof(id), by_id);

	return found ? &hurt->pieces[found - hurt->ids] : NULL;
}

static int note_identity(void *arg, uint64_t id, const uint8_t sha256[DIGEST_LEN], uint32_t length)
{
	struct hurt *hurt = arg;
	struct wanted_piece *piece = find_piece(hurt, id);

	hurt->known += piece && piece->length == 0;
	if (piece) {
		memcpy(piece->sha256, sha256, DIGEST_LEN);
		piece->length = length;
	}
	return 0;
}

/* What is read for a chunk of the list: the end of a chain of those that stand for one another. */
static uint64_t end_of(const struct chunk_damage *list, size_t count, uint64_t id)
{
	for (size_t steps = 0; steps < count; steps++) {
		const struct chunk_damage *found = damage_find_chunk(list, count, id);
		if (!found || found->replacement == CHUNK_NONE)
			break;
		id = found->replacement;
	}
	return id;
}

static int tell_pieces(const struct hurt *hurt, const struct chunk_damage *list, size_t count, repair_piece_fn each, void *arg)
{
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++) {
		const struct wanted_piece *piece = find_piece(hurt, end_of(list, count, list[i].chunk));
		if (piece && piece->length > 0)
			result = each(arg, list[i].chunk, piece);
	}
	return result;
}

int repair_wanted(struct store *store, repair_piece_fn each, void *arg, struct repair_hurt *ret_hurt, struct error *err)
{
	AUTO_FREE struct chunk_damage *list = NULL;
	const size_t count = chunks_list_damage(store_chunks(store), &list);
	AUTO_FREE uint64_t *ids = xcalloc(count + 1, sizeof(*ids));
	AUTO_FREE struct wanted_piece *pieces = xcalloc(count + 1, sizeof(*pieces));
	struct hurt hurt = {.ids = ids, .pieces = pieces};
	int result;

	for (size_t i = 0; i < count; i++)
		if (list[i].replacement == CHUNK_NONE)
			ids[hurt.count++] = list[i].chunk;
	result = chunks_identities(store_chunks(store), ids, hurt.count, note_identity, &hurt);
	if (result == 0)
		result = tell_pieces(&hurt, list, count, each, arg);
	if (result < 0)
		return error_default(err, result, "what is damaged cannot be listed");
	*ret_hurt = (struct repair_hurt){.chunks = hurt.count, .unknown = hurt.count - hurt.known};
	return 0;
}

int repair_give(struct store *store, const struct wanted_piece *pieces, size_t count, wanted_fn each, void *arg)
{
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++) {
		AUTO_FREE uint8_t *data = NULL;
		uint64_t chunk;
		if (pieces[i].length == 0 || pieces[i].length > CHUNK_LEN_MAX || !chunks_find(store_chunks(store), pieces[i].sha256, pieces[i].length, &chunk))
			continue;
		data = xmalloc(pieces[i].length);
		if (chunks_read(store_chunks(store), chunk, 0, pieces[i].length, data) == 0)
			result = each(arg, &pieces[i], data);
	}
	return result;
}

/* --- healing --- */

int repair_spool_add(int spool, const void *data, uint32_t length)
{
	AUTO_BUF head = BUF_INIT;
	int result;

	buf_add_le32(&head, length);
	if (lseek(spool, 0, SEEK_END) < 0)
		return -errno;
	result = file_write_all(spool, head.data, head.len);
	return result < 0 ? result : file_write_all(spool, data, length);
}

struct healing {
	struct chunks *chunks;
	struct digest *digest;
	ARRAY(struct heal_before) befores; /* sorted by identity when the second pass begins */
	ARRAY(struct heal_bytes) group;
	size_t group_bytes;
	struct repair_healed healed;
};

/* At an offset: the descriptor's place is shared with who writes to it. 0: the spool's end. */
static int read_piece(int spool, off_t *at, uint8_t *room, uint32_t *ret_length)
{
	uint8_t head[4];
	uint32_t length;
	ssize_t got = pread(spool, head, sizeof(head), *at);

	if (got <= 0)
		return got < 0 ? -errno : 0;
	length = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
	if (got < (ssize_t)sizeof(head) || length == 0 || length > CHUNK_LEN_MAX)
		return -EBADMSG;
	for (uint32_t done = 0; done < length; done += (uint32_t)got) {
		got = pread(spool, room + done, length - done, *at + (off_t)sizeof(head) + done);
		if (got <= 0)
			return got < 0 ? -errno : -EBADMSG;
	}
	*at += (off_t)sizeof(head) + length;
	*ret_length = length;
	return 1;
}

static int each_piece(struct healing *healing, int spool, int (*each)(struct healing *healing, const uint8_t *data, uint32_t length))
{
	AUTO_FREE uint8_t *room = xmalloc(CHUNK_LEN_MAX);
	uint32_t length = 0;
	off_t at = 0;
	int result, more = 0;

	do {
		result = more = read_piece(spool, &at, room, &length);
		if (more > 0)
			result = each(healing, room, length);
	} while (result == 0 && more > 0);
	return result;
}

static int note_piece(struct healing *healing, const uint8_t *data, uint32_t length)
{
	uint8_t sha256[DIGEST_LEN];
	struct heal_before before;

	digest_once(healing->digest, data, length, sha256);
	if (chunks_heal_before(healing->chunks, sha256, length, &before))
		array_add(&healing->befores, before);
	return 0;
}

static int by_identity(const void *a, const void *b)
{
	return memcmp(((const struct heal_before *)a)->sha256, ((const struct heal_before *)b)->sha256, DIGEST_LEN);
}

static void clear_group(struct healing *healing)
{
	for (size_t i = 0; i < healing->group.count; i++)
		free((void *)healing->group.items[i].data);
	array_reset(&healing->group);
	healing->group_bytes = 0;
}

static int store_group(struct healing *healing)
{
	int result = healing->group.count > 0 ? chunks_heal(healing->chunks, healing->group.items, healing->group.count) : 0;

	clear_group(healing);
	return result;
}

/* Only what stands in the undo file. */
static int heal_piece(struct healing *healing, const uint8_t *data, uint32_t length)
{
	struct heal_before key = {.length = length};

	digest_once(healing->digest, data, length, key.sha256);
	if (!bsearch(&key, healing->befores.items, healing->befores.count, sizeof(key), by_identity))
		return 0;
	void *copy = xmalloc(length);
	memcpy(copy, data, length);
	array_add(&healing->group, (struct heal_bytes){copy, length});
	healing->group_bytes += length;
	return healing->group_bytes >= GROUP_BYTES ? store_group(healing) : 0;
}

/* What is read back whole counts. */
static void count_healed(struct healing *healing)
{
	for (size_t i = 0; i < healing->befores.count; i++) {
		const struct heal_before *before = &healing->befores.items[i];
		if ((i > 0 && by_identity(before, before - 1) == 0) || !chunks_is_healed(healing->chunks, before))
			continue;
		healing->healed.chunks++;
		healing->healed.bytes += before->length;
	}
}

static int heal(struct healing *healing, struct store *store, int spool, char *undo, struct error *err)
{
	int result = each_piece(healing, spool, note_piece);

	if (result < 0)
		return error_set(err, result, "what was found cannot be read: %s", error_text(result));
	if (healing->befores.count == 0)
		return 0;
	qsort(healing->befores.items, healing->befores.count, sizeof(struct heal_before), by_identity);
	result = repair_undo_write(store, undo, healing->befores.items, healing->befores.count, err);
	if (result == 0)
		result = fault_point("repair-before-heal");
	if (result == 0)
		result = each_piece(healing, spool, heal_piece);
	if (result == 0)
		result = store_group(healing);
	if (result == 0)
		count_healed(healing);
	return result < 0 ? error_default(err, result, "content cannot be healed") : 0;
}

int repair_heal(struct store *store, int spool, char undo[REPAIR_UNDO_NAME_MAX], struct repair_healed *ret_healed, struct error *err)
{
	struct healing healing = {.chunks = store_chunks(store)};
	int result = store_check_writable(store, err);

	if (result < 0)
		return result;
	healing.digest = digest_new();
	result = heal(&healing, store, spool, undo, err);
	clear_group(&healing);
	array_clear(&healing.group);
	array_clear(&healing.befores);
	digest_free(healing.digest);
	if (result == 0)
		*ret_healed = healing.healed;
	return result;
}
