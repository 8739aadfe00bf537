#include "lib/chunk/wanted.h"

#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "lib/base/buf.h"

struct sought {
	struct wanted_piece piece;
	UT_hash_handle hh;
};

struct wanted {
	struct cut cut;
	wanted_fn found;
	void *arg;
	struct sought *table;
	struct digest *digest;
	bool in_run; /* the next window is not the first of its run */
};

struct wanted *wanted_new(uint32_t min, uint32_t average, uint32_t max, wanted_fn found, void *arg)
{
	struct wanted *wanted = xcalloc(1, sizeof(*wanted));

	cut_init(&wanted->cut, min, average, max);
	wanted->found = found;
	wanted->arg = arg;
	wanted->digest = digest_new();
	return wanted;
}

static void drop(struct wanted *wanted, struct sought *sought)
{
	HASH_DEL(wanted->table, sought);
	free(sought);
}

void wanted_free(struct wanted *wanted)
{
	struct sought *sought, *next;

	if (!wanted)
		return;
	HASH_ITER (hh, wanted->table, sought, next)
		drop(wanted, sought);
	digest_free(wanted->digest);
	free(wanted);
}

void wanted_add(struct wanted *wanted, const struct wanted_piece *piece)
{
	struct sought *sought;

	HASH_FIND(hh, wanted->table, piece->sha256, DIGEST_LEN, sought);
	if (sought)
		return;
	sought = xcalloc(1, sizeof(*sought));
	sought->piece = *piece;
	HASH_ADD(hh, wanted->table, piece.sha256, DIGEST_LEN, sought);
}

int wanted_look_whole(struct wanted *wanted, const void *data, size_t len)
{
	uint8_t sha256[DIGEST_LEN];
	struct sought *sought;
	int ret;

	digest_once(wanted->digest, data, len, sha256);
	HASH_FIND(hh, wanted->table, sha256, DIGEST_LEN, sought);
	if (!sought || sought->piece.length != len)
		return 0;
	ret = wanted->found(wanted->arg, &sought->piece, data);
	if (!ret)
		drop(wanted, sought);
	return ret;
}

int wanted_look(struct wanted *wanted, const uint8_t *data, size_t len, bool last, size_t *ret_used)
{
	size_t used = 0;
	int ret = 0;

	while (!ret && used < len && wanted->table) {
		const size_t left = len - used;
		size_t piece = cut_next(&wanted->cut, data + used, left);

		/* a short run is one piece, as group_cut() has it */
		if (!wanted->in_run && last && len <= wanted->cut.average)
			piece = left;
		if (piece == left && !last)
			break;
		ret = wanted_look_whole(wanted, data + used, piece);
		used += piece;
	}
	wanted->in_run = !last;
	*ret_used = wanted->table ? used : len;
	return ret;
}

size_t wanted_left(const struct wanted *wanted)
{
	return HASH_COUNT(wanted->table);
}

struct wanted_piece *wanted_list(const struct wanted *wanted)
{
	struct wanted_piece *list = xcalloc(HASH_COUNT(wanted->table) + 1, sizeof(*list));
	struct sought *sought, *next;
	size_t count = 0;

	HASH_ITER (hh, wanted->table, sought, next)
		list[count++] = sought->piece;
	return list;
}
