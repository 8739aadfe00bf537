#include "lib/repository/fetch.h"

#include <errno.h>
#include <pthread.h>

#include "lib/base/clock.h"
#include "lib/base/direct_file.h"
#include "lib/base/pages.h"

/* What lies between two blobs of a pack is read with them if it is not more. */
#define GAP_MAX (16U << 10)
/* What one thread opens at a time: enough to be hashed side by side. */
#define STEP_BYTES (512U << 10)
/* A disk reads what stands in memory as it stands in the pack, by these multiples, past the page cache. */
#define BLOCK DIRECT_ALIGNMENT
/* The sealed bytes of all, what stands between them, and what each is moved by. */
#define SEALED_ROOM (FETCH_BYTES + FETCH_BLOBS * (GAP_MAX + BLOCK) + PAGES_HUGE - (FETCH_BYTES + FETCH_BLOBS * (GAP_MAX + BLOCK)) % PAGES_HUGE)
_Static_assert(FETCH_BLOBS <= OPENINGS_MAX, "a step is opened at once");

struct wanted {
	struct blob_place place;
	struct blob_opening *opening;
	int result; /* of the place that was waited for in vain */
};

struct fetch {
	struct repository *repository;
	struct pool *pool;
	struct wanted wanted[FETCH_BLOBS];
	struct blob_opening openings[FETCH_BLOBS]; /* of those */
	size_t count, at; /* at: the one that was found last */
	uint64_t bytes;
	const struct wanted *in_place[FETCH_BLOBS]; /* as they stand in the packs */
	uint8_t *sealed; /* SEALED_ROOM bytes, or NULL before they are needed */
	struct buf plain;
	size_t steps[FETCH_BLOBS + 1], step_count; /* the first one of each step, and the end */
	pthread_mutex_t lock;                      /* guards what follows */
	struct repository_reader **readers;        /* that nobody uses; there is room for all */
	size_t reader_count;
};

struct fetch *fetch_new(struct repository *repository, struct pool *pool)
{
	struct fetch *fetch = xcalloc(1, sizeof(*fetch));

	fetch->repository = repository;
	fetch->pool = pool;
	fetch->readers = xcalloc(pool ? pool_width(pool) : 1, sizeof(struct repository_reader *));
	pthread_mutex_init(&fetch->lock, NULL);
	return fetch;
}

void fetch_free(struct fetch *fetch)
{
	if (!fetch)
		return;
	for (size_t i = 0; i < fetch->reader_count; i++)
		repository_reader_free(fetch->readers[i]);
	free(fetch->readers);
	pthread_mutex_destroy(&fetch->lock);
	free(fetch->sealed);
	buf_clear(&fetch->plain);
	free(fetch);
}

void fetch_begin(struct fetch *fetch)
{
	fetch->count = fetch->at = 0;
	fetch->bytes = 0;
}

bool fetch_add(struct fetch *fetch, const struct blob_id *id)
{
	struct blob_place place;
	uint64_t bytes;

	/* A file of holes is one blob again and again. */
	if (fetch->count > 0 && blob_id_equal(&fetch->wanted[fetch->count - 1].place.blob.id, id))
		return true;
	if (fetch->count == FETCH_BLOBS || !blob_index_find(fetch->repository->index, id, false, 0, &place) || place.blob.length < SEAL_EXTRA)
		return false;
	bytes = MAX(place.blob.length, place.blob.plain);
	if (bytes > FETCH_BYTES - fetch->bytes)
		return false;
	fetch->bytes += bytes;
	fetch->wanted[fetch->count] = (struct wanted){.place = place, .opening = &fetch->openings[fetch->count]};
	fetch->openings[fetch->count] = (struct blob_opening){.blob = &fetch->wanted[fetch->count].place.blob};
	fetch->count++;
	return true;
}

/* --- reading --- */

static int compare_places(const void *a, const void *b)
{
	const struct blob_place *x = &(*(const struct wanted *const *)a)->place, *y = &(*(const struct wanted *const *)b)->place;
	int order = blob_id_compare(&x->pack, &y->pack);

	return order != 0 ? order : (x->blob.offset > y->blob.offset) - (x->blob.offset < y->blob.offset);
}

static uint64_t end_of(const struct wanted *wanted)
{
	return (uint64_t)wanted->place.blob.offset + wanted->place.blob.length;
}

/* The end, in in_place, of those that are read with number `first`. */
static size_t end_of_run(const struct fetch *fetch, size_t first, uint64_t *ret_end)
{
	uint64_t end = end_of(fetch->in_place[first]);
	size_t i = first + 1;

	for (; i < fetch->count; i++) {
		const struct wanted *next = fetch->in_place[i];

		/* Only an index that somebody made up has blobs that overlap. */
		if (!blob_id_equal(&next->place.pack, &fetch->in_place[first]->place.pack) || next->place.blob.offset < end ||
		    next->place.blob.offset > end + GAP_MAX)
			break;
		end = end_of(next);
	}
	*ret_end = end;
	return i;
}

/*
 * `failed`: what the place said of a run before, after a long time: nobody waits for it again. What it said at once is of this run only, and who asks
 * for its blobs one by one may have them. Returns what is to be said of the next run.
 */
static int read_run(struct fetch *fetch, size_t first, size_t after, uint64_t end, uint8_t *room, int failed)
{
	const struct blob_place *place = &fetch->in_place[first]->place;
	struct objects *objects = fetch->repository->objects;
	const uint64_t began = clock_us();
	char pack[BLOB_ID_TEXT];
	int r = failed;

	blob_id_text(&place->pack, pack);
	if (r == 0)
		r = objects->place->get(objects, OBJECT_PACK, pack, place->blob.offset, (size_t)(end - place->blob.offset), room);
	if (r < 0 && r != -ENOENT && clock_us() - began >= FETCH_LONG_US)
		failed = r;
	for (size_t i = first; i < after; i++) {
		const struct wanted *wanted = fetch->in_place[i];

		wanted->opening->sealed = r < 0 ? NULL : room + (wanted->place.blob.offset - place->blob.offset);
		fetch->wanted[wanted - fetch->wanted].result = failed;
	}
	return failed;
}

static void read_all(struct fetch *fetch)
{
	uint64_t end;
	size_t after;
	uint8_t *room;
	int failed = 0;

	if (!fetch->sealed)
		fetch->sealed = pages_alloc(SEALED_ROOM);
	if (!fetch->sealed)
		return;
	for (size_t i = 0; i < fetch->count; i++)
		fetch->in_place[i] = &fetch->wanted[i];
	qsort(fetch->in_place, fetch->count, sizeof(*fetch->in_place), compare_places);
	room = fetch->sealed;
	for (size_t i = 0; i < fetch->count; i = after) {
		const uint64_t offset = fetch->in_place[i]->place.blob.offset;

		after = end_of_run(fetch, i, &end);
		room += (offset - (uintptr_t)room) % BLOCK;
		failed = read_run(fetch, i, after, end, room, failed);
		room += end - offset;
	}
}

/* --- opening --- */

static struct repository_reader *take_reader(struct fetch *fetch)
{
	struct repository_reader *reader = NULL;

	pthread_mutex_lock(&fetch->lock);
	if (fetch->reader_count > 0)
		reader = fetch->readers[--fetch->reader_count];
	pthread_mutex_unlock(&fetch->lock);
	return reader ? reader : repository_reader_new(fetch->repository);
}

static void give_reader(struct fetch *fetch, struct repository_reader *reader)
{
	pthread_mutex_lock(&fetch->lock);
	fetch->readers[fetch->reader_count++] = reader;
	pthread_mutex_unlock(&fetch->lock);
}

static void open_step(void *arg, size_t step)
{
	struct fetch *fetch = arg;
	struct repository_reader *reader = take_reader(fetch);

	repository_open_many(reader, &fetch->openings[fetch->steps[step]], fetch->steps[step + 1] - fetch->steps[step]);
	give_reader(fetch, reader);
}

static void open_all(struct fetch *fetch)
{
	uint64_t room = 0, in_step = STEP_BYTES;

	buf_reset(&fetch->plain);
	buf_reserve(&fetch->plain, FETCH_BYTES);
	fetch->step_count = 0;
	for (size_t i = 0; i < fetch->count; i++) {
		const struct wanted *wanted = &fetch->wanted[i];

		wanted->opening->room = fetch->plain.data + room;
		room += wanted->place.blob.plain;
		if (in_step >= STEP_BYTES) {
			fetch->steps[fetch->step_count++] = i;
			in_step = 0;
		}
		in_step += MAX(wanted->place.blob.length, wanted->place.blob.plain);
	}
	fetch->steps[fetch->step_count] = fetch->count;
	if (fetch->pool) {
		pool_run(fetch->pool, open_step, fetch, fetch->step_count);
		return;
	}
	for (size_t i = 0; i < fetch->step_count; i++)
		open_step(fetch, i);
}

void fetch_run(struct fetch *fetch)
{
	if (fetch->count == 0)
		return;
	read_all(fetch);
	open_all(fetch);
}

int fetch_find(struct fetch *fetch, const struct blob_id *id, const void **ret_data, size_t *ret_len)
{
	for (size_t i = 0; i < fetch->count; i++) {
		const size_t number = (fetch->at + i) % fetch->count;
		const struct wanted *wanted = &fetch->wanted[number];

		if (!blob_id_equal(&wanted->place.blob.id, id))
			continue;
		if (!wanted->opening->plain)
			return wanted->result < 0 ? wanted->result : -EBADMSG;
		fetch->at = number;
		*ret_data = wanted->opening->plain;
		*ret_len = pack_blob_plain(&wanted->place.blob);
		return 1;
	}
	return 0;
}
