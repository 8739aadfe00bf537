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
	browse_node_done(&in);
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
	browse_node_done(&in);
	return 0;
}

/* --- content --- */

size_t browse_blob_at(const struct browse_layout *layout, uint64_t offset)
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

/* --- several blobs at once --- */

#define TOGETHER_MAX 512

struct together {
	struct browse *browse;
	struct blob_id ids[TOGETHER_MAX];
	struct cached *claimed[TOGETHER_MAX]; /* NULL: it is made */
	size_t count;
	int result; /* of the place, if it said no */
};

static void take_fetched(void *arg, size_t number, int result, const void *data, size_t len)
{
	struct together *together = arg;
	size_t cost = 0;
	struct buf *plain = result == 0 ? browse_blob_new(data, len, &cost) : NULL;

	/* Others who wait for it ask themselves. If this was in vain after long, they are told so, without another wait (blob_source.h). */
	shared_cache_made(together->browse->blobs, together->claimed[number], result < 0 ? -EAGAIN : 0, plain, cost);
	together->claimed[number] = NULL;
	if (result < 0)
		together->result = result;
}

/* Fetches those from number `first` on that hold bytes before `end`, that are not in memory, and that nobody else fetches. */
static int fetch_together(struct browse *browse, const struct node *node, const struct browse_layout *layout, size_t first, uint64_t end)
{
	struct together *together = xcalloc(1, sizeof(*together));
	int r;

	together->browse = browse;
	for (size_t i = first; i + 1 < layout->count && layout->begins[i] < end && together->count < TOGETHER_MAX; i++)
		if (shared_cache_claim(browse->blobs, &node->content.items[i], &together->claimed[together->count]))
			together->ids[together->count++] = node->content.items[i];
	if (together->count > 0)
		browse->source->get_many(browse->source, together->ids, together->count, take_fetched, together);
	for (size_t i = 0; i < together->count; i++)
		if (together->claimed[i])
			shared_cache_made(browse->blobs, together->claimed[i], -EAGAIN, NULL, 0);
	r = together->result;
	free(together);
	return r;
}

static ssize_t read_node(struct browse *browse, const struct in_node *in, const struct browse_range *range, bool may_wait, uint8_t *out)
{
	struct reading reading = {.in = in, .may_wait = may_wait};
	size_t done = 0, size, blob;
	int r;

	if (!S_ISREG(in->node->mode))
		return S_ISDIR(in->node->mode) ? -EISDIR : -EINVAL;
	if (range->offset >= in->node->size)
		return 0;
	r = browse_wait_index(browse, may_wait);
	if (r < 0)
		return r;
	size = MIN(range->size, in->node->size - range->offset);
	reading.layout = browse_dir_layout(in->dir.dir, in->position, browse->source);
	blob = browse_blob_at(reading.layout, range->offset);
	if (may_wait)
		r = fetch_together(browse, in->node, reading.layout, blob, range->offset + size);
	if (r < 0)
		return browse_failed(browse, &in->node->content.items[blob], in->node->name, r);
	for (; done < size; blob++) {
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
	browse_node_done(&in);
	if (got > 0)
		atomic_fetch_add(&browse->read_bytes, (uint64_t)got);
	return got;
}

/* --- ahead of who reads --- */

/*
 * Who reads a file in order has as much fetched ahead of him as he has read, up to a window, in pieces of which several are fetched at once: one
 * request at a time would wait for the place most of the time, and a large window at once would be for nothing when he stops.
 */
#define PIECE (4ULL << 20)
#define WINDOW (24ULL << 20)
#define WINDOW_FIRST (512ULL << 10)
#define DISORDER (2ULL << 20) /* reads of one reader may overtake each other */

/* Moves the reader's stream on. True: it is time for more of the file, of so many bytes. */
static bool wants_more(struct browse *browse, const struct browse_range *range, uint64_t size, struct browse_range *ret_ahead)
{
	struct stream *stream = &browse->streams[range->id % BROWSE_STREAMS];
	const uint64_t end = range->offset + range->size;
	uint64_t window, ahead;
	bool wants = false;

	pthread_mutex_lock(&browse->mutex);
	if (stream->id != range->id || range->offset + DISORDER < stream->end || range->offset > stream->end + DISORDER) {
		*stream = (struct stream){.id = range->id, .begin = range->offset, .end = end, .fetched = end};
	} else {
		stream->end = MAX(stream->end, end);
		stream->fetched = MAX(stream->fetched, stream->end);
		window = MIN(MAX(stream->end - stream->begin, WINDOW_FIRST), WINDOW);
		ahead = stream->fetched - stream->end;
		wants = ahead + MIN(PIECE, window / 2) <= window && stream->fetched < size;
	}
	if (wants) {
		*ret_ahead = (struct browse_range){.id = range->id, .offset = stream->fetched, .size = MIN(MIN(PIECE, window - ahead), size - stream->fetched)};
		stream->fetched += ret_ahead->size;
	}
	pthread_mutex_unlock(&browse->mutex);
	return wants;
}

static bool is_in_memory(struct browse *browse, const struct in_node *in, const struct browse_range *range)
{
	const struct browse_layout *layout = browse_dir_layout(in->dir.dir, in->position, browse->source);

	for (size_t i = browse_blob_at(layout, range->offset); i + 1 < layout->count && layout->begins[i] < range->offset + range->size; i++)
		if (!shared_cache_has(browse->blobs, &in->node->content.items[i]))
			return false;
	return true;
}

bool browse_wants_ahead(struct browse *browse, const struct browse_range *range, struct browse_range *ret_ahead)
{
	struct in_node in;
	bool wants;

	if (range->id < BROWSE_NODES_FIRST || browse_wait_index(browse, false) < 0 || browse_node_use(browse, range->id, false, &in) < 0)
		return false;
	wants = wants_more(browse, range, in.node->size, ret_ahead) && !is_in_memory(browse, &in, ret_ahead);
	browse_node_done(&in);
	return wants;
}

static int fetch_range(struct browse *browse, const struct in_node *in, const struct browse_range *range)
{
	const struct browse_layout *layout;
	int r;

	if (!S_ISREG(in->node->mode) || range->offset >= in->node->size)
		return 0;
	r = browse_wait_index(browse, true);
	if (r < 0)
		return r;
	layout = browse_dir_layout(in->dir.dir, in->position, browse->source);
	return fetch_together(browse, in->node, layout, browse_blob_at(layout, range->offset), range->offset + range->size);
}

int browse_fetch(struct browse *browse, const struct browse_range *range)
{
	struct in_node in;
	int r = range->id < BROWSE_NODES_FIRST ? -EISDIR : browse_node_use(browse, range->id, true, &in);

	if (r < 0)
		return r;
	r = fetch_range(browse, &in, range);
	browse_node_done(&in);
	return r;
}
