/* Words of commands that people may copy into a shell: quoted where a shell would take them for something else. */
#ifndef CORPUSFS_BASE_SHELL_H
#define CORPUSFS_BASE_SHELL_H

#include "lib/base/buf.h"
#include "lib/base/error.h"

/* As it is where that is one word to a shell; else in '...', and with control characters or bytes that are no UTF-8 in $'...'. */
void shell_add(struct buf *out, const char *word);

/* A text with words: each %s is such a word, and there is no other conversion. Freed by the caller. */
char *shell_text(const char *format, ...) PRINTF_LIKE(1, 2);

/* error_hint() with such a text. */
void error_hint_shell(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
