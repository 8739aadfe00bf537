#include "lib/base/memory_limit.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/file.h"

#define SHARE 16
#define NUMBER_MAX 64
#define GROUPS_MAX 65536

/* "max", or no such file: no limit. */
static uint64_t limit_in(const char *path)
{
	AUTO_BUF text = BUF_INIT;
	unsigned long long limit;

	if (file_read(path, NUMBER_MAX, &text) < 0)
		return UINT64_MAX;
	buf_add_u8(&text, 0);
	return sscanf((const char *)text.data, "%llu", &limit) == 1 ? limit : UINT64_MAX;
}

/* Of the group and all above it. In a container its path may be another's, and only the root is there. */
static uint64_t limit_up_from(const char *root, const char *group, const char *file)
{
	AUTO_FREE char *path = xstrdup(group);
	uint64_t limit = UINT64_MAX;

	for (char *end = path + strlen(path); end; end = strrchr(path, '/')) {
		*end = '\0';
		AUTO_FREE char *here = xasprintf("%s%s/%s", root, path, file);
		limit = MIN(limit, limit_in(here));
	}
	return limit;
}

static bool has_word(const char *list, const char *word)
{
	const size_t len = strlen(word);

	for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (strncmp(at, word, len) == 0 && (at[len] == ',' || !at[len]))
			return true;
	return false;
}

/* Above "high" a process is slowed down until it hardly runs. */
static uint64_t limit_of_second(const char *root, const char *group)
{
	const uint64_t high = limit_up_from(root, group, "memory.high"), max = limit_up_from(root, group, "memory.max");

	return MIN(high, max);
}

/* Lines are NUMBER:CONTROLLERS:GROUP; number 0, and no controllers: of the second version. */
static uint64_t limit_of_line(const char *controllers, const char *group, const char *root)
{
	AUTO_FREE char *first = xasprintf("%s/memory", root), *beside = xasprintf("%s/unified", root);

	if (has_word(controllers, "memory"))
		return limit_up_from(first, group, "memory.limit_in_bytes");
	if (*controllers)
		return UINT64_MAX;
	const uint64_t alone = limit_of_second(root, group), shared = limit_of_second(beside, group);
	return MIN(alone, shared);
}

uint64_t memory_limit_of_groups(const char *groups, const char *root)
{
	AUTO_FREE char *lines = xstrdup(groups);
	uint64_t limit = UINT64_MAX;
	char *rest = lines, *line;

	while ((line = strsep(&rest, "\n"))) {
		char *number = strsep(&line, ":"), *controllers = strsep(&line, ":");
		if (number && controllers && line)
			limit = MIN(limit, limit_of_line(controllers, line, root));
	}
	return limit;
}

uint64_t memory_limit(void)
{
	const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t limit = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
	AUTO_BUF groups = BUF_INIT;
	struct rlimit rlimit;

	if (file_read("/proc/self/cgroup", GROUPS_MAX, &groups) == 0) {
		buf_add_u8(&groups, 0);
		limit = MIN(limit, memory_limit_of_groups((const char *)groups.data, "/sys/fs/cgroup"));
	}
	/* RLIM_INFINITY is the largest number */
	if (getrlimit(RLIMIT_AS, &rlimit) == 0)
		limit = MIN(limit, (uint64_t)rlimit.rlim_cur);
	if (getrlimit(RLIMIT_DATA, &rlimit) == 0)
		limit = MIN(limit, (uint64_t)rlimit.rlim_cur);
	return limit;
}

uint64_t memory_budget(uint64_t usual, uint64_t least)
{
	return MAX(MIN(usual, memory_limit() / SHARE), least);
}
