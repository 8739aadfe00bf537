#include "lib/repository/objects_conditional.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/repository/seal.h"

#define WRITERS 4
#define ROUNDS 3
#define NAME_LEN 32

struct writer {
	struct objects *objects;
	const char *name;
	unsigned number;
	pthread_t thread;
	bool is_started;
	int result;
};

static void *put_one(void *arg)
{
	struct writer *writer = arg;

	writer->result = writer->objects->place->put_new(writer->objects, OBJECT_HEAD, writer->name, &writer->number, sizeof(writer->number));
	return NULL;
}

/* Counts those who succeeded. A failure that is not that another one was first is the result. */
static int race(struct objects *objects, const char *name, unsigned *ret_winners)
{
	struct writer writers[WRITERS] = {0};
	int r = 0;

	*ret_winners = 0;
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.objects = objects, .name = name, .number = i, .result = -EEXIST};
		writers[i].is_started = pthread_create(&writers[i].thread, NULL, put_one, &writers[i]) == 0;
	}
	for (size_t i = 0; i < WRITERS; i++) {
		if (writers[i].is_started)
			pthread_join(writers[i].thread, NULL);
		*ret_winners += writers[i].result == 0;
		if (writers[i].result < 0 && writers[i].result != -EEXIST)
			r = writers[i].result;
	}
	return r;
}

static int try_once(struct objects *objects, unsigned *ret_winners)
{
	char name[NAME_LEN];
	uint64_t random;
	int r, removed;

	seal_random(&random, sizeof(random));
	/* It is no name of a head, so that nobody lists it. */
	(void)snprintf(name, sizeof(name), "probe-%016llx", (unsigned long long)random);
	r = race(objects, name, ret_winners);
	/* One after the other is the easier case. */
	if (r == 0 && *ret_winners == 1) {
		r = objects->place->put_new(objects, OBJECT_HEAD, name, "again", strlen("again"));
		*ret_winners += r == 0;
		if (r == -EEXIST)
			r = 0;
	}
	removed = objects->place->remove(objects, OBJECT_HEAD, name);
	return r < 0 ? r : removed == -ENOENT ? 0 : removed;
}

int objects_try_conditional(struct objects *objects, bool *ret_conditional)
{
	unsigned winners = 0;
	int r = 0;

	*ret_conditional = false;
	/* Nobody wins where each gave way to another, or an answer was lost: that says nothing. */
	for (unsigned i = 0; i < ROUNDS && r == 0 && winners == 0 && objects->place->put_new; i++)
		r = try_once(objects, &winners);
	*ret_conditional = r == 0 && winners == 1;
	return r;
}
