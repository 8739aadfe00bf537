#include "lib/base/similar.h"

#include <stdio.h>
#include <string.h>

#define DISTANCE_MAX 3

/* A letter too many, one missing, another one, or two in each other's place count as one. More than `limit`: limit + 1. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len, unsigned limit)
{
	unsigned rows[3][SIMILAR_MAX];

	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
		unsigned least = row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			row[j] = MIN(MIN(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = MIN(row[j], two_above[j - 2] + 1);
			least = MIN(least, row[j]);
		}
		if (least > limit)
			return limit + 1;
	}
	return rows[a_len % 3][b_len];
}

void similar_try(struct similar *similar, const char *word)
{
	similar_try_as(similar, word, word);
}

void similar_try_as(struct similar *similar, const char *word, const char *name)
{
	const size_t len = strlen(similar->wanted), word_len = strlen(word);
	const unsigned limit = (unsigned)MIN(len / 2, (size_t)DISTANCE_MAX); /* half of the word must be right */

	if (MAX(len, word_len) >= SIMILAR_MAX || MAX(len, word_len) - MIN(len, word_len) > limit)
		return;
	unsigned found = distance(similar->wanted, len, word, word_len, limit);
	if (found > limit || (similar->best[0] && found >= similar->distance))
		return;
	similar->distance = found;
	snprintf(similar->best, sizeof(similar->best), "%s", name);
}
