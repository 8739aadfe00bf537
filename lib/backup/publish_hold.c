#include "lib/backup/publish_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/snapshots.h"

void publish_hold_begins(const struct repository *repository, const char *as, char out[HOLD_LEN])
{
	char digits[HEAD_DATASET_TEXT];

	head_dataset_text(repository, as, digits);
	(void)snprintf(out, HOLD_LEN, "published:%.*s:", PUBLISH_DIGITS, digits);
}

struct held {
	const char *begins, *except;
	ARRAY(struct held_one {
		char *snapshot;
		char *hold;
		bool is_own; /* taken here, for this alone */
	}) all; /* but for those of the snapshot `except` */
};

static bool is_own(const struct snapshot_info *info)
{
	return strncmp(info->name, PREFIX, strlen(PREFIX)) == 0 && info->note &&
	       (strcmp(info->note, NOTE_TAKEN) == 0 || strcmp(info->note, NOTE_RESTORED) == 0);
}

static int gather_held(void *arg, const struct snapshot_info *info)
{
	struct held *held = arg;

	if (strcmp(info->name, held->except) == 0)
		return 0;
	for (size_t i = 0; i < info->hold_count; i++)
		if (strncmp(info->holds[i], held->begins, strlen(held->begins)) == 0)
			array_add(&held->all, (struct held_one){xstrdup(info->name), xstrdup(info->holds[i]), is_own(info)});
	return 0;
}

static void held_clear(struct held *held)
{
	for (size_t i = 0; i < held->all.count; i++) {
		free(held->all.items[i].snapshot);
		free(held->all.items[i].hold);
	}
	array_clear(&held->all);
}

int publish_hold(struct store *store, const char *dataset, const char *snapshot, const struct repository *repository, const struct head *head,
		 struct error *err)
{
	char begins[HOLD_LEN];
	struct held held = {.begins = begins, .except = snapshot};
	AUTO_FREE char *tag = NULL;
	int r;

	publish_hold_begins(repository, head->dataset, begins);
	tag = xasprintf("%s%llu", begins, (unsigned long long)head->number);
	r = snapshot_hold(store, dataset, snapshot, tag, err);
	if (r == 0 || r == -EEXIST)
		r = snapshot_list(store, dataset, gather_held, &held);
	/* The last ones let go; what was taken for publishing alone goes, unless somebody else holds it. */
	for (size_t i = 0; i < held.all.count && r == 0; i++) {
		r = snapshot_release(store, dataset, held.all.items[i].snapshot, held.all.items[i].hold, err);
		if (r == 0 && held.all.items[i].is_own)
			(void)!snapshot_destroy(store, dataset, held.all.items[i].snapshot, NULL);
	}
	held_clear(&held);
	return r;
}

void publish_name_now(char out[NAME_LEN_MAX + 1])
{
	const struct timespec now = clock_now();
	struct tm tm;

	(void)gmtime_r(&now.tv_sec, &tm);
	(void)snprintf(out, NAME_LEN_MAX + 1, PREFIX "%04d%02d%02dT%02d%02d%02d.%03ldZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	               tm.tm_sec, now.tv_nsec / 1000000);
}

int publish_restored(struct store *store, const char *dataset, const struct repository *repository, const struct head *head, char *ret_name,
		     struct error *err)
{
	struct snapshot_name name = {dataset, ret_name};
	int r;

	(void)snprintf(ret_name, NAME_LEN_MAX + 1, "%s", head->name);
	r = snapshot_create(store, &name, 1, NOTE_RESTORED, 0, err);
	if (r == -EEXIST) { /* over a dataset that has one of that name */
		publish_name_now(ret_name);
		r = snapshot_create(store, &name, 1, NOTE_RESTORED, 0, err);
	}
	if (r == 0)
		r = publish_hold(store, dataset, ret_name, repository, head, err);
	else
		ret_name[0] = '\0';
	return r;
}
