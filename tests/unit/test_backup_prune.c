/* A prune loses nothing: where it cannot look, and where the disk is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "backup_scene.h"

static void test_prune_removes_no_copy_where_it_cannot_look(void **state)
{
	struct scene *scene = *state;
	struct prune_options options = {.repository = scene->repository.repository, .max_unused = 5};
	struct backup_result result;
	struct prune_counts counts;
	struct error err = {0};
	size_t packs, failed = 0;

	assert_int_equal(run_backup(scene, &result), 0);
	assert_int_equal(run_backup(scene, &result), 0);
	assert_int_equal(repository_lock_take(options.repository, true, &options.lock, &err), 0);
	packs = count_packs(scene);
	/* Each call fails once; a tree that has another copy is read from there. */
	for (size_t call = 1;; call++) {
		scene->failing.get_fails = call;
		err = (struct error){0};
		if (prune_run(&options, &counts, &err) < 0) {
			failed++;
			assert_int_equal(err.code, -EIO);
			assert_null(strstr(err.hint, "forget")); /* a backup that cannot be read now is none that is damaged */
		}
		assert_int_equal(count_packs(scene), packs);
		if (scene->failing.get_fails > 0)
			break;
	}
	scene->failing.get_fails = 0;
	assert_true(failed > 0);
	repository_lock_release(options.lock);
}

static void test_prune_forgets_nothing_before_it_could_look_at_the_rest(void **state)
{
	struct scene *scene = *state;
	struct object_names forget = {0};
	struct prune_options options = {.repository = scene->repository.repository, .max_unused = 5, .forget = &forget};
	struct backup_result result;
	struct prune_counts counts;
	struct error err = {0};
	struct blob_id first;
	char path[600];
	size_t packs;

	assert_int_equal(run_backup(scene, &result), 0);
	assert_int_equal(blob_id_parse(result.name, &first), 0);
	array_add(&forget, first);
	assert_int_equal(run_backup(scene, &result), 0);
	packs = count_packs(scene);
	assert_int_equal(repository_lock_take(options.repository, true, &options.lock, &err), 0);
	scene->failing.get_fails = 1;
	assert_true(prune_run(&options, &counts, &err) < 0);
	assert_int_equal(counts.forgotten, 0);
	assert_int_equal(place_count(&scene->repository, "snapshots", path), 2);
	scene->failing.packs_stay = true;
	assert_int_equal(prune_run(&options, &counts, &err), -EIO);
	assert_int_equal(counts.forgotten, 1);
	assert_int_equal(place_count(&scene->repository, "snapshots", path), 1);
	assert_non_null(strstr(path, result.name));
	assert_int_equal(count_packs(scene), packs);
	scene->failing.packs_stay = false;
	options.forget = NULL;
	assert_int_equal(prune_run(&options, &counts, &err), 0);
	assert_true(count_packs(scene) < packs);
	repository_lock_release(options.lock);
	array_clear(&forget);
}

static void take(struct scene *scene, struct view *view, const char *snapshot)
{
	const struct snapshot_name name = {.dataset = "d", .name = snapshot};
	struct error err = {0};

	assert_int_equal(view_sync(view), 0);
	store_view_put(scene->place.store, view);
	assert_int_equal(snapshot_create(scene->place.store, &name, 1, "", 0, &err), 0);
}

static void add_files(struct scene *scene, unsigned from, unsigned to, const char *snapshot)
{
	struct view *view = open_head(scene->place.store, "d");
	static uint8_t noise[20000];
	char file[16];

	for (unsigned i = from; i < to; i++) {
		snprintf(file, sizeof(file), "f%u", i);
		fill_random(10 + i, noise, sizeof(noise));
		write_file(view, ROOT_INO, file, 0, noise, sizeof(noise));
	}
	take(scene, view, snapshot);
}

/* A full backup, which is to be forgotten, and an incremental one that needs a part of its packs. */
static struct blob_id back_up_in_part(struct scene *scene)
{
	struct backup_result first, second;
	struct blob_id id;

	add_files(scene, 0, 30, "less");
	add_files(scene, 30, 60, "more");
	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "more", &first), 0);
	assert_int_equal(run_backup_of(scene, BACKUP_INCREMENTAL, "less", &second), 0);
	assert_int_equal(blob_id_parse(first.name, &id), 0);
	return id;
}

/* The disk is full after so many puts: of a pack that is written anew, its index file, the index of what stays. */
static void prune_where_there_is_room_for(struct scene *scene, size_t puts)
{
	struct object_names forget = {0};
	struct prune_options options = {.repository = scene->repository.repository, .max_unused = 5, .forget = &forget, .dry_run = true};
	struct prune_counts would, counts;
	struct error err = {0};
	size_t packs;
	char path[600];

	array_add(&forget, back_up_in_part(scene));
	packs = count_packs(scene);
	assert_int_equal(repository_lock_take(options.repository, true, &options.lock, &err), 0);
	assert_int_equal(prune_run(&options, &would, &err), 0);
	assert_true(would.packs_removed > 0 && would.packs_rewritten > 0);
	options.dry_run = false;
	scene->failing.is_filling = true;
	scene->failing.puts_left = puts;
	if (puts == 0) {
		assert_int_equal(prune_run(&options, &counts, &err), -ENOSPC);
		assert_int_equal(counts.forgotten, 0);
		assert_int_equal(place_count(&scene->repository, "snapshots", path), 2);
		assert_int_equal(count_packs(scene), packs);
		scene->failing.is_filling = false;
	} else {
		assert_int_equal(prune_run(&options, &counts, &err), 0);
		assert_int_equal(counts.forgotten, 1);
		assert_int_equal(counts.packs_removed, would.packs_removed);
		assert_int_equal(counts.packs_rewritten, would.packs_rewritten);
		assert_int_equal(counts.bytes, would.bytes);
		assert_int_equal(counts.bytes_freed, would.bytes_freed);
		assert_false(counts.no_room);
	}
	assert_int_equal(prune_run(&options, &counts, &err), 0);
	assert_int_equal(counts.packs_rewritten, puts == 0 ? would.packs_rewritten : 0);
	assert_false(counts.no_room);
	repository_lock_release(options.lock);
	array_clear(&forget);
}

static void test_prune_on_a_full_disk_removes_nothing_where_there_is_no_room_for_an_index(void **state)
{
	prune_where_there_is_room_for(*state, 0);
}

static void test_prune_takes_back_a_pack_whose_index_file_has_no_room(void **state)
{
	prune_where_there_is_room_for(*state, 1);
}

static void test_prune_takes_back_what_it_wrote_anew_where_the_rest_has_no_room(void **state)
{
	prune_where_there_is_room_for(*state, 2);
}

/* A file, whose chunks come into one pack. */
static void back_up_file(struct scene *scene, const char *file, size_t size, struct object_names *made)
{
	struct view *view = open_head(scene->place.store, "d");
	static uint8_t noise[1000000];
	struct backup_result result;
	struct blob_id id;

	assert_true(size <= sizeof(noise));
	fill_random(size, noise, size);
	write_file(view, ROOT_INO, file, 0, noise, size);
	take(scene, view, file);
	assert_int_equal(run_backup_of(scene, BACKUP_INCREMENTAL, file, &result), 0);
	assert_int_equal(blob_id_parse(result.name, &id), 0);
	array_add(made, id);
}

static void halve(struct view *view, const char *file)
{
	struct setattr change = {.mask = SET_SIZE};
	struct attr attr;

	assert_int_equal(view_lookup(view, ROOT_INO, file, &attr), 0);
	change.size = attr.size / 2;
	assert_int_equal(view_setattr(view, attr.ino, &change, &attr), 0);
}

/* The last backup that is left needs a half of a pack of 320,000 bytes, and of one of 1,000,000. Nothing goes whole. */
static struct prune_options back_up_in_halves(struct scene *scene, struct prune_counts *ret_would)
{
	struct prune_options options = {.repository = scene->repository.repository, .max_unused = 100};
	struct object_names forget = {0};
	struct backup_result result;
	struct error err = {0};
	struct view *view;

	assert_int_equal(run_backup(scene, &result), 0);
	back_up_file(scene, "small", 320000, &forget);
	back_up_file(scene, "large", 1000000, &forget);
	view = open_head(scene->place.store, "d");
	halve(view, "small");
	halve(view, "large");
	take(scene, view, "half");
	assert_int_equal(run_backup_of(scene, BACKUP_INCREMENTAL, "half", &result), 0);
	assert_int_equal(repository_lock_take(options.repository, true, &options.lock, &err), 0);
	object_names_sort(&forget);
	options.forget = &forget;
	assert_int_equal(prune_run(&options, ret_would, &err), 0);
	array_clear(&forget);
	options.forget = NULL;
	options.max_unused = 5;
	options.dry_run = true;
	assert_int_equal(prune_run(&options, ret_would, &err), 0);
	assert_true(ret_would->packs_removed == 0 && ret_would->packs_rewritten == 2 && ret_would->bytes_freed >= 640000);
	options.dry_run = false;
	return options;
}

static void test_prune_frees_all_where_there_is_room_for_some_packs_at_a_time(void **state)
{
	struct scene *scene = *state;
	struct prune_counts would, counts;
	struct prune_options options = back_up_in_halves(scene, &would);
	const size_t packs = count_packs(scene);
	struct error err = {0};

	scene->failing.is_small = true;
	scene->failing.room = 400000;
	assert_int_equal(prune_run(&options, &counts, &err), 0);
	assert_int_equal(counts.packs_rewritten, would.packs_rewritten);
	assert_int_equal(counts.bytes_freed, would.bytes_freed);
	assert_false(counts.no_room);
	assert_true(scene->failing.room > 400000 + would.bytes_freed - 40000);
	assert_int_equal(count_packs(scene), packs);
	repository_lock_release(options.lock);
}

/* It ends, for it would go on for ever; and says what is true. */
static void test_prune_that_removes_packs_which_keep_their_room_says_how_much_is_enough(void **state)
{
	struct scene *scene = *state;
	struct prune_counts would, counts;
	struct prune_options options = back_up_in_halves(scene, &would);
	struct error err = {0};

	scene->failing.is_small = true;
	scene->failing.packs_linger = true;
	scene->failing.room = 300000;
	assert_int_equal(prune_run(&options, &counts, &err), 0);
	assert_true(counts.no_room && counts.needed > 500000);
	scene->failing.room = counts.needed;
	assert_int_equal(prune_run(&options, &counts, &err), 0);
	assert_true(counts.packs_rewritten == 1 && !counts.no_room);
	repository_lock_release(options.lock);
}

static void test_prune_says_how_much_room_is_enough(void **state)
{
	struct scene *scene = *state;
	struct prune_counts would, counts;
	struct prune_options options = back_up_in_halves(scene, &would);
	const size_t packs = count_packs(scene);
	struct error err = {0};

	scene->failing.is_small = true;
	scene->failing.room = 10000;
	assert_int_equal(prune_run(&options, &counts, &err), -ENOSPC);
	assert_int_equal(count_packs(scene), packs);
	assert_int_equal(scene->failing.room, 10000);
	assert_true(counts.needed > 10000 && counts.needed < 320000);
	assert_non_null(strstr(err.hint, "1 MiB are enough"));
	/* With that much it begins, and goes as far as the room goes that comes of it. */
	scene->failing.room = counts.needed;
	err = (struct error){0};
	assert_int_equal(prune_run(&options, &counts, &err), 0);
	assert_true(counts.packs_rewritten == 1 && counts.no_room && counts.needed > 500000);
	assert_int_equal(err.code, 0);
	scene->failing.room = counts.needed;
	assert_int_equal(prune_run(&options, &counts, &err), 0);
	assert_true(counts.packs_rewritten == 1 && !counts.no_room);
	repository_lock_release(options.lock);
}

/* Each full backup has an index file of its own, which names its packs only. */
static void test_prune_on_a_full_disk_makes_room_with_what_stands_in_no_other_index_file(void **state)
{
	struct scene *scene = *state;
	struct object_names forget = {0};
	struct prune_options options = {.repository = scene->repository.repository, .max_unused = 5, .forget = &forget};
	struct backup_result first, second;
	struct prune_counts counts;
	struct error err = {0};
	struct blob_id id;
	char path[600];
	size_t packs;

	assert_int_equal(run_backup(scene, &first), 0);
	packs = count_packs(scene);
	assert_int_equal(run_backup(scene, &second), 0);
	assert_int_equal(blob_id_parse(first.name, &id), 0);
	array_add(&forget, id);
	assert_int_equal(place_count(&scene->repository, "index", path), 2);
	assert_int_equal(repository_lock_take(options.repository, true, &options.lock, &err), 0);
	scene->failing.is_filling = true;
	scene->failing.puts_left = 0;
	assert_int_equal(prune_run(&options, &counts, &err), 0);
	assert_false(scene->failing.is_filling);
	assert_int_equal(counts.forgotten, 1);
	assert_int_equal(counts.packs_removed, packs);
	assert_int_equal(count_packs(scene), packs);
	assert_int_equal(place_count(&scene->repository, "index", path), 1);
	assert_int_equal(repository_load_index(options.repository, false, &err), 0);
	assert_int_equal(blob_index_packs(options.repository->index), packs);
	repository_lock_release(options.lock);
	array_clear(&forget);
}

static void put_pack_that_no_index_names(struct scene *scene)
{
	const struct new_blob blob = {.id = blob_id_of("stray", 5), .plain = "stray", .len = 5};
	struct repository_writer *writer = repository_writer_new(scene->repository.repository, scene->repository.repository->index);
	struct repository_hand *hand = repository_hand_new(writer);
	struct error err = {0};

	assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	assert_int_equal(repository_hand_end(hand, &err), 0);
	repository_writer_free(writer);
}

/* As a backup leaves them that filled the disk. Nothing is forgotten for it. */
static void test_prune_on_a_full_disk_makes_room_with_packs_that_no_index_names(void **state)
{
	struct scene *scene = *state;
	struct prune_options options = {.repository = scene->repository.repository, .max_unused = 5};
	struct backup_result result;
	struct prune_counts counts;
	struct error err = {0};
	size_t packs;
	char path[600];

	assert_int_equal(run_backup(scene, &result), 0);
	packs = count_packs(scene);
	put_pack_that_no_index_names(scene);
	assert_int_equal(count_packs(scene), packs + 1);
	assert_int_equal(repository_lock_take(options.repository, true, &options.lock, &err), 0);
	scene->failing.is_filling = true;
	scene->failing.puts_left = 0;
	assert_int_equal(prune_run(&options, &counts, &err), 0);
	assert_false(scene->failing.is_filling);
	assert_int_equal(counts.packs_removed, 1);
	assert_int_equal(count_packs(scene), packs);
	assert_int_equal(place_count(&scene->repository, "snapshots", path), 1);
	repository_lock_release(options.lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_prune_removes_no_copy_where_it_cannot_look, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_forgets_nothing_before_it_could_look_at_the_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_on_a_full_disk_removes_nothing_where_there_is_no_room_for_an_index, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_on_a_full_disk_makes_room_with_what_stands_in_no_other_index_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_on_a_full_disk_makes_room_with_packs_that_no_index_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_takes_back_a_pack_whose_index_file_has_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_takes_back_what_it_wrote_anew_where_the_rest_has_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_frees_all_where_there_is_room_for_some_packs_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_that_removes_packs_which_keep_their_room_says_how_much_is_enough, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prune_says_how_much_room_is_enough, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
