#include "lib/kv/table_look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/base/pages.h"
#include "lib/format/record.h"

#define INNER_TYPE_MAX 0x1a
/* Where a block's length is not known, it is looked for in so much; and then in what the longest value takes: a chunk of CHUNK_LEN_MAX. */
#define BLOCK_SEARCH (1U << 20)
#define BLOCK_SEARCH_LONG (CHUNK_LEN_MAX + BLOCK_SEARCH)
#define BLOCK_MAX (BLOCK_RAW_MAX + (1U << 20))
#define STEP_BYTES (1U << 20)
#define PAGE 4096U
#define WINDOW (2U << 20) /* blocks are small, and read one after the other */
#define PROPERTIES "rocksdb.properties"
#define SESSION "rocksdb.creating.session.identity"
#define USER_KEYS "rocksdb.index.key.is.user.key"
#define OURS "rocksdb."

struct looking {
	int fd;
	uint64_t size; /* that the file has, at most what it should have */
	struct table_look *look;
	uint8_t *window; /* of the file, read last; begins at a page, so that the file may be open past the page cache */
	size_t window_cap, window_len;
	uint64_t window_at;
	struct buf block, plain;
	int (*step)(void *arg, uint64_t bytes);
	void *arg;
	uint64_t untold;
};

static int tell(struct looking *looking, uint64_t bytes)
{
	looking->untold += bytes;
	if (!looking->step || looking->untold < STEP_BYTES)
		return 0;
	bytes = looking->untold;
	looking->untold = 0;
	return looking->step(looking->arg, bytes);
}

static void fill_window(struct looking *looking, size_t want)
{
	looking->window_len = 0;
	while (looking->window && looking->window_len % PAGE == 0 && looking->window_len < want) {
		ssize_t n = pread(looking->fd, looking->window + looking->window_len, want - looking->window_len,
		                  (off_t)(looking->window_at + looking->window_len));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		looking->window_len += (size_t)n;
	}
}

/* So that it has the bytes, as far as they can be read. What a disk cannot read spoils no more than it must. */
static void move_window(struct looking *looking, uint64_t offset, uint64_t len)
{
	const uint64_t start = offset & ~(uint64_t)(PAGE - 1);
	const size_t least = (size_t)(offset + len - start + PAGE - 1) & ~(size_t)(PAGE - 1);
	const size_t want = (MAX(least, (size_t)WINDOW) + PAGES_HUGE - 1) & ~(PAGES_HUGE - 1);

	looking->window_at = start;
	if (looking->window_cap < want) {
		free(looking->window);
		looking->window = pages_alloc(want);
		looking->window_cap = looking->window ? want : 0;
	}
	fill_window(looking, want);
	if (looking->window_len < offset + len - start)
		fill_window(looking, least);
}

/* How much there is from the offset on. */
static size_t read_at(struct looking *looking, uint64_t offset, uint64_t len)
{
	if (looking->fd < 0 || offset >= looking->size)
		return 0;
	len = MIN(len, looking->size - offset);
	if (offset < looking->window_at || offset + len > looking->window_at + looking->window_len)
		move_window(looking, offset, len);
	const uint64_t end = looking->window_at + looking->window_len;
	len = end > offset ? MIN(len, end - offset) : 0;
	buf_reset(&looking->block);
	buf_reserve(&looking->block, len + 1);
	if (len > 0)
		buf_add(&looking->block, looking->window + (offset - looking->window_at), len);
	return len;
}

/* Reads the block; false: it is not whole. */
static bool read_block(struct looking *looking, const struct block_handle *handle)
{
	if (handle->len > BLOCK_MAX || read_at(looking, handle->offset, handle->len + BLOCK_TRAILER) != handle->len + BLOCK_TRAILER ||
	    !block_is_whole(looking->block.data, handle->len))
		return false;
	looking->look->packed |= looking->block.data[handle->len] != BLOCK_PLAIN;
	return true;
}

static int read_plain(struct looking *looking, const struct block_handle *handle)
{
	return read_block(looking, handle) ? block_unpack(looking->block.data, handle->len, &looking->plain) : -EBADMSG;
}

/* --- metaindex and properties --- */

static int add_metas(struct looking *looking, const struct block_handle *metaindex)
{
	struct table_look *look = looking->look;
	struct block_iter iter = {0};
	int result = read_plain(looking, metaindex);

	if (result == 0)
		result = block_iter_begin(&iter, &looking->plain, false);
	while (result >= 0 && (result = block_iter_next(&iter)) > 0) {
		struct reader reader = reader_over(iter.value, iter.value_len);
		struct table_meta meta = {0};
		if (block_handle_read(&reader, &meta.handle) < 0) {
			result = -EBADMSG;
			break;
		}
		meta.name = xasprintf("%.*s", (int)iter.key.len, (const char *)iter.key.data);
		array_add(&look->metas, meta);
	}
	block_iter_clear(&iter);
	return result;
}

static bool is_text(const struct buf *key, const char *text)
{
	return key->len == strlen(text) && memcmp(key->data, text, key->len) == 0;
}

static int read_properties(struct looking *looking, const struct block_handle *handle)
{
	struct block_iter iter = {0};
	int result = read_plain(looking, handle);

	if (result == 0)
		result = block_iter_begin(&iter, &looking->plain, false);
	while (result >= 0 && (result = block_iter_next(&iter)) > 0) {
		if (is_text(&iter.key, USER_KEYS))
			looking->look->user_keys = iter.value_len == 1 && iter.value[0] == 1;
		looking->look->named |= is_text(&iter.key, SESSION);
	}
	block_iter_clear(&iter);
	return result;
}

static void look_at_metas(struct looking *looking)
{
	struct table_look *look = looking->look;

	for (size_t i = 0; i < look->metas.count; i++) {
		struct table_meta *meta = &look->metas.items[i];
		meta->whole = strcmp(meta->name, PROPERTIES) == 0 ? read_properties(looking, &meta->handle) == 0
		                                                  : read_block(looking, &meta->handle);
		look->sound &= meta->whole;
	}
}

/* --- by the index --- */

/* As table_footer_read. */
static int read_footer(struct looking *looking, struct table_footer *footer)
{
	if (looking->look->bytes < TABLE_FOOTER || read_at(looking, looking->look->bytes - TABLE_FOOTER, TABLE_FOOTER) < TABLE_FOOTER)
		return 0;
	return table_footer_read(looking->block.data, footer);
}

static int read_index(struct looking *looking, const struct block_handle *handle)
{
	struct table_look *look = looking->look;
	struct block_iter iter = {0};
	int result = read_plain(looking, handle);

	if (result == 0)
		result = block_iter_begin(&iter, &looking->plain, true);
	while (result >= 0 && (result = block_iter_next(&iter)) > 0) {
		struct table_part *part = array_new(&look->parts);
		part->handle = iter.handle;
		buf_add(&part->key, iter.key.data, iter.key.len);
		look->data_end = MAX(look->data_end, iter.handle.offset + iter.handle.len + BLOCK_TRAILER);
		if (iter.handle.offset + iter.handle.len > look->bytes)
			result = -EBADMSG;
	}
	block_iter_clear(&iter);
	return result;
}

/* Where the properties do not say it: a key inside ends with a type and a sequence number. */
static bool guess_user_keys(const struct table_look *look)
{
	for (size_t i = 0; i < look->parts.count; i++) {
		const struct buf *key = &look->parts.items[i].key;
		if (key->len < BLOCK_KEY_TAIL || key->data[key->len - BLOCK_KEY_TAIL] > INNER_TYPE_MAX)
			return true;
	}
	return false;
}

static int look_at_parts(struct looking *looking)
{
	struct table_look *look = looking->look;
	int result = 0;

	for (size_t i = 0; i < look->parts.count && result == 0; i++) {
		struct table_part *part = &look->parts.items[i];
		part->whole = read_block(looking, &part->handle);
		look->sound &= part->whole;
		result = tell(looking, part->handle.len + BLOCK_TRAILER);
	}
	return result;
}

static bool has_properties(const struct table_look *look)
{
	for (size_t i = 0; i < look->metas.count; i++)
		if (strcmp(look->metas.items[i].name, PROPERTIES) == 0)
			return look->metas.items[i].whole;
	return false;
}

static void forget(struct table_look *look)
{
	for (size_t i = 0; i < look->parts.count; i++)
		buf_clear(&look->parts.items[i].key);
	for (size_t i = 0; i < look->metas.count; i++)
		free(look->metas.items[i].name);
	array_reset(&look->parts);
	array_reset(&look->metas);
	look->data_end = 0;
	look->named = look->packed = false;
}

/* 1: so it was taken apart; 0: not to be done so. */
static int look_by_index(struct looking *looking)
{
	struct table_look *look = looking->look;
	struct table_footer footer;

	int result = read_footer(looking, &footer);
	if (result <= 0)
		return result;
	look->sound = true;
	if (add_metas(looking, &footer.metaindex) < 0 || read_index(looking, &footer.index) < 0) {
		forget(look);
		look->sound = false;
		return 0;
	}
	look->indexed = true;
	look_at_metas(looking);
	look->sound &= look->named;
	if (!has_properties(look))
		look->user_keys = guess_user_keys(look);
	result = look_at_parts(looking);
	return result == 0 ? 1 : result;
}

/* --- from the front --- */

/* The length of the block that begins with the bytes; 0: there is none. */
static size_t find_block(const uint8_t *bytes, size_t len)
{
	XXH3_state_t state = {0};

	XXH3_64bits_reset(&state);
	for (size_t n = 0; n + BLOCK_TRAILER <= len; n++) {
		const uint8_t type = bytes[n];
		if (n > 0 && (type == BLOCK_PLAIN || type == BLOCK_LZ4)) {
			struct reader reader = reader_over(bytes + n + 1, sizeof(uint32_t));
			if (read_le32(&reader) == ((uint32_t)XXH3_64bits_digest(&state) ^ block_type_sum(type)))
				return n;
		}
		XXH3_64bits_update(&state, bytes + n, 1);
	}
	return 0;
}

static int compare(const struct buf *a, const struct buf *b)
{
	return bytes_compare(a->data, a->len, b->data, b->len);
}

/* Whether the key inside is one of ours that comes behind the other, which may be empty. */
static bool follows(const struct buf *key, const struct buf *before)
{
	const struct buf user = {key->data, key->len - MIN(key->len, BLOCK_KEY_TAIL), 0};
	const struct buf user_before = {before->data, before->len - MIN(before->len, BLOCK_KEY_TAIL), 0};

	if (key->len < BLOCK_KEY_TAIL || key->data[key->len - BLOCK_KEY_TAIL] > INNER_TYPE_MAX)
		return false;
	if (key->len >= strlen(OURS) && memcmp(key->data, OURS, strlen(OURS)) == 0)
		return false;
	return before->len == 0 || compare(&user, &user_before) >= 0;
}

/*
 * Whether it has our records, in order and behind the last key, which then is its last one. *ret_first: the user's part of its first key;
 * that of the last one before may be the same.
 */
static bool is_data(const struct buf *plain, struct buf *last, struct buf *first)
{
	struct block_iter iter = {0};
	AUTO_BUF before = BUF_INIT;
	size_t count = 0;
	int result = block_iter_begin(&iter, plain, false);

	buf_add(&before, last->data, last->len);
	while (result >= 0 && (result = block_iter_next(&iter)) > 0) {
		if (!follows(&iter.key, &before)) {
			result = -EBADMSG;
			break;
		}
		buf_reset(&before);
		buf_add(&before, iter.key.data, iter.key.len);
		if (count++ > 0)
			continue;
		buf_reset(first);
		buf_add(first, iter.key.data, iter.key.len - BLOCK_KEY_TAIL);
	}
	if (result == 0 && count > 0) {
		buf_reset(last);
		buf_add(last, before.data, before.len);
	}
	block_iter_clear(&iter);
	return result == 0 && count > 0;
}

/* The shortest key that is not below the one and is below the other, as RocksDB takes it. */
static void shorten(struct buf *key, const struct buf *next)
{
	size_t same = 0;

	while (same < key->len && same < next->len && key->data[same] == next->data[same])
		same++;
	if (same >= key->len || same >= next->len || key->data[same] == UINT8_MAX || key->data[same] + 1 >= next->data[same])
		return;
	key->data[same]++;
	key->len = same + 1;
}

/* The block's records come behind those of the parts; `last` is its last key. */
static void add_part(struct table_look *look, uint64_t at, uint64_t len, const struct buf *first, const struct buf *last)
{
	struct buf *before = look->parts.count > 0 ? &array_last(&look->parts)->key : NULL;

	if (before && look->user_keys)
		shorten(before, first);
	struct table_part *part = array_new(&look->parts);
	*part = (struct table_part){.handle = {at, len}, .whole = true};
	buf_add(&part->key, last->data, last->len - (look->user_keys ? BLOCK_KEY_TAIL : 0));
	look->data_end = at + len + BLOCK_TRAILER;
}

/* The length of the block that lies at the offset, which is in looking->block then; 0: there is none. */
static size_t find_block_at(struct looking *looking, uint64_t offset)
{
	size_t got = read_at(looking, offset, BLOCK_SEARCH);
	size_t len = got > 0 ? find_block(looking->block.data, got) : 0;

	if (len == 0 && got == BLOCK_SEARCH) {
		got = read_at(looking, offset, BLOCK_SEARCH_LONG);
		len = find_block(looking->block.data, got);
	}
	return len;
}

/* `user_keys` will do unless a key's versions lie in two blocks: -EEXIST. */
static int look_from_the_front(struct looking *looking, bool user_keys)
{
	struct table_look *look = looking->look;
	AUTO_BUF last = BUF_INIT, first = BUF_INIT, before = BUF_INIT;
	int result = 0;

	forget(look);
	look->user_keys = user_keys;
	while (result == 0) {
		const size_t len = find_block_at(looking, look->data_end);
		if (len == 0 || block_unpack(looking->block.data, len, &looking->plain) < 0 || !is_data(&looking->plain, &last, &first))
			break;
		if (user_keys && compare(&first, &before) == 0)
			return -EEXIST;
		look->packed |= looking->block.data[len] != BLOCK_PLAIN;
		add_part(look, look->data_end, len, &first, &last);
		buf_reset(&before);
		buf_add(&before, last.data, last.len - BLOCK_KEY_TAIL);
		result = tell(looking, len + BLOCK_TRAILER);
	}
	return result;
}

int table_look(int fd, uint64_t bytes, int (*step)(void *arg, uint64_t bytes), void *arg, struct table_look *ret_look)
{
	struct table_look look = {.bytes = bytes};
	struct looking looking = {.fd = fd, .look = &look, .step = step, .arg = arg};
	struct stat st;
	int result = 0;

	if (fd >= 0 && fstat(fd, &st) < 0)
		return -errno;
	if (fd >= 0)
		looking.size = MIN((uint64_t)st.st_size, bytes);
	if (looking.size == bytes)
		result = look_by_index(&looking);
	if (result == 0)
		result = look_from_the_front(&looking, true);
	if (result == -EEXIST)
		result = look_from_the_front(&looking, false);
	free(looking.window);
	buf_clear(&looking.block);
	buf_clear(&looking.plain);
	if (result < 0) {
		table_look_clear(&look);
		return result;
	}
	*ret_look = look;
	return 0;
}

void table_look_clear(struct table_look *look)
{
	forget(look);
	array_clear(&look->parts);
	array_clear(&look->metas);
}

void table_look_key(const struct table_look *look, size_t number, const uint8_t **ret_key, size_t *ret_len)
{
	const struct buf *key = &look->parts.items[number].key;

	*ret_key = key->data;
	*ret_len = key->len - (look->user_keys ? 0 : MIN(key->len, BLOCK_KEY_TAIL));
}
