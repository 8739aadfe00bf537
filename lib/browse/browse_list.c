#include "lib/browse/browse_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"

#define DIGITS_MIN 8
#define TIME_TEXT 32

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

/* What is next to it in the order of names has the most digits in common. */
static void set_names(struct browse_list *list)
{
	AUTO_FREE struct browse_backup **sorted = xcalloc(list->count + 1, sizeof(struct browse_backup *));

	for (size_t i = 0; i < list->count; i++)
		sorted[i] = &list->items[i];
	qsort(sorted, list->count, sizeof(struct browse_backup *), compare_names);
	for (size_t i = 0; i < list->count; i++) {
		size_t digits = DIGITS_MIN - 1;

		if (i > 0)
			digits = MAX(digits, common_digits(sorted[i]->snapshot.name, sorted[i - 1]->snapshot.name));
		if (i + 1 < list->count)
			digits = MAX(digits, common_digits(sorted[i]->snapshot.name, sorted[i + 1]->snapshot.name));
		(void)snprintf(sorted[i]->name, sizeof(sorted[i]->name), "%.*s", (int)digits + 1, sorted[i]->snapshot.name);
	}
}

static bool is_at_once(const struct browse_list *list, size_t a, size_t b)
{
	return b < list->count && list->items[a].snapshot.time.tv_sec == list->items[b].snapshot.time.tv_sec;
}

static void set_time(struct browse_list *list, size_t number)
{
	struct browse_backup *backup = &list->items[number];
	char text[TIME_TEXT];

	clock_format(backup->snapshot.time.tv_sec, text);
	backup->time = (number > 0 && is_at_once(list, number, number - 1)) || is_at_once(list, number, number + 1)
	                       ? xasprintf("%s-%s", text, backup->name)
	                       : xstrdup(text);
}

void browse_list_make(struct browse_list *list, struct snapshot_files *snapshots)
{
	*list = (struct browse_list){0};
	for (size_t i = 0; i < snapshots->count; i++)
		array_add(list, (struct browse_backup){.snapshot = snapshots->items[i]});
	array_clear(snapshots);
	set_names(list);
	for (size_t i = 0; i < list->count; i++)
		set_time(list, i);
}

void browse_list_clear(struct browse_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		snapshot_file_clear(&list->items[i].snapshot);
		free(list->items[i].time);
	}
	array_clear(list);
}

int browse_list_find(const struct browse_list *list, const char *name, bool by_time, size_t *ret_number)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(by_time ? list->items[i].time : list->items[i].name, name) != 0)
			continue;
		*ret_number = i;
		return 0;
	}
	return -ENOENT;
}
