/*
 * One failure, as it is told to a person: what happened, and what to do about it.
 *
 * Functions of the library return 0 (or a positive count) or a negative errno. Those whose failure a person will read also take a
 * `struct error *`, which may be NULL. They fill it when they fail, and only then. A later error_set() replaces an earlier one. Names of
 * files stand in it as they are: who shows an error makes one line of it (lib/base/escape.h).
 */
#ifndef CORPUSFS_BASE_ERROR_H
#define CORPUSFS_BASE_ERROR_H

#include "lib/base/clean.h"

#define ERROR_TEXT_MAX 1024
#define ERROR_HINT_MAX 512

struct error {
	int code;                  /* negative errno */
	char text[ERROR_TEXT_MAX]; /* one line, no full stop, no newline */
	char hint[ERROR_HINT_MAX]; /* what to do; may be empty */
};

/* Fills the error (if any) and returns `code`, so that callers write: return error_set(err, -ENOENT, "..."). */
int error_set(struct error *error, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Adds what to do about the failure set before. */
void error_hint(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

/* What a negative errno of the library means, for people. */
const char *error_text(int code);

/* Sets "WHAT: error_text" only if nothing was set yet; returns `code`. */
int error_default(struct error *error, int code, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
