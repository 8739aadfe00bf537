/* Making the catalogue hold again (RB1, RB2, RB3, RB7 in rebuild.h), by what is stored. Internal to lib/verify. */
#ifndef CORPUSFS_VERIFY_REBUILD_CATALOG_H
#define CORPUSFS_VERIFY_REBUILD_CATALOG_H

#include "lib/format/record.h"
#include "lib/verify/rebuild.h"

/* What the versions of a family tell of it. */
struct stored_family {
	uint32_t number;
	uint64_t max_ino;
	struct line epochs;
};

struct stored_families {
	ARRAY_FIELDS(struct stored_family);
	uint64_t small_end, bulk_end; /* above all chunks that extents name; 0: none */
};

struct stored_family *stored_family(struct stored_families *families, uint32_t number); /* made at the first call; valid until the next one */
void stored_chunk(struct stored_families *families, uint64_t chunk);
void stored_families_clear(struct stored_families *families);

WARN_UNUSED int rebuild_catalog(struct kv *kv, struct stored_families *families, struct rebuilt *rebuilt);

#endif
