/*
 * Reading ahead in the order of chunk ids, which is the order on disk.
 *
 * Chunks are looked at in regions of neighbouring ids. Once several different chunks of a region were read, the rest of it is read into
 * the page cache in large pieces: a reader who goes through a file finds it there, and so does one who takes the files of a data set in
 * random order, as training does. A region that is asked for after its neighbour is the sign of a sequential reader: then the next ones
 * are asked for, too.
 *
 * What is asked for within some minutes is bounded by half of the memory that was available when they began, so that data which cannot
 * stay in memory is not pulled in again and again.
 *
 *   ahead_note(ahead, id)   before a chunk is read from the store; whether its region was asked for before. Any thread, never waits for the
 *                           disk
 */
#ifndef CORPUSFS_CHUNK_AHEAD_H
#define CORPUSFS_CHUNK_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/kv/kv.h"

struct ahead;

struct ahead *ahead_new(struct kv_tables *bulk, struct kv_tables *small); /* which outlive it */
void ahead_free(struct ahead *ahead); /* waits for what is under way; NULL is fine */
bool ahead_note(struct ahead *ahead, uint64_t id);
uint64_t ahead_bytes(struct ahead *ahead); /* asked for so far */

#endif
