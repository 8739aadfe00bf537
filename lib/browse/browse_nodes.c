#include "lib/browse/browse_nodes.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <uthash.h>

#include "lib/base/buf.h"

struct known {
	uint64_t id, lookups;
	struct known_key {
		uint64_t parent, position;
	} key;
	struct browse_place place;
	UT_hash_handle by_id, by_key;
};

struct browse_nodes {
	pthread_mutex_t lock; /* guards all below */
	struct known *by_id, *by_key;
	uint64_t next;
};

struct browse_nodes *browse_nodes_new(void)
{
	struct browse_nodes *nodes = xcalloc(1, sizeof(*nodes));

	pthread_mutex_init(&nodes->lock, NULL);
	nodes->next = BROWSE_NODES_FIRST;
	return nodes;
}

static void drop(struct browse_nodes *nodes, struct known *known)
{
	HASH_DELETE(by_id, nodes->by_id, known);
	HASH_DELETE(by_key, nodes->by_key, known);
	free(known);
}

void browse_nodes_free(struct browse_nodes *nodes)
{
	struct known *known, *next;

	if (!nodes)
		return;
	HASH_ITER (by_id, nodes->by_id, known, next)
		drop(nodes, known);
	pthread_mutex_destroy(&nodes->lock);
	free(nodes);
}

uint64_t browse_nodes_take(struct browse_nodes *nodes, uint64_t parent, const struct browse_place *place)
{
	const struct known_key key = {parent, place->position};
	struct known *known;
	uint64_t id;

	pthread_mutex_lock(&nodes->lock);
	HASH_FIND(by_key, nodes->by_key, &key, sizeof(key), known);
	if (!known) {
		known = xcalloc(1, sizeof(*known));
		known->id = nodes->next++;
		known->key = key;
		known->place = *place;
		known->place.parent = parent;
		HASH_ADD(by_id, nodes->by_id, id, sizeof(known->id), known);
		HASH_ADD(by_key, nodes->by_key, key, sizeof(known->key), known);
	}
	known->lookups++;
	id = known->id;
	pthread_mutex_unlock(&nodes->lock);
	return id;
}

void browse_nodes_forget(struct browse_nodes *nodes, uint64_t id, uint64_t lookups)
{
	struct known *known;

	pthread_mutex_lock(&nodes->lock);
	HASH_FIND(by_id, nodes->by_id, &id, sizeof(id), known);
	if (known && known->lookups > lookups)
		known->lookups -= lookups;
	else if (known)
		drop(nodes, known);
	pthread_mutex_unlock(&nodes->lock);
}

int browse_nodes_get(struct browse_nodes *nodes, uint64_t id, struct browse_place *ret_place)
{
	struct known *known;

	pthread_mutex_lock(&nodes->lock);
	HASH_FIND(by_id, nodes->by_id, &id, sizeof(id), known);
	if (known)
		*ret_place = known->place;
	pthread_mutex_unlock(&nodes->lock);
	return known ? 0 : -ESTALE;
}

void browse_nodes_in(struct browse_nodes *nodes, uint64_t parent, struct browse_positions *ret_positions)
{
	struct known *known, *next;

	pthread_mutex_lock(&nodes->lock);
	HASH_ITER (by_id, nodes->by_id, known, next)
		if (known->key.parent == parent)
			array_add(ret_positions, known->key.position);
	pthread_mutex_unlock(&nodes->lock);
}

size_t browse_nodes_count(struct browse_nodes *nodes)
{
	size_t count;

	pthread_mutex_lock(&nodes->lock);
	count = HASH_CNT(by_id, nodes->by_id);
	pthread_mutex_unlock(&nodes->lock);
	return count;
}
