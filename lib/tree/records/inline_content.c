#include "lib/tree/records/inline_content.h"

#include <errno.h>

#include "lib/tree/records/version.h"
#include "lib/tree/records/view_inside.h"

int inline_content_get(struct tree *tree, uint32_t family, uint64_t ino, const struct inode_record *record, struct buf *content)
{
	struct tree_key key = tree_key_at(tree_stem_content(family, ino), record->content);
	const uint8_t *value, *data;
	struct kv_pin *pin;
	size_t len;
	int r = kv_pin(tree->kv, KV_CONTENT, key.bytes, key.len, &pin, &value, &len);

	if (r < 0)
		return r == -ENOENT || r == -ESHUTDOWN ? -EIO : r;
	r = content_record_decode(value, len, &data, &len);
	if (r == 0 && len == record->allocated)
		buf_add(content, data, len);
	else
		r = -EIO;
	kv_unpin(pin);
	return r;
}

void inline_content_put(struct view *view, struct kv_batch *batch, uint64_t ino, struct inode_record *record, const void *data, size_t len)
{
	struct tree_key stem = tree_stem_content(view->family_id, ino);
	AUTO_BUF value = BUF_INIT;

	content_record_encode(data, len, &value);
	version_put(view, batch, &stem, record->content, value.data, value.len);
	record->is_inline = true;
	record->content = view->epoch;
	record->allocated = len;
}

/* What cannot be read cannot be looked through, and need not stay: otherwise a damaged file could be neither removed nor written anew. */
static int hide_damaged(struct view *view, struct kv_batch *batch, uint64_t ino, int result)
{
	struct tree_key stem = tree_stem_content(view->family_id, ino);

	if (result != -EBADMSG && result != -EIO)
		return result;
	version_hide(view, batch, &stem);
	return 1;
}

int inline_content_remove(struct view *view, struct kv_batch *batch, uint64_t ino, size_t *tombstones)
{
	struct tree_key first = tree_stem_content(view->family_id, ino), end = tree_prefix_end(first);
	int r = hide_damaged(view, batch, ino, version_delete_range(view, batch, SIZE_MAX, &first, &end, tombstones));

	*tombstones += r > 0;
	return MIN(r, 0);
}

int inline_content_delete(struct view *view, struct kv_batch *batch, uint64_t ino, struct inode_record *record)
{
	struct tree_key stem = tree_stem_content(view->family_id, ino);
	uint64_t tombstone = 0;
	int r = record->is_inline ? hide_damaged(view, batch, ino, version_delete(view, batch, &stem, &tombstone)) : 0;

	if (r < 0 || !record->is_inline)
		return r;
	record->is_inline = false;
	record->content = r > 0 ? view->epoch : tombstone;
	record->allocated = 0;
	return 0;
}
