#include "lib/backup/backup_snapshots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/array.h"
#include "lib/base/clock.h"

#define PREFIX "backup-"
#define TAG_ID 8 /* digits of the repository's id */
#define TRIES 100

static char *tag_of(const char *repository)
{
	return xasprintf("backup:%.*s", TAG_ID, repository);
}

static void name_by_now(char *ret_name)
{
	const struct timespec now = clock_now();
	struct tm tm;

	(void)gmtime_r(&now.tv_sec, &tm);
	(void)snprintf(ret_name, NAME_LEN_MAX + 1, PREFIX "%04d%02d%02dT%02d%02d%02d.%03ldZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
	               tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000);
}

int backup_snapshots_take(struct store *store, const char *const *datasets, size_t count, const char *repository, char *ret_name, struct error *err)
{
	AUTO_FREE struct snapshot_name *names = xcalloc(count, sizeof(*names));
	AUTO_FREE char *tag = tag_of(repository);
	int r = -EEXIST;

	for (size_t i = 0; i < count; i++)
		names[i] = (struct snapshot_name){.dataset = datasets[i], .name = ret_name};
	/* Another one may be begun in the same millisecond. */
	for (unsigned tries = 0; r == -EEXIST && tries < TRIES; tries++) {
		if (tries > 0)
			clock_pause_us(1000);
		name_by_now(ret_name);
		r = snapshot_create(store, names, count, "taken for a backup", 0, err);
	}
	if (r < 0) {
		ret_name[0] = '\0';
		return r;
	}
	for (size_t i = 0; i < count && r == 0; i++)
		r = snapshot_hold(store, datasets[i], ret_name, tag, err);
	return r;
}

void backup_snapshots_drop_one(struct store *store, const char *dataset, const char *repository, const char *name)
{
	AUTO_FREE char *tag = tag_of(repository);

	/* It may not even be held. */
	(void)!snapshot_release(store, dataset, name, tag, NULL);
	(void)!snapshot_destroy(store, dataset, name, NULL);
}

struct search {
	const char *tag, *last, *full;
	struct {
		ARRAY_FIELDS(char *);
	} names;
};

static int find(void *arg, const struct snapshot_info *info)
{
	struct search *search = arg;

	/* Names are times: what is newer than the last one is that of a backup that is not done. */
	if (strncmp(info->name, PREFIX, strlen(PREFIX)) != 0 || strcmp(info->name, search->last) >= 0 ||
	    strcmp(info->name, search->full) == 0)
		return 0;
	for (size_t i = 0; i < info->hold_count; i++)
		if (strcmp(info->holds[i], search->tag) == 0)
			array_add(&search->names, xstrdup(info->name));
	return 0;
}

/* What somebody else holds or reads stays as it is, for the next backup to drop: its own hold, by which that finds it, too. */
static int drop(struct store *store, const char *dataset, const char *name, const char *tag, struct error *err)
{
	struct error why = {0};
	int r = snapshot_release(store, dataset, name, tag, err);

	if (r < 0)
		return r;
	r = snapshot_destroy(store, dataset, name, &why);
	if (r == -EBUSY)
		return snapshot_hold(store, dataset, name, tag, err);
	if (r < 0 && err)
		*err = why;
	return r;
}

int backup_snapshots_drop(struct store *store, const char *dataset, const char *repository, const char *last, const char *full, struct error *err)
{
	AUTO_FREE char *tag = tag_of(repository);
	struct search search = {.tag = tag, .last = last, .full = full};
	int r = snapshot_list(store, dataset, find, &search);

	for (size_t i = 0; i < search.names.count; i++) {
		if (r == 0)
			r = drop(store, dataset, search.names.items[i], tag, err);
		free(search.names.items[i]);
	}
	array_clear(&search.names);
	return r;
}
