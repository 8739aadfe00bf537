#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/path.h"
#include "lib/base/shell.h"
#include "lib/history/restore_parts.h"
#include "lib/store/catalog.h"
#include "lib/store/leaseless.h"
#include "lib/store/uncommitted.h"
#include "lib/store/unknown.h"

#define REMOVE_TRIES 3 /* somebody may be making files in what is being removed */

/* The last directory of the path that the head has, what to put into it, and what of the path lies below that. */
struct spot {
	uint64_t dir, source;
	char *name;
	const char *rest; /* into the path; NULL: the name is the path's last */
	size_t len;       /* of the path to the name's end */
};

/* Walks both trees down. The snapshot must have all of the path, the head the directories as far as they go. */
static int find_spot(struct restore *restore, const char *path, struct spot *spot, struct error *err)
{
	uint64_t source = ROOT_INO, dir = ROOT_INO;
	struct attr attr, there;
	bool in_head = true;
	int result = view_resolve(restore->snapshot, path, &attr);

	if (result < 0)
		return result == -ENOENT || result == -ENOTDIR ? error_set(err, -ENOENT, "the snapshot has no \"%s\"", path) : result;
	for (const char *at = path; *at;) {
		size_t len = strcspn(at, "/");
		AUTO_FREE char *name = xasprintf("%.*s", (int)len, at);
		const char *rest = at[len] ? at + len + 1 : NULL;
		result = view_lookup(restore->snapshot, source, name, &attr);
		if (result < 0)
			return result;
		source = attr.ino;
		if (in_head) {
			result = view_lookup(restore->head, dir, name, &there);
			if (result < 0 && result != -ENOENT)
				return result;
			if (result == 0 && rest && !S_ISDIR(there.mode))
				return error_set(err, -ENOTDIR, "\"%.*s\" is not a directory any more", (int)(at + len - path), path);
			restore->result.replaced = result == 0 && !rest;
			in_head = result == 0 && rest;
			if (!in_head)
				*spot = (struct spot){dir, source, xstrdup(name), rest, (size_t)(at + len - path)};
			dir = there.ino;
		}
		at = rest ? rest : at + len;
	}
	return 0;
}

static int put_in_place(struct restore *restore, const struct spot *spot, const char *temporary)
{
	int result = fault_point("restore-before-exchange");

	if (result == 0)
		result = view_rename(restore->head, spot->dir, temporary, spot->dir, spot->name,
				     restore->result.replaced ? RENAME_EXCHANGE : RENAME_NOREPLACE);
	if (result == 0)
		FAULT_AFTER("restore-after-exchange");
	return result;
}

static int sync_head(struct restore *restore, const struct spot *spot, struct error *err)
{
	const uint32_t view = view_number(restore->head);
	int result = view_sync(restore->head);

	if (result == 0)
		return 0;
	error_set(err, result, "\"%s\" is restored, but not all of its dataset is on disk", spot->name);
	(void)uncommitted_explain(restore->store, &view, 1, err);
	return result;
}

static int restore_at(struct restore *restore, const struct spot *spot, struct error *err)
{
	char temporary[64];
	int result = restore_remove_leftovers(restore, spot->dir), removed = -ENOTEMPTY;

	if (result < 0)
		return result;
	snprintf(temporary, sizeof(temporary), RESTORE_PREFIX "%llx", (unsigned long long)clock_us());
	restore_add_task(restore, spot->source, spot->dir, temporary, spot->rest);
	result = restore_perform(restore);
	if (result == 0)
		result = put_in_place(restore, spot, temporary);
	/* after a failure what was made, after success what stood there */
	for (unsigned i = 0; i < REMOVE_TRIES && removed == -ENOTEMPTY; i++)
		removed = restore_remove(restore, spot->dir, temporary);
	if (result == 0 && removed < 0)
		result = error_set(err, removed, "\"%s\" is restored, but what stood there is left as %s: %s", spot->name, temporary,
				   error_text(removed));
	return result < 0 ? result : sync_head(restore, spot, err);
}

static void restore_clear(struct restore *restore)
{
	struct copied *copied, *next;

	HASH_ITER (hh, restore->copied, copied, next) {
		HASH_DEL(restore->copied, copied);
		free(copied);
	}
	for (size_t i = 0; i < restore->tasks.count; i++)
		free(restore->tasks.items[i].name);
	array_clear(&restore->tasks);
	array_clear(&restore->dirs);
}

static int open_views(struct store *store, const char *dataset, const char *snapshot, struct restore *restore, struct error *err)
{
	int result = store_head(store, dataset, &restore->head);

	if (result < 0)
		return unknown_or_failed(store, dataset, NULL, result, err);
	if (view_refuses(restore->head)) {
		store_view_put(store, restore->head);
		return dataset_refuse_locked(store, dataset, err);
	}
	result = store_snapshot(store, dataset, snapshot, &restore->snapshot);
	if (result < 0) {
		store_view_put(store, restore->head);
		return unknown_or_failed(store, dataset, snapshot, result, err);
	}
	return 0;
}

int dataset_restore(struct store *store, const char *dataset, const char *snapshot, const char *path, bool (*cancelled)(void *arg), void *arg,
		    struct restore_result *ret_result, struct error *err)
{
	struct restore restore = {.store = store, .cancelled = cancelled, .arg = arg};
	AUTO_FREE char *clean = path_clean(path);
	struct spot spot = {0};
	int result = store_check_writable(store, err);

	if (result < 0)
		return result;
	if (!*clean) {
		error_set(err, -EINVAL, "which file or directory?");
		error_hint_shell(err, "the whole dataset: corpusfs rollback %s@%s", dataset, snapshot);
		return -EINVAL;
	}
	if (atomic_exchange(&store->restoring, true))
		return error_set(err, -EBUSY, "another restore is at work in this store");
	result = open_views(store, dataset, snapshot, &restore, err);
	if (result == 0) {
		result = find_spot(&restore, clean, &spot, err);
		if (result == 0)
			result = restore_at(&restore, &spot, err);
		AUTO_FREE char *changed = xasprintf("%.*s", (int)spot.len, clean);
		uint32_t id = view_dataset(restore.head);
		store_view_put(store, restore.snapshot);
		store_view_put(store, restore.head);
		if (spot.name)
			store_changed(store, STORE_TREE_CHANGED, id, changed);
	}
	atomic_store(&store->restoring, false);
	free(spot.name);
	restore_clear(&restore);
	if (result == 0)
		*ret_result = restore.result;
	return result < 0 ? error_default(err, result, "\"%s\" could not be restored: %s", clean, error_text(result)) : 0;
}
