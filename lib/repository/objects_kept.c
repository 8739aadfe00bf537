#include "lib/repository/objects_kept.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/array.h"
#include "lib/base/clock.h"
#include "lib/repository/blob_id.h"
#include "lib/repository/objects_etcd.h"
#include "lib/repository/repository.h"

#define AWAY_MS 5000 /* the place is not asked again for what there are copies of */
#define TRY_MS 1000  /* from one try to open the place to the next */
#define LOOK_US 100000
#define COPY_MAX SEALED_FILE_MAX

struct objects_kept {
	struct objects objects; /* first */
	struct objects_kept_options options;
	atomic_uint_fast64_t away_until;
	pthread_mutex_t opening; /* guards next_try, and that one thread tries */
	uint64_t next_try;
	_Atomic(struct objects *) place; /* NULL: it could not be opened yet */
	pthread_mutex_t keeping;         /* held by who changes the copies; guards stopped */
	bool stopped;
};

static struct objects_kept *kept_of(struct objects *objects)
{
	return (struct objects_kept *)objects;
}

static struct objects *copies_of(struct objects *objects)
{
	return kept_of(objects)->options.copies;
}

/* Failures of the place, not its answers. Where heads are in etcd (objects_etcd.h), those of etcd are none: a copy does not know what is the newest. */
static bool is_away(int code)
{
	return code < 0 && code != -ENOENT && code != -EACCES && code != -EPERM && code != -EEXIST && code != -EROFS && code != -ENOSPC && code != -EFBIG &&
	       code != -ENOMEM && code != -EREMOTEIO && code != -EUCLEAN && code != -EBADMSG;
}

static bool is_copied(enum object_kind kind)
{
	return kind != OBJECT_PACK && kind != OBJECT_LOCK && kind != OBJECT_HOLD;
}

static bool is_named_by_content(enum object_kind kind)
{
	return kind == OBJECT_KEY || kind == OBJECT_SNAPSHOT || kind == OBJECT_INDEX;
}

/* --- the place --- */

static struct objects *try_place(struct objects_kept *kept)
{
	struct objects *place = atomic_load(&kept->place);

	if (place)
		return place;
	pthread_mutex_lock(&kept->opening);
	place = atomic_load(&kept->place);
	if (!place && clock_ms() >= kept->next_try) {
		if (kept->options.open(kept->options.arg, &place) == 0)
			atomic_store(&kept->place, place);
		else
			place = NULL;
		kept->next_try = clock_ms() + TRY_MS;
	}
	pthread_mutex_unlock(&kept->opening);
	return place;
}

/* For who cannot do without it. */
static struct objects *wait_place(struct objects_kept *kept)
{
	const uint64_t until = clock_ms() + kept->options.patience_ms;
	struct objects *place;

	while (!(place = try_place(kept)) && clock_ms() < until)
		clock_pause_us(LOOK_US);
	return place;
}

/* For who can. NULL: it is away. */
static struct objects *place_now(struct objects_kept *kept)
{
	return clock_ms() < atomic_load(&kept->away_until) ? NULL : try_place(kept);
}

/* What the place said; -EHOSTUNREACH: it is away. */
static int said(struct objects_kept *kept, int r)
{
	if (!is_away(r))
		return r;
	atomic_store(&kept->away_until, clock_ms() + AWAY_MS);
	return -EHOSTUNREACH;
}

/* --- copies --- */

static bool copy_is_good(struct objects *objects, enum object_kind kind, const char *name)
{
	AUTO_BUF copy = BUF_INIT;

	return objects_get_named(copies_of(objects), kind, name, COPY_MAX, &copy) == 0;
}

static bool copy_is(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	AUTO_BUF copy = BUF_INIT;

	return objects_get_whole(copies_of(objects), kind, name, COPY_MAX, &copy) == 0 && copy.len == len && memcmp(copy.data, data, len) == 0;
}

/* False: they are another's now. */
static bool begin_keeping(struct objects_kept *kept)
{
	pthread_mutex_lock(&kept->keeping);
	if (!kept->stopped)
		return true;
	pthread_mutex_unlock(&kept->keeping);
	return false;
}

static void end_keeping(struct objects_kept *kept)
{
	pthread_mutex_unlock(&kept->keeping);
}

static void keep_copy(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	struct objects *copies = copies_of(objects);

	if (copy_is(objects, kind, name, data, len) || !begin_keeping(kept_of(objects)))
		return;
	(void)!copies->place->remove(copies, kind, name);
	(void)!copies->place->put(copies, kind, name, data, len);
	end_keeping(kept_of(objects));
}

/* Brings a copy of what is named by its content. -EBADMSG: what the place has is something else, of which no copy is kept. */
static int bring(struct objects *objects, enum object_kind kind, const char *name)
{
	struct objects *place = place_now(kept_of(objects));
	AUTO_BUF content = BUF_INIT;
	int r;

	if (!place)
		return -EHOSTUNREACH;
	r = said(kept_of(objects), objects_get_named(place, kind, name, COPY_MAX, &content));
	if (r < 0)
		return r;
	keep_copy(objects, kind, name, content.data, content.len);
	return 0;
}

/* --- what an object store does --- */

static int size(struct objects *objects, enum object_kind kind, const char *name, uint64_t *ret_size)
{
	struct objects *copies = copies_of(objects), *place;
	int r = -EHOSTUNREACH;

	if (is_named_by_content(kind)) {
		r = copy_is_good(objects, kind, name) ? 0 : bring(objects, kind, name);
		if (r == 0 && copies->place->size(copies, kind, name, ret_size) == 0)
			return 0;
		if (r < 0 && r != -EBADMSG)
			return r;
	}
	place = is_copied(kind) ? place_now(kept_of(objects)) : wait_place(kept_of(objects));
	if (place)
		r = said(kept_of(objects), place->place->size(place, kind, name, ret_size));
	return r == -EHOSTUNREACH && is_copied(kind) && copies->place->size(copies, kind, name, ret_size) == 0 ? 0 : r;
}

static int get_of_place(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	struct objects *place = is_copied(kind) ? place_now(kept_of(objects)) : wait_place(kept_of(objects));
	int r;

	if (!place)
		return -EHOSTUNREACH;
	r = place->place->get(place, kind, name, offset, len, out);
	/* A piece of a pack is waited for, whatever others found. */
	return kind == OBJECT_PACK ? r : said(kept_of(objects), r);
}

static int get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	struct objects *copies = copies_of(objects);
	uint64_t bytes;
	int r;

	/* size() has looked at it. */
	if (is_named_by_content(kind) && copies->place->get(copies, kind, name, offset, len, out) == 0)
		return 0;
	r = get_of_place(objects, kind, name, offset, len, out);
	if (r == -EHOSTUNREACH && is_copied(kind) && copies->place->size(copies, kind, name, &bytes) == 0)
		return copies->place->get(copies, kind, name, offset, len, out);
	if (r == 0 && offset == 0 && (kind == OBJECT_CONFIG || kind == OBJECT_HEAD))
		keep_copy(objects, kind, name, out, len);
	return r;
}

struct row {
	char name[BLOB_ID_TEXT];
	uint64_t size;
};

struct rows {
	ARRAY_FIELDS(struct row);
};

static int add_row(void *arg, const char *name, uint64_t bytes)
{
	struct row row = {.size = bytes};

	(void)snprintf(row.name, sizeof(row.name), "%s", name);
	array_add((struct rows *)arg, row);
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

/* Of what the place does not have any more. */
static void remove_copies(struct objects *objects, enum object_kind kind, struct rows *there)
{
	struct objects *copies = copies_of(objects);
	struct rows here = {0};

	if (!begin_keeping(kept_of(objects)))
		return;
	if (there->count > 0)
		qsort(there->items, there->count, sizeof(*there->items), compare_rows);
	if (copies->place->list(copies, kind, add_row, &here) == 0)
		for (size_t i = 0; i < here.count; i++)
			if (there->count == 0 || !bsearch(&here.items[i], there->items, there->count, sizeof(*there->items), compare_rows))
				(void)!copies->place->remove(copies, kind, here.items[i].name);
	end_keeping(kept_of(objects));
	array_clear(&here);
}

/* Copies do not say which head is the newest, where etcd does. */
static struct objects *place_that_decides(struct objects_kept *kept, enum object_kind kind)
{
	struct objects *place = kind == OBJECT_HEAD ? try_place(kept) : NULL;

	return place && objects_etcd_decides(place) ? place : NULL;
}

static int list(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg)
{
	struct objects *deciding = place_that_decides(kept_of(objects), kind), *place = deciding ? deciding : place_now(kept_of(objects));
	struct objects *copies = copies_of(objects);
	struct rows rows = {0};
	int r = place ? place->place->list(place, kind, add_row, &rows) : -EHOSTUNREACH;

	if (place && !deciding)
		r = said(kept_of(objects), r);
	if (r == -EHOSTUNREACH && is_copied(kind) && !deciding) {
		array_reset(&rows);
		r = copies->place->list(copies, kind, add_row, &rows);
	} else if (r == 0 && is_copied(kind)) {
		remove_copies(objects, kind, &rows);
	} else if (r == -EHOSTUNREACH && kind == OBJECT_LOCK) {
		r = -EROFS;
	}
	for (size_t i = 0; i < rows.count && r == 0; i++)
		r = each(arg, rows.items[i].name, rows.items[i].size);
	array_clear(&rows);
	return r;
}

static int put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	struct objects *place = place_now(kept_of(objects));
	int r = place ? said(kept_of(objects), place->place->put(place, kind, name, data, len)) : -EHOSTUNREACH;

	return r == -EHOSTUNREACH && kind == OBJECT_LOCK ? -EROFS : r;
}

static int remove_object(struct objects *objects, enum object_kind kind, const char *name)
{
	struct objects *place = place_now(kept_of(objects));

	return place ? said(kept_of(objects), place->place->remove(place, kind, name)) : -EHOSTUNREACH;
}

static int create(struct objects *objects)
{
	(void)objects;
	return -EROFS;
}

static uint64_t sent_again(struct objects *objects)
{
	struct objects *place = atomic_load(&kept_of(objects)->place);

	return place ? objects_sent_again(place) : 0;
}

static bool explain(struct objects *objects, int code, struct error *err)
{
	struct objects *place = atomic_load(&kept_of(objects)->place);

	return place && place->place->explain && place->place->explain(place, code, err);
}

static void close_kept(struct objects *objects)
{
	struct objects_kept *kept = kept_of(objects);

	objects_close(atomic_load(&kept->place));
	objects_close(kept->options.copies);
	pthread_mutex_destroy(&kept->opening);
	pthread_mutex_destroy(&kept->keeping);
	free(kept);
}

static const struct objects_place with_copies = {
	.create = create, .put = put, .get = get, .size = size, .list = list, .remove = remove_object, .explain = explain,
	.sent_again = sent_again, .close = close_kept,
};

struct objects *objects_kept_open(const struct objects_kept_options *options)
{
	struct objects_kept *kept = xcalloc(1, sizeof(*kept));

	kept->objects.place = &with_copies;
	kept->options = *options;
	atomic_init(&kept->place, options->place);
	kept->next_try = clock_ms() + (options->place ? 0 : TRY_MS);
	pthread_mutex_init(&kept->opening, NULL);
	pthread_mutex_init(&kept->keeping, NULL);
	return &kept->objects;
}

void objects_kept_stop(struct objects *objects)
{
	if (!objects)
		return;
	pthread_mutex_lock(&kept_of(objects)->keeping);
	kept_of(objects)->stopped = true;
	pthread_mutex_unlock(&kept_of(objects)->keeping);
}

int objects_kept_folders(int dir)
{
	for (unsigned kind = 0; kind < OBJECT_KINDS; kind++)
		if (kind != OBJECT_PACK && kind != OBJECT_HOLD && *object_folder(kind) && mkdirat(dir, object_folder(kind), 0700) < 0 && errno != EEXIST)
			return -errno;
	return 0;
}
