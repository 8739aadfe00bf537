/*
 * Versions of records, after I1, I2 and I6.
 *
 * What may be deleted: nobody but this view sees the versions of those epochs of its line that are not in view->shared. The open epoch is
 * one of them. So when this view no longer wants to see anything under a stem, it walks down the versions in its line:
 *
 *   a value that only it sees        is deleted
 *   a value that others see, too     would show through: the view puts a tombstone in its open epoch to hide it, and stops
 *   a tombstone                      hides already what is below: it stays, and the view stops
 *   a version outside its line       belongs to others, and is stepped over
 */
#include "lib/tree/records/version.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/tree/records/dropped.h"
#include "lib/tree/records/view_inside.h"

/* After so many steps through a history a seek is cheaper. */
#define SKIP_STEPS 4
#define STEM_LEN_MIN 13

enum kv_family version_family(const struct tree_key *key)
{
	return tree_key_is_content(key) ? KV_CONTENT : KV_TREE;
}

/* The largest epoch of the line that is not above the given one; 0 if there is none. */
static uint64_t line_floor(const struct line *line, uint64_t epoch)
{
	uint32_t low = 0, high = line->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (line->items[middle].first <= epoch)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? MIN(epoch, line->items[low - 1].last) : 0;
}

/* The key under an iterator in two parts; -EBADMSG when it cannot be one of ours. */
static int current_key(const struct kv_iter *iter, struct tree_key *ret_stem, uint64_t *ret_epoch)
{
	size_t len;
	const uint8_t *key = kv_iter_key(iter, &len);

	if (len < STEM_LEN_MIN + TREE_KEY_EPOCH_LEN || len > TREE_KEY_MAX)
		return -EBADMSG;

	size_t stem_len = len - TREE_KEY_EPOCH_LEN;
	struct reader tail = reader_over(key + stem_len, TREE_KEY_EPOCH_LEN);

	memcpy(ret_stem->bytes, key, stem_len);
	ret_stem->len = stem_len;
	*ret_epoch = ~read_be64(&tail);
	return 0;
}

static bool is_at_stem(const struct kv_iter *iter, const struct tree_key *stem)
{
	size_t len;
	const uint8_t *key = kv_iter_valid(iter) ? kv_iter_key(iter, &len) : NULL;

	return key && len == stem->len + TREE_KEY_EPOCH_LEN && memcmp(key, stem->bytes, stem->len) == 0;
}

static void seek_version(struct kv_iter *iter, const struct tree_key *stem, uint64_t epoch)
{
	struct tree_key key = tree_key_at(*stem, epoch);

	kv_iter_seek(iter, key.bytes, key.len);
}

/* Moves on, to the first version of the stem whose epoch is at most the given one, or else to the next stem. */
static void skip_to(struct kv_iter *iter, const struct tree_key *stem, uint64_t epoch)
{
	for (unsigned i = 0; i < SKIP_STEPS; i++) {
		struct tree_key at;
		uint64_t at_epoch;
		kv_iter_next(iter);
		if (!is_at_stem(iter, stem) || current_key(iter, &at, &at_epoch) < 0 || at_epoch <= epoch)
			return;
	}
	seek_version(iter, stem, epoch);
}

/* Epoch 0 is never written. */
static void skip_stem(struct kv_iter *iter, const struct tree_key *stem)
{
	skip_to(iter, stem, 0);
}

static int seek_visible(struct kv_iter *iter, const struct line *line, const struct tree_key *stem, uint64_t *ret_epoch)
{
	uint64_t wanted = line_floor(line, UINT64_MAX);

	while (wanted > 0) {
		struct tree_key at;
		uint64_t epoch;
		seek_version(iter, stem, wanted);
		if (!kv_iter_valid(iter)) {
			int r = kv_iter_status(iter);
			return r < 0 ? r : -ENOENT;
		}
		if (current_key(iter, &at, &epoch) < 0 || at.len != stem->len)
			return -EBADMSG;
		wanted = line_floor(line, epoch);
		if (wanted == epoch) {
			*ret_epoch = epoch;
			return 0;
		}
	}
	return -ENOENT;
}

int version_newest_of(struct kv *kv, const struct line *line, const struct tree_key *stem, struct buf *value, uint64_t *ret_epoch,
		      bool *ret_is_last)
{
	struct tree_key first = tree_key_at(*stem, UINT64_MAX), end = tree_key_at(*stem, 0);
	struct kv_iter *iter = kv_iter_new(kv, version_family(&first), first.bytes, first.len, end.bytes, end.len);
	uint64_t epoch;
	int r = seek_visible(iter, line, stem, &epoch);

	if (r == 0) {
		size_t len;
		const uint8_t *bytes = kv_iter_value(iter, &len);
		buf_reset(value);
		buf_add(value, bytes, len);
		*ret_epoch = epoch;
		if (ret_is_last) {
			kv_iter_next(iter);
			*ret_is_last = !kv_iter_valid(iter);
			r = kv_iter_status(iter);
		}
	}
	kv_iter_free(iter);
	return r;
}

int version_newest(struct kv *kv, const struct line *line, const struct tree_key *stem, struct buf *value, uint64_t *ret_epoch)
{
	return version_newest_of(kv, line, stem, value, ret_epoch, NULL);
}

int version_get(struct kv *kv, const struct line *line, const struct tree_key *stem, struct buf *value, uint64_t *ret_epoch)
{
	AUTO_BUF own = BUF_INIT;
	struct buf *found = value ? value : &own;
	uint64_t epoch;
	int r = version_newest(kv, line, stem, found, &epoch);

	if (r < 0)
		return r;
	if (found->len == 0)
		return -ENOENT;
	if (ret_epoch)
		*ret_epoch = epoch;
	return 0;
}

int view_version_get(struct view *view, const struct tree_key *stem, struct buf *value, uint64_t *ret_epoch)
{
	rwlock_read(&view->epoch_lock);

	int r = version_get(view->tree->kv, &view->line, stem, value, ret_epoch);

	rwlock_give(&view->epoch_lock);
	return r;
}

bool version_is_ours_alone(const struct view *view, uint64_t epoch)
{
	return epoch == view->epoch || !line_has(&view->shared, epoch);
}

void version_put(struct view *view, struct kv_batch *batch, const struct tree_key *stem, uint64_t old_epoch, const void *value, size_t len)
{
	struct tree_key key = tree_key_at(*stem, view->epoch);

	assert(view->epoch != 0 && len > 0);
	if (old_epoch != 0 && old_epoch != view->epoch && version_is_ours_alone(view, old_epoch)) {
		struct tree_key old = tree_key_at(*stem, old_epoch);
		kv_batch_delete(batch, version_family(&old), old.bytes, old.len);
	}
	kv_batch_put(batch, version_family(&key), key.bytes, key.len, value, len);
}

void version_delete_last(struct view *view, struct kv_batch *batch, const struct tree_key *stem, uint64_t epoch)
{
	struct tree_key key = tree_key_at(*stem, epoch), tombstone = tree_key_at(*stem, view->epoch);

	assert(view->epoch != 0);
	if (version_is_ours_alone(view, epoch))
		kv_batch_delete(batch, version_family(&key), key.bytes, key.len);
	else
		kv_batch_put(batch, version_family(&tombstone), tombstone.bytes, tombstone.len, "", 0);
}

void version_hide(struct view *view, struct kv_batch *batch, const struct tree_key *stem)
{
	struct tree_key tombstone = tree_key_at(*stem, view->epoch);

	assert(view->epoch != 0);
	kv_batch_put(batch, version_family(&tombstone), tombstone.bytes, tombstone.len, "", 0);
}

struct deletion {
	struct view *view;
	struct kv_batch *batch;
	size_t tombstones;
	uint64_t hidden_by; /* the epoch of the last tombstone that was met or put */
	uint64_t content; /* bytes of the extents that go */
};

static uint64_t content_of(const struct tree_key *stem, const uint8_t *value, size_t len)
{
	struct tree_key key = tree_key_at(*stem, 0);
	struct tree_key_parts parts;
	struct extent_record extent;

	if (tree_key_parse(key.bytes, key.len, &parts) < 0 || parts.kind != KEY_EXTENT || extent_record_decode(value, len, &extent) < 0)
		return 0;
	return extent.chunk != CHUNK_NONE ? extent.length : 0;
}

/* Deals with the version under the iterator, as the top of this file says. True: the rest of its stem need not be looked at. */
static bool delete_version(struct deletion *deletion, struct kv_iter *iter, const struct tree_key *stem, uint64_t epoch)
{
	struct view *view = deletion->view;
	size_t value_len, key_len;
	const uint8_t *key = kv_iter_key(iter, &key_len), *value = kv_iter_value(iter, &value_len);

	if (!line_has(&view->line, epoch))
		return false;
	if (value_len == 0) {
		deletion->hidden_by = epoch;
		deletion->tombstones += epoch == view->epoch;
		return true;
	}
	if (version_is_ours_alone(view, epoch)) {
		kv_batch_delete(deletion->batch, version_family(stem), key, key_len);
		deletion->content += content_of(stem, value, value_len);
		return false;
	}

	struct tree_key tombstone = tree_key_at(*stem, view->epoch);

	kv_batch_put(deletion->batch, version_family(&tombstone), tombstone.bytes, tombstone.len, "", 0);
	deletion->tombstones++;
	deletion->hidden_by = view->epoch;
	return true;
}

static int delete_range(struct deletion *deletion, size_t limit, struct tree_key *first, const struct tree_key *end)
{
	struct kv_iter *iter = kv_iter_new(deletion->view->tree->kv, version_family(first), first->bytes, first->len, end->bytes, end->len);
	struct tree_key stem = {.len = 0};
	int r = 0;

	assert(deletion->view->epoch != 0);
	kv_iter_first(iter);
	for (size_t looked_at = 0; kv_iter_valid(iter); looked_at++) {
		struct tree_key at;
		uint64_t epoch;
		r = current_key(iter, &at, &epoch);
		if (r < 0)
			break;
		if (!is_at_stem(iter, &stem)) {
			if (looked_at >= limit) {
				*first = tree_key_at(at, UINT64_MAX);
				r = 1;
				break;
			}
			stem = at;
		}
		if (delete_version(deletion, iter, &stem, epoch))
			skip_stem(iter, &stem);
		else
			kv_iter_next(iter);
	}
	if (r == 0)
		r = kv_iter_status(iter);
	kv_iter_free(iter);
	return r;
}

int version_delete_range(struct view *view, struct kv_batch *batch, size_t limit, struct tree_key *first, const struct tree_key *end,
			 size_t *tombstones)
{
	struct deletion deletion = {.view = view, .batch = batch};
	int r = delete_range(&deletion, limit, first, end);

	*tombstones += deletion.tombstones;
	dropped_add(view->tree, deletion.content);
	return r;
}

int version_delete(struct view *view, struct kv_batch *batch, const struct tree_key *stem, uint64_t *ret_tombstone)
{
	struct tree_key first = tree_key_at(*stem, UINT64_MAX), end = tree_key_at(*stem, 0);
	struct deletion deletion = {.view = view, .batch = batch};
	int r = delete_range(&deletion, SIZE_MAX, &first, &end);

	if (r == 0 && ret_tombstone)
		*ret_tombstone = deletion.hidden_by;
	return r;
}

struct version_scan {
	struct kv_iter *kv;
	struct line line;
};

struct version_scan *version_scan_new(struct kv *kv, const struct line *line, const struct tree_key *first, const struct tree_key *end)
{
	struct version_scan *scan = xcalloc(1, sizeof(*scan));

	scan->kv = kv_iter_new(kv, version_family(first), first->bytes, first->len, end->bytes, end->len);
	scan->line = line_copy(line);
	return scan;
}

void version_scan_free(struct version_scan *scan)
{
	if (!scan)
		return;
	kv_iter_free(scan->kv);
	line_clear(&scan->line);
	free(scan);
}

/* Moves on, to the first key that is not below the given one. */
static void advance(struct kv_iter *iter, const struct tree_key *key)
{
	/* before the first use it is not valid */
	for (unsigned i = 0; i < SKIP_STEPS && kv_iter_valid(iter); i++) {
		size_t len;
		const uint8_t *at = kv_iter_key(iter, &len);
		int order = memcmp(at, key->bytes, MIN(len, key->len));
		if (order > 0 || (order == 0 && len >= key->len))
			return;
		kv_iter_next(iter);
	}
	kv_iter_seek(iter, key->bytes, key->len);
}

int version_scan_get(struct version_scan *scan, const struct tree_key *stem, const uint8_t **ret_value, size_t *ret_len)
{
	uint64_t wanted = line_floor(&scan->line, UINT64_MAX);

	while (wanted > 0) {
		struct tree_key key = tree_key_at(*stem, wanted);
		uint64_t epoch;
		advance(scan->kv, &key);
		if (!is_at_stem(scan->kv, stem)) {
			int r = kv_iter_valid(scan->kv) ? 0 : kv_iter_status(scan->kv);
			return r < 0 ? r : -ENOENT;
		}
		if (current_key(scan->kv, &key, &epoch) < 0)
			return -EBADMSG;
		wanted = line_floor(&scan->line, epoch);
		if (wanted == epoch) {
			*ret_value = kv_iter_value(scan->kv, ret_len);
			return *ret_len > 0 ? 0 : -ENOENT;
		}
	}
	return -ENOENT;
}

struct version_iter {
	struct kv_iter *kv;
	struct line line;
	struct tree_key stem; /* of the version that was given out last */
	struct tree_key_parts parts;
	bool is_started, is_given;
	int error;
};

struct version_iter *version_iter_new(struct kv *kv, const struct line *line, const struct tree_key *first, const struct tree_key *end,
				      unsigned kv_flags)
{
	struct version_iter *iter = xcalloc(1, sizeof(*iter));

	iter->kv = kv_iter_new_flags(kv, version_family(first), first->bytes, first->len, end->bytes, end->len, kv_flags);
	iter->line = line_copy(line);
	return iter;
}

void version_iter_free(struct version_iter *iter)
{
	if (!iter)
		return;
	kv_iter_free(iter->kv);
	line_clear(&iter->line);
	free(iter);
}

/* Looks at the version under the iterator: 1 when it is to be given out, else moves on. */
static int visit(struct version_iter *iter)
{
	uint64_t epoch;
	int r = current_key(iter->kv, &iter->stem, &epoch);

	if (r < 0)
		return r;

	uint64_t wanted = line_floor(&iter->line, epoch);
	size_t value_len, key_len;

	(void)kv_iter_value(iter->kv, &value_len);
	if (wanted != epoch) {
		skip_to(iter->kv, &iter->stem, wanted);
		return 0;
	}
	if (value_len == 0) {
		skip_stem(iter->kv, &iter->stem);
		return 0;
	}

	const uint8_t *key = kv_iter_key(iter->kv, &key_len);

	r = tree_key_parse(key, key_len, &iter->parts);
	return r < 0 ? r : 1;
}

bool version_iter_next(struct version_iter *iter)
{
	if (iter->error < 0)
		return false;
	if (!iter->is_started)
		kv_iter_first(iter->kv);
	else if (iter->is_given)
		skip_stem(iter->kv, &iter->stem);
	iter->is_started = true;
	iter->is_given = false;
	while (kv_iter_valid(iter->kv)) {
		int r = visit(iter);
		if (r < 0) {
			iter->error = r;
			return false;
		}
		if (r > 0) {
			iter->is_given = true;
			return true;
		}
	}
	iter->error = kv_iter_status(iter->kv);
	return false;
}

int version_iter_status(const struct version_iter *iter)
{
	return iter->error;
}

const struct tree_key_parts *version_iter_parts(const struct version_iter *iter)
{
	return &iter->parts;
}

const uint8_t *version_iter_value(const struct version_iter *iter, size_t *ret_len)
{
	return kv_iter_value(iter->kv, ret_len);
}
