#include "lib/kv/file_numbers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"

static int by_value(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

void file_numbers_sort(struct file_numbers *numbers)
{
	if (numbers->count > 0)
		qsort(numbers->items, numbers->count, sizeof(*numbers->items), by_value);
}

int file_numbers_list(int dir, const char *prefix, const char *suffix, struct file_numbers *numbers)
{
	const size_t prefix_len = strlen(prefix);
	DIR *entries = file_entries(dir);
	const char *name;
	int more;

	if (!entries)
		return -errno;
	while ((more = file_next_entry(entries, &name)) > 0) {
		const char *rest = name + prefix_len;
		uint64_t number;
		int used = 0;
		if (strncmp(name, prefix, prefix_len) == 0 && sscanf(rest, "%" SCNu64 "%n", &number, &used) == 1 && strcmp(rest + used, suffix) == 0)
			array_add(numbers, number);
	}
	closedir(entries);
	file_numbers_sort(numbers);
	return more;
}

void table_file_name(uint64_t number, char ret_name[KV_TABLE_NAME_MAX])
{
	snprintf(ret_name, KV_TABLE_NAME_MAX, "%06" PRIu64 ".sst", number);
}
