#include "lib/transfer/tar_header.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

struct field {
	size_t at, len;
};
static const struct field NAME = {0, 100}, MODE = {100, 8}, UID = {108, 8}, GID = {116, 8}, SIZE = {124, 12}, MTIME = {136, 12},
			  CHECKSUM = {148, 8}, TARGET = {157, 100}, MAGIC = {257, 8}, MAJOR = {329, 8}, MINOR = {337, 8},
			  PREFIX = {345, 155}, STAR_PREFIX = {345, 131}, STAR_MAGIC = {508, 4}, GNU_ATIME = {345, 12}, GNU_SIZE = {483, 12};

#define TYPE_AT 156
#define SPARSE_AT 386
#define SPARSE_COUNT 4
#define SPARSE_GOES_ON_AT 482
#define MORE_COUNT 21
#define MORE_GOES_ON_AT 504
#define STRETCH_LEN 24
#define STRETCH_NUMBER 12

static bool has(const uint8_t *block, struct field field, const char *text, size_t len)
{
	return memcmp(block + field.at, text, len) == 0;
}

/* --- numbers --- */

static int binary_number(const uint8_t *at, size_t len, int64_t *ret_number)
{
	bool is_negative = at[0] & 0x40;
	uint64_t number = is_negative ? UINT64_MAX : 0;

	/* The first byte without the mark, its sign spread over the mark. */
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = i > 0 ? at[i] : is_negative ? at[0] | 0x80 : at[0] & 0x3f;
		if (number >> 55 != (is_negative ? UINT64_MAX >> 55 : 0))
			return -EBADMSG;
		number = number << 8 | byte;
	}
	*ret_number = (int64_t)number;
	return (*ret_number < 0) == is_negative ? 0 : -EBADMSG;
}

static int octal_number(const uint8_t *at, size_t len, int64_t *ret_number)
{
	uint64_t number = 0;
	size_t i = 0;

	while (i < len && at[i] == ' ')
		i++;
	for (; i < len && at[i] >= '0' && at[i] <= '7'; i++)
		number = number << 3 | (uint64_t)(at[i] - '0');
	for (; i < len; i++)
		if (at[i] != ' ' && at[i] != '\0')
			return -EBADMSG;
	*ret_number = (int64_t)number;
	return 0;
}

static int number_at(const uint8_t *block, struct field field, int64_t *ret_number)
{
	const uint8_t *at = block + field.at;

	return at[0] & 0x80 ? binary_number(at, field.len, ret_number) : octal_number(at, field.len, ret_number);
}

static int count_at(const uint8_t *block, struct field field, uint64_t *ret_count)
{
	int64_t number;
	int r = number_at(block, field, &number);

	if (r < 0 || number < 0)
		return -EBADMSG;
	*ret_count = (uint64_t)number;
	return 0;
}

/* --- the header --- */

bool tar_is_zeros(const uint8_t block[TAR_BLOCK])
{
	return bytes_are_zeros(block, TAR_BLOCK);
}

bool tar_is_header(const uint8_t block[TAR_BLOCK])
{
	int64_t sum = 0, signed_sum = 0, told;

	for (size_t i = 0; i < TAR_BLOCK; i++) {
		bool is_checksum = i >= CHECKSUM.at && i < CHECKSUM.at + CHECKSUM.len;
		sum += is_checksum ? ' ' : block[i];
		signed_sum += is_checksum ? ' ' : (int8_t)block[i];
	}
	return number_at(block, CHECKSUM, &told) == 0 && (told == sum || told == signed_sum);
}

int tar_header_decode(const uint8_t block[TAR_BLOCK], struct tar_header *ret_header)
{
	struct tar_header header = {.type = block[TYPE_AT], .is_gnu = has(block, MAGIC, "ustar  ", 8)};
	bool has_magic = has(block, MAGIC, "ustar", 5);
	int64_t mode;
	int r = number_at(block, MODE, &mode);

	if (r == 0)
		r = count_at(block, UID, &header.uid);
	if (r == 0)
		r = count_at(block, GID, &header.gid);
	if (r == 0)
		r = count_at(block, SIZE, &header.size);
	if (r == 0)
		r = number_at(block, MTIME, &header.mtime);
	if (r == 0 && has_magic && (header.type == TAR_CHARACTER || header.type == TAR_BLOCK_DEVICE)) {
		r = count_at(block, MAJOR, &header.major);
		if (r == 0)
			r = count_at(block, MINOR, &header.minor);
	}
	/* Others than GNU tar may use the place for something else. */
	if (r == 0 && header.is_gnu && number_at(block, GNU_ATIME, &header.atime) < 0)
		header.atime = 0;
	if (r < 0)
		return r;
	header.mode = (uint32_t)mode & 07777;
	*ret_header = header;
	return 0;
}

static void add_text(const uint8_t *block, struct field field, struct buf *text)
{
	buf_add(text, block + field.at, strnlen((const char *)block + field.at, field.len));
}

void tar_header_name(const uint8_t block[TAR_BLOCK], struct buf *name)
{
	struct field prefix = has(block, STAR_MAGIC, "tar", 4) ? STAR_PREFIX : PREFIX;

	buf_reset(name);
	if (has(block, MAGIC, "ustar", 6) && block[prefix.at] != '\0') {
		add_text(block, prefix, name);
		buf_add_u8(name, '/');
	}
	add_text(block, NAME, name);
	buf_add_u8(name, '\0');
}

void tar_header_target(const uint8_t block[TAR_BLOCK], struct buf *target)
{
	buf_reset(target);
	add_text(block, TARGET, target);
	buf_add_u8(target, '\0');
}

/* --- stretches of sparse files --- */

int tar_sparse_at(const uint8_t block[TAR_BLOCK], bool is_header, unsigned number, uint64_t *ret_offset, uint64_t *ret_len)
{
	size_t at = (is_header ? SPARSE_AT : 0) + (size_t)number * STRETCH_LEN;
	int r;

	if (number >= (is_header ? SPARSE_COUNT : MORE_COUNT) || block[at + STRETCH_NUMBER] == '\0')
		return 0;
	r = count_at(block, (struct field){at, STRETCH_NUMBER}, ret_offset);
	if (r == 0)
		r = count_at(block, (struct field){at + STRETCH_NUMBER, STRETCH_NUMBER}, ret_len);
	return r < 0 ? r : 1;
}

bool tar_sparse_goes_on(const uint8_t block[TAR_BLOCK], bool is_header)
{
	return block[is_header ? SPARSE_GOES_ON_AT : MORE_GOES_ON_AT] != 0;
}

int tar_sparse_size(const uint8_t block[TAR_BLOCK], uint64_t *ret_size)
{
	return count_at(block, GNU_SIZE, ret_size);
}
