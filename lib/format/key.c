#include "lib/format/key.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#define TREE_PREFIX_LEN 13 /* family, inode, kind */
#define TOUCHED_KEY_LEN 20
#define DIGEST_KEY_LEN 21
#define CHUNK_KEY_LEN 8

_Static_assert(TREE_PREFIX_LEN + NAME_LEN_MAX + 1 + TREE_KEY_EPOCH_LEN <= TREE_KEY_MAX, "the longest key fits");

static void put_u32(uint8_t *bytes, size_t *len, uint32_t value)
{
	value = htobe32(value);
	memcpy(bytes + *len, &value, sizeof(value));
	*len += sizeof(value);
}

static void put_u64(uint8_t *bytes, size_t *len, uint64_t value)
{
	value = htobe64(value);
	memcpy(bytes + *len, &value, sizeof(value));
	*len += sizeof(value);
}

struct tree_key tree_prefix_family(uint32_t family)
{
	struct tree_key key = {.len = 0};

	put_u32(key.bytes, &key.len, family);
	return key;
}

struct tree_key tree_prefix_inode(uint32_t family, uint64_t ino)
{
	struct tree_key key = tree_prefix_family(family);

	put_u64(key.bytes, &key.len, ino);
	return key;
}

struct tree_key tree_prefix_kind(uint32_t family, uint64_t ino, enum key_kind kind)
{
	struct tree_key key = tree_prefix_inode(family, ino);

	key.bytes[key.len++] = (uint8_t)kind;
	return key;
}

struct tree_key tree_prefix_end(struct tree_key prefix)
{
	while (prefix.len > 0 && prefix.bytes[prefix.len - 1] == 0xff)
		prefix.len--;
	if (prefix.len > 0)
		prefix.bytes[prefix.len - 1]++;
	return prefix;
}

static struct tree_key stem_name(uint32_t family, uint64_t ino, enum key_kind kind, const char *name)
{
	struct tree_key key = tree_prefix_kind(family, ino, kind);
	size_t len = strlen(name);

	/* Callers check names first (name_check): a clipped name would silently be another file. */
	assert(len >= 1 && len <= NAME_LEN_MAX);
	memcpy(key.bytes + key.len, name, len + 1);
	key.len += len + 1;
	return key;
}

struct tree_key tree_stem_inode(uint32_t family, uint64_t ino)
{
	return tree_prefix_kind(family, ino, KEY_INODE);
}

struct tree_key tree_stem_xattr(uint32_t family, uint64_t ino, const char *name)
{
	return stem_name(family, ino, KEY_XATTR, name);
}

struct tree_key tree_stem_extent(uint32_t family, uint64_t ino, uint64_t offset)
{
	struct tree_key key = tree_prefix_kind(family, ino, KEY_EXTENT);

	put_u64(key.bytes, &key.len, offset);
	return key;
}

struct tree_key tree_stem_entry(uint32_t family, uint64_t ino, const char *name)
{
	return stem_name(family, ino, KEY_ENTRY, name);
}

struct tree_key tree_stem_content(uint32_t family, uint64_t ino)
{
	return tree_prefix_kind(family, ino, KEY_CONTENT);
}

bool tree_key_is_content(const struct tree_key *key)
{
	return key->len >= TREE_PREFIX_LEN && key->bytes[TREE_PREFIX_LEN - 1] == KEY_CONTENT;
}

struct tree_key tree_key_at(struct tree_key stem, uint64_t epoch)
{
	assert(stem.len + TREE_KEY_EPOCH_LEN <= sizeof(stem.bytes));
	put_u64(stem.bytes, &stem.len, ~epoch);
	return stem;
}

static bool parse_name(struct reader *rest, struct tree_key_parts *parts)
{
	size_t len = rest->left;
	const uint8_t *bytes = read_bytes(rest, len);

	if (!bytes || len < 2 || len > NAME_LEN_MAX + 1 || memchr(bytes, '\0', len) != bytes + len - 1)
		return false;
	parts->name = (const char *)bytes;
	parts->name_len = len - 1;
	return true;
}

int tree_key_parse(const void *key, size_t len, struct tree_key_parts *ret_parts)
{
	if (len < TREE_PREFIX_LEN + TREE_KEY_EPOCH_LEN)
		return -EBADMSG;

	struct reader reader = reader_over(key, len - TREE_KEY_EPOCH_LEN);
	struct reader tail = reader_over((const uint8_t *)key + len - TREE_KEY_EPOCH_LEN, TREE_KEY_EPOCH_LEN);
	struct tree_key_parts parts = {.family = read_be32(&reader), .ino = read_be64(&reader)};
	uint8_t kind = read_u8(&reader);

	parts.epoch = ~read_be64(&tail);
	parts.kind = (enum key_kind)kind;
	switch (kind) {
	case KEY_INODE:
	case KEY_CONTENT: break;
	case KEY_EXTENT: parts.offset = read_be64(&reader); break;
	case KEY_XATTR:
	case KEY_ENTRY:
		if (!parse_name(&reader, &parts))
			return -EBADMSG;
		break;
	default: return -EBADMSG;
	}
	if (reader.bad || reader.left > 0)
		return -EBADMSG;
	*ret_parts = parts;
	return 0;
}

struct small_key touched_key(uint32_t family, uint64_t epoch, uint64_t ino)
{
	struct small_key key = {.len = 0};

	put_u32(key.bytes, &key.len, family);
	put_u64(key.bytes, &key.len, epoch);
	put_u64(key.bytes, &key.len, ino);
	return key;
}

int touched_key_parse(const void *key, size_t len, uint32_t *ret_family, uint64_t *ret_epoch, uint64_t *ret_ino)
{
	struct reader reader = reader_over(key, len);

	if (len != TOUCHED_KEY_LEN)
		return -EBADMSG;
	*ret_family = read_be32(&reader);
	*ret_epoch = read_be64(&reader);
	*ret_ino = read_be64(&reader);
	return 0;
}

static void put_text(struct small_key *key, const char *text)
{
	size_t len = strlen(text);

	assert(len <= sizeof(key->bytes) - key->len);
	memcpy(key->bytes + key->len, text, len);
	key->len += len;
}

static struct small_key tagged(char tag)
{
	struct small_key key = {.len = 1};

	key.bytes[0] = (uint8_t)tag;
	return key;
}

struct small_key catalog_key_name(char tag, const char *name)
{
	struct small_key key = tagged(tag);

	put_text(&key, name);
	return key;
}

struct small_key catalog_key_snapshot(uint32_t dataset, const char *name)
{
	struct small_key key = catalog_key_u32('S', dataset);

	put_text(&key, name);
	return key;
}

struct small_key catalog_key_u32(char tag, uint32_t number)
{
	struct small_key key = tagged(tag);

	put_u32(key.bytes, &key.len, number);
	return key;
}

struct small_key catalog_key_orphan(uint32_t dataset, uint64_t ino)
{
	struct small_key key = catalog_key_u32('O', dataset);

	put_u64(key.bytes, &key.len, ino);
	return key;
}

struct small_key catalog_key_label(uint32_t dataset, uint64_t label)
{
	struct small_key key = catalog_key_u32('W', dataset);

	put_u64(key.bytes, &key.len, label);
	return key;
}

struct small_key catalog_key_snapshot_orphan(uint32_t view, uint64_t ino)
{
	struct small_key key = catalog_key_u32('Q', view);

	put_u64(key.bytes, &key.len, ino);
	return key;
}

struct small_key catalog_key_identity(uint32_t family, uint32_t view)
{
	struct small_key key = catalog_key_u32('I', family);

	put_u32(key.bytes, &key.len, view);
	return key;
}

struct small_key catalog_key_damage(uint64_t chunk)
{
	struct small_key key = tagged('C');

	put_u64(key.bytes, &key.len, chunk);
	return key;
}

int catalog_key_damage_parse(const void *key, size_t len, uint64_t *ret_chunk)
{
	struct reader reader = reader_over(key, len);
	const uint8_t tag = read_u8(&reader);
	const uint64_t chunk = read_be64(&reader);

	if (reader.bad || reader.left || tag != 'C' || !chunk_id_valid(chunk))
		return -EBADMSG;
	*ret_chunk = chunk;
	return 0;
}

struct small_key catalog_key_digest(uint32_t family, uint64_t ino, uint64_t epoch)
{
	struct small_key key = catalog_key_u32('H', family);

	put_u64(key.bytes, &key.len, ino);
	put_u64(key.bytes, &key.len, ~epoch);
	return key;
}

int catalog_key_digest_parse(const void *key, size_t len, uint32_t *ret_family, uint64_t *ret_ino, uint64_t *ret_epoch)
{
	struct reader reader = reader_over(key, len);

	if (len != DIGEST_KEY_LEN || read_u8(&reader) != 'H')
		return -EBADMSG;
	*ret_family = read_be32(&reader);
	*ret_ino = read_be64(&reader);
	*ret_epoch = ~read_be64(&reader);
	return 0;
}

struct small_key chunk_key(uint64_t id)
{
	struct small_key key = {.len = 0};

	put_u64(key.bytes, &key.len, id);
	return key;
}

int chunk_key_parse(const void *key, size_t len, uint64_t *ret_id)
{
	struct reader reader = reader_over(key, len);

	if (len != CHUNK_KEY_LEN)
		return -EBADMSG;
	uint64_t id = read_be64(&reader);
	if (!chunk_id_valid(id))
		return -EBADMSG;
	*ret_id = id;
	return 0;
}

bool chunk_id_valid(uint64_t id)
{
	return (id & ~CHUNK_BULK) != CHUNK_NONE && !(id & CHUNK_REMOTE);
}

int name_check(const char *name)
{
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	if (strchr(name, '/'))
		return -EINVAL;
	return strlen(name) > NAME_LEN_MAX ? -ENAMETOOLONG : 0;
}
