#include "lib/backup/publish_inside.h"

#include <string.h>

#include "lib/backup/backup_info.h"
#include "lib/backup/lost_packs.h"
#include "lib/identity/identity.h"
#include "lib/tree/records/touched.h"
#include "lib/tree/records/view.h"

static int stop(void *arg, struct touched_place place)
{
	return 1;
}

/* Since the one snapshot, or since both went apart: 1, 0, -errno. What was changed and changed back was touched. */
static int is_touched(struct store *store, struct view *then, struct view *now)
{
	struct line old = view_line(then), new = view_line(now), gone = line_minus(&old, &new), added = line_minus(&new, &old);
	int r = touched_each_of_line(store_tree(store), view_family(now), &gone, stop, NULL);

	if (r == 0)
		r = touched_each_of_line(store_tree(store), view_family(now), &added, stop, NULL);
	line_clear(&added);
	line_clear(&gone);
	line_clear(&new);
	line_clear(&old);
	return r;
}

/* In a repository that was put back from an older copy, another store may have published this number. */
static bool is_of_head(struct store *store, struct view *view, const struct head *head)
{
	uint8_t identity[IDENTITY_LEN];
	char text[IDENTITY_TEXT_LEN];

	if (!head->identity || identity_compute(store, view, NULL, NULL, identity) < 0)
		return false;
	identity_to_text(identity, text);
	return strcmp(text, head->identity) == 0;
}

static bool is_untouched(struct store *store, const char *dataset, const char *then_name, const char *now_name, const struct head *head)
{
	struct view *then = NULL, *now = NULL;
	bool untouched = store_snapshot(store, dataset, then_name, &then) == 0 && store_snapshot(store, dataset, now_name, &now) == 0 &&
	                 view_family(then) == view_family(now) && is_touched(store, then, now) == 0 && is_of_head(store, then, head);

	if (then)
		store_view_put(store, then);
	if (now)
		store_view_put(store, now);
	return untouched;
}

/* Whether nothing is known to be missing of the backup: then an incremental one would take all of it over. */
static bool is_whole(struct repository *repository, const char *backup)
{
	struct repository_reader *reader = repository_reader_new(repository);
	struct snapshot_file file = {0};
	struct object_names lost = {0};
	struct error ignored = {0};
	json_t *info = NULL;
	bool whole = snapshot_file_read(repository, backup, &file, &ignored) == 0 && !file.is_rewritten &&
	             repository_load_changed_index(repository, &ignored) == 0 && lost_packs_find(repository, &lost, &ignored) == 0 &&
	             backup_info_read(reader, &file, &info, &ignored) == 0 && !backup_info_doubt(info, repository, &lost);

	json_decref(info);
	array_clear(&lost);
	snapshot_file_clear(&file);
	repository_reader_free(reader);
	return whole;
}

bool publish_is_same(struct store *store, const struct publish_options *options, const char *then, const char *now, const struct head *head)
{
	return is_untouched(store, options->dataset, then, now, head) && is_whole(options->repository, head->backup);
}
