#include "lib/identity/content_notes.h"

#include <string.h>

#include "lib/identity/identity.h"
#include "lib/identity/node_bytes.h"
#include "lib/store/catalog.h"
#include "lib/store/digests.h"

#define FLUSH_NOTES 1024

struct content_notes {
	struct store *store;
	uint32_t family, view;
	struct digest *digest;
	struct kv_batch *batch;
};

struct content_notes *content_notes_new(struct store *store, struct view *view)
{
	uint8_t identity[IDENTITY_LEN];
	struct content_notes *notes;

	if (store_read_only(store) || identity_known(store, view, identity) == 0)
		return NULL;
	notes = xcalloc(1, sizeof(*notes));
	*notes = (struct content_notes){.store = store, .family = view_family(view), .view = view_number(view), .digest = digest_new(), .batch = kv_batch_new()};
	return notes;
}

/* Somebody may have destroyed the snapshot, and its dataset. */
static bool is_living(const struct content_notes *notes)
{
	bool found;

	mutex_take(&notes->store->catalog_lock);
	found = catalog_snapshot_by_view(notes->store, notes->view) != NULL;
	mutex_give(&notes->store->catalog_lock);
	return found;
}

/* What cannot be written is not known. */
static void flush(struct content_notes *notes)
{
	if (kv_batch_count(notes->batch) > 0 && is_living(notes))
		(void)!kv_write(notes->store->kv, notes->batch, 0);
	kv_batch_clear(notes->batch);
}

void content_notes_free(struct content_notes *notes)
{
	if (!notes)
		return;
	flush(notes);
	kv_batch_free(notes->batch);
	digest_free(notes->digest);
	free(notes);
}

/* A digest record that is true in every view which sees this version of the file (identity.c, ID1). */
void content_notes_add(struct content_notes *notes, const struct content_note *note)
{
	struct digest_record record = {.has_content = true, .size = note->size, .allocated = note->allocated, .is_sparse = note->is_sparse};

	if (!notes)
		return;
	memcpy(record.content, note->content, NODE_LEN);
	node_add_regular(notes->digest, note->mode, note->size, note->content);
	digest_final(notes->digest, record.node);
	digests_put(notes->batch, notes->family, note->ino, note->epoch, &record);
	if (kv_batch_count(notes->batch) >= FLUSH_NOTES)
		flush(notes);
}
