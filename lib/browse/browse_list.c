#include "lib/browse/browse_list.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"

#define DIGITS_MIN 8
#define TIME_TEXT 32

struct browse_list {
	pthread_mutex_t lock; /* guards what follows; backups themselves do not change */
	ARRAY(struct browse_backup *) items;
	size_t newest;
};

struct browse_list *browse_list_new(void)
{
	struct browse_list *list = xcalloc(1, sizeof(*list));

	pthread_mutex_init(&list->lock, NULL);
	return list;
}

void browse_list_free(struct browse_list *list)
{
	if (!list)
		return;
	for (size_t i = 0; i < list->items.count; i++) {
		snapshot_file_clear(&list->items.items[i]->snapshot);
		free(list->items.items[i]->time);
		free(list->items.items[i]);
	}
	array_clear(&list->items);
	pthread_mutex_destroy(&list->lock);
	free(list);
}

/* --- names --- */

static size_t common_digits(const char *a, const char *b)
{
	size_t len = 0;

	while (a[len] && a[len] == b[len])
		len++;
	return len;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(struct browse_backup *const *)a)->snapshot.name, (*(struct browse_backup *const *)b)->snapshot.name);
}

static int compare_times(const void *a, const void *b)
{
	const int64_t first = (*(struct browse_backup *const *)a)->snapshot.time.tv_sec, second = (*(struct browse_backup *const *)b)->snapshot.time.tv_sec;

	return first < second ? -1 : first > second;
}

/* What is next to it in the order of names has the most digits in common. */
static void set_name(struct browse_backup *const *sorted, size_t count, size_t at)
{
	struct browse_backup *backup = sorted[at];
	size_t digits = DIGITS_MIN - 1;

	if (at > 0)
		digits = MAX(digits, common_digits(backup->snapshot.name, sorted[at - 1]->snapshot.name));
	if (at + 1 < count)
		digits = MAX(digits, common_digits(backup->snapshot.name, sorted[at + 1]->snapshot.name));
	(void)snprintf(backup->name, sizeof(backup->name), "%.*s", (int)digits + 1, backup->snapshot.name);
}

static void set_time(struct browse_backup *const *sorted, size_t count, size_t at)
{
	struct browse_backup *backup = sorted[at];
	const bool is_alone = (at == 0 || compare_times(&sorted[at], &sorted[at - 1]) != 0) && (at + 1 == count || compare_times(&sorted[at], &sorted[at + 1]) != 0);
	char text[TIME_TEXT];

	clock_format(backup->snapshot.time.tv_sec, text);
	backup->time = is_alone ? xstrdup(text) : xasprintf("%s-%s", text, backup->name);
}

/* Of those that have none. */
static void set_names(struct browse_list *list)
{
	const size_t count = list->items.count;
	AUTO_FREE struct browse_backup **sorted = xcalloc(count + 1, sizeof(struct browse_backup *));

	for (size_t i = 0; i < count; i++)
		sorted[i] = list->items.items[i];
	qsort(sorted, count, sizeof(struct browse_backup *), compare_names);
	for (size_t i = 0; i < count; i++)
		if (!sorted[i]->name[0])
			set_name(sorted, count, i);
	qsort(sorted, count, sizeof(struct browse_backup *), compare_times);
	for (size_t i = 0; i < count; i++)
		if (!sorted[i]->time)
			set_time(sorted, count, i);
}

static bool is_newer(const struct browse_backup *a, const struct browse_backup *b)
{
	const struct timespec *first = &a->snapshot.time, *second = &b->snapshot.time;

	return first->tv_sec != second->tv_sec ? first->tv_sec > second->tv_sec : first->tv_nsec >= second->tv_nsec;
}

void browse_list_add(struct browse_list *list, struct snapshot_files *snapshots)
{
	pthread_mutex_lock(&list->lock);
	for (size_t i = 0; i < snapshots->count; i++) {
		struct browse_backup *backup = xcalloc(1, sizeof(*backup));

		backup->snapshot = snapshots->items[i];
		array_add(&list->items, backup);
		if (is_newer(backup, list->items.items[list->newest]))
			list->newest = list->items.count - 1;
	}
	array_clear(snapshots);
	set_names(list);
	pthread_mutex_unlock(&list->lock);
}

/* --- looking --- */

size_t browse_list_count(struct browse_list *list)
{
	size_t count;

	pthread_mutex_lock(&list->lock);
	count = list->items.count;
	pthread_mutex_unlock(&list->lock);
	return count;
}

const struct browse_backup *browse_list_get(struct browse_list *list, size_t number)
{
	const struct browse_backup *backup;

	pthread_mutex_lock(&list->lock);
	backup = list->items.items[number];
	pthread_mutex_unlock(&list->lock);
	return backup;
}

size_t browse_list_newest(struct browse_list *list)
{
	size_t newest;

	pthread_mutex_lock(&list->lock);
	newest = list->newest;
	pthread_mutex_unlock(&list->lock);
	return newest;
}

int browse_list_find(struct browse_list *list, const char *name, bool by_time, size_t *ret_number)
{
	int r = -ENOENT;

	pthread_mutex_lock(&list->lock);
	for (size_t i = 0; i < list->items.count && r < 0; i++) {
		if (strcmp(by_time ? list->items.items[i]->time : list->items.items[i]->name, name) != 0)
			continue;
		*ret_number = i;
		r = 0;
	}
	pthread_mutex_unlock(&list->lock);
	return r;
}

bool browse_list_has(struct browse_list *list, const char *snapshot)
{
	bool has = false;

	pthread_mutex_lock(&list->lock);
	for (size_t i = 0; i < list->items.count && !has; i++)
		has = strcmp(list->items.items[i]->snapshot.name, snapshot) == 0;
	pthread_mutex_unlock(&list->lock);
	return has;
}
