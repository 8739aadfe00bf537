/*
 * What the daemon takes of the machine's memory. The caches and buffers of a store have their sizes (struct store_options), but what an
 * import or an export of many small files has used in between, malloc keeps for itself: in pieces between those that live on, where it
 * does not give it back by itself. So somebody looks, now and then, whether much of it lies idle.
 *
 * Threads: a struct memory is one thread's; memory_anonymous any.
 */
#ifndef CORPUSFS_DAEMON_BACKGROUND_MEMORY_H
#define CORPUSFS_DAEMON_BACKGROUND_MEMORY_H

#include <stdint.h>

struct memory {
	uint64_t due_ms, wait_ms; /* zeros at the beginning */
};

/* Gives idle memory back to the system when there is much and it is time to look. To be called every second or so. */
void memory_give_back(struct memory *memory);

uint64_t memory_anonymous(void); /* bytes of this process that are in memory and in no file; 0: not known */

#endif
