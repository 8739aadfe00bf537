/*
 * Growing byte buffers, and a reader that never leaves its bounds.
 *
 * When memory runs out, the process ends (buf_reserve aborts): a filesystem that cannot allocate a few bytes for a record cannot keep any
 * promise. Large buffers of data do not come from here. Their owners have budgets, and report -ENOMEM.
 */
#ifndef CORPUSFS_BASE_BUF_H
#define CORPUSFS_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

#define BUF_INIT ((struct buf){ 0 })
#define AUTO_BUF CLEANUP(buf_clear) struct buf

void buf_clear(struct buf *buf);                    /* frees; the buffer is empty and usable again */
/* The order of bytes: negative, 0, positive; a beginning comes before what it begins. Of no bytes the pointer may be NULL. */
int bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len);
bool bytes_are_zeros(const void *data, size_t len);
void buf_reset(struct buf *buf);                    /* keeps the memory */
void buf_fit(struct buf *buf);                      /* gives back what is not filled */
void buf_reserve(struct buf *buf, size_t extra);    /* room for `extra` bytes after len */
WARN_UNUSED bool buf_try_reserve(struct buf *buf, size_t extra); /* the same, or false when there is no memory */
void buf_add(struct buf *buf, const void *data, size_t len);
void buf_add_u8(struct buf *buf, uint8_t value);
void buf_add_le16(struct buf *buf, uint16_t value);
void buf_add_le32(struct buf *buf, uint32_t value);
void buf_add_le64(struct buf *buf, uint64_t value);
void buf_add_be32(struct buf *buf, uint32_t value);
void buf_add_be64(struct buf *buf, uint64_t value);
void buf_addf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3); /* text; a NUL follows but is not counted in len */

/* A cursor over foreign bytes. After the first read beyond the end `bad` stays set and every read gives zeros. */
struct reader {
	const uint8_t *at;
	size_t left;
	bool bad;
};

struct reader reader_over(const void *data, size_t len);
uint8_t read_u8(struct reader *reader);
uint16_t read_le16(struct reader *reader);
uint32_t read_le32(struct reader *reader);
uint64_t read_le64(struct reader *reader);
uint32_t read_be32(struct reader *reader);
uint64_t read_be64(struct reader *reader);
const uint8_t *read_bytes(struct reader *reader, size_t len); /* into the source, or NULL and bad */

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *pointer, size_t size);
char *xstrdup(const char *text);
char *xstrdup_or_null(const char *text); /* NULL of NULL */
char *xasprintf(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
