/*
 * Names in a repository: the SHA-256 of what is named, of a blob its plain bytes, of any other object the bytes that are stored. As text they
 * have 64 hexadecimal digits in lower case; people give as many of the first ones as say which is meant.
 */
#ifndef CORPUSFS_REPOSITORY_BLOB_ID_H
#define CORPUSFS_REPOSITORY_BLOB_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/base/clean.h"

#define BLOB_ID_LEN 32
#define BLOB_ID_TEXT (2 * BLOB_ID_LEN + 1) /* with a NUL */

struct blob_id {
	uint8_t bytes[BLOB_ID_LEN];
};

struct blob_id blob_id_of(const void *data, size_t len);
void blob_id_text(const struct blob_id *id, char out[BLOB_ID_TEXT]);
/* Exactly 64 digits: 0, else -EINVAL. */
WARN_UNUSED int blob_id_parse(const char *text, struct blob_id *ret_id);
WARN_UNUSED int blob_id_parse_text(const char *text, size_t len, struct blob_id *ret_id); /* without a NUL */

static inline int blob_id_compare(const struct blob_id *a, const struct blob_id *b)
{
	return memcmp(a->bytes, b->bytes, BLOB_ID_LEN);
}

static inline bool blob_id_equal(const struct blob_id *a, const struct blob_id *b)
{
	return blob_id_compare(a, b) == 0;
}

#endif
