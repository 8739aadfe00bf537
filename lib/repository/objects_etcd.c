#include "lib/repository/objects_etcd_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct objects_etcd *etcd_of(struct objects *objects)
{
	return (struct objects_etcd *)objects;
}

static bool is_head(enum object_kind kind, const char *name)
{
	return kind == OBJECT_HEAD && strlen(name) == NAME_LEN && strspn(name + DATASET_LEN, "0") < NAME_LEN - DATASET_LEN;
}

/* Whose number nobody knows. */
static bool is_damaged(const char *name)
{
	return strcmp(name + DATASET_LEN, OBJECTS_ETCD_DAMAGED) == 0;
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

	*ret_known = objects_etcd_known(own, name);
	if (*ret_known)
		return 1;
	r = is_damaged(name) ? -ENOENT : look_for_copy(own, name);
	if (r != -ENOENT)
		return r;
	r = find_mark(own);
	if (r == 0)
		r = own->mark.is_there ? objects_etcd_newest(own, name, ret_known, &value) : -ENOENT;
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
	size_t of_etcd; /* those come first, in the order of their names */
};

static void add_row(struct rows *rows, const char *name, uint64_t bytes)
{
	struct row row = {.size = bytes};

	(void)snprintf(row.name, sizeof(row.name), "%s", name);
	array_add(&rows->all, row);
}

/* Of a damaged key it is known of which dataset it is; what is no dataset's nobody asks for. */
static int add_newest(void *arg, const char *key, const struct buf *value)
{
	struct rows *rows = arg;
	const char *dataset = strrchr(key, '/') + 1;
	AUTO_FREE char *damaged = xasprintf("%s" OBJECTS_ETCD_DAMAGED, dataset);
	struct known *known = objects_etcd_remember(rows->own, value);

	if (strlen(dataset) != DATASET_LEN)
		return 0;
	if (!known || strncmp(known->name, dataset, DATASET_LEN) != 0) {
		add_row(rows, damaged, 0);
		return 0;
	}
	known->is_listed = true;
	add_row(rows, known->name, known->sealed.len);
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

static int add_copy(void *arg, const char *name, uint64_t bytes)
{
	struct rows *rows = arg;
	struct row row = {0};

	(void)snprintf(row.name, sizeof(row.name), "%s", name);
	if (rows->of_etcd > 0 && bsearch(&row, rows->all.items, rows->of_etcd, sizeof(row), compare_rows))
		return 0;
	if (is_head(OBJECT_HEAD, name) && !is_damaged(name))
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
		prefix = objects_etcd_key(own, "");
		r = etcd_list(own->etcd, prefix, add_newest, rows, &own->why);
	}
	end(own);
	rows->of_etcd = rows->all.count;
	if (rows->of_etcd > 0)
		qsort(rows->all.items, rows->of_etcd, sizeof(*rows->all.items), compare_rows);
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

static int put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	struct objects_etcd *own = etcd_of(objects);
	int r;

	if (!is_head(kind, name))
		return own->place->place->put(own->place, kind, name, data, len);
	begin(own);
	r = objects_etcd_put_head(own, name, data, len);
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
	key = objects_etcd_key(own, "");
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

int objects_etcd_newest_name(struct objects *objects, const char *name, char *ret_name)
{
	struct objects_etcd *own = etcd_of(objects);
	const struct known *newest;
	AUTO_BUF value = BUF_INIT;
	int r;

	begin(own);
	r = find_mark(own);
	if (r == 0)
		r = own->mark.is_there ? objects_etcd_newest(own, name, &newest, &value) : -ENOENT;
	if (r == 0)
		(void)snprintf(ret_name, BLOB_ID_TEXT, "%s", newest->name);
	end(own);
	return r;
}

bool objects_etcd_decides(struct objects *objects)
{
	return objects_etcd_place(objects) && !etcd_of(objects)->stale_ok;
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
	objects_etcd_forget(own);
	buf_clear(&own->writer.term);
	pthread_mutex_destroy(&own->lock);
	free(own);
}

static bool shows_beginnings(struct objects *objects)
{
	struct objects *place = etcd_of(objects)->place;

	return place->place->shows_beginnings && place->place->shows_beginnings(place);
}

static bool hides_missing(struct objects *objects)
{
	return objects_hides_missing(etcd_of(objects)->place);
}

static int check_pack_folders(struct objects *objects, char ret_folder[OBJECT_FOLDER_TEXT])
{
	return objects_check_pack_folders(etcd_of(objects)->place, ret_folder);
}

static const struct objects_place with_etcd = {
	.create = create, .put = put, .put_new = put_new, .keeps_apart = keeps_apart, .explain = explain, .clock = tell_time, .get = get, .size = size,
	.list = list, .remove = remove_object, .clean = clean, .sent_again = sent_again, .shows_beginnings = shows_beginnings,
	.hides_missing = hides_missing, .check_pack_folders = check_pack_folders, .close = close_etcd,
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
