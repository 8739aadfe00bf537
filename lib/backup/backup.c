#include "lib/backup/backup.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/backup/backup_identity.h"
#include "lib/backup/backup_tree.h"
#include "lib/backup/large_trees.h"
#include "lib/base/escape.h"
#include "lib/base/fault.h"
#include "lib/base/shell.h"
#include "lib/repository/go_text.h"
#include "lib/repository/locks.h"
#include "lib/repository/origin.h"

#define INFO_PIECE (1U << 20)

struct backup {
	struct store *store;
	const struct backup_options *options;
	struct backup_result *result;
	struct transfer transfer;
	struct snapshot_info snapshot;
	char *dataset_tag;
	struct view *view;
	struct repository_lock *lock;
	struct unfinished unfinished;
	struct backup_base base;
	struct repository_writer *writer;
	struct entry_list exact, large, left_out;
	struct node top;
	bool is_there; /* it is a backup */
	struct backup_identity identity;
	pthread_mutex_t settling; /* guards what follows */
	bool is_settled;
	struct error unsettled; /* why it is not */
};

char *backup_dataset_id(struct store *store, uint32_t dataset_id)
{
	return xasprintf("%s/%u", store_superblock(store)->uuid, dataset_id);
}

char *backup_dataset_tag(struct store *store, uint32_t dataset_id)
{
	AUTO_FREE char *id = backup_dataset_id(store, dataset_id);

	return xasprintf("dataset-id=%s", id);
}

/* --- before --- */

static int open_snapshot(struct backup *backup, struct error *err)
{
	const struct backup_options *options = backup->options;
	int r = snapshot_get(backup->store, options->dataset, options->snapshot, &backup->snapshot);

	if (r == 0)
		r = store_snapshot(backup->store, options->dataset, options->snapshot, &backup->view);
	if (r < 0)
		return error_set(err, r, "there is no snapshot %s@%s", options->dataset, options->snapshot);
	backup->dataset_tag = backup_dataset_tag(backup->store, backup->snapshot.dataset_id);
	backup->identity.transfer = &backup->transfer;
	backup->identity.store = backup->store;
	backup->identity.view = backup->view;
	backup->identity.dataset = options->dataset;
	backup->identity.snapshot = options->snapshot;
	return 0;
}

static int find_base(struct backup *backup, struct error *err)
{
	const struct backup_options *options = backup->options;
	const struct backup_aim aim = {.type = options->type, .share = options->share, .is_new = options->is_new, .store = backup->store,
	                               .view = backup->snapshot.view, .taken = backup->snapshot.taken, .dataset_tag = backup->dataset_tag,
	                               .unfinished = &backup->unfinished, .fills_holes = options->fills_holes};

	if (!options->dry_run && !backup_relies_on_all(options->type, options->share))
		unfinished_begin(&backup->unfinished, backup->store, options->repository->id, backup->snapshot.dataset_id, options->type);
	return backup_base_find(&backup->base, options->repository, &aim, err);
}

/*
 * The base and the index were read when others' locks may not have been seen yet: somebody may have removed something meanwhile, who came at the same
 * time and is gone. What came since is no matter.
 */
static int look_again(struct backup *backup, struct error *err)
{
	struct repository *repository = backup->options->repository;
	struct object_names names = {0};
	uint64_t size;
	int r = repository_list(repository, OBJECT_INDEX, &names, err);
	bool went = false;

	for (size_t i = 0; i < repository->index_files.count && r == 0; i++)
		went = went || !object_names_have_id(&names, &repository->index_files.items[i]);
	array_clear(&names);
	if (r == 0 && backup->base.exists)
		went = went || repository->objects->place->size(repository->objects, OBJECT_SNAPSHOT, backup->base.snapshot.name, &size) == -ENOENT;
	if (r < 0 || !went)
		return r;
	(void)error_set(err, -EBUSY, "somebody removed something from the repository at the same moment");
	error_hint(err, "do it again");
	return -EBUSY;
}

/* Nothing is put before: who prunes takes what no index names for lost. */
static int settle(void *arg, struct error *err)
{
	struct backup *backup = arg;
	int r = 0;

	pthread_mutex_lock(&backup->settling);
	if (!backup->is_settled && backup->unsettled.code == 0) {
		r = repository_lock_settle(backup->lock, &backup->unsettled);
		if (r == 0)
			r = look_again(backup, &backup->unsettled);
		backup->is_settled = r == 0;
	}
	if (!backup->is_settled && err)
		*err = backup->unsettled;
	r = backup->is_settled ? 0 : backup->unsettled.code;
	pthread_mutex_unlock(&backup->settling);
	return r;
}

static int prepare(struct backup *backup, struct error *err)
{
	const struct backup_options *options = backup->options;
	int r = open_snapshot(backup, err);

	if (r == 0 && options->type != BACKUP_FULL && !options->share)
		backup_identity_begin(&backup->identity);
	if (r == 0)
		r = repository_lock_begin(options->repository, &backup->lock, err);
	if (r == 0)
		r = find_base(backup, err);
	if (r == 0 && !backup->base.exists && options->type == BACKUP_INCREMENTAL)
		backup->result->type = BACKUP_FULL;
	if (r == 0) {
		r = backup_base_compare(&backup->base, backup->store, backup->view);
		if (r < 0)
			(void)error_set(err, r, "what changed since the base cannot be found out: %s", error_text(r));
	}
	return r;
}

/* --- after --- */

static void add_text(struct buf *json, const char *key, const char *bytes)
{
	AUTO_FREE char *text = escape_text(bytes, ESCAPE_BYTES);

	buf_addf(json, ",\"%s\":", key);
	go_json_string(json, text);
}

static void add_id(struct buf *json, const char *key, const char *id)
{
	if (id[0])
		buf_addf(json, ",\"%s\":\"%s\"", key, id);
	else
		buf_addf(json, ",\"%s\":null", key);
}

static void add_counts(struct buf *json, struct transfer *transfer)
{
	buf_addf(json, ",\"counts\":{\"files\":%llu,\"directories\":%llu,\"unchanged\":%llu,\"bytes\":%llu,\"left_out\":%llu}",
	         (unsigned long long)atomic_load(&transfer->files), (unsigned long long)atomic_load(&transfer->directories),
	         (unsigned long long)atomic_load(&transfer->skipped), (unsigned long long)atomic_load(&transfer->bytes),
	         (unsigned long long)atomic_load(&transfer->problems));
}

static void write_info(struct backup *backup, struct buf *json)
{
	const struct backup_options *options = backup->options;
	struct object_names packs = repository_writer_packs(backup->writer);
	char id[BLOB_ID_TEXT];

	buf_addf(json, "{\"version\":1,\"type\":\"%s\",\"store\":\"%s\"", backup_type_text(backup->result->type), store_superblock(backup->store)->uuid);
	add_text(json, "dataset", options->dataset);
	buf_addf(json, ",\"dataset_id\":%u", backup->snapshot.dataset_id);
	add_text(json, "snapshot", options->snapshot);
	buf_addf(json, ",\"view\":%u,\"taken\":\"%lld.%09ld\"", backup->snapshot.view, (long long)backup->snapshot.taken.tv_sec,
	         backup->snapshot.taken.tv_nsec);
	add_id(json, "identity", backup->result->identity);
	add_id(json, "base", backup->base.exists ? backup->base.snapshot.name : "");
	add_id(json, "full", backup->base.full);
	if (backup->base.full_snapshot)
		add_text(json, "full_snapshot", backup->base.full_snapshot);
	add_counts(json, &backup->transfer);
	buf_addf(json, ",\"packs\":[");
	for (size_t i = 0; i < packs.count; i++) {
		blob_id_text(&packs.items[i], id);
		buf_addf(json, "%s\"%s\"", i == 0 ? "" : ",", id);
	}
	buf_addf(json, "]");
	backup_info_add_indexes(json, options->repository, !backup->base.exists && !backup->base.known_is_repository);
	backup_info_add_lost(json, &backup->base.lost);
	buf_addf(json, ",\"exact\":");
	entry_list_write(&backup->exact, json);
	buf_addf(json, ",\"large\":");
	entry_list_write(&backup->large, json);
	buf_addf(json, ",\"left_out\":");
	entry_list_write(&backup->left_out, json);
	buf_addf(json, "}\n");
	array_clear(&packs);
}

/* A file of bytes that are in memory, and the pieces of large directories. */
static int add_info_dir(struct backup *backup, struct blob_maker *maker, struct node *dir)
{
	AUTO_BUF json = BUF_INIT, tree = BUF_INIT;
	struct node file = {.name = xstrdup(BACKUP_INFO_FILE), .mode = S_IFREG | 0444, .links = 1};
	struct node large = {0};
	struct blob_id id;
	int r = 0;

	write_info(backup, &json);
	if (json.len > BACKUP_INFO_MAX)
		r = error_set(&maker->err, -EFBIG, "the description of the backup has more than 1 GiB: too much is to be said of single files");
	file.size = json.len;
	file.mtime = file.atime = file.ctime = backup->snapshot.taken;
	for (size_t at = 0; at < json.len && r == 0; at += INFO_PIECE) {
		r = blob_maker_bytes(maker, false, json.data + at, MIN(json.len - at, INFO_PIECE), &id);
		array_add(&file.content, id);
	}
	if (r == 0)
		r = large_trees_write(&backup->large, maker, &large);
	large.name = xstrdup(LARGE_TREES_DIR);
	tree_begin(&tree);
	tree_add(&tree, &file);
	if (r == 1)
		tree_add(&tree, &large);
	tree_end(&tree);
	node_clear(&large);
	if (r >= 0)
		r = blob_maker_bytes(maker, true, tree.data, tree.len, &dir->subtree);
	*dir = (struct node){.name = xstrdup(BACKUP_INFO_DIR), .mode = S_IFDIR | 0555, .has_subtree = true, .subtree = dir->subtree,
	                     .mtime = file.mtime, .atime = file.atime, .ctime = file.ctime};
	node_clear(&file);
	return r;
}

/* The directory that holds the dataset's and ours. */
static int add_root(struct backup *backup, struct blob_maker *maker, struct blob_id *ret_id)
{
	struct node dir = {0};
	AUTO_BUF tree = BUF_INIT;
	int r = add_info_dir(backup, maker, &dir);
	bool ours_first;

	if (r < 0)
		return r;
	backup->top.name = xstrdup(backup->options->dataset);
	ours_first = strcmp(dir.name, backup->top.name) < 0;
	tree_begin(&tree);
	tree_add(&tree, ours_first ? &dir : &backup->top);
	tree_add(&tree, ours_first ? &backup->top : &dir);
	tree_end(&tree);
	node_clear(&dir);
	return blob_maker_bytes(maker, true, tree.data, tree.len, ret_id);
}

static void describe(struct backup *backup, struct snapshot_file *file)
{
	const struct origin origin = origin_of_process();

	file->time = backup->snapshot.taken;
	file->host = xstrdup(origin.host);
	file->user = xstrdup(origin.user);
	file->uid = geteuid();
	file->gid = getegid();
	array_add(&file->paths, xasprintf("/%s", backup->options->dataset));
	array_add(&file->tags, xstrdup("corpusfs"));
	array_add(&file->tags, xasprintf("type=%s", backup_type_text(backup->result->type)));
	array_add(&file->tags, xasprintf("snapshot=%s", backup->options->snapshot));
	if (backup->result->identity[0])
		array_add(&file->tags, xasprintf("identity=%s", backup->result->identity));
	array_add(&file->tags, xasprintf("view=%u", backup->snapshot.view));
	array_add(&file->tags, xstrdup(backup->dataset_tag));
	if (backup->options->tag)
		array_add(&file->tags, xstrdup(backup->options->tag));
	if (atomic_load(&backup->transfer.problems) > 0)
		array_add(&file->tags, xstrdup("incomplete"));
	if (backup->base.exists) {
		file->has_parent = true;
		(void)!blob_id_parse(backup->base.snapshot.name, &file->parent);
	}
}

static int name_place(const struct backup *backup, const struct error *found, struct error *err)
{
	(void)error_set(err, found->code, "%s: %s", backup->options->place, found->text);
	if (found->hint[0])
		error_hint(err, "%s", found->hint);
	return found->code;
}

/* The backup is there. */
static int tell_done(struct backup *backup, struct error *err)
{
	const struct backup_options *options = backup->options;
	const struct backup_done done = {.name = backup->result->name, .identity = backup->result->identity,
	                                 .problems = atomic_load(&backup->transfer.problems), .taken = backup->snapshot.taken,
	                                 .counts = &backup->result->counts, .lock = backup->lock};

	return options->done ? options->done(options->done_arg, &done, err) : 0;
}

/* Who was stopped since the lock was looked at may have lost it, and with it what the backup relies on: then it is none. */
static int put_snapshot_file(struct backup *backup, const struct snapshot_file *file, struct error *err)
{
	struct repository *repository = backup->options->repository;
	struct objects *objects = repository->objects;
	int r = fault_point("backup-after-lock-check"), removed;

	if (r < 0)
		return error_set(err, r, "%s: %s", backup->options->place, strerror(-r));
	r = snapshot_file_write(repository, file, backup->result->name, err);
	if (r == 0)
		r = repository_lock_check(backup->lock, err);
	if (r == 0 || !repository_lock_lost(backup->lock) || !backup->result->name[0])
		return r;
	removed = objects->place->remove(objects, OBJECT_SNAPSHOT, backup->result->name);
	if (removed < 0 && removed != -ENOENT)
		error_hint(err, "what others did meanwhile may have hurt backup %.8s, which cannot be removed: corpusfs backup forget REPOSITORY %.8s",
		           backup->result->name, backup->result->name);
	return r;
}

static int finish(struct backup *backup, struct error *err)
{
	struct snapshot_file file = {0};
	struct blob_maker maker;
	int r, ended;

	blob_maker_init(&maker, &backup->transfer, backup->store, NULL, backup->writer);
	r = add_root(backup, &maker, &file.tree);
	ended = blob_maker_end(&maker, r < 0);
	if (r < 0 || ended < 0)
		return name_place(backup, &maker.err, err);
	r = repository_writer_end(backup->writer, &backup->result->counts, err);
	if (backup->options->dry_run)
		return r;
	if (r == 0) {
		r = fault_point("backup-before-snapshot-file");
		if (r < 0)
			(void)error_set(err, r, "%s: %s", backup->options->place, strerror(-r));
	}
	/* Without a lock, somebody may have removed what this backup relies on. */
	if (r == 0)
		r = repository_lock_check(backup->lock, err);
	/* who has asked for an end finds no backup there */
	if (r == 0)
		transfer_tell(&backup->transfer, backup->transfer.phase);
	if (r < 0 || transfer_stopped(&backup->transfer))
		return r;
	describe(backup, &file);
	r = put_snapshot_file(backup, &file, err);
	backup->is_there = r == 0;
	if (r == 0)
		r = fault_point("backup-after-snapshot-file");
	if (r == 0)
		r = tell_done(backup, err);
	snapshot_file_clear(&file);
	return r;
}

/* One that was cancelled: the next one of its type relies on the packs that are there, if an index names them. */
static void keep_what_was_put(struct backup *backup)
{
	struct writer_counts counts;
	struct error ignored = {0};

	if (backup->transfer.failure.code == -ECANCELED && (backup->base.known_is_repository || backup->unfinished.mark[0]) &&
	    !backup->options->dry_run && repository_lock_check(backup->lock, &ignored) == 0)
		(void)!repository_writer_end(backup->writer, &counts, &ignored);
}

static void begin_lists(struct backup *backup)
{
	entry_list_init(&backup->exact);
	entry_list_init(&backup->large);
	entry_list_init(&backup->left_out);
}

static void clear_lists(struct backup *backup)
{
	entry_list_clear(&backup->exact);
	entry_list_clear(&backup->large);
	entry_list_clear(&backup->left_out);
}

static int run(struct backup *backup, struct error *err)
{
	struct backup_tree tree = {.transfer = &backup->transfer, .store = backup->store, .repository = backup->options->repository,
	                           .base = &backup->base, .exact = &backup->exact, .large = &backup->large,
	                           .left_out = &backup->left_out, .place = backup->options->place, .top = &backup->top};
	int r = prepare(backup, err);

	if (r < 0)
		return r;
	if (backup->base.exists)
		(void)snprintf(backup->result->base, sizeof(backup->result->base), "%s", backup->base.snapshot.name);
	(void)snprintf(backup->result->damaged, sizeof(backup->result->damaged), "%s", backup->base.damaged);
	(void)snprintf(backup->result->misdated, sizeof(backup->result->misdated), "%s", backup->base.misdated);
	backup->result->compared = backup->base.has_changes;
	backup->result->doubt = backup->base.doubt;
	(void)snprintf(backup->result->full_snapshot, sizeof(backup->result->full_snapshot), "%s",
	               !backup->base.exists ? backup->options->snapshot : backup->base.full_snapshot ? backup->base.full_snapshot : "");
	backup->writer = repository_writer_new(backup->options->repository, backup->base.known);
	repository_writer_go_on(backup->writer, backup->unfinished.mark, &backup->base.put);
	repository_writer_pass_over(backup->writer, &backup->base.passed_over);
	if (backup->options->dry_run)
		repository_writer_discard(backup->writer);
	repository_writer_ask(backup->writer, settle, backup);
	if (backup->base.has_changes)
		backup_identity_begin(&backup->identity);
	tree.view = backup->view;
	tree.writer = backup->writer;
	tree.fills_holes = backup->options->fills_holes;
	tree.notes_contents = !backup->identity.has_thread;
	backup_tree_run(&tree);
	if (!transfer_stopped(&backup->transfer) && !backup_base_met_all(&backup->base)) {
		backup_base_forget_changes(&backup->base);
		backup->result->compared = false;
		clear_lists(backup);
		begin_lists(backup);
		node_clear(&backup->top);
		backup_tree_run(&tree);
	}
	backup_identity_end(&backup->identity);
	memcpy(backup->result->identity, backup->identity.text, sizeof(backup->result->identity));
	r = transfer_stopped(&backup->transfer) ? 0 : settle(backup, err);
	if (r < 0)
		return r;
	if (!transfer_stopped(&backup->transfer))
		return finish(backup, err);
	keep_what_was_put(backup);
	return 0;
}

int backup_run(struct store *store, const struct backup_options *options, struct backup_result *ret_result, struct error *err)
{
	struct backup backup = {.store = store, .options = options, .result = ret_result};
	int r, failed;

	*ret_result = (struct backup_result){.type = options->type};
	if (strcmp(options->dataset, BACKUP_INFO_DIR) == 0) {
		(void)error_set(err, -EINVAL, "a dataset of the name \"%s\" cannot be backed up: its backup has its description there", options->dataset);
		error_hint_shell(err, "corpusfs dataset rename %s ANOTHER", options->dataset);
		return -EINVAL;
	}
	transfer_begin(&backup.transfer, &options->transfer);
	begin_lists(&backup);
	pthread_mutex_init(&backup.settling, NULL);
	backup_identity_init(&backup.identity);
	r = run(&backup, err);
	backup_identity_clear(&backup.identity);
	pthread_mutex_destroy(&backup.settling);
	unfinished_end(&backup.unfinished, store, backup.is_there);
	backup_base_clear(&backup.base, store);
	repository_writer_free(backup.writer);
	repository_lock_release(backup.lock);
	clear_lists(&backup);
	node_clear(&backup.top);
	if (backup.view)
		store_view_put(store, backup.view);
	snapshot_info_clear(&backup.snapshot);
	free(backup.dataset_tag);
	failed = transfer_end(&backup.transfer, &ret_result->transfer, r < 0 ? NULL : err);
	return r < 0 ? r : failed;
}
