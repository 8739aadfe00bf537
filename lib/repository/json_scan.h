/*
 * Reads JSON text from its start to its end, without building anything of it, where there is too much to build: an index file has 50,000 blobs, the
 * trees of a backup have a node for each file. What is not asked for is skipped. Whatever is no JSON is bad,
 * also in what is skipped; two things alone are not looked at: whether texts are UTF-8, unless their bytes are asked for, and whether a key comes twice.
 *
 *   scan = json_scan_over(text, len)
 *   if (json_scan_open(&scan, '{')) while (json_scan_key(&scan, &key)) ... one value is read or skipped ...
 *   if (json_scan_open(&scan, '[')) while (json_scan_item(&scan)) ... one value is read or skipped ...
 *   json_scan_end(&scan)
 *
 * After the first thing that is not as asked for `bad` stays set, and every call says false. Of an
 * object or an array that is not read to its end, the rest cannot be read either. Nothing is copied: texts lie in the JSON, with its
 * escapes as they are, until json_text_bytes() copies one. One thread.
 */
#ifndef CORPUSFS_REPOSITORY_JSON_SCAN_H
#define CORPUSFS_REPOSITORY_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

#define JSON_SCAN_DEPTH 64 /* deeper brackets are bad */

struct json_scan {
	const char *at, *end;
	bool bad;
	bool first; /* nothing of the innermost open bracket was read yet */
};

/* A string without its quotes. */
struct json_text {
	const char *text;
	size_t len;
	bool has_escapes;
};

struct json_scan json_scan_over(const char *text, size_t len);
/* The bracket that opens an object or an array: '{' or '['. */
bool json_scan_open(struct json_scan *scan, char bracket);
/* The next key; false at the end of the object, which is read, too. */
bool json_scan_key(struct json_scan *scan, struct json_text *ret_key);
/* Whether a next item comes; false at the end of the array, which is read, too. */
bool json_scan_item(struct json_scan *scan);
bool json_scan_string(struct json_scan *scan, struct json_text *ret_text);
bool json_scan_number(struct json_scan *scan, uint64_t *ret_number); /* a whole one, not negative */
bool json_scan_null(struct json_scan *scan); /* whether it is null, which is read then; false is no failure */
void json_scan_skip(struct json_scan *scan);                        /* one value, whatever it is */
/* Whether all was as asked for, and nothing but white space follows. */
bool json_scan_end(struct json_scan *scan);

bool json_text_is(const struct json_text *text, const char *other);
/* What it stands for, with a NUL behind; the caller's to free. -EBADMSG: it is not UTF-8, or has a NUL in it. */
WARN_UNUSED int json_text_bytes(const struct json_text *text, char **ret_bytes);

#endif
