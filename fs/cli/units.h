/* Sizes and times as people write and read them. */
#ifndef CORPUSFS_CLI_UNITS_H
#define CORPUSFS_CLI_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

/* "512", "64K", "1.5G", "256MiB": powers of 1024. -EINVAL. */
WARN_UNUSED int units_parse_size(const char *text, uint64_t *ret_bytes);

#define UNITS_MAX 32
void units_size(uint64_t bytes, char out[UNITS_MAX]); /* "1.2 GiB" */
/* "1 file", "3 files" */
void units_count(long long count, const char *one, const char *more, char out[UNITS_MAX]);
void units_time(double seconds, char out[UNITS_MAX]); /* local time, "2026-11-21 08:57:00" */

#endif
