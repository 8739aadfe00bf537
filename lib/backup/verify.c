#include "lib/backup/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/backup/backup_find.h"
#include "lib/backup/holds.h"
#include "lib/backup/restore_content.h"
#include "lib/backup/used_blobs.h"
#include "lib/backup/verify_description.h"
#include "lib/backup/verify_pack.h"
#include "lib/backup/verify_pieces.h"
#include "lib/repository/blob_set.h"
#include "lib/repository/locks.h"

struct verify {
	const struct verify_options *options;
	struct transfer transfer;
	struct verify_counts *counts;
	struct repository_reader *reader;
	struct used_blobs *used;
	struct blob_set seen; /* of descriptions (verify_description.h) */
	const struct snapshot_file *snapshot; /* whose pieces are looked at */
	struct verify_description description; /* of the backup that is looked at */
	struct blob_id pack; /* that is looked at */
	bool pack_is_there;
	uint64_t pack_size;
	uint64_t packs_left, packs_wanted; /* that are not looked at yet, and how many of these are to be read */
	struct blob_set bad_packs; /* by their names, as if they were data blobs */
	struct blob_set lost;      /* blobs of which there is no good copy */
	bool has_wrong; /* nodes or descriptions */
};

static void problem(struct verify *verify, const char *what, int code, const char *text)
{
	verify->counts->problems++;
	transfer_problem(&verify->transfer, "", what, code, text);
}

static void pack_problem(struct verify *verify, const struct blob_id *pack, int code, const char *text)
{
	char name[BLOB_ID_TEXT];

	blob_id_text(pack, name);
	AUTO_FREE char *what = xasprintf("pack %s", name);
	problem(verify, what, code, text);
	(void)blob_set_put(&verify->bad_packs, pack, false);
	if (text != VERIFY_INDEX_IS_WRONG)
		verify->counts->has_bad_packs = true;
}

/* Nobody answers there any more: nothing can be said of what is in it. */
static bool is_away(const struct verify *verify, int code)
{
	return objects_is_away(code) && !restore_content_is_damage(verify->options->repository, code);
}

/* --- trees --- */

static int tree_problem(void *arg, const struct used_problem *found)
{
	struct verify *verify = arg;
	AUTO_FREE char *where = NULL;

	if (is_away(verify, found->code))
		return found->code;
	where = xasprintf("backup %.8s: %s", found->snapshot->name, *found->path ? found->path : "/");
	problem(verify, where, found->code, found->what);
	if (found->code == -ENOENT && !blob_index_has(verify->options->repository->index, found->id, found->is_tree))
		verify->counts->has_bad_index = true;
	(void)blob_set_put(&verify->lost, found->id, found->is_tree);
	return 0;
}

static bool is_explained(const struct verify *verify, const char *path, const struct node *node, const char *what)
{
	return what == USED_WRONG_LENGTH && verify_description_explains(&verify->description, verify->options->repository->index, path, node);
}

static void node_problem(void *arg, const struct snapshot_file *snapshot, const char *path, const struct node *node, const char *what)
{
	AUTO_FREE char *where = xasprintf("backup %.8s: %s", snapshot->name, path);

	if (is_explained(arg, path, node, what))
		return;
	problem(arg, where, -EBADMSG, what);
	((struct verify *)arg)->has_wrong = true;
}

static int count_tree(void *arg)
{
	struct verify *verify = arg;

	if (++verify->counts->trees % 64 == 0)
		transfer_tell_part(&verify->transfer, "trees", verify->counts->trees, 0);
	return transfer_stopped(&verify->transfer) ? -ECANCELED : 0;
}

static void pieces_problem(void *arg, const char *path, int code, const char *text)
{
	struct verify *verify = arg;
	AUTO_FREE char *where = xasprintf("backup %.8s: %s", verify->snapshot->name, path);

	problem(verify, where, code, text);
}

static void description_problem(void *arg, const char *path, int code, const char *text)
{
	pieces_problem(arg, path, code, text);
	((struct verify *)arg)->has_wrong = true;
}

static int go_on_looking(void *arg)
{
	struct verify *verify = arg;

	return transfer_stopped(&verify->transfer) ? -ECANCELED : 0;
}

/* The trees of a backup, and then its description. Of a disk that cannot read a part of that, the part is damaged. */
static int look_at_backup(struct verify *verify, const struct snapshot_file *snapshot, struct used_blobs *used, const struct used_walk *walk,
			  verify_description_fn tell)
{
	int r = verify_description_open(verify->reader, snapshot, &verify->seen, &verify->description);

	r = is_away(verify, r) ? r : used_blobs_add(used, walk, snapshot);
	if (r == 0) {
		r = verify_description_look(&verify->description, tell, walk->arg);
		r = is_away(verify, r) ? r : 0;
	}
	verify_description_close(&verify->description);
	return r;
}

static void lose_snapshot(struct verify *verify, const char *name, int code)
{
	AUTO_FREE char *what = xasprintf("snapshot file %.8s", name);

	problem(verify, what, code, "it is damaged, and its backup lost");
	verify->counts->snapshot_files++;
}

static int look_at_snapshots(struct verify *verify, const struct object_names *names)
{
	struct verify_pieces pieces = {.reader = verify->reader, .problem = pieces_problem, .tree = go_on_looking, .arg = verify};
	struct repository *repository = verify->options->repository;
	const struct used_walk walk = {.reader = verify->reader, .problem = tree_problem, .wrong = node_problem, .tree = count_tree, .arg = verify};
	int r = 0;

	for (size_t i = 0; i < names->count && r == 0; i++) {
		struct snapshot_file snapshot;
		struct error why = {0};
		char name[BLOB_ID_TEXT];

		blob_id_text(&names->items[i], name);
		r = snapshot_file_read(repository, name, &snapshot, &why);
		if (r == -ENOENT) { /* forgotten meanwhile */
			r = 0;
			continue;
		}
		if (is_away(verify, r))
			return r;
		if (r < 0) {
			lose_snapshot(verify, name, r);
			r = 0;
			continue;
		}
		verify->counts->snapshots++;
		verify->snapshot = &snapshot;
		r = look_at_backup(verify, &snapshot, verify->used, &walk, description_problem);
		if (r == 0)
			r = verify_pieces_of(&pieces, &snapshot);
		snapshot_file_clear(&snapshot);
	}
	verify_pieces_clear(&pieces);
	return r;
}

/* --- packs --- */

static int look_for_pack(struct verify *verify, const struct blob_id *pack)
{
	struct objects *objects = verify->options->repository->objects;
	char name[BLOB_ID_TEXT];
	int r;

	verify->pack = *pack;
	blob_id_text(pack, name);
	r = objects->place->size(objects, OBJECT_PACK, name, &verify->pack_size);
	verify->pack_is_there = r == 0;
	if (is_away(verify, r))
		return r;
	if (r < 0)
		pack_problem(verify, pack, r, r == -ENOENT ? "an index names it, and it is not there" : "an index names it, and it cannot be looked at");
	return 0;
}

static int look_at_place(void *arg, const struct blob_place *place)
{
	struct verify *verify = arg;
	int r = 0;

	if (!blob_id_equal(&verify->pack, &place->pack) || verify->counts->blobs == 0)
		r = look_for_pack(verify, &place->pack);
	if (r < 0)
		return r;
	verify->counts->blobs++;
	if (verify->pack_is_there && (uint64_t)place->blob.offset + place->blob.length > verify->pack_size) {
		pack_problem(verify, &place->pack, -EBADMSG, "it is shorter than an index says");
		verify->pack_is_there = false; /* told once */
	}
	return transfer_stopped(&verify->transfer) ? -ECANCELED : 0;
}

/* *ret_why: what is wrong with it, or NULL. An error is of the place. */
static int read_pack(struct verify *verify, const struct blob_id *pack, const char *name, const char **ret_why)
{
	struct objects *objects = verify->options->repository->objects;
	AUTO_BUF bytes = BUF_INIT;
	struct blob_id id;
	int r = objects_get_whole(objects, OBJECT_PACK, name, PACK_BYTES_MAX, &bytes);

	*ret_why = r < 0 && r != -ENOENT ? "it cannot be read" : NULL;
	if (r < 0)
		return is_away(verify, r) ? r : 0;
	verify->counts->packs_read++;
	verify->counts->bytes_read += bytes.len;
	id = blob_id_of(bytes.data, bytes.len);
	if (!blob_id_equal(&id, pack)) {
		*ret_why = "it is damaged: its bytes do not have the SHA-256 that it is named by";
		return 0;
	}
	*ret_why = verify_pack(verify->reader, verify->options->repository->index, pack, &bytes);
	return 0;
}

/* As many as are wanted of those that are left, each as likely as the others. */
static bool is_chosen(struct verify *verify)
{
	const uint64_t left = verify->packs_left--;
	uint64_t random;

	seal_random(&random, sizeof(random));
	if (random % left >= verify->packs_wanted)
		return false;
	verify->packs_wanted--;
	return true;
}

static int look_into_pack(void *arg, const struct blob_id *pack)
{
	struct verify *verify = arg;
	char name[BLOB_ID_TEXT];
	const char *why;
	int r;

	verify->counts->packs++;
	if (!verify->options->data || !is_chosen(verify))
		return 0;
	blob_id_text(pack, name);
	r = read_pack(verify, pack, name, &why);
	if (r < 0)
		return r;
	if (why)
		pack_problem(verify, pack, -EBADMSG, why);
	verify->counts->has_bad_index = verify->counts->has_bad_index || why == VERIFY_INDEX_IS_WRONG;
	transfer_tell_part(&verify->transfer, "packs", verify->counts->bytes_read, 0);
	return transfer_stopped(&verify->transfer) ? -ECANCELED : 0;
}

/* --- what is hurt by it --- */

/* Whether a blob that stands in a bad pack can be had all the same. */
static int look_for_loss(void *arg, const struct blob_place *place)
{
	struct verify *verify = arg;
	AUTO_BUF plain = BUF_INIT;
	int r = 0;

	if (blob_set_has(&verify->bad_packs, &place->pack, false) && !blob_set_has(&verify->lost, &place->blob.id, place->blob.is_tree))
		r = repository_read_blob(verify->reader, &place->blob.id, place->blob.is_tree, &plain);
	if (is_away(verify, r))
		return r;
	if (r < 0)
		(void)blob_set_put(&verify->lost, &place->blob.id, place->blob.is_tree);
	return transfer_stopped(&verify->transfer) ? -ECANCELED : 0;
}

/* What one backup has lost. */
struct hurt {
	struct verify *verify;
	uint64_t count;
	char *first, *last; /* paths, owned */
};

static void hurt_path(struct hurt *hurt, const char *path)
{
	if (hurt->last && strcmp(hurt->last, path) == 0)
		return;
	hurt->count++;
	free(hurt->last);
	hurt->last = xstrdup(path);
	if (!hurt->first)
		hurt->first = xstrdup(path);
}

static int hurt_tree(void *arg, const struct used_problem *found)
{
	const struct hurt *hurt = arg;

	if (is_away(hurt->verify, found->code))
		return found->code;
	if (found->is_tree)
		hurt_path(arg, *found->path ? found->path : "/");
	return 0;
}

static void hurt_content(void *arg, const char *path, const struct blob_id *id)
{
	struct hurt *hurt = arg;

	if (blob_set_has(&hurt->verify->lost, id, false))
		hurt_path(hurt, path);
}

static void hurt_node(void *arg, const struct snapshot_file *snapshot, const char *path, const struct node *node, const char *what)
{
	(void)snapshot;
	if (!is_explained(((struct hurt *)arg)->verify, path, node, what))
		hurt_path(arg, path);
}

static void hurt_description(void *arg, const char *path, int code, const char *text)
{
	(void)code;
	(void)text;
	hurt_path(arg, path);
}

static int go_on(void *arg)
{
	struct hurt *hurt = arg;

	return transfer_stopped(&hurt->verify->transfer) ? -ECANCELED : 0;
}

static int tell_hurt(struct verify *verify, const struct snapshot_file *snapshot)
{
	struct hurt hurt = {.verify = verify};
	const struct used_walk walk = {.reader = verify->reader, .problem = hurt_tree, .content = hurt_content, .wrong = hurt_node, .tree = go_on, .arg = &hurt};
	struct used_blobs *used = used_blobs_new(verify->options->repository->index);
	int r = look_at_backup(verify, snapshot, used, &walk, hurt_description);

	if (hurt.count > 0) {
		AUTO_FREE char *what = xasprintf("backup %.8s of %s", snapshot->name, backup_dataset(snapshot));
		AUTO_FREE char *text = xasprintf("%llu file%s or director%s of it cannot be restored whole, the first is %s", (unsigned long long)hurt.count,
		                                 hurt.count == 1 ? "" : "s", hurt.count == 1 ? "y" : "ies", hurt.first);
		problem(verify, what, -EBADMSG, text);
		verify->counts->hurt++;
	}
	free(hurt.first);
	free(hurt.last);
	used_blobs_free(used);
	return r;
}

static int tell_losses(struct verify *verify, const struct object_names *names)
{
	int r = blob_index_each(verify->options->repository->index, look_for_loss, verify);

	if (verify->lost.items.count == 0 && !verify->has_wrong)
		return r;
	transfer_tell(&verify->transfer, "backups");
	for (size_t i = 0; i < names->count && r == 0; i++) {
		struct snapshot_file snapshot;
		char name[BLOB_ID_TEXT];

		blob_id_text(&names->items[i], name);
		if (snapshot_file_read(verify->options->repository, name, &snapshot, NULL) < 0)
			continue;
		r = tell_hurt(verify, &snapshot);
		snapshot_file_clear(&snapshot);
	}
	return r;
}

/* --- the whole --- */

static int hold_problem(void *arg, const char *object, int code)
{
	AUTO_FREE char *what = xasprintf("hold %.8s", object);

	if (is_away(arg, code))
		return code;
	problem(arg, what, code, "it is damaged, and nobody knows which backup it keeps");
	return 0;
}

static void tell_bad_index_files(struct verify *verify)
{
	const struct object_names *names = &verify->options->repository->bad_index_files;
	char name[BLOB_ID_TEXT];

	for (size_t i = 0; i < names->count; i++) {
		blob_id_text(&names->items[i], name);
		AUTO_FREE char *what = xasprintf("index file %.8s", name);
		problem(verify, what, -EBADMSG, "it is damaged");
	}
	verify->counts->has_bad_index = names->count > 0;
}

static int run(struct verify *verify, struct error *err)
{
	struct repository *repository = verify->options->repository;
	struct object_names names = {0};
	struct error why = {0};
	/* A backup that ends after this is not looked at; the index that is read after it names all that the others do. */
	int r = repository_list(repository, OBJECT_SNAPSHOT, &names, &why);

	if (r == 0)
		r = repository_load_index(repository, true, &why);
	if (r < 0 && err) {
		*err = why;
	} else if (r == 0) {
		tell_bad_index_files(verify);
		verify->used = used_blobs_new(repository->index);
		r = look_at_snapshots(verify, &names);
	}
	if (r == 0)
		r = backup_holds_check(repository, hold_problem, verify, err);
	if (r == 0)
		r = blob_index_each(repository->index, look_at_place, verify);
	verify->packs_left = blob_index_packs(repository->index);
	verify->packs_wanted = (verify->packs_left * verify->options->sample + 99) / 100;
	if (r == 0)
		r = blob_index_each_pack(repository->index, look_into_pack, verify);
	if (r == 0 && verify->counts->problems > 0)
		r = tell_losses(verify, &names);
	array_clear(&names);
	if (verify->used && is_away(verify, r))
		(void)objects_failed(repository->objects, r, "the repository cannot be read any more", err);
	return r == -ECANCELED ? 0 : r;
}

int verify_run(const struct verify_options *options, struct verify_counts *ret_counts, struct error *err)
{
	struct verify verify = {.options = options, .counts = ret_counts};
	struct repository_lock *lock = NULL;
	struct transfer_counts counts;
	int r, failed;

	*ret_counts = (struct verify_counts){0};
	transfer_begin(&verify.transfer, &options->transfer);
	verify.reader = repository_reader_new(options->repository);
	r = repository_lock_take_to_read(options->repository, &lock, err);
	if (r == 0)
		r = run(&verify, err);
	repository_lock_release(lock);
	repository_reader_free(verify.reader);
	used_blobs_free(verify.used);
	blob_set_clear(&verify.bad_packs);
	blob_set_clear(&verify.lost);
	blob_set_clear(&verify.seen);
	failed = transfer_end(&verify.transfer, &counts, r < 0 ? NULL : err);
	return r < 0 ? r : failed;
}
