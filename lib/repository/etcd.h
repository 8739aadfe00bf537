/*
 * A client of etcd (3.4 or later), through its gateway for JSON: keys on which several machines agree.
 *
 *   etcd_open -> etcd_get, etcd_list, etcd_replace ... -> etcd_close
 *
 * Members are asked in turn, from one by chance on, then from the one that answered last, until one answers or the patience is over, which is shorter
 * as long as none ever has; while a new leader is found, which takes a second or two, none does. So a question may have been carried out though its
 * answer was lost, and is asked again: all of them may be. Of a replacement that was lost it is found out by looking whether it was done.
 *
 * Reads see all that was acknowledged before they began (they are linearizable), except with stale_ok, where a single member answers what it knows.
 *
 * Errors, each with a text: -EINVAL: no names of members; -EACCES: no such user, a wrong password, or it may not do that; -EREMOTEIO: no member
 * answers, or what answers is no etcd.
 * Threads: one at a time.
 */
#ifndef CORPUSFS_REPOSITORY_ETCD_H
#define CORPUSFS_REPOSITORY_ETCD_H

#include <stdatomic.h>
#include <stdbool.h>

#include "lib/base/buf.h"
#include "lib/base/error.h"

#define ETCD_PATIENCE_MS 15000

struct etcd;

struct etcd_options {
	const char *members;         /* "HOST[:PORT],...", each also behind http:// or https:// */
	const char *user, *password; /* NULL: none */
	const char *certificates;    /* of authorities, as PEM text; NULL: the system's */
	const char *client;          /* certificate and key of who asks, as PEM text; NULL: none. With one of both, members are asked with TLS */
	uint64_t patience_ms;        /* 0: ETCD_PATIENCE_MS */
	bool stale_ok;
	_Atomic uint64_t *net_bytes; /* http.h */
};

WARN_UNUSED int etcd_open(const struct etcd_options *options, struct etcd **ret_etcd, struct error *err);
void etcd_close(struct etcd *etcd); /* NULL is fine */
void etcd_set_patience(struct etcd *etcd, uint64_t ms); /* another one from then on */

/* -ENOENT: there is no such key, also with stale_ok. */
WARN_UNUSED int etcd_get(struct etcd *etcd, const char *key, struct buf *ret_value, struct error *err);

/* The same, and which lease the key has; "": none. ret_lease has ETCD_LEASE_TEXT bytes. */
#define ETCD_LEASE_TEXT 24
WARN_UNUSED int etcd_get_leased(struct etcd *etcd, const char *key, struct buf *ret_value, char *ret_lease, struct error *err);

/* All keys that begin so, in order. What `each` returns, if not 0, ends it. */
typedef int (*etcd_each_fn)(void *arg, const char *key, const struct buf *value);
WARN_UNUSED int etcd_list(struct etcd *etcd, const char *prefix, etcd_each_fn each, void *arg, struct error *err);

/* What must be so, of a key: its value; NULL: there is no such key. */
struct etcd_condition {
	const char *key;
	const struct buf *is;
};

/*
 * Puts a value, if the key has the value `was` (NULL: if there is none), and `also` is so (NULL: whatever else is), in one transaction. Nobody else may
 * ever put the same value: so it is told whose it is. -EEXIST: there is another value, which is in ret_there (empty: none), and this one will not come
 * any more. -EBUSY: `also` is not so. ret_lost: an answer was lost, so that after a failure it may come, if `also` may be so again, and after -EEXIST may
 * have been there in between.
 */
struct etcd_replacement {
	const char *key;
	const struct buf *was, *value;
	const struct etcd_condition *also;
};
WARN_UNUSED int etcd_replace(struct etcd *etcd, const struct etcd_replacement *what, struct buf *ret_there, bool *ret_lost, struct error *err);

/*
 * Puts several values, or removes keys, in one transaction, those with a lease until that ends. -EEXIST: a condition is not so; with ret_lost, they may be
 * there all the same.
 */
struct etcd_put {
	const char *key;
	const struct buf *value; /* NULL: the key is removed */
	const char *lease; /* NULL: for good */
};
struct etcd_puts {
	const struct etcd_condition *conditions;
	size_t condition_count;
	const struct etcd_put *puts;
	size_t count;
};
WARN_UNUSED int etcd_put_if(struct etcd *etcd, const struct etcd_puts *what, bool *ret_lost, struct error *err);
WARN_UNUSED int etcd_lease(struct etcd *etcd, unsigned seconds, char ret_lease[ETCD_LEASE_TEXT], struct error *err);
WARN_UNUSED int etcd_lease_renew(struct etcd *etcd, const char *lease, struct error *err); /* -ENOENT: it has ended */
WARN_UNUSED int etcd_lease_left(struct etcd *etcd, const char *lease, int64_t *ret_seconds, struct error *err); /* the same */

/* Whether this user may put the key. Nothing is put. -EACCES */
WARN_UNUSED int etcd_may_put(struct etcd *etcd, const char *key, struct error *err);

struct etcd_state {
	unsigned members, answering;
	double latency_ms; /* of the fastest */
};
/* Asks each member, once and for a short time. Fails only if none answers. */
WARN_UNUSED int etcd_look(struct etcd *etcd, struct etcd_state *ret_state, struct error *err);

/* How long it pauses when all members were asked in vain for so many rounds: drawn at random, less than a second. */
uint64_t etcd_pause_ms(unsigned rounds);

#endif
