/* What commands print on standard output: as printf, but the terminal obeys nobody's names: control characters, but for line ends, are escaped. */
#ifndef CORPUSFS_CLI_SAY_H
#define CORPUSFS_CLI_SAY_H

#include <stdio.h>

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_to(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
