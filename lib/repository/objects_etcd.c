#include "lib/repository/objects_etcd.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/array.h"
#include "lib/base/fault.h"
#include "lib/repository/etcd_mark.h"

#define DATASET_LEN 48 /* of a head's name; what follows is its number */
#define NAME_LEN (BLOB_ID_TEXT - 1)

struct known {
	char name[BLOB_ID_TEXT];
	struct buf sealed;
};

struct objects_etcd {
	struct objects objects; /* first */
	struct objects *place;
	bool stale_ok;
	pthread_mutex_t lock; /* one question to etcd at a time; guards what follows */
	struct etcd *etcd;
	struct etcd_mark mark;
	ARRAY(struct known) known; /* heads that etcd has told of: what a name stands for never changes */
	struct error why; /* of the last failure */
};

static struct objects_etcd *etcd_of(struct objects *objects)
{
	return (struct objects_etcd *)objects;
}

static bool is_head(enum object_kind kind, const char *name)
{
	return kind == OBJECT_HEAD && strlen(name) == NAME_LEN && strspn(name + DATASET_LEN, "0") < NAME_LEN - DATASET_LEN;
}

/* Of a head's name; "" gives what the keys of all heads begin with. */
static char *key_of(const struct objects_etcd *own, const char *name)
{
	return xasprintf("corpusfs/%s/heads/%.*s", own->mark.repository, DATASET_LEN, name);
}

static void begin(struct objects_etcd *own)
{
	pthread_mutex_lock(&own->lock);
	own->why = (struct error){0};
}

static void end(struct objects_etcd *own)
{
	pthread_mutex_unlock(&own->lock);
}

static int find_mark(struct objects_etcd *own)
{
	return etcd_mark_find(&own->mark, own->place, own->etcd, &own->why);
}

/* --- heads --- */

static const struct known *find_known(const struct objects_etcd *own, const char *name)
{
	for (size_t i = 0; i < own->known.count; i++)
		if (strcmp(own->known.items[i].name, name) == 0)
			return &own->known.items[i];
	return NULL;
}

/* Takes apart what a key has. NULL: it is damaged. */
static const struct known *remember(struct objects_etcd *own, const struct buf *value)
{
	const char *text = (const char *)value->data;
	struct known known = {0};
	struct blob_id id;

	if (value->len <= NAME_LEN || text[NAME_LEN] != '\n' || blob_id_parse_text(text, NAME_LEN, &id) < 0)
		return NULL;
	(void)snprintf(known.name, sizeof(known.name), "%.*s", NAME_LEN, text);
	if (!find_known(own, known.name)) {
		buf_add(&known.sealed, value->data + NAME_LEN + 1, value->len - NAME_LEN - 1);
		array_add(&own->known, known);
	}
	return find_known(own, known.name);
}

static int is_damaged(struct objects_etcd *own, const char *key)
{
	return error_set(&own->why, -EBADMSG, "the key %s in etcd is damaged", key);
}

/* The newest head of the dataset of a head's name, and what its key has. -ENOENT: none is there. */
static int ask_newest(struct objects_etcd *own, const char *name, const struct known **ret_newest, struct buf *ret_value)
{
	AUTO_FREE char *key = key_of(own, name);
	int r = etcd_get(own->etcd, key, ret_value, &own->why);

	if (r < 0)
		return r;
	*ret_newest = remember(own, ret_value);
	return *ret_newest && strncmp((*ret_newest)->name, name, DATASET_LEN) == 0 ? 0 : is_damaged(own, key);
}

/* Whether the place has it. -ENOENT */
static int look_for_copy(struct objects_etcd *own, const char *name)
{
	uint64_t size;
	int r = own->place->place->size(own->place, OBJECT_HEAD, name, &size);

	return r < 0 && r != -ENOENT ? error_set(&own->why, r, "a head cannot be read: %s", error_text(r)) : r;
}

/* 0: the place has it; 1: it is known. */
static int find_head(struct objects_etcd *own, const char *name, const struct known **ret_known)
{
	AUTO_BUF value = BUF_INIT;
	int r;

	*ret_known = find_known(own, name);
	if (*ret_known)
		return 1;
	r = look_for_copy(own, name);
	if (r != -ENOENT)
		return r;
	r = find_mark(own);
	if (r == 0)
		r = own->mark.is_there ? ask_newest(own, name, ret_known, &value) : -ENOENT;
	if (r < 0)
		return r;
	r = strcmp((*ret_known)->name, name);
	/* Between the two questions another one may have come after it (E2). */
	return r == 0 ? 1 : r > 0 ? look_for_copy(own, name) : -ENOENT;
}

/* The same, while the lock is taken. That there is none is no failure: who looks what became of a head that he could not put still gets to know why. */
static int begin_head(struct objects_etcd *own, const char *name, const struct known **ret_known)
{
	struct error was;
	int r;

	pthread_mutex_lock(&own->lock);
	was = own->why;
	r = find_head(own, name, ret_known);
	if (r == -ENOENT)
		own->why = was;
	return r;
}

static int size(struct objects *objects, enum object_kind kind, const char *name, uint64_t *ret_size)
{
	struct objects_etcd *own = etcd_of(objects);
	const struct known *known;
	int r = 0;

	if (is_head(kind, name)) {
		r = begin_head(own, name, &known);
		if (r == 1)
			*ret_size = known->sealed.len;
		end(own);
	}
	return r == 0 ? own->place->place->size(own->place, kind, name, ret_size) : MIN(r, 0);
}

static int get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	struct objects_etcd *own = etcd_of(objects);
	const struct known *known;
	int r = 0;

	if (is_head(kind, name)) {
		r = begin_head(own, name, &known);
		if (r == 1 && (offset > known->sealed.len || len > known->sealed.len - offset))
			r = -EIO;
		if (r == 1 && len > 0)
			memcpy(out, known->sealed.data + offset, len);
		end(own);
	}
	return r == 0 ? own->place->place->get(own->place, kind, name, offset, len, out) : MIN(r, 0);
}

struct row {
	char name[BLOB_ID_TEXT];
	uint64_t size;
};

struct rows {
	struct objects_etcd *own;
	ARRAY(struct row) all;
	size_t of_etcd; /* those come first */
};

static void add_row(struct rows *rows, const char *name, uint64_t bytes)
{
	struct row row = {.size = bytes};

	(void)snprintf(row.name, sizeof(row.name), "%s", name);
	array_add(&rows->all, row);
}

static int add_newest(void *arg, const char *key, const struct buf *value)
{
	struct rows *rows = arg;
	const struct known *known = remember(rows->own, value);

	if (!known || strncmp(known->name, strrchr(key, '/') + 1, DATASET_LEN) != 0)
		return is_damaged(rows->own, key);
	add_row(rows, known->name, known->sealed.len);
	return 0;
}

static int add_copy(void *arg, const char *name, uint64_t bytes)
{
	struct rows *rows = arg;

	for (size_t i = 0; i < rows->of_etcd; i++)
		if (strcmp(rows->all.items[i].name, name) == 0)
			return 0;
	if (strcmp(name, ETCD_MARK_NAME) != 0)
		add_row(rows, name, bytes);
	return 0;
}

static int list_newest(struct rows *rows)
{
	struct objects_etcd *own = rows->own;
	AUTO_FREE char *prefix = NULL;
	int r;

	begin(own);
	r = find_mark(own);
	if (r == 0 && own->mark.is_there) {
		prefix = key_of(own, "");
		r = etcd_list(own->etcd, prefix, add_newest, rows, &own->why);
	}
	end(own);
	rows->of_etcd = rows->all.count;
	return r == -EREMOTEIO && own->stale_ok ? 0 : r;
}

/* Etcd is asked first: what was the newest then has all its forerunners among the copies (E2), and whatever else is there was published since. */
static int list(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg)
{
	struct objects_etcd *own = etcd_of(objects);
	struct rows rows = {.own = own};
	int r = kind == OBJECT_HEAD ? list_newest(&rows) : 0;

	if (kind != OBJECT_HEAD)
		return own->place->place->list(own->place, kind, each, arg);
	if (r == 0)
		r = own->place->place->list(own->place, kind, add_copy, &rows);
	for (size_t i = 0; i < rows.all.count && r == 0; i++)
		r = each(arg, rows.all.items[i].name, rows.all.items[i].size);
	array_clear(&rows.all);
	return r;
}

/* --- putting --- */

static bool is_same(const struct buf *sealed, const void *data, size_t len)
{
	return bytes_compare(sealed->data, sealed->len, data, len) == 0;
}

/* Whether the place has these very bytes under the name: 1, 0. */
static int has_copy(struct objects_etcd *own, const char *name, const void *data, size_t len)
{
	AUTO_BUF there = BUF_INIT;
	int r = objects_get_whole(own->place, OBJECT_HEAD, name, len, &there);

	if (r == -ENOENT || r == -EFBIG)
		return 0;
	return r < 0 ? error_set(&own->why, r, "a head cannot be read: %s", error_text(r)) : is_same(&there, data, len);
}

/* What failed before anything was put. */
static int nothing_came(struct objects_etcd *own, int r)
{
	if (!objects_is_away(r) && r != -EPROTO)
		return r;
	if (own->why.code != r)
		(void)error_set(&own->why, r, "%s", error_text(r));
	own->why.code = -EREMOTEIO;
	return -EREMOTEIO;
}

static int put_copy(struct objects_etcd *own, const struct known *head)
{
	int r = own->place->place->put(own->place, OBJECT_HEAD, head->name, head->sealed.data, head->sealed.len);

	if (r == 0)
		return 0;
	if (r != -EEXIST)
		return error_set(&own->why, r, "the copy of a head cannot be written to the repository: %s", error_text(r));
	r = has_copy(own, head->name, head->sealed.data, head->sealed.len);
	if (r != 0)
		return MIN(r, 0);
	(void)error_set(&own->why, -EUCLEAN, "heads/%s is not the version that etcd knows by this name: somebody publishes there without etcd", head->name);
	error_hint(&own->why, "move that object away once nobody does");
	return -EUCLEAN;
}

/* E1, E2 */
static int put_after(struct objects_etcd *own, const char *name, const struct buf *before, const struct buf *value)
{
	const uint8_t *data = value->data + NAME_LEN + 1;
	const size_t len = value->len - NAME_LEN - 1;
	AUTO_FREE char *key = key_of(own, name);
	AUTO_BUF there = BUF_INIT;
	bool lost = false;
	int r = fault_point("head-before-transaction");

	if (r == 0)
		r = etcd_replace(own->etcd, key, before, value, &there, &lost, &own->why);
	/* It was the newest in between, and who came after it has seen to its copy. */
	if (r == -EEXIST && lost) {
		r = has_copy(own, name, data, len);
		if (r >= 0)
			return r == 1 ? 0 : -EEXIST;
	}
	if (r < 0 && lost)
		return own->why.code = -ETIMEDOUT;
	if (r < 0)
		return r == -EEXIST ? r : nothing_came(own, r);
	r = fault_point("head-before-copy");
	if (r == 0)
		(void)!put_copy(own, remember(own, value)); /* else the next one's maker does it */
	return 0;
}

static int put_head(struct objects_etcd *own, const char *name, const void *data, size_t len)
{
	AUTO_BUF before = BUF_INIT, value = BUF_INIT;
	const struct known *newest = NULL;
	int r = find_mark(own);

	if (r == 0 && !own->mark.is_there)
		r = etcd_mark_set(&own->mark, own->place, own->etcd, &own->why);
	if (r == 0) {
		r = ask_newest(own, name, &newest, &before);
		r = r == -ENOENT ? 0 : r;
	}
	if (r == 0 && newest && strcmp(newest->name, name) >= 0)
		return strcmp(newest->name, name) == 0 && is_same(&newest->sealed, data, len) ? 0 : -EEXIST;
	if (r == 0 && newest)
		r = put_copy(own, newest);
	if (r < 0)
		return nothing_came(own, r);
	buf_addf(&value, "%s\n", name);
	buf_add(&value, data, len);
	return put_after(own, name, newest ? &before : NULL, &value);
}

static int put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	struct objects_etcd *own = etcd_of(objects);
	int r;

	if (!is_head(kind, name))
		return own->place->place->put(own->place, kind, name, data, len);
	begin(own);
	r = put_head(own, name, data, len);
	end(own);
	return r;
}

static int put_new(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	const struct objects_etcd *own = etcd_of(objects);

	if (is_head(kind, name))
		return put(objects, kind, name, data, len);
	return own->place->place->put_new ? own->place->place->put_new(own->place, kind, name, data, len) : -EOPNOTSUPP;
}

static int keeps_apart(struct objects *objects)
{
	struct objects_etcd *own = etcd_of(objects);
	AUTO_FREE char *key = NULL;
	int r;

	begin(own);
	r = find_mark(own);
	key = key_of(own, "");
	if (r == 0)
		r = etcd_may_put(own->etcd, key, &own->why);
	end(own);
	return r;
}

static bool explain(struct objects *objects, int code, struct error *err)
{
	struct objects_etcd *own = etcd_of(objects);
	bool has;

	pthread_mutex_lock(&own->lock);
	has = own->why.code == code && code < 0;
	if (has)
		*err = own->why;
	pthread_mutex_unlock(&own->lock);
	return has;
}

struct objects *objects_etcd_place(struct objects *objects)
{
	return objects->place->explain == explain ? etcd_of(objects)->place : NULL;
}

int objects_etcd_look(struct objects *objects, struct etcd_state *ret_state, struct error *err)
{
	struct objects_etcd *own = etcd_of(objects);
	int r;

	pthread_mutex_lock(&own->lock);
	r = etcd_look(own->etcd, ret_state, err);
	pthread_mutex_unlock(&own->lock);
	return r;
}

/* --- all else is the place's --- */

static int create(struct objects *objects)
{
	return etcd_of(objects)->place->place->create(etcd_of(objects)->place);
}

static int tell_time(struct objects *objects, struct timespec *ret_now)
{
	struct objects *place = etcd_of(objects)->place;

	return place->place->clock ? place->place->clock(place, ret_now) : -ENODATA;
}

static int remove_object(struct objects *objects, enum object_kind kind, const char *name)
{
	return etcd_of(objects)->place->place->remove(etcd_of(objects)->place, kind, name);
}

static int clean(struct objects *objects, time_t before, bool dry_run, struct objects_left *ret_left)
{
	return objects_clean(etcd_of(objects)->place, before, dry_run, ret_left);
}

static uint64_t sent_again(struct objects *objects)
{
	return objects_sent_again(etcd_of(objects)->place);
}

static void close_etcd(struct objects *objects)
{
	struct objects_etcd *own = etcd_of(objects);

	objects_close(own->place);
	etcd_close(own->etcd);
	for (size_t i = 0; i < own->known.count; i++)
		buf_clear(&own->known.items[i].sealed);
	array_clear(&own->known);
	pthread_mutex_destroy(&own->lock);
	free(own);
}

static const struct objects_place with_etcd = {
	.create = create, .put = put, .put_new = put_new, .keeps_apart = keeps_apart, .explain = explain, .clock = tell_time, .get = get, .size = size,
	.list = list, .remove = remove_object, .clean = clean, .sent_again = sent_again, .close = close_etcd,
};

int objects_etcd_open(struct objects *place, const struct etcd_options *options, struct objects **ret_objects, struct error *err)
{
	struct objects_etcd *own = xcalloc(1, sizeof(*own));
	int r = etcd_open(options, &own->etcd, err);

	if (r < 0) {
		free(own);
		return r;
	}
	own->objects.place = &with_etcd;
	own->place = place;
	own->stale_ok = options->stale_ok;
	pthread_mutex_init(&own->lock, NULL);
	*ret_objects = &own->objects;
	return 0;
}
