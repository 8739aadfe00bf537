/*
 * Names of members of etcd, as people write them: "HOST[:PORT],...", each also behind http:// or https://.
 *
 * Errors: -EINVAL with a text: they are none. None with a user's name or password in it is repeated. Threads: one at a time.
 */
#ifndef CORPUSFS_REPOSITORY_ETCD_MEMBERS_H
#define CORPUSFS_REPOSITORY_ETCD_MEMBERS_H

#include <stdbool.h>

#include "lib/base/array.h"
#include "lib/base/error.h"

struct etcd_members {
	ARRAY_FIELDS(char *); /* "http://HOST:PORT" or "https://HOST:PORT"; all zero is none */
};

/* with_tls: there is a certificate, of authorities or of a client, so they are asked with TLS, if they do not say otherwise. */
WARN_UNUSED int etcd_members_add(struct etcd_members *members, const char *names, bool with_tls, struct error *err);
void etcd_members_clear(struct etcd_members *members);

WARN_UNUSED int etcd_members_check(const char *names, struct error *err);
/* Whether others can read on the way what one of them is asked. */
bool etcd_members_in_clear(const char *names, bool with_tls);

#endif
