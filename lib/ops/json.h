/*
 * Names and other bytes in JSON, which holds UTF-8 only: written by the rule of lib/base/escape.h, in answers and in arguments alike. What
 * an answer calls a file can be given back as an argument as it is.
 */
#ifndef CORPUSFS_OPS_JSON_H
#define CORPUSFS_OPS_JSON_H

#include <jansson.h>

#include "lib/base/error.h"

json_t *json_from_bytes(const char *bytes);      /* a new string; NULL of NULL */
char *json_to_bytes(const json_t *text);         /* freed by the caller; NULL when it is no text, or holds a NUL */

/* A new copy in which all strings are the bytes they stand for, UTF-8 or not; such JSON cannot be sent. And back. Names of members stay. */
json_t *json_deep_to_bytes(const json_t *value);
json_t *json_deep_from_bytes(const json_t *value);

json_t *json_from_error(const struct error *err);           /* {code: "ENOENT", text, hint} */
int json_to_error(const json_t *object, struct error *err); /* fills err from it; returns its code, which is negative: -EIO of nonsense */

#endif
