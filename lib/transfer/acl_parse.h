/*
 * POSIX ACLs in the text form in which tar and star carry them, into the form that Linux has: "user::rw-,user:ann:r--,group::r--,...",
 * entries between commas or lines, tags in full or by their first letter, names or numbers, star's number behind the rights.
 *
 * What a name means is looked up on this machine and remembered. One thread at a time.
 */
#ifndef CORPUSFS_TRANSFER_ACL_PARSE_H
#define CORPUSFS_TRANSFER_ACL_PARSE_H

#include <stdbool.h>

#include "lib/base/buf.h"

struct acl_names;
struct acl_names *acl_names_new(void);
void acl_names_free(struct acl_names *names); /* NULL is fine */

/*
 * -EINVAL: it is no ACL. An entry whose name nobody has here is left out, which never gives anybody more rights; ret_unknown is then the
 * name, good until the next call, else NULL.
 */
WARN_UNUSED int acl_parse(struct acl_names *names, const char *text, struct buf *acl, const char **ret_unknown);

#endif
