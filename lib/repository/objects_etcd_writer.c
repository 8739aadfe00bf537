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

/* --- becoming the writer --- */

struct taking {
	const struct objects_etcd_writer *who;
	char *terms, *writers; /* keys */
	struct buf was, value; /* of the term's key */
	bool had_term;
	struct buf note; /* of who is the writer */
	bool has_writer;
	uint64_t number;
	char lease[ETCD_LEASE_TEXT];
};

static int get(struct objects_etcd *own, const char *key, struct buf *ret_value, bool *ret_has)
{
	int r = etcd_get(own->etcd, key, ret_value, &own->why);

	*ret_has = r == 0;
	return r == -ENOENT ? 0 : r;
}

/* "NUMBER CHANCE": nobody else ever puts the same. */
static int next_term(struct objects_etcd *own, struct taking *taking)
{
	AUTO_FREE char *was = xasprintf("%.*s", (int)taking->was.len, taking->was.len ? (const char *)taking->was.data : "");
	uint8_t chance[CHANCE];
	char *end;

	taking->number = taking->had_term ? strtoull(was, &end, 10) : 0;
	if (taking->had_term && (taking->number == 0 || *end != ' ')) {
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

/* -EBUSY: another one is the writer. */
static int look(struct objects_etcd *own, struct taking *taking)
{
	int r = get(own, taking->terms, &taking->was, &taking->had_term);

	if (r == 0)
		r = get(own, taking->writers, &taking->note, &taking->has_writer);
	if (r == 0 && taking->has_writer && !taking->who->is_own(taking->who->arg, &taking->note))
		r = -EBUSY;
	return r;
}

/* -EEXIST: something has changed since it was looked. */
static int take_once(struct objects_etcd *own, struct taking *taking)
{
	const struct etcd_condition conditions[] = {{taking->terms, taking->had_term ? &taking->was : NULL},
	                                            {taking->writers, taking->has_writer ? &taking->note : NULL}};
	const struct etcd_put puts[] = {{taking->terms, &taking->value, NULL}, {taking->writers, taking->who->note, taking->lease}};
	AUTO_BUF there = BUF_INIT;
	bool has, lost = false;
	int r = next_term(own, taking);

	if (r == 0)
		r = etcd_put_if(own->etcd, &(struct etcd_puts){conditions, 2, puts, 2}, &lost, &own->why);
	/* An earlier try may have been carried out, whose answer was lost. */
	if (r == -EEXIST && lost && get(own, taking->terms, &there, &has) == 0 && has &&
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
		r = take_once(own, taking);
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

int objects_etcd_become_writer(struct objects *objects, const char *name, const struct objects_etcd_writer *who, uint64_t *ret_term, struct buf *ret_other)
{
	struct objects_etcd *own = (struct objects_etcd *)objects;
	struct taking taking = {.who = who};
	int r;

	pthread_mutex_lock(&own->lock);
	own->why = (struct error){0};
	r = etcd_mark_find(&own->mark, own->place, own->etcd, &own->why);
	if (r == 0 && !own->mark.is_there && who->seconds > 0)
		r = etcd_mark_set(&own->mark, own->place, own->etcd, &own->why);
	taking.terms = key_of(own, "terms", name);
	taking.writers = key_of(own, "writers", name);
	if (r == 0 && own->mark.is_there)
		r = who->seconds > 0 ? take(own, &taking) : look(own, &taking);
	if (r == 0 && who->seconds > 0) {
		*ret_term = taking.number;
		keep_term(own, name, &taking);
	}
	if ((r == -EBUSY && own->why.code != r) || (r == 0 && who->seconds == 0 && taking.has_writer))
		buf_add(ret_other, taking.note.data, taking.note.len);
	pthread_mutex_unlock(&own->lock);
	buf_clear(&taking.was);
	buf_clear(&taking.value);
	buf_clear(&taking.note);
	free(taking.terms);
	free(taking.writers);
	return r;
}

int objects_etcd_stay_writer(struct objects *objects)
{
	struct objects_etcd *own = (struct objects_etcd *)objects;
	int r;

	pthread_mutex_lock(&own->lock);
	r = own->writer.dataset[0] ? etcd_lease_renew(own->etcd, own->writer.lease, NULL) : -ENOENT;
	pthread_mutex_unlock(&own->lock);
	return r;
}
