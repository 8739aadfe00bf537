/* Whether bytes are text. Pure; any thread. */
#ifndef CORPUSFS_BASE_UTF8_H
#define CORPUSFS_BASE_UTF8_H

#include <stdbool.h>

/* UTF-8 as RFC 3629 has it: shortest forms, no surrogates, nothing above U+10FFFF. */
bool utf8_is_valid(const char *text);

#endif
