#include "lib/browse/browse_inside.h"

#include <errno.h>
#include <string.h>

/* --- extended attributes --- */

int browse_xattr(struct browse *browse, uint64_t id, const char *name, bool may_wait, struct buf *ret_value)
{
	struct in_node in;
	int r = browse_real_node(browse, may_wait, &id);

	if (r == 0)
		r = id < BROWSE_NODES_FIRST ? -ENODATA : browse_node_use(browse, id, may_wait, &in);
	if (r < 0)
		return r;
	r = -ENODATA;
	for (size_t i = 0; i < in.node->xattrs.count && r < 0; i++) {
		const struct node_xattr *xattr = &in.node->xattrs.items[i];

		if (strcmp(xattr->name, name) != 0)
			continue;
		if (xattr->len > 0)
			buf_add(ret_value, xattr->value, xattr->len);
		r = 0;
	}
	browse_node_done(browse, &in);
	return r;
}

int browse_xattr_names(struct browse *browse, uint64_t id, bool may_wait, struct buf *ret_names)
{
	struct in_node in;
	int r = browse_real_node(browse, may_wait, &id);

	if (r == 0 && id >= BROWSE_NODES_FIRST)
		r = browse_node_use(browse, id, may_wait, &in);
	if (r < 0 || id < BROWSE_NODES_FIRST)
		return r;
	for (size_t i = 0; i < in.node->xattrs.count; i++)
		buf_add(ret_names, in.node->xattrs.items[i].name, strlen(in.node->xattrs.items[i].name) + 1);
	browse_node_done(browse, &in);
	return 0;
}

/* --- content --- */

/* The blob that holds the byte at `offset`; layout->count - 1: none does that anybody knows. */
static size_t blob_at(const struct browse_layout *layout, uint64_t offset)
{
	size_t low = 0, high = layout->count - 1;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (layout->begins[middle + 1] <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct reading {
	const struct in_node *in;
	const struct browse_layout *layout;
	bool may_wait;
};

static int blob_use(struct browse *browse, const struct blob_id *id, bool may_wait, struct cached **ret_cached)
{
	int r = shared_cache_find(browse->blobs, id, ret_cached);

	return r == -EAGAIN && may_wait ? shared_cache_get(browse->blobs, id, ret_cached) : r;
}

/* Up to `size` bytes of one blob, from the byte `at` of the file on. */
static ssize_t read_blob(struct browse *browse, const struct reading *reading, size_t blob, uint64_t at, void *out, size_t size)
{
	const uint64_t begin = reading->layout->begins[blob], len = reading->layout->begins[blob + 1] - begin;
	const struct node *node = reading->in->node;
	const struct blob_id *id = &node->content.items[blob];
	struct cached *cached;
	const struct buf *plain;
	int r = blob_use(browse, id, reading->may_wait, &cached);

	if (r == -EAGAIN && !reading->may_wait)
		return r;
	if (r < 0)
		return browse_failed(browse, id, node->name, r);
	plain = cached_value(cached);
	r = plain->len == len ? 0 : browse_failed(browse, id, node->name, -EBADMSG);
	size = MIN(size, len - (at - begin));
	if (r == 0)
		memcpy(out, plain->data + (at - begin), size);
	shared_cache_put(browse->blobs, cached);
	return r < 0 ? r : (ssize_t)size;
}

/* Where no blob is that could hold it: the first one of which the length is not known, or the file is longer than its blobs. */
static int not_there(struct browse *browse, const struct in_node *in, size_t blob)
{
	if (blob < in->node->content.count)
		return browse_failed(browse, &in->node->content.items[blob], in->node->name, -ENOENT);
	return browse_failed(browse, &in->place.tree, in->node->name, -EBADMSG);
}

static ssize_t read_node(struct browse *browse, const struct in_node *in, const struct browse_range *range, bool may_wait, uint8_t *out)
{
	struct reading reading = {.in = in, .may_wait = may_wait};
	size_t done = 0, size;

	if (!S_ISREG(in->node->mode))
		return S_ISDIR(in->node->mode) ? -EISDIR : -EINVAL;
	if (range->offset >= in->node->size)
		return 0;
	size = MIN(range->size, in->node->size - range->offset);
	reading.layout = browse_dir_layout(in->dir.dir, in->place.position, browse->source);
	for (size_t blob = blob_at(reading.layout, range->offset); done < size; blob++) {
		ssize_t got;

		if (blob + 1 >= reading.layout->count)
			return not_there(browse, in, blob);
		got = read_blob(browse, &reading, blob, range->offset + done, out + done, size - done);
		if (got < 0)
			return got;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

ssize_t browse_read(struct browse *browse, const struct browse_range *range, bool may_wait, void *out)
{
	struct in_node in;
	ssize_t got;
	int r = range->id < BROWSE_NODES_FIRST ? -EISDIR : browse_node_use(browse, range->id, may_wait, &in);

	if (r < 0)
		return r;
	got = read_node(browse, &in, range, may_wait, out);
	browse_node_done(browse, &in);
	return got;
}
