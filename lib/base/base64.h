/* Base64 (RFC 4648, section 4). Pure; any thread. */
#ifndef CORPUSFS_BASE_BASE64_H
#define CORPUSFS_BASE_BASE64_H

#include "lib/base/buf.h"

void base64_add(struct buf *out, const void *data, size_t len); /* with padding */

/* Adds the bytes that the text stands for. Padding may be missing. -EINVAL: it is not base64. */
WARN_UNUSED int base64_decode(const char *text, size_t len, struct buf *out);

#endif
