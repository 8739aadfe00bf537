#include "lib/repository/objects_etcd_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/repository/seal.h"

#define TRIES 8
#define CHANCE 16

static char *key_of(const struct objects_etcd *own, const char *folder, const char *name)
{
	return xasprintf("corpusfs/%s/%s/%.*s", own->mark.repository, folder, DATASET_LEN, name);
}

/* --- what a transaction compares --- */

void objects_etcd_may_write(const struct objects_etcd *own, const char *name, struct objects_etcd_right *ret_right)
{
	ret_right->has_term = strncmp(own->writer.dataset, name, DATASET_LEN) == 0;
	ret_right->key = key_of(own, ret_right->has_term ? "terms" : "writers", name);
	ret_right->condition = (struct etcd_condition){ret_right->key, ret_right->has_term ? &own->writer.term : NULL};
}

int objects_etcd_not_writer(struct objects_etcd *own, const struct objects_etcd_right *right)
{
	if (!right->has_term) {
		(void)error_set(&own->why, -EBUSY, "another machine has become the writer of it meanwhile");
		return -EBUSY;
	}
	(void)error_set(&own->why, -EBUSY, "this machine is not the writer of it any more: its term, %llu, is over, and another one has begun",
			(unsigned long long)own->writer.number);
	error_hint(&own->why, "corpusfs remote list shows what was published since");
	return -EBUSY;
}

/* --- what there is --- */

struct taking {
	const struct objects_etcd_writer *who;
	char *terms, *writers; /* keys */
	struct buf was, value; /* of the term's key */
	bool had_term;
	struct buf note; /* of who is the writer */
	bool has_writer;
	char held[ETCD_LEASE_TEXT]; /* his lease */
	uint64_t number;
	char lease[ETCD_LEASE_TEXT];
};

/* Without the mark, nobody ever was the writer of anything. */
static int begin(struct objects_etcd *own)
{
	pthread_mutex_lock(&own->lock);
	own->why = (struct error){0};
	return etcd_mark_find(&own->mark, own->place, own->etcd, &own->why);
}

/* Once the mark was found: it says how they begin. */
static void name_keys(const struct objects_etcd *own, const char *name, struct taking *taking)
{
	taking->terms = key_of(own, "terms", name);
	taking->writers = key_of(own, "writers", name);
}

static void taking_clear(struct taking *taking)
{
	buf_clear(&taking->was);
	buf_clear(&taking->value);
	buf_clear(&taking->note);
	free(taking->terms);
	free(taking->writers);
}

static void end(struct objects_etcd *own, struct taking *taking)
{
	pthread_mutex_unlock(&own->lock);
	taking_clear(taking);
}

/* 0: it is damaged, or there is none. */
static uint64_t number_of(const struct buf *term)
{
	AUTO_FREE char *text = xasprintf("%.*s", (int)term->len, term->len ? (const char *)term->data : "");
	char *rest;
	const uint64_t number = strtoull(text, &rest, 10);

	return *rest == ' ' ? number : 0;
}

static int get(struct objects_etcd *own, const char *key, struct buf *ret_value, char *ret_lease, bool *ret_has)
{
	int r = etcd_get_leased(own->etcd, key, ret_value, ret_lease, &own->why);

	*ret_has = r == 0;
	return r == -ENOENT ? 0 : r;
}

/* -EBUSY: another one is the writer. */
static int look(struct objects_etcd *own, struct taking *taking)
{
	char none[ETCD_LEASE_TEXT];
	int r = get(own, taking->terms, &taking->was, none, &taking->had_term);

	if (r == 0)
		r = get(own, taking->writers, &taking->note, taking->held, &taking->has_writer);
	if (r == 0 && taking->has_writer && taking->who->is_own && !taking->who->is_own(taking->who->arg, &taking->note))
		r = -EBUSY;
	return r;
}

/* How long the lease lasts helps people: where etcd does not tell, they do without. */
static void tell_holder(struct objects_etcd *own, const struct taking *taking, struct objects_etcd_holder *ret_holder)
{
	buf_add(&ret_holder->note, taking->note.data, taking->note.len);
	ret_holder->term = taking->had_term ? number_of(&taking->was) : 0;
	if (!taking->held[0] || etcd_lease_left(own->etcd, taking->held, &ret_holder->left_s, NULL) < 0)
		ret_holder->left_s = -1;
}

/* --- changing it --- */

/* "NUMBER CHANCE": nobody else ever puts the same. */
static int next_term(struct objects_etcd *own, struct taking *taking)
{
	uint8_t chance[CHANCE];

	taking->number = taking->had_term ? number_of(&taking->was) : 0;
	if (taking->had_term && taking->number == 0) {
		(void)error_set(&own->why, -EBADMSG, "the key %s in etcd is damaged, which says how often a dataset got a writer", taking->terms);
		error_hint(&own->why, "nobody may publish it until that is removed");
		return -EBADMSG;
	}
	taking->number++;
	seal_random(chance, sizeof(chance));
	buf_reset(&taking->value);
	buf_addf(&taking->value, "%llu ", (unsigned long long)taking->number);
	for (size_t i = 0; i < sizeof(chance); i++)
		buf_addf(&taking->value, "%02x", chance[i]);
	return 0;
}

/* The next term begins, with this writer or without any (NULL). -EEXIST: something has changed since it was looked. */
static int change_once(struct objects_etcd *own, struct taking *taking, const struct buf *note)
{
	const struct etcd_condition conditions[] = {{taking->terms, taking->had_term ? &taking->was : NULL},
	                                            {taking->writers, taking->has_writer ? &taking->note : NULL}};
	const struct etcd_put puts[] = {{taking->terms, &taking->value, NULL}, {taking->writers, note, taking->lease}};
	char none[ETCD_LEASE_TEXT];
	AUTO_BUF there = BUF_INIT;
	bool has, lost = false;
	int r = next_term(own, taking);

	if (r == 0)
		r = etcd_put_if(own->etcd, &(struct etcd_puts){conditions, 2, puts, 2}, &lost, &own->why);
	/* An earlier try may have been carried out, whose answer was lost. */
	if (r == -EEXIST && lost && get(own, taking->terms, &there, none, &has) == 0 && has &&
	    bytes_compare(there.data, there.len, taking->value.data, taking->value.len) == 0)
		r = 0;
	return r;
}

static int take(struct objects_etcd *own, struct taking *taking)
{
	int r = look(own, taking);

	if (r == 0)
		r = etcd_lease(own->etcd, taking->who->seconds, taking->lease, &own->why);
	for (unsigned tries = 0; r == 0 && tries < TRIES; tries++) {
		r = change_once(own, taking, taking->who->note);
		if (r != -EEXIST)
			return r;
		r = look(own, taking);
	}
	return r == 0 ? error_set(&own->why, -EBUSY, "others become its writer all the time") : r;
}

static void keep_term(struct objects_etcd *own, const char *name, struct taking *taking)
{
	(void)snprintf(own->writer.dataset, sizeof(own->writer.dataset), "%.*s", DATASET_LEN, name);
	own->writer.number = taking->number;
	buf_clear(&own->writer.term);
	own->writer.term = taking->value;
	taking->value = BUF_INIT;
	memcpy(own->writer.lease, taking->lease, sizeof(own->writer.lease));
}

int objects_etcd_become_writer(struct objects *objects, const char *name, const struct objects_etcd_writer *who, uint64_t *ret_term,
			       struct objects_etcd_holder *ret_other)
{
	struct objects_etcd *own = (struct objects_etcd *)objects;
	struct taking taking = {.who = who};
	int r = begin(own);

	if (r == 0 && !own->mark.is_there && who->seconds > 0)
		r = etcd_mark_set(&own->mark, own->place, own->etcd, &own->why);
	name_keys(own, name, &taking);
	if (r == 0 && own->mark.is_there)
		r = who->seconds > 0 ? take(own, &taking) : look(own, &taking);
	if (r == 0 && who->seconds > 0) {
		*ret_term = taking.number;
		keep_term(own, name, &taking);
	}
	if ((r == -EBUSY && own->why.code != r) || (r == 0 && who->seconds == 0 && taking.has_writer))
		tell_holder(own, &taking, ret_other);
	end(own, &taking);
	return r;
}

/* Whether it is the one in which this puts heads. -EBUSY: it is over. */
static int check_term(struct objects_etcd *own)
{
	struct objects_etcd_right right;
	char none[ETCD_LEASE_TEXT];
	AUTO_BUF there = BUF_INIT;
	bool has;
	int r;

	objects_etcd_may_write(own, own->writer.dataset, &right);
	r = get(own, right.key, &there, none, &has);
	if (r == 0 && (!has || bytes_compare(there.data, there.len, own->writer.term.data, own->writer.term.len) != 0))
		r = objects_etcd_not_writer(own, &right);
	free(right.key);
	return r;
}

int objects_etcd_stay_writer(struct objects *objects)
{
	struct objects_etcd *own = (struct objects_etcd *)objects;
	int r;

	pthread_mutex_lock(&own->lock);
	own->why = (struct error){0};
	r = own->writer.dataset[0] ? etcd_lease_renew(own->etcd, own->writer.lease, &own->why) : -ENOENT;
	if (r == 0)
		r = check_term(own);
	pthread_mutex_unlock(&own->lock);
	return r;
}

void objects_etcd_get_term(struct objects *objects, struct objects_etcd_term *ret_term)
{
	struct objects_etcd *own = (struct objects_etcd *)objects;

	pthread_mutex_lock(&own->lock);
	ret_term->number = own->writer.dataset[0] ? own->writer.number : 0;
	buf_reset(&ret_term->value);
	buf_add(&ret_term->value, own->writer.term.data, own->writer.term.len);
	pthread_mutex_unlock(&own->lock);
}

int objects_etcd_join_term(struct objects *objects, const char *name, const struct objects_etcd_term *term)
{
	struct objects_etcd *own = (struct objects_etcd *)objects;
	int r = begin(own);

	(void)snprintf(own->writer.dataset, sizeof(own->writer.dataset), "%.*s", DATASET_LEN, name);
	own->writer.number = term->number;
	buf_reset(&own->writer.term);
	buf_add(&own->writer.term, term->value.data, term->value.len);
	if (r == 0)
		r = check_term(own);
	pthread_mutex_unlock(&own->lock);
	return r;
}

void objects_etcd_set_patience(struct objects *objects, uint64_t ms)
{
	struct objects_etcd *own = (struct objects_etcd *)objects;

	pthread_mutex_lock(&own->lock);
	etcd_set_patience(own->etcd, ms);
	pthread_mutex_unlock(&own->lock);
}

/* 1: nobody is the writer any more; 0: nobody was. */
static int end_writer(struct objects_etcd *own, struct taking *taking)
{
	int r = look(own, taking);

	for (unsigned tries = 0; r == 0 && taking->has_writer && tries < TRIES; tries++) {
		r = change_once(own, taking, NULL);
		if (r != -EEXIST)
			return r == 0 ? 1 : r;
		r = look(own, taking);
	}
	return r == 0 && taking->has_writer ? error_set(&own->why, -EBUSY, "others become its writer all the time") : r;
}

int objects_etcd_end_writer(struct objects *objects, const char *name, const struct objects_etcd_writer *who, struct objects_etcd_holder *ret_other)
{
	struct objects_etcd *own = (struct objects_etcd *)objects;
	struct taking taking = {.who = who};
	int r = begin(own);

	name_keys(own, name, &taking);
	if (r == 0 && own->mark.is_there)
		r = end_writer(own, &taking);
	if (r == -EBUSY && own->why.code != r)
		tell_holder(own, &taking, ret_other);
	if (r == 1 && strncmp(own->writer.dataset, name, DATASET_LEN) == 0)
		own->writer.dataset[0] = '\0';
	end(own, &taking);
	return r;
}

/* --- all of them --- */

struct writer_keys {
	ARRAY(char *) all;
};

static int add_key(void *arg, const char *key, const struct buf *value)
{
	struct writer_keys *keys = arg;

	(void)value;
	array_add(&keys->all, xstrdup(key));
	return 0;
}

/* One whose lease ends just then is none any more. */
static int give_writer(struct objects_etcd *own, const char *name, objects_etcd_each_writer_fn each, void *arg)
{
	const struct objects_etcd_writer anybody = {0};
	struct taking taking = {.who = &anybody};
	struct objects_etcd_holder holder = {0};
	int r;

	name_keys(own, name, &taking);
	r = look(own, &taking);
	if (r == 0 && taking.has_writer) {
		tell_holder(own, &taking, &holder);
		r = each(arg, name, &holder);
	}
	buf_clear(&holder.note);
	taking_clear(&taking);
	return r;
}

int objects_etcd_list_writers(struct objects *objects, objects_etcd_each_writer_fn each, void *arg)
{
	struct objects_etcd *own = (struct objects_etcd *)objects;
	struct writer_keys keys = {0};
	AUTO_FREE char *prefix = NULL;
	int r = begin(own);

	prefix = key_of(own, "writers", "");
	if (r == 0 && own->mark.is_there)
		r = etcd_list(own->etcd, prefix, add_key, &keys, &own->why);
	for (size_t i = 0; i < keys.all.count; i++) {
		if (r == 0)
			r = give_writer(own, strrchr(keys.all.items[i], '/') + 1, each, arg);
		free(keys.all.items[i]);
	}
	array_clear(&keys.all);
	pthread_mutex_unlock(&own->lock);
	return r;
}
