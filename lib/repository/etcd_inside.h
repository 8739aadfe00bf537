/* What the files of etcd.h share. Not for others. They stand in this order: etcd, etcd_keys. */
#ifndef CORPUSFS_REPOSITORY_ETCD_INSIDE_H
#define CORPUSFS_REPOSITORY_ETCD_INSIDE_H

#include <jansson.h>

#include "lib/repository/etcd.h"
#include "lib/repository/etcd_members.h"

struct etcd {
	struct http *http;
	struct etcd_members members;
	size_t at;             /* the one to be asked next */
	char *user, *password, *token; /* token NULL: none was given yet */
	uint64_t patience_ms;
	bool stale_ok, has_answered;
};

/* Takes over the question. ret_lost is set if an answer was lost, and else cleared. */
WARN_UNUSED int etcd_ask(struct etcd *etcd, const char *path, json_t *question, bool *ret_lost, json_t **ret_answer, struct error *err);
/* Asks one member, by its number, once and for a short time. False: it does not answer. */
bool etcd_ask_member(struct etcd *etcd, size_t member, const char *path, const json_t *question);
int etcd_not_understood(const struct etcd *etcd, struct error *err);

#endif
