/* For the tests of backups: a dataset with a snapshot, and a repository at whose place calls fail. */
#ifndef CORPUSFS_TESTS_BACKUP_SCENE_H
#define CORPUSFS_TESTS_BACKUP_SCENE_H

#include "lib/backup/backup.h"
#include "lib/backup/prune.h"
#include "lib/store/json_record.h"
#include "dataset_store.h"
#include "repository_place.h"

/* --- a place where calls fail --- */

struct failing {
	struct objects objects;
	struct objects *inner;
	size_t get_fails; /* of those that read packs, counted down; 0: none */
	bool snapshots_fail; /* to read one fails */
	bool packs_stay; /* to remove one fails */
	bool packs_linger; /* they stay listed when they were removed, and take their room */
	enum object_kind gone; /* with gone_at: from its list of that number on (1: the first) there are none of this kind */
	size_t gone_at;
	bool is_filling; /* after some more puts the disk is full, until a pack was removed */
	size_t puts_left;
	bool is_small; /* the disk has room for so many bytes */
	size_t room;
	enum { PUT_GOES_WELL, PUT_FAILS, PUT_IS_NOT_ANSWERED } put; /* of snapshot files */
	struct store *store;
	size_t marks; /* of unfinished backups, that the store had when the last snapshot file was about to be put */
};

static struct failing *failing_of(struct objects *objects)
{
	return (struct failing *)objects;
}

static size_t count_marks(struct store *store)
{
	json_t *marks;
	size_t count;

	assert_int_equal(json_record_read(store, "unfinished", &marks), 0);
	count = json_object_size(marks);
	json_decref(marks);
	return count;
}

static int failing_put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	struct failing *failing = failing_of(objects);
	const bool fails = kind == OBJECT_SNAPSHOT && failing->put != PUT_GOES_WELL;
	int r;

	if (kind == OBJECT_SNAPSHOT)
		failing->marks = count_marks(failing->store);
	if (failing->is_filling && failing->puts_left == 0)
		return -ENOSPC;
	if (failing->is_filling)
		failing->puts_left--;
	if (failing->is_small && len > failing->room)
		return -ENOSPC;
	r = fails && failing->put == PUT_FAILS ? 0 : failing->inner->place->put(failing->inner, kind, name, data, len);
	if (r == 0 && failing->is_small)
		failing->room -= len;
	return r == 0 && fails ? -ETIMEDOUT : r;
}

static int failing_get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	struct failing *failing = failing_of(objects);

	if (kind == OBJECT_PACK && failing->get_fails > 0 && --failing->get_fails == 0)
		return -EIO;
	if (kind == OBJECT_SNAPSHOT && failing->snapshots_fail)
		return -EIO;
	return failing->inner->place->get(failing->inner, kind, name, offset, len, out);
}

static int failing_size(struct objects *objects, enum object_kind kind, const char *name, uint64_t *ret_size)
{
	struct objects *inner = failing_of(objects)->inner;

	return inner->place->size(inner, kind, name, ret_size);
}

static int failing_list(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg)
{
	struct failing *failing = failing_of(objects);

	if (failing->gone_at > 0 && kind == failing->gone && --failing->gone_at == 0) {
		failing->gone_at = 1;
		return 0;
	}
	return failing->inner->place->list(failing->inner, kind, each, arg);
}

static int failing_remove(struct objects *objects, enum object_kind kind, const char *name)
{
	struct failing *failing = failing_of(objects);
	uint64_t size;
	int r;

	if (kind == OBJECT_PACK)
		failing->is_filling = false;
	if (kind == OBJECT_PACK && failing->packs_stay)
		return -EIO;
	if (kind == OBJECT_PACK && failing->packs_linger)
		return 0;
	r = failing->inner->place->size(failing->inner, kind, name, &size);
	if (r == 0)
		r = failing->inner->place->remove(failing->inner, kind, name);
	if (r == 0 && failing->is_small)
		failing->room += size;
	return r;
}

static const struct objects_place failing_place = {
	.put = failing_put, .get = failing_get, .size = failing_size, .list = failing_list, .remove = failing_remove,
};

/* --- a dataset and a repository --- */

struct scene {
	struct place place;
	struct repository_place repository;
	struct failing failing;
};

static int setup(void **state)
{
	static struct scene scene;
	const struct snapshot_name name = {.dataset = "d", .name = "s"};
	static uint8_t noise[300000];
	struct error err = {0};
	struct view *view;

	place_init(&scene.place);
	assert_int_equal(dataset_create(scene.place.store, "d", 0755, 0, 0, 1, &err), 0);
	fill_random(1, noise, sizeof(noise));
	view = open_head(scene.place.store, "d");
	write_file(view, ROOT_INO, "noise", 0, noise, sizeof(noise));
	assert_int_equal(view_sync(view), 0);
	store_view_put(scene.place.store, view);
	assert_int_equal(snapshot_create(scene.place.store, &name, 1, "", 0, &err), 0);
	repository_place_make(&scene.repository);
	scene.failing = (struct failing){.objects = {&failing_place}, .inner = scene.repository.repository->objects, .store = scene.place.store};
	scene.repository.repository->objects = &scene.failing.objects;
	*state = &scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	scene->repository.repository->objects = scene->failing.inner;
	repository_place_clear(&scene->repository);
	place_clear(&scene->place);
	return 0;
}

static int run_with(struct scene *scene, struct backup_options options, struct backup_result *ret_result)
{
	struct error err = {0};

	options.repository = scene->repository.repository;
	options.place = "place";
	options.dataset = "d";
	return backup_run(scene->place.store, &options, ret_result, &err);
}

static int run_backup_of(struct scene *scene, enum backup_type type, const char *snapshot, struct backup_result *ret_result)
{
	return run_with(scene, (struct backup_options){.type = type, .snapshot = snapshot}, ret_result);
}

static UNUSED int run_backup(struct scene *scene, struct backup_result *ret_result)
{
	return run_backup_of(scene, BACKUP_FULL, "s", ret_result);
}

/* Snapshot "later" has one more file. */
static UNUSED void take_later(struct scene *scene)
{
	const struct snapshot_name name = {.dataset = "d", .name = "later"};
	struct view *view = open_head(scene->place.store, "d");
	static uint8_t noise[300000];
	struct error err = {0};

	fill_random(2, noise, sizeof(noise));
	write_file(view, ROOT_INO, "more", 0, noise, sizeof(noise));
	assert_int_equal(view_sync(view), 0);
	store_view_put(scene->place.store, view);
	assert_int_equal(snapshot_create(scene->place.store, &name, 1, "", 0, &err), 0);
}

static int count_one(void *arg, const char *name, uint64_t size)
{
	++*(size_t *)arg;
	return 0;
}

static UNUSED size_t count_packs(struct scene *scene)
{
	size_t count = 0;

	assert_int_equal(failing_list(&scene->failing.objects, OBJECT_PACK, count_one, &count), 0);
	return count;
}

#endif
