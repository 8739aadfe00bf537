#include "fs/daemon/process/entry.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "lib/base/buf.h"
#include "lib/ops/json.h"
#include "lib/store/snapshots.h"

static void place_free(struct entry *entry, struct place *place)
{
	DL_DELETE(entry->places, place);
	json_decref(place->args);
	free(place);
}

struct entry *entry_new(json_t *args, const struct mount_source *source)
{
	struct entry *entry = xcalloc(1, sizeof(*entry));

	entry->refs = 1;
	entry->source = *source;
	entry->lease = json_incref(json_object_get(args, "lease"));
	entry_add_place(entry, args);
	return entry;
}

void entry_free(struct entry *entry)
{
	while (entry->places)
		place_free(entry, entry->places);
	mount_free(entry->mount);
	json_decref(entry->lease);
	free(entry);
}

void entry_add_place(struct entry *entry, json_t *args)
{
	struct place *place = xcalloc(1, sizeof(*place)), *old, *next;

	/* its files are the same: so whoever is left of the places, or goes on with it, knows */
	if (entry->lease && !json_object_get(args, "lease"))
		json_object_set(args, "lease", entry->lease);
	*place = (struct place){.args = args, .mountpoint = json_string_value(json_object_get(args, "mountpoint"))};
	DL_FOREACH_SAFE (entry->places, old, next) {
		if (strcmp(old->mountpoint, place->mountpoint) == 0)
			place_free(entry, old);
	}
	DL_APPEND(entry->places, place);
}

static void forget_unmounted(struct entry *entry)
{
	struct place *place, *next;

	DL_FOREACH_SAFE (entry->places, place, next) {
		if (entry->places->next && !mount_shows_at(entry->mount, place->mountpoint))
			place_free(entry, place);
	}
}

bool entry_shows_at(struct entry *entry, const char *mountpoint)
{
	forget_unmounted(entry);
	return entry_has_place(entry, mountpoint) && mount_shows_at(entry->mount, mountpoint);
}

const char *entry_first_shown(struct entry *entry)
{
	forget_unmounted(entry);
	return mount_shows_at(entry->mount, entry->places->mountpoint) ? entry->places->mountpoint : NULL;
}

bool entry_has_lease(const struct entry *entry)
{
	return entry->lease != NULL;
}

bool entry_has_place(const struct entry *entry, const char *mountpoint)
{
	const struct place *place;

	DL_FOREACH (entry->places, place) {
		if (strcmp(place->mountpoint, mountpoint) == 0)
			return true;
	}
	return false;
}

int entry_keep(const struct entry *entry)
{
	json_t *all = json_array();
	const struct place *place;
	int result = -E2BIG;

	DL_FOREACH (entry->places, place)
		json_array_append(all, place->args);
	json_t *text = json_deep_from_bytes(all);
	AUTO_FREE char *dump = text ? json_dumps(text, JSON_COMPACT) : NULL;
	json_decref(text);
	json_decref(all);
	if (dump)
		result = mount_keep_places(entry->mount, dump);
	return result;
}

void entry_list(struct entry *entry, struct store *store, json_t *rows)
{
	AUTO_FREE char *dataset = mount_args_dataset_name(store, &entry->source, mount_get_options(entry->mount)->dataset);
	AUTO_FREE char *snapshot = snapshot_name(store, mount_snapshot(entry->mount));
	struct mount_status status = {0};
	struct mount_waiting waiting;
	struct place *place;

	mount_get_status(entry->mount, &status);
	mount_get_waiting(entry->mount, &waiting);
	forget_unmounted(entry);
	DL_FOREACH (entry->places, place) {
		json_t *row = json_deep_copy(place->args);

		if (dataset)
			json_object_set_new(row, "dataset", json_string_nocheck(dataset));
		if (snapshot)
			json_object_set_new(row, "snapshot", json_string_nocheck(snapshot));
		json_object_set_new(row, "detached", json_boolean(!mount_shows_at(entry->mount, place->mountpoint)));
		if (place != entry->places)
			json_object_set_new(row, "bound_to", json_string_nocheck(entry->places->mountpoint));
		json_object_set_new(row, "requests", json_integer((json_int_t)status.requests));
		json_object_set_new(row, "open_files", json_integer((json_int_t)status.open_files));
		json_object_set_new(row, "protocol_minor", json_integer(status.protocol_minor));
		json_object_set_new(row, "killpriv_v2", json_boolean(status.killpriv_v2));
		json_object_set_new(row, "io_uring", json_boolean(status.io_uring));
		json_object_set_new(row, "supervised", json_boolean(status.supervised));
		json_object_set_new(row, "no_open", json_boolean(status.no_open));
		json_object_set_new(row, "read_ahead_kb", json_integer(status.read_ahead_kb));
		json_object_set_new(row, "waiting", waiting.count < 0 ? json_null() : json_integer(waiting.count));
		json_object_set_new(row, "oldest_op", json_string(waiting.op));
		json_object_set_new(row, "oldest_ms", json_integer((json_int_t)waiting.ms));
		json_object_set_new(row, "oldest_where", json_string(waiting.where));
		json_array_append_new(rows, row);
	}
}
