/*
 * Which view is the head of which dataset: for who may not wait for the store, since node ids (node.h) are read while a snapshot or a rollback
 * holds its locks.
 *
 * Whoever learns of a head notes it, before a node id that needs it is given out, and after a rollback before those are let in that it held
 * back. A new head has a greater number than the one before, and no number of a view or dataset is given out twice. So of two heads of a
 * dataset the greater one counts, whoever notes it last, and nothing is ever taken out: a view that is not there any more is not found.
 *
 * Threads: any; nobody waits.
 */
#ifndef CORPUSFS_FUSE_SESSION_HEAD_VIEWS_H
#define CORPUSFS_FUSE_SESSION_HEAD_VIEWS_H

#include <stdint.h>

struct head_views;

struct head_views *head_views_new(void);
void head_views_free(struct head_views *heads); /* NULL is fine */

void head_views_note(struct head_views *heads, uint32_t dataset, uint32_t view);
uint32_t head_views_get(const struct head_views *heads, uint32_t dataset);  /* 0: not known */
uint32_t head_views_dataset(const struct head_views *heads, uint32_t view); /* whose head it is, or was; 0: nobody's */

#endif
