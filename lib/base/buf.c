#include "lib/base/buf.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void *or_abort(void *pointer)
{
	if (!pointer)
		abort();
	return pointer;
}

void *xmalloc(size_t size)
{
	return or_abort(malloc(size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
	return or_abort(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *pointer, size_t size)
{
	return or_abort(realloc(pointer, size ? size : 1));
}

char *xstrdup(const char *text)
{
	return or_abort(strdup(text));
}

char *xstrdup_or_null(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

char *xasprintf(const char *format, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, format);
	int len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0)
		abort();
	return text;
}

void buf_clear(struct buf *buf)
{
	free(buf->data);
	*buf = BUF_INIT;
}

void buf_reset(struct buf *buf)
{
	buf->len = 0;
}

void buf_fit(struct buf *buf)
{
	if (buf->len == 0)
		buf_clear(buf);
	else
		buf->data = xrealloc(buf->data, buf->len);
	buf->cap = buf->len;
}

bool buf_try_reserve(struct buf *buf, size_t extra)
{
	if (extra <= buf->cap - buf->len)
		return true;
	if (extra > SIZE_MAX / 2 - buf->len)
		return false;
	size_t need = buf->len + extra;
	size_t grown = buf->cap < SIZE_MAX / 4 ? buf->cap + buf->cap / 2 : need;
	size_t cap = MAX(MAX(need, grown), 64);
	uint8_t *data = realloc(buf->data, cap);

	if (!data)
		return false;
	buf->data = data;
	buf->cap = cap;
	return true;
}

void buf_reserve(struct buf *buf, size_t extra)
{
	if (!buf_try_reserve(buf, extra))
		abort();
}

void buf_add(struct buf *buf, const void *data, size_t len)
{
	if (len == 0)
		return;
	buf_reserve(buf, len);
	memcpy(buf->data + buf->len, data, len);
	buf->len += len;
}

void buf_add_u8(struct buf *buf, uint8_t value)
{
	buf_add(buf, &value, sizeof(value));
}

void buf_add_le16(struct buf *buf, uint16_t value)
{
	value = htole16(value);
	buf_add(buf, &value, sizeof(value));
}

void buf_add_le32(struct buf *buf, uint32_t value)
{
	value = htole32(value);
	buf_add(buf, &value, sizeof(value));
}

void buf_add_le64(struct buf *buf, uint64_t value)
{
	value = htole64(value);
	buf_add(buf, &value, sizeof(value));
}

void buf_add_be32(struct buf *buf, uint32_t value)
{
	value = htobe32(value);
	buf_add(buf, &value, sizeof(value));
}

void buf_add_be64(struct buf *buf, uint64_t value)
{
	value = htobe64(value);
	buf_add(buf, &value, sizeof(value));
}

void buf_addf(struct buf *buf, const char *format, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, format);
	int len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0)
		abort();
	buf_add(buf, text, (size_t)len + 1);
	buf->len--;
	free(text);
}

struct reader reader_over(const void *data, size_t len)
{
	return (struct reader){.at = data, .left = len};
}

const uint8_t *read_bytes(struct reader *reader, size_t len)
{
	/* NULL means failure, so an empty read from a NULL source returns something else. */
	static const uint8_t nothing[1];

	if (reader->bad || len > reader->left) {
		reader->bad = true;
		return NULL;
	}
	if (len == 0)
		return reader->at ? reader->at : nothing;
	const uint8_t *bytes = reader->at;
	reader->at += len;
	reader->left -= len;
	return bytes;
}

static void read_into(struct reader *reader, void *out, size_t len)
{
	const uint8_t *bytes = read_bytes(reader, len);

	if (bytes)
		memcpy(out, bytes, len);
	else
		memset(out, 0, len);
}

uint8_t read_u8(struct reader *reader)
{
	uint8_t value;

	read_into(reader, &value, sizeof(value));
	return value;
}

uint16_t read_le16(struct reader *reader)
{
	uint16_t value;

	read_into(reader, &value, sizeof(value));
	return le16toh(value);
}

uint32_t read_le32(struct reader *reader)
{
	uint32_t value;

	read_into(reader, &value, sizeof(value));
	return le32toh(value);
}

uint64_t read_le64(struct reader *reader)
{
	uint64_t value;

	read_into(reader, &value, sizeof(value));
	return le64toh(value);
}

uint32_t read_be32(struct reader *reader)
{
	uint32_t value;

	read_into(reader, &value, sizeof(value));
	return be32toh(value);
}

uint64_t read_be64(struct reader *reader)
{
	uint64_t value;

	read_into(reader, &value, sizeof(value));
	return be64toh(value);
}

int bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	const size_t len = MIN(a_len, b_len);
	const int order = len ? memcmp(a, b, len) : 0;

	return order ? order : a_len < b_len ? -1 : a_len > b_len;
}

bool bytes_are_zeros(const void *data, size_t len)
{
	const uint8_t *bytes = data;

	return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}
