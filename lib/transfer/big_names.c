#include "lib/transfer/big_names.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/transfer/archive_path.h"

struct big_name {
	UT_hash_handle hh;
	unsigned count;
	char path[];
};

struct big_names {
	struct big_name *names;
	ARRAY(uint64_t) links; /* hashes of the paths of all links: something may lead through them */
	bool leads_through_links;
};

static uint64_t hash(const char *path, size_t len)
{
	uint64_t value = 14695981039346656037ULL; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		value = (value ^ (uint8_t)path[i]) * 1099511628211ULL;
	return value;
}

struct big_names *big_names_new(void)
{
	return xcalloc(1, sizeof(struct big_names));
}

void big_names_free(struct big_names *names)
{
	struct big_name *name, *next;

	if (!names)
		return;
	HASH_ITER(hh, names->names, name, next) {
		HASH_DEL(names->names, name);
		free(name);
	}
	array_clear(&names->links);
	free(names);
}

static void add_big(struct big_names *names, const char *path)
{
	size_t size = strlen(path) + 1;
	struct big_name *name;

	HASH_FIND(hh, names->names, path, size, name);
	if (!name) {
		name = xcalloc(1, sizeof(*name) + size);
		memcpy(name->path, path, size);
		HASH_ADD(hh, names->names, path[0], size, name);
	}
	name->count++;
}

void big_names_add(struct big_names *names, const struct archive_found *found)
{
	bool is_link = found->member.hardlink || S_ISLNK(found->member.mode);
	bool is_big = S_ISREG(found->member.mode) && !found->member.hardlink && found->member.size > BIG_FILE;
	const char *why;
	bool is_cut;
	char *path = (is_link || is_big) && !found->problem ? archive_path_plain(found->member.path, false, &why, &is_cut) : NULL;

	if (path && is_link)
		array_add(&names->links, hash(path, strlen(path)));
	else if (path)
		add_big(names, path);
	free(path);
}

static int by_value(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

static bool leads_through_link(const struct big_names *names, const char *path)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		uint64_t above = hash(path, (size_t)(slash - path));

		if (bsearch(&above, names->links.items, names->links.count, sizeof(above), by_value))
			return true;
	}
	return false;
}

void big_names_end(struct big_names *names)
{
	struct big_name *name, *next;

	if (names->links.count == 0)
		return;
	qsort(names->links.items, names->links.count, sizeof(*names->links.items), by_value);
	HASH_ITER(hh, names->names, name, next)
		names->leads_through_links = names->leads_through_links || leads_through_link(names, name->path);
	array_clear(&names->links);
}

bool big_names_is_single(const struct big_names *names, const char *plain_path)
{
	struct big_name *name;

	HASH_FIND(hh, names->names, plain_path, strlen(plain_path) + 1, name);
	return !names->leads_through_links && name && name->count == 1;
}
