/*
 * A mark in a repository, which says that heads of published datasets are in etcd, and in which one. It is an object among the heads, of a name that
 * no head has: "REPOSITORY/MADE". REPOSITORY is what keys in etcd call the repository: digits of the SHA-256 of its config as it was, so that all who
 * make the mark at once call it the same. MADE are digits at random that stand in etcd, too, under corpusfs/REPOSITORY/made.
 *
 * Who does not ask etcd sees the mark, and does nothing with heads. Who asks another etcd, or one that has lost what it knew, is told.
 */
#ifndef CORPUSFS_REPOSITORY_ETCD_MARK_H
#define CORPUSFS_REPOSITORY_ETCD_MARK_H

#include "lib/repository/blob_id.h"
#include "lib/repository/etcd.h"
#include "lib/repository/objects.h"

/* "corpetcd", and the number 0 */
#define ETCD_MARK_NAME "636f727065746364000000000000000000000000000000000000000000000000"
#define ETCD_MARK_DIGITS 32

struct etcd_mark {
	char repository[ETCD_MARK_DIGITS + 1];
	bool is_there; /* and etcd is the one that is meant */
};

bool etcd_mark_is(const struct blob_id *name);

/* Looks for it, unless it was found. Until there is one, no head of the repository is in etcd. -EUCLEAN: another etcd is meant. */
WARN_UNUSED int etcd_mark_find(struct etcd_mark *mark, struct objects *place, struct etcd *etcd, struct error *err);
/* Makes it, after it was not found. -EAGAIN: the place let nobody through. */
WARN_UNUSED int etcd_mark_set(struct etcd_mark *mark, struct objects *place, struct etcd *etcd, struct error *err);

#endif
