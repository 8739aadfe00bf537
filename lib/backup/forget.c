#include "lib/backup/forget.h"

#include <stdio.h>

#include "lib/backup/backup_find.h"

/* How often a rule has kept one, and the period of the last. */
struct bucket {
	unsigned left;
	const char *format; /* of strftime; NULL: each is a period of its own */
	char last[32];
};

/* A dataset that was destroyed and made anew under the same name is another one. */
static bool is_same_dataset(const struct snapshot_file *a, const struct snapshot_file *b)
{
	const char *one = snapshot_file_tag_value(a, "dataset-id"), *other = snapshot_file_tag_value(b, "dataset-id");

	return one && other ? strcmp(one, other) == 0 : one == other;
}

static bool is_same_group(const struct snapshot_file *a, const struct snapshot_file *b)
{
	if (!is_same_dataset(a, b))
		return false;
	if (strcmp(a->host, b->host) != 0 || a->paths.count != b->paths.count)
		return false;
	for (size_t i = 0; i < a->paths.count; i++)
		if (strcmp(a->paths.items[i], b->paths.items[i]) != 0)
			return false;
	return true;
}

/* What is not complete stays beside the one that the bucket then keeps: it takes nobody's place. */
static bool bucket_keeps(struct bucket *bucket, const struct tm *tm, bool is_complete)
{
	char period[32] = "";

	if (bucket->left == 0)
		return false;
	if (bucket->format) {
		(void)strftime(period, sizeof(period), bucket->format, tm);
		if (strcmp(period, bucket->last) == 0)
			return false;
		if (is_complete)
			memcpy(bucket->last, period, sizeof(period));
	}
	if (is_complete)
		bucket->left--;
	return true;
}

static void apply_to_group(const struct keep_rules *rules, const struct snapshot_files *snapshots, size_t newest, bool *keeps, bool *done)
{
	struct bucket buckets[] = {
		{rules->last, NULL, ""},         {rules->hourly, "%Y-%m-%d %H", ""}, {rules->daily, "%Y-%m-%d", ""},
		{rules->weekly, "%G-%V", ""}, {rules->monthly, "%Y-%m", ""},      {rules->yearly, "%Y", ""},
	};

	uint32_t last_view = 0;
	size_t last = newest;

	for (size_t i = newest + 1; i-- > 0;) {
		const uint32_t view = backup_view(&snapshots->items[i]);
		struct tm tm;

		if (done[i] || !is_same_group(&snapshots->items[i], &snapshots->items[newest]))
			continue;
		done[i] = true;
		if (view > last_view && backup_is_complete(&snapshots->items[i])) {
			last_view = view;
			last = i;
		}
		(void)gmtime_r(&snapshots->items[i].time.tv_sec, &tm);
		for (size_t b = 0; b < ARRAY_SIZE(buckets); b++)
			if (bucket_keeps(&buckets[b], &tm, backup_is_complete(&snapshots->items[i])))
				keeps[i] = true;
	}
	if (last_view > 0 && keep_rules_any(rules))
		keeps[last] = true;
}

void forget_apply(const struct keep_rules *rules, const struct snapshot_files *snapshots, bool *keeps)
{
	AUTO_FREE bool *done = xcalloc(snapshots->count + 1, sizeof(*done));

	memset(keeps, 0, snapshots->count * sizeof(*keeps));
	for (size_t i = snapshots->count; i-- > 0;)
		if (!done[i])
			apply_to_group(rules, snapshots, i, keeps, done);
}
