/* A base that somebody changed since it was made, as restic's "rewrite" and "repair snapshots" do: it keeps time and tags, and says of what it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/restore.h"
#include "forged_backup.h"

/* Directory d1 has two files of many blobs each, and d2 is what changes. */
static void take_with(struct scene *scene, const char *snapshot, unsigned seed)
{
	static uint8_t noise[600000];
	const struct snapshot_name name = {.dataset = "d", .name = snapshot};
	struct view *view = open_head(scene->place.store, "d");
	struct error err = {0};

	if (seed == 1) {
		for (unsigned i = 0; i < 2; i++) {
			fill_random(20 + i, noise, sizeof(noise));
			write_file(view, dir_ino(view, 1), i == 0 ? "dropped" : "shortened", 0, noise, sizeof(noise));
		}
	}
	fill_random(30 + seed, noise, 1000);
	write_file(view, dir_ino(view, 2), "changes", 0, noise, 1000);
	assert_int_equal(view_sync(view), 0);
	store_view_put(scene->place.store, view);
	assert_int_equal(snapshot_create(scene->place.store, &name, 1, "", 0, &err), 0);
}

static bool repair(struct forge *forge, struct node *node)
{
	AUTO_BUF plain = BUF_INIT;

	if (strcmp(node->name, "shortened") == 0) {
		assert_true(node->content.count > 2);
		node->content.count = 1;
		assert_int_equal(repository_read_blob(forge->reader, &node->content.items[0], false, &plain), 0);
		node->size = plain.len;
	}
	return strcmp(node->name, "dropped") != 0;
}

/* The copy takes the place of the backup, and says so in "original". */
static void rewrite(struct scene *scene, const char *name, char ret_rewritten[BLOB_ID_TEXT])
{
	struct repository *repository = scene->repository.repository;
	char forged[BLOB_ID_TEXT];
	struct objects *objects = repository->objects;
	AUTO_BUF json = BUF_INIT;
	struct error err = {0};

	forge_backup(scene, name, repair, forged);
	assert_int_equal(repository_get_file(repository, OBJECT_SNAPSHOT, forged, &json, &err), 0);
	json.len--;
	buf_addf(&json, ",\"original\":\"%s\"}", name);
	assert_int_equal(repository_put_file(repository, OBJECT_SNAPSHOT, &json, ret_rewritten, &err), 0);
	assert_int_equal(objects->place->remove(objects, OBJECT_SNAPSHOT, forged), 0);
	assert_int_equal(objects->place->remove(objects, OBJECT_SNAPSHOT, name), 0);
}

static int restore(struct scene *scene, const char *backup, struct restore_result *ret_result)
{
	const struct restore_options options = {.repository = scene->repository.repository, .place = "place", .backup = backup, .path = ""};
	struct error err = {0};

	return restore_to_memory(&options, ret_result, &err);
}

static void assert_whole(struct scene *scene, const char *backup)
{
	struct restore_result result;

	assert_int_equal(restore(scene, backup, &result), 0);
	assert_true(result.compared && result.same && !result.uncompared);
}

static void back_up_on_rewritten(struct scene *scene, enum backup_type type)
{
	struct backup_result first, second, third;
	char rewritten[BLOB_ID_TEXT];
	struct restore_result result;

	make_dirs(scene->place.store, "d");
	take_with(scene, "one", 1);
	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "one", &first), 0);
	rewrite(scene, first.name, rewritten);
	assert_string_not_equal(rewritten, first.name);
	assert_int_equal(restore(scene, rewritten, &result), 0);
	assert_true(!result.compared && result.uncompared && strstr(result.uncompared, "restic changed"));
	take_with(scene, "two", 2);
	assert_int_equal(run_backup_of(scene, type, "two", &second), 0);
	assert_non_null(second.doubt);
	assert_false(second.compared);
	assert_true(second.counts.data_blobs < first.counts.data_blobs / 2); /* it relies on what is there all the same */
	assert_whole(scene, second.name);
	take_with(scene, "three", 3);
	assert_int_equal(run_backup_of(scene, BACKUP_INCREMENTAL, "three", &third), 0);
	assert_true(third.compared && !third.doubt);
	assert_string_equal(third.base, second.name);
	assert_whole(scene, third.name);
}

static void test_incremental_backup_takes_nothing_over_from_what_was_rewritten(void **state)
{
	back_up_on_rewritten(*state, BACKUP_INCREMENTAL);
}

static void test_differential_backup_takes_nothing_over_from_what_was_rewritten(void **state)
{
	back_up_on_rewritten(*state, BACKUP_DIFFERENTIAL);
}

/* Its tags still say the identity of what was backed up. */
static void test_what_was_rewritten_comes_back_as_it_is_now(void **state)
{
	struct restore_result result;
	struct backup_result first;
	char rewritten[BLOB_ID_TEXT];

	make_dirs(((struct scene *)*state)->place.store, "d");
	take_with(*state, "one", 1);
	assert_int_equal(run_backup_of(*state, BACKUP_FULL, "one", &first), 0);
	rewrite(*state, first.name, rewritten);
	assert_int_equal(restore(*state, rewritten, &result), 0);
	assert_true(!result.compared && !result.identity[0]);
}

/* --- an incomplete one that does not say what it lacks, as earlier versions did --- */

static void make_incomplete(struct scene *scene, const char *name)
{
	static const char FROM[] = "\"tags\":[", TO[] = "\"tags\":[\"incomplete\",";
	struct repository *repository = scene->repository.repository;
	AUTO_BUF json = BUF_INIT, changed = BUF_INIT;
	char other[BLOB_ID_TEXT];
	struct error err = {0};
	char *at;

	assert_int_equal(repository_get_file(repository, OBJECT_SNAPSHOT, name, &json, &err), 0);
	at = memmem(json.data, json.len, FROM, strlen(FROM));
	assert_non_null(at);
	buf_add(&changed, json.data, (size_t)(at - (char *)json.data));
	buf_add(&changed, TO, strlen(TO));
	buf_add(&changed, at + strlen(FROM), (size_t)((char *)json.data + json.len - at) - strlen(FROM));
	assert_int_equal(repository_put_file(repository, OBJECT_SNAPSHOT, &changed, other, &err), 0);
	assert_int_equal(repository->objects->place->remove(repository->objects, OBJECT_SNAPSHOT, name), 0);
}

static void test_nothing_is_taken_over_from_who_does_not_say_what_it_lacks(void **state)
{
	struct backup_result first, second;

	make_dirs(((struct scene *)*state)->place.store, "d");
	take_with(*state, "one", 1);
	assert_int_equal(run_backup_of(*state, BACKUP_FULL, "one", &first), 0);
	make_incomplete(*state, first.name);
	take_with(*state, "two", 2);
	assert_int_equal(run_backup_of(*state, BACKUP_INCREMENTAL, "two", &second), 0);
	assert_true(second.doubt && !second.compared && second.base[0]);
	assert_whole(*state, second.name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing_is_taken_over_from_who_does_not_say_what_it_lacks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_was_rewritten_comes_back_as_it_is_now, setup, teardown),
		cmocka_unit_test_setup_teardown(test_incremental_backup_takes_nothing_over_from_what_was_rewritten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_differential_backup_takes_nothing_over_from_what_was_rewritten, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
