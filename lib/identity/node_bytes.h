/*
 * The bytes of which nodes are the digests, as lib/identity/identity.h defines them; then comes digest_final. Internal to lib/identity; one thread.
 */
#ifndef CORPUSFS_IDENTITY_NODE_BYTES_H
#define CORPUSFS_IDENTITY_NODE_BYTES_H

#include "lib/chunk/digest.h"
#include "lib/format/record.h"

void node_add_regular(struct digest *digest, uint32_t mode, uint64_t size, const uint8_t content[DIGEST_LEN]);
void node_add_symlink(struct digest *digest, const void *target, size_t len);
void node_add_special(struct digest *digest, uint32_t mode, uint64_t rdev);

/* A directory: begun with its mode, an entry each in the order of names. */
void node_begin_directory(struct digest *digest, uint32_t mode);
void node_add_entry(struct digest *digest, const char *name, size_t len, const uint8_t node[NODE_LEN]);

#endif
