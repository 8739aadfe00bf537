#include "lib/store/uncommitted.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/catalog.h"

/* ino 0: none. */
static struct commit_failure failure_of(struct store *store, uint32_t number)
{
	struct commit_failure failure;
	struct view *view;

	if (store_view_by_number(store, number, &view) < 0)
		return (struct commit_failure){0};
	failure = tree_commit_failure(store->tree, view);
	store_view_put(store, view);
	return failure;
}

static struct commit_failure failure_among(struct store *store, const uint32_t *views, size_t count)
{
	struct commit_failure failure = {0};

	if (count == 0)
		return tree_commit_failure(store->tree, NULL);
	for (size_t i = 0; i < count && failure.ino == 0; i++)
		failure = failure_of(store, views[i]);
	return failure;
}

/* Then it is no file's fault. */
static bool is_stopped(struct store *store)
{
	return store_lost_to(store) || kv_stopped(store->kv);
}

char *uncommitted_file(struct store *store, const uint32_t *views, size_t count)
{
	const struct commit_failure failure = failure_among(store, views, count);

	return failure.ino == 0 ? NULL : store_file_name(store, failure.view, failure.ino);
}

/* Where the text goes on; `room` for it, with its NUL. */
static char *behind(struct error *err, size_t *ret_room)
{
	size_t len = strlen(err->text);

	if (len > 0 && len + 2 < sizeof(err->text)) {
		memcpy(err->text + len, ": ", 3);
		len += 2;
	}
	*ret_room = sizeof(err->text) - len;
	return err->text + len;
}

static void hint(struct error *err, int error)
{
	if (error == -ENOSPC)
		error_hint(err, "destroy snapshots that nobody needs (corpusfs du shows what they take) and run corpusfs gc, or make room on the disk");
	else
		error_hint(err, "copy what can be read of the file and remove it, or mend what is damaged (corpusfs damage says what is hurt); until then what "
				"was written is kept in memory and tried again");
}

bool uncommitted_explain(struct store *store, const uint32_t *views, size_t count, struct error *err)
{
	struct commit_failure failure = {0};
	size_t room;
	char *text;

	if (!err)
		return false;
	/* Those who write have not been held back in time, whatever else there is. */
	if (err->code != -EBUSY && !is_stopped(store))
		failure = failure_among(store, views, count);
	text = behind(err, &room);
	if (failure.ino == 0) {
		snprintf(text, room, "%s", error_text(err->code));
		if (is_stopped(store))
			error_hint(err, "writing has stopped, and corpusfs status says why; unmount and mount again");
		return false;
	}
	AUTO_FREE char *path = store_file_path(store, failure.view, failure.ino);
	AUTO_FREE char *name = path ? xasprintf("\"%s\"", path) : store_file_name(store, failure.view, failure.ino);
	snprintf(text, room, "%s could not be committed: %s", name, error_text(failure.error));
	hint(err, failure.error);
	return true;
}

bool uncommitted_explain_freeze(struct store *store, const uint32_t *views, size_t count, const struct error *lost, struct error *err)
{
	size_t room;
	char *text;

	if (!err || !lost->code)
		return uncommitted_explain(store, views, count, err);
	text = behind(err, &room);
	snprintf(text, room, "%s", lost->text);
	error_hint(err, "%s", lost->hint);
	return false;
}
