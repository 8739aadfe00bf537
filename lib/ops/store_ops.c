#include <errno.h>
#include <string.h>

#include "lib/store/datasets.h"
#include "lib/store/uncommitted.h"
#include "lib/reclaim/gc.h"
#include "lib/verify/heal_plan.h"
#include "lib/verify/scrub_state.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_backups.h"
#include "lib/ops/op_tables.h"

/* store.sync: {} -> {}. Everything accepted so far is on disk when it returns. */
static int store_sync_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	int result = store_sync(context->store);

	if (result < 0) {
		error_set(err, result, "the store could not be synced");
		(void)uncommitted_explain(context->store, NULL, 0, err);
	}
	return result;
}

struct counts {
	size_t datasets, snapshots;
};

static int count_dataset(void *arg, const struct dataset_info *info)
{
	struct counts *counts = arg;

	counts->datasets++;
	counts->snapshots += info->snapshots;
	return 0;
}

/* damaged: chunks whose content nothing can bring back; healed: those for which another one stands. */
static json_t *damage_status(struct store *store)
{
	AUTO_FREE struct chunk_damage *list = NULL;
	size_t count = chunks_list_damage(store_chunks(store), &list), healed = 0;

	for (size_t i = 0; i < count; i++)
		healed += list[i].replacement != CHUNK_NONE;
	const enum kv_damage tables = kv_damaged(store_kv(store));

	return json_pack("{s:I, s:I, s:b, s:b}", "chunks", (json_int_t)(count - healed), "healed", (json_int_t)healed, "tables",
			 tables == KV_DAMAGED, "unneeded", tables == KV_CONTENT_DAMAGED && healed == count);
}

static const char *const scrub_phases[SCRUB_PHASES] = {"", "tables", "content", "content"};

static json_t *scrub_status(struct store *store)
{
	struct scrub_state state = {0};

	if (scrub_state_get(store, &state) < 0)
		return json_object();
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "phase", scrub_phases[state.phase], "begun", (json_int_t)state.begun, "chunks",
			 (json_int_t)state.counts.chunks, "last_end", (json_int_t)state.last_end, "last_chunks", (json_int_t)state.last.chunks,
			 "last_bytes", (json_int_t)state.last.bytes, "last_damaged", (json_int_t)state.last.damaged, "every",
			 (json_int_t)state.every);
}

static json_t *uncommitted_status(struct store *store, const struct tree_usage *usage)
{
	AUTO_FREE char *file = uncommitted_file(store, NULL, 0);

	return json_pack("{s:I, s:s, s:o*}", "files", (json_int_t)usage->failing_inodes, "error", error_text(usage->failing_error), "file",
	                 file ? json_from_bytes(file) : NULL);
}

/*
 * store.status: {} -> {path, uuid, format, created, chunk_min, chunk_average, chunk_max, datasets, snapshots,
 * disk_bytes: in tables and write-ahead logs, free_bytes, dirty_bytes, dirty_files, cached_inodes, gc_wanted, dropped_bytes}, read_only (why) when it
 * is, and write_error when the database has stopped writing; uncommitted {files, error, file: one of them, DATASET/PATH} when content cannot be
 * committed, which is tried again;
 * damage {chunks, healed, tables: some are damaged, unneeded: only in what no file needs of content}; scrub {phase of one that has not ended, begun,
 * chunks, last_end, last_chunks, last_bytes, last_damaged, every: seconds}; healing (heal_plan.h); backups, drills (op_backups.h). The daemon adds pid, mounts
 * and gc.
 */
static int store_status(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const struct superblock *superblock = store_superblock(context->store);
	struct counts counts = {0};
	struct tree_usage usage = {0};
	int result = dataset_list(context->store, count_dataset, &counts);

	if (result < 0)
		return error_set(err, result, "the list of datasets could not be read: %s", error_text(result));
	tree_usage(store_tree(context->store), &usage);
	*ret_result =
		json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I}", "path",
	                  json_from_bytes(store_path(context->store)), "uuid", superblock->uuid, "format", (json_int_t)superblock->format,
	                  "created", (json_int_t)superblock->created, "chunk_min", (json_int_t)superblock->chunk_min,
	                  "chunk_average", (json_int_t)superblock->chunk_average, "chunk_max", (json_int_t)superblock->chunk_max,
	                  "datasets", (json_int_t)counts.datasets, "snapshots", (json_int_t)counts.snapshots, "disk_bytes",
	                  (json_int_t)(kv_total_bytes(store_kv(context->store)) + kv_log_bytes(store_kv(context->store))), "free_bytes", (json_int_t)usage.free_bytes,
	                  "dirty_bytes", (json_int_t)usage.dirty_bytes, "dirty_files", (json_int_t)usage.dirty_inodes,
	                  "cached_inodes", (json_int_t)usage.cached_inodes, "gc_wanted", gc_wanted(context->store),
			  "dropped_bytes", (json_int_t)gc_dropped_bytes(context->store));
	json_object_set_new(*ret_result, "damage", damage_status(context->store));
	json_object_set_new(*ret_result, "scrub", scrub_status(context->store));
	json_object_set_new(*ret_result, "healing", heal_plan_status(context->store));
	json_object_set_new(*ret_result, "backups", op_backup_status(context->store));
	json_object_set_new(*ret_result, "drills", op_backup_drills(context->store));
	struct error why = {0};
	if (store_check_writable(context->store, &why) < 0)
		json_object_set_new(*ret_result, "read_only", json_from_bytes(why.text));
	if (usage.failing_inodes > 0)
		json_object_set_new(*ret_result, "uncommitted", uncommitted_status(context->store, &usage));
	if (store_lost_to(context->store)) {
		AUTO_FREE char *message = xasprintf("%s has taken the store", store_lost_to(context->store));

		json_object_set_new(*ret_result, "write_error", json_from_bytes(message));
	} else if (kv_stopped(store_kv(context->store))) {
		char message[KV_MESSAGE_MAX];

		kv_last_error(store_kv(context->store), message);
		json_object_set_new(*ret_result, "write_error", json_from_bytes(message));
	}
	return 0;
}

const struct op store_ops[] = {
	{"store.sync", "bring everything accepted so far to the disk", OP_READER, NULL, store_sync_op},
	{"store.status", "what the store holds and what is going on in it", OP_READER, "mounts", store_status},
	{NULL},
};
