/*
 * Opens the store of objects that a descriptor stands for: a directory, or a file (in memory) with {url, user?, password?, token?, region?,
 * certificates?, limit_ms?: each request ends within it, service?: {instance: true or false, url, authorization?}: what gives keys (s3_keys.h),
 * etcd?: {members, user?, password?, certificates?, client?, stale_ok?}: where heads are (objects_etcd.h)} as JSON: what is on the network, in
 * restic's layouts, and who asks. A name is no way to tell either of them to another process: it may see other files, and everybody sees its
 * arguments.
 *
 *   s3:http[s]://HOST[:PORT]/BUCKET[/PREFIX]   s3:HOST/BUCKET[/PREFIX]   rest:http[s]://HOST[:PORT]/[PATH/]
 *
 * An object on the network is put whole or not at all by the server's word. Names are the SHA-256 of the content, except that of the config, so
 * that putting an object twice changes nothing; S3 is asked never to overwrite (If-None-Match), and on a REST server is looked before.
 */
#ifndef CORPUSFS_REPOSITORY_OBJECTS_OPEN_H
#define CORPUSFS_REPOSITORY_OBJECTS_OPEN_H

#include "lib/repository/objects.h"

#define OBJECTS_DESCRIPTION_MAX (4U << 20)

/* Whether a repository's name means one on the network. */
bool objects_is_url(const char *name);

/* Whether such a name can be used: -EINVAL with a text. A user or a password in it, in whichever form, stands in no text. */
WARN_UNUSED int objects_url_check(const char *url, struct error *err);

/*
 * Takes over the descriptor. Making: the place need not be there yet. net_bytes (or NULL): grows with what comes and goes over the network, as long
 * as it is open.
 */
WARN_UNUSED int objects_open(int fd, bool making, _Atomic uint64_t *net_bytes, struct objects **ret_objects, struct error *err);

/* The same description, but each request ends within that time. -EINVAL: it is none. What was in ret_limited is replaced. */
WARN_UNUSED int objects_description_limit(const struct buf *description, uint64_t limit_ms, struct buf *ret_limited);

/* Whether a description says that etcd alone knows which heads are the newest, and an older one is not good enough. */
bool objects_etcd_is_asked(const struct buf *description);

#endif
