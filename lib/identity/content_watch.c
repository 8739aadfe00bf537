#include "lib/identity/content_watch.h"

void content_watch_begin(struct content_watch *watch, struct digest *digest, uint64_t size)
{
	*watch = (struct content_watch){.is_on = true, .size = size};
	content_digest_begin(&watch->digest, digest, size);
}

void content_watch_data(struct content_watch *watch, const void *data, size_t len, uint64_t offset)
{
	if (!watch->is_on)
		return;
	content_digest_zeros(&watch->digest, offset - watch->at);
	content_digest_data(&watch->digest, data, len);
	watch->at = offset + len;
}

bool content_watch_end(struct content_watch *watch, bool all, uint8_t ret_digest[DIGEST_LEN], bool *ret_is_sparse)
{
	if (!watch->is_on)
		return false;
	watch->is_on = false;
	if (all)
		content_digest_zeros(&watch->digest, watch->size - watch->at);
	content_digest_final(&watch->digest, ret_digest, ret_is_sparse);
	return all;
}
