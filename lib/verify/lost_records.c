#include "lib/verify/lost_records.h"

#include <errno.h>
#include <string.h>

struct finding {
	struct lost_records lost;
	int (*step)(void *arg, uint64_t bytes);
	void *arg;
};

static int find_step(void *arg, uint64_t bytes)
{
	const struct finding *finding = arg;

	return finding->step ? finding->step(finding->arg, bytes) : 0;
}

/* The index shortens keys: what is missing may be anything. */
static void inode_of(const uint8_t *key, size_t len, uint8_t fill, uint32_t *ret_family, uint64_t *ret_ino)
{
	uint8_t whole[sizeof(uint32_t) + sizeof(uint64_t)];

	memset(whole, fill, sizeof(whole));
	memcpy(whole, key, MIN(len, sizeof(whole)));
	struct reader reader = reader_over(whole, sizeof(whole));
	*ret_family = read_be32(&reader);
	*ret_ino = read_be64(&reader);
}

static void add_range(struct lost_records *lost, enum kv_family family, const struct kv_key_range *range)
{
	struct lost_inodes *inodes = array_new(&lost->inodes);

	inodes->is_content = family == KV_CONTENT;
	inode_of(range->first, range->first_len, 0, &inodes->first_family, &inodes->first);
	inode_of(range->last, range->last_len, UINT8_MAX, &inodes->last_family, &inodes->last);
	struct lost_keys *keys = family == KV_CONTENT ? array_new(&lost->content) : array_new(&lost->keys);
	buf_add(&keys->first, range->first, range->first_len);
	buf_add(&keys->last, range->last, range->last_len);
}

static int take_table(void *arg, const struct kv_damaged_table *table)
{
	struct finding *finding = arg;
	struct lost_table *lost = array_new(&finding->lost.tables);

	*lost = (struct lost_table){
		.family = table->family, .missing = table->missing, .all_known = table->all_known, .blocks = table->blocks, .lost = table->lost};
	memcpy(lost->name, table->name, sizeof(lost->name));
	for (size_t i = 0; i < table->range_count; i++)
		if (table->family == KV_TREE || table->family == KV_CONTENT)
			add_range(&finding->lost, table->family, &table->ranges[i]);
	return 0;
}

int lost_records_find(struct store *store, int (*step)(void *arg, uint64_t bytes), void *arg, struct lost_records *ret_lost)
{
	struct finding finding = {.step = step, .arg = arg};
	int result = kv_each_damaged_table(store_kv(store), false, find_step, take_table, &finding);

	if (result < 0)
		lost_records_clear(&finding.lost);
	else
		*ret_lost = finding.lost;
	return result;
}

static void clear_keys(struct lost_keys *keys, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		buf_clear(&keys[i].first);
		buf_clear(&keys[i].last);
	}
}

void lost_records_clear(struct lost_records *lost)
{
	clear_keys(lost->keys.items, lost->keys.count);
	clear_keys(lost->content.items, lost->content.count);
	array_clear(&lost->tables);
	array_clear(&lost->inodes);
	array_clear(&lost->keys);
	array_clear(&lost->content);
}

bool lost_records_any(const struct lost_records *lost)
{
	return lost->tables.count > 0;
}

static bool has_inode(const struct lost_records *lost, uint32_t family, uint64_t ino, bool or_content)
{
	for (size_t i = 0; i < lost->inodes.count; i++) {
		const struct lost_inodes *range = &lost->inodes.items[i];
		const bool below = family < range->first_family || (family == range->first_family && ino < range->first);
		const bool above = family > range->last_family || (family == range->last_family && ino > range->last);
		if (!below && !above && (or_content || !range->is_content))
			return true;
	}
	return false;
}

bool lost_records_has(const struct lost_records *lost, uint32_t family, uint64_t ino)
{
	return has_inode(lost, family, ino, true);
}

bool lost_records_has_layout(const struct lost_records *lost, uint32_t family, uint64_t ino)
{
	return has_inode(lost, family, ino, false);
}

bool lost_records_of(const struct lost_records *lost, uint32_t family)
{
	for (size_t i = 0; i < lost->inodes.count; i++)
		if (family >= lost->inodes.items[i].first_family && family <= lost->inodes.items[i].last_family)
			return true;
	return false;
}

/* --- what is left --- */

static int compare(const struct buf *a, const uint8_t *bytes, size_t len)
{
	return bytes_compare(a->data, a->len, bytes, len);
}

bool lost_records_has_content(const struct lost_records *lost, const struct tree_key *key)
{
	for (size_t i = 0; i < lost->content.count; i++)
		if (compare(&lost->content.items[i].first, key->bytes, key->len) <= 0 && compare(&lost->content.items[i].last, key->bytes, key->len) >= 0)
			return true;
	return false;
}

/* A walk has ended behind `at`: the end of the damaged place that it met. NULL: there is none known, so nothing can be passed. */
static const struct buf *end_of_damage(const struct lost_records *lost, const struct tree_key *at)
{
	const struct buf *end = NULL;

	for (size_t i = 0; i < lost->keys.count; i++) {
		const struct buf *last = &lost->keys.items[i].last;
		/* no key of ours is so long: nothing lies behind it */
		if (last->len >= sizeof(at->bytes))
			continue;
		if (compare(last, at->bytes, at->len) >= 0 && (!end || compare(last, end->data, end->len) < 0))
			end = last;
	}
	return end;
}

int lost_records_walk_rest(struct store *store, const struct lost_records *lost, int (*each)(void *arg, const struct stored_version *version),
			   void *arg)
{
	const struct tree_key none = {0};
	struct tree_key at = {0};
	int result;

	for (;;) {
		struct all_versions *all = all_versions_between(store_tree(store), &at, &none);
		struct stored_version version;
		while ((result = all_versions_next(all, &version)) > 0) {
			at = tree_key_at(*version.stem, version.parts.epoch);
			result = each(arg, &version);
			if (result != 0)
				break;
		}
		all_versions_free(all);
		const struct buf *end = result == -EBADMSG ? end_of_damage(lost, &at) : NULL;
		if (!end)
			return result;
		at.len = end->len;
		memcpy(at.bytes, end->data, at.len);
		at.bytes[at.len++] = 0;
	}
}
