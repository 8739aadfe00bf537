#include "lib/reclaim/mark.h"

#include <errno.h>

#include "lib/base/array.h"
#include "lib/reclaim/visibility.h"
#include "lib/tree/records/all_versions.h"

#define STEP_VERSIONS 4096

/* In a dry run the versions of a key are looked at together. */
struct key_versions {
	struct visibility *visibility;
	uint32_t family;
	uint64_t ino;
	ARRAY(struct seen_version) versions;
	ARRAY(struct extent_record) extents; /* of each; of CHUNK_NONE for what is no data extent */
};

static void mark_extent(struct mark *mark, uint32_t family, uint64_t ino, const struct extent_record *extent)
{
	if (extent->chunk == CHUNK_NONE)
		return;
	chunk_set_add(mark->set, extent->chunk);
	parts_add(mark->parts, family, ino, extent);
}

static void mark_needed(struct mark *mark, struct key_versions *key)
{
	if (key->versions.count > 0)
		visibility_versions(key->visibility, key->versions.items, key->versions.count);
	for (size_t i = 0; i < key->versions.count; i++) {
		if (key->versions.items[i].needed)
			mark_extent(mark, key->family, key->ino, &key->extents.items[i]);
		else
			mark->unneeded++;
	}
	array_reset(&key->versions);
	array_reset(&key->extents);
}

static void add_to_key(struct mark *mark, struct key_versions *key, const struct stored_version *version, const struct extent_record *extent)
{
	if (version->is_newest)
		mark_needed(mark, key);
	if (!key->visibility || key->family != version->parts.family) {
		visibility_free(key->visibility);
		key->visibility = visibility_new(mark->store, version->parts.family);
	}
	key->family = version->parts.family;
	key->ino = version->parts.ino;
	array_add(&key->versions, (struct seen_version){.epoch = version->parts.epoch, .tombstone = version->len == 0});
	array_add(&key->extents, *extent);
}

/* An extent that cannot be read ends the run: its chunk would be taken for dead. */
static int mark_one(struct mark *mark, const struct stored_version *version, struct key_versions *key)
{
	struct extent_record extent = {.chunk = CHUNK_NONE};
	int result = 0;

	if (version->parts.kind == KEY_EXTENT && version->len > 0)
		result = extent_record_decode(version->value, version->len, &extent);
	if (result < 0)
		return result;
	if (mark->is_dry_run)
		add_to_key(mark, key, version, &extent);
	else
		mark_extent(mark, version->parts.family, version->parts.ino, &extent);
	return 0;
}

/* Gives `all` back. */
static int walk(struct mark *mark, struct all_versions *all)
{
	struct stored_version version;
	struct key_versions key = {0};
	uint64_t met = mark->versions;
	int result;

	while ((result = all_versions_next(all, &version)) > 0) {
		result = mark_one(mark, &version, &key);
		if (result == 0 && ++met % STEP_VERSIONS == 0)
			result = mark->step(mark->arg, met);
		if (result != 0)
			break;
		mark->versions += version.parts.kind != KEY_CONTENT;
	}
	all_versions_free(all);
	if (result == 0)
		mark_needed(mark, &key);
	visibility_free(key.visibility);
	array_clear(&key.versions);
	array_clear(&key.extents);
	return result;
}

int mark_all(struct mark *mark)
{
	int result = walk(mark, all_versions_new(mark->store->tree));

	/* The content of small files names no chunks; but what of it is to be pruned is counted, as far as it can be read. */
	if (result == 0 && mark->is_dry_run)
		result = walk(mark, all_versions_new_contents(mark->store->tree));
	return result == -EBADMSG && mark->is_dry_run ? 0 : result;
}
