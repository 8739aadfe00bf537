#include "lib/repository/objects_conditional.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lib/base/array.h"
#include "lib/base/clock.h"
#include "lib/repository/blob_id.h"
#include "lib/repository/seal.h"

#define WRITERS 4
#define ROUNDS 3
/* Of a probe whose maker must have ended since. His clock may be wrong: so is one from days to come. */
#define OLD_S 3600
#define AHEAD_S 86400

/*
 * What it is tried with is called: MARK, 8 bytes at random, the seconds since 1970 as 8 bytes, the highest first, and the number 0, which no head has
 * (lib/backup/heads.h). So nobody takes it for a head, and whoever comes later knows that it is left over.
 */
#define MARK "corpprob"
#define PART 8

_Static_assert(4 * PART == BLOB_ID_LEN, "the name of a probe is an object's");

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
		/* Who races alone wins, whatever the place does. */
		if (writers[i].is_started)
			pthread_join(writers[i].thread, NULL);
		else
			writers[i].result = -EAGAIN;
		*ret_winners += writers[i].result == 0;
		if (writers[i].result < 0 && writers[i].result != -EEXIST)
			r = writers[i].result;
	}
	return r;
}

static void name_probe(char name[BLOB_ID_TEXT])
{
	struct blob_id id = {0};
	const uint64_t now = (uint64_t)clock_now().tv_sec;

	memcpy(id.bytes, MARK, PART);
	seal_random(id.bytes + PART, PART);
	for (size_t i = 0; i < PART; i++)
		id.bytes[2 * PART + i] = (uint8_t)(now >> (8 * (PART - 1 - i)));
	blob_id_text(&id, name);
}

static bool is_left(const char *name)
{
	static const uint8_t zero[PART] = {0};
	const int64_t now = clock_now().tv_sec;
	struct blob_id id;
	uint64_t made = 0;

	if (blob_id_parse(name, &id) < 0 || memcmp(id.bytes, MARK, PART) != 0 || memcmp(id.bytes + 3 * PART, zero, PART) != 0)
		return false;
	for (size_t i = 0; i < PART; i++)
		made = made << 8 | id.bytes[2 * PART + i];
	return made < (uint64_t)(now - OLD_S) || made > (uint64_t)(now + AHEAD_S);
}

struct left {
	ARRAY_FIELDS(char *);
};

static int gather_left(void *arg, const char *name, uint64_t size)
{
	struct left *left = arg;

	(void)size;
	if (is_left(name))
		array_add(left, xstrdup(name));
	return 0;
}

/* Of those who were killed, or whose removal failed. Where it cannot be done, the next one tries. */
static void remove_left(struct objects *objects)
{
	struct left left = {0};

	(void)!objects->place->list(objects, OBJECT_HEAD, gather_left, &left);
	for (size_t i = 0; i < left.count; i++) {
		(void)!objects->place->remove(objects, OBJECT_HEAD, left.items[i]);
		free(left.items[i]);
	}
	array_clear(&left);
}

static int try_once(struct objects *objects, unsigned *ret_winners)
{
	char name[BLOB_ID_TEXT];
	int r, removed;

	name_probe(name);
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
	if (objects->place->keeps_apart) {
		r = objects->place->keeps_apart(objects);
		*ret_conditional = r == 0;
		return r;
	}
	if (objects->place->put_new)
		remove_left(objects);
	/* Nobody wins where each gave way to another, or an answer was lost: that says nothing. */
	for (unsigned i = 0; i < ROUNDS && r == 0 && winners == 0 && objects->place->put_new; i++)
		r = try_once(objects, &winners);
	*ret_conditional = r == 0 && winners == 1;
	return r;
}
