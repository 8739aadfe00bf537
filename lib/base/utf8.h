/* Whether bytes are text: UTF-8 as RFC 3629 has it, in shortest forms, without surrogates, up to U+10FFFF. Pure; any thread. */
#ifndef CORPUSFS_BASE_UTF8_H
#define CORPUSFS_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character that begins at `text`, and which one it is; 0: none begins there. `len` is at least 1. */
size_t utf8_character(const char *text, size_t len, uint32_t *ret_character);

bool utf8_is_valid(const char *text);

/* U+0000 to U+001F, U+007F to U+009F: what terminals may obey. */
bool utf8_is_control(uint32_t character);

#endif
