#include "lib/history/diff_moves.h"

#include <errno.h>
#include <string.h>

void diff_moves_init(struct diff_moves *moves, size_t memory)
{
	*moves = (struct diff_moves){.lost = spill_new(memory), .gained = spill_new(memory), .paired = spill_new(memory)};
}

void diff_moves_clear(struct diff_moves *moves)
{
	spill_free(moves->lost);
	spill_free(moves->gained);
	spill_free(moves->paired);
	*moves = (struct diff_moves){0};
}

/* --- what the maps hold --- */

/* Value of `lost` and `gained`: directory u64 | too deep u8 | name NUL | path NUL, which is empty for gained ones. */
struct place {
	uint64_t dir;
	bool too_deep;
	const char *name, *path;
};

static const char *read_text(struct reader *reader)
{
	const uint8_t *end = memchr(reader->at, 0, reader->left);
	const uint8_t *text = end ? read_bytes(reader, (size_t)(end - reader->at) + 1) : NULL;

	return (const char *)text;
}

/* The values are our own, but they were in a file. */
static int parse_place(const struct spill_item *item, struct place *ret_place)
{
	struct reader reader = reader_over(item->value, item->value_len);
	struct place place = {.dir = read_le64(&reader), .too_deep = read_u8(&reader)};

	place.name = reader.bad ? NULL : read_text(&reader);
	place.path = place.name ? read_text(&reader) : NULL;
	if (!place.path)
		return -EIO;
	*ret_place = place;
	return 0;
}

static uint64_t inode_of(const struct spill_item *item)
{
	return spill_number(item->key);
}

int diff_moves_note(struct diff_moves *moves, const struct diff_name *name)
{
	bool lost = name->fate == DIFF_LOST;
	const char *path = lost ? name->path : "";
	AUTO_BUF key = BUF_INIT, value = BUF_INIT;

	buf_add_be64(&key, name->ino);
	buf_add_be64(&key, moves->order++);
	buf_add_le64(&value, name->dir);
	buf_add_u8(&value, name->too_deep);
	buf_add(&value, name->name, strlen(name->name) + 1);
	buf_add(&value, path, strlen(path) + 1);
	return spill_put(lost ? moves->lost : moves->gained, key.data, key.len, value.data, value.len);
}

static void paired_key(struct buf *key, bool lost, uint64_t ino, uint64_t dir, const char *name)
{
	buf_add_u8(key, lost);
	buf_add_be64(key, ino);
	buf_add_be64(key, dir);
	buf_add(key, name, strlen(name));
}

/* --- pairing --- */

static int add_pair(struct diff_moves *moves, uint64_t ino, const struct place *lost, const struct place *gained)
{
	AUTO_BUF lost_key = BUF_INIT, gained_key = BUF_INIT, old = BUF_INIT;
	int result;

	paired_key(&lost_key, true, ino, lost->dir, lost->name);
	paired_key(&gained_key, false, ino, gained->dir, gained->name);
	buf_add_u8(&old, lost->too_deep);
	buf_add(&old, lost->path, strlen(lost->path) + 1);
	result = spill_put(moves->paired, lost_key.data, lost_key.len, "", 0);
	return result < 0 ? result : spill_put(moves->paired, gained_key.data, gained_key.len, old.data, old.len);
}

int diff_moves_pair(struct diff_moves *moves)
{
	struct spill_iter *lost_iter = NULL, *gained_iter = NULL;
	struct spill_item lost, gained;
	struct place from, to;
	int more_lost, more_gained, result = spill_iter_new(moves->lost, &lost_iter);

	if (result == 0)
		result = spill_iter_new(moves->gained, &gained_iter);
	more_lost = result < 0 ? result : spill_iter_next(lost_iter, &lost);
	more_gained = result < 0 ? result : spill_iter_next(gained_iter, &gained);
	while (result == 0 && more_lost == 1 && more_gained == 1) {
		uint64_t in_a = inode_of(&lost), in_b = inode_of(&gained);
		if (in_a == in_b) {
			result = parse_place(&lost, &from);
			if (result == 0)
				result = parse_place(&gained, &to);
			if (result == 0)
				result = add_pair(moves, in_a, &from, &to);
		}
		if (in_a <= in_b)
			more_lost = spill_iter_next(lost_iter, &lost);
		if (in_b <= in_a)
			more_gained = spill_iter_next(gained_iter, &gained);
	}
	spill_iter_free(lost_iter);
	spill_iter_free(gained_iter);
	return result < 0 ? result : MIN(MIN(more_lost, more_gained), 0);
}

int diff_moves_find(const struct diff_moves *moves, const struct diff_name *name, struct buf *old_path, bool *ret_too_deep)
{
	bool lost = name->fate == DIFF_LOST;
	AUTO_BUF key = BUF_INIT, value = BUF_INIT;
	int result;

	paired_key(&key, lost, name->ino, name->dir, name->name);
	result = spill_get(moves->paired, key.data, key.len, &value);
	if (result < 0)
		return result == -ENOENT ? 0 : result;
	if (!lost) {
		struct reader reader = reader_over(value.data, value.len);
		*ret_too_deep = read_u8(&reader);
		const char *path = reader.bad ? NULL : read_text(&reader);
		if (!path)
			return -EIO;
		buf_reset(old_path);
		buf_add(old_path, path, strlen(path) + 1);
	}
	return 1;
}
