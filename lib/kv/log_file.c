#include "lib/kv/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "lib/base/buf.h"
#include "lib/base/crc32c.h"
#include "lib/base/file.h"

#define BLOCK_LEN 32768U
#define HEADER_LEN 7U
#define MASK_DELTA 0xa282ead8U /* RocksDB masks a checksum that is stored beside what it is of */

enum fragment_kind { FRAGMENT_NONE = 0, FRAGMENT_WHOLE = 1, FRAGMENT_FIRST = 2, FRAGMENT_MIDDLE = 3, FRAGMENT_LAST = 4 };

struct fragment {
	uint8_t kind;
	const uint8_t *bytes;
	size_t len;
};

struct log_file {
	int fd;
	uint64_t size, end;
	uint64_t block_at;    /* where in the file the block begins */
	size_t block_len, at; /* at: the next fragment, in the block */
	uint8_t block[BLOCK_LEN];
	struct buf record;    /* what came in fragments */
};

struct log_file *log_file_over(int fd)
{
	struct log_file *file = xcalloc(1, sizeof(*file));
	struct stat st;

	file->fd = fd;
	file->size = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	return file;
}

int log_file_open(int dir, const char *name, struct log_file **ret_file)
{
	int fd = file_open_inside(dir, name, O_RDONLY, 0);

	if (fd < 0)
		return fd;
	*ret_file = log_file_over(fd);
	return 0;
}

void log_file_close(struct log_file *file)
{
	if (!file)
		return;
	buf_clear(&file->record);
	close(file->fd);
	free(file);
}

uint64_t log_file_end(const struct log_file *file)
{
	return file->end;
}

uint64_t log_file_size(const struct log_file *file)
{
	return file->size;
}

/* 1, or 0 at the end of the file. */
static int next_block(struct log_file *file)
{
	file->block_at += file->block_len;
	file->block_len = file->at = 0;
	while (file->block_len < BLOCK_LEN) {
		ssize_t got = pread(file->fd, file->block + file->block_len, BLOCK_LEN - file->block_len,
				    (off_t)(file->block_at + file->block_len));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		file->block_len += (size_t)got;
	}
	return file->block_len > 0;
}

/* 1, 0 at the end of the file, or as log_file_next; on -EBADMSG the next fragment, if any, is at file->at or in the next block. */
static int next_fragment(struct log_file *file, struct fragment *ret_fragment)
{
	if (file->block_len - file->at < HEADER_LEN) {
		const bool is_last = file->block_len > 0 && file->block_len < BLOCK_LEN;
		if (is_last)
			return file->at == file->block_len ? 0 : -EBADMSG;
		int result = next_block(file);
		if (result <= 0)
			return result;
		if (file->block_len < HEADER_LEN)
			return -EBADMSG;
	}
	struct reader reader = reader_over(file->block + file->at, file->block_len - file->at);
	const uint32_t masked = read_le32(&reader) - MASK_DELTA;
	const uint32_t checksum = (masked >> 17) | (masked << 15);
	const size_t len = read_le16(&reader);
	const uint8_t *covered = reader.at;
	const uint8_t kind = read_u8(&reader);
	const uint8_t *bytes = read_bytes(&reader, len);
	if (reader.bad || kind == FRAGMENT_NONE) {
		file->at = file->block_len;
		return -EBADMSG;
	}
	file->at += HEADER_LEN + len;
	if (crc32c_add(0, covered, len + 1) != checksum)
		return -EBADMSG;
	if (kind > FRAGMENT_LAST)
		return -ENOTSUP;
	*ret_fragment = (struct fragment){.kind = kind, .bytes = bytes, .len = len};
	return 1;
}

int log_file_next(struct log_file *file, const uint8_t **ret_record, size_t *ret_len)
{
	struct fragment fragment;
	bool inside = false;
	int result;

	buf_reset(&file->record);
	while ((result = next_fragment(file, &fragment)) > 0) {
		const bool begins = fragment.kind == FRAGMENT_WHOLE || fragment.kind == FRAGMENT_FIRST;
		if (begins == inside)
			return -EBADMSG;
		inside = true;
		if (fragment.kind != FRAGMENT_WHOLE) {
			buf_add(&file->record, fragment.bytes, fragment.len);
			fragment.bytes = file->record.data;
			fragment.len = file->record.len;
		}
		if (fragment.kind == FRAGMENT_WHOLE || fragment.kind == FRAGMENT_LAST) {
			file->end = file->block_at + file->at;
			*ret_record = fragment.bytes;
			*ret_len = fragment.len;
			return 1;
		}
	}
	return result == 0 && inside ? -EBADMSG : result;
}

bool log_file_resume(struct log_file *file)
{
	struct fragment fragment;
	int result;

	do {
		const size_t at = file->at;
		result = next_fragment(file, &fragment);
		if (result > 0 && (fragment.kind == FRAGMENT_WHOLE || fragment.kind == FRAGMENT_FIRST)) {
			/* to be read again: a fragment never crosses the end of a block */
			file->at -= HEADER_LEN + fragment.len;
			return true;
		}
		/* Where a length is damaged, nothing tells where the next fragment of the block begins. */
		if (result == -EBADMSG && at == file->at)
			return false;
	} while (result > 0 || (result == -EBADMSG && file->block_at + file->at < file->size));
	return false;
}
