/*
 * Which of the words there are somebody may have meant who mistyped one. Any thread.
 *
 *   struct similar similar = {.wanted = "exprot"};
 *   similar_try(&similar, "export"); ...
 *   if (similar.best[0]) ...
 */
#ifndef CORPUSFS_BASE_SIMILAR_H
#define CORPUSFS_BASE_SIMILAR_H

#include "lib/base/clean.h"

#define SIMILAR_MAX 256 /* bytes of a word, with its end; longer ones are not compared */

struct similar {
	const char *wanted;
	char best[SIMILAR_MAX]; /* the most similar word so far, the first of several; empty: none is similar */
	unsigned distance;      /* letters that differ from it */
};

void similar_try(struct similar *similar, const char *word);
/* The same, and it is called `name` if it is the one. */
void similar_try_as(struct similar *similar, const char *word, const char *name);

#endif
