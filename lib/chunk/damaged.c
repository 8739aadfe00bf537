#include "lib/chunk/damaged.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <uthash.h>

#include "lib/base/buf.h"

struct entry {
	uint64_t id;
	UT_hash_handle hh;
};

struct damaged {
	atomic_bool any; /* the table is not empty; saves the lock */
	pthread_mutex_t lock; /* guards the table */
	struct entry *table;
};

struct damaged *damaged_new(void)
{
	struct damaged *damaged = xcalloc(1, sizeof(*damaged));

	pthread_mutex_init(&damaged->lock, NULL);
	return damaged;
}

void damaged_free(struct damaged *damaged)
{
	struct entry *entry, *next;

	if (!damaged)
		return;
	HASH_ITER (hh, damaged->table, entry, next) {
		HASH_DEL(damaged->table, entry);
		free(entry);
	}
	pthread_mutex_destroy(&damaged->lock);
	free(damaged);
}

void damaged_add(struct damaged *damaged, uint64_t id)
{
	struct entry *entry;

	pthread_mutex_lock(&damaged->lock);
	HASH_FIND(hh, damaged->table, &id, sizeof(id), entry);
	if (!entry) {
		entry = xcalloc(1, sizeof(*entry));
		entry->id = id;
		HASH_ADD(hh, damaged->table, id, sizeof(entry->id), entry);
	}
	pthread_mutex_unlock(&damaged->lock);
	atomic_store(&damaged->any, true);
}

bool damaged_has(struct damaged *damaged, uint64_t id)
{
	struct entry *entry;

	if (!atomic_load(&damaged->any))
		return false;
	pthread_mutex_lock(&damaged->lock);
	HASH_FIND(hh, damaged->table, &id, sizeof(id), entry);
	pthread_mutex_unlock(&damaged->lock);
	return entry;
}
