#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "tests/unit/dataset_store.h"

static void write_text(const char *dir, const char *name, const char *text)
{
	AUTO_FREE char *path = xasprintf("%s/%s", dir, name);

	assert_int_equal(file_replace(path, text, strlen(text), 0644), 0);
}

static int open_result(const struct place *place, struct error *err)
{
	struct store *store = NULL;
	int result = store_open(place->path, NULL, &store, err);

	assert_null(store);
	return result;
}

static void makes_and_opens(void **state)
{
	struct place place;
	struct superblock superblock;

	place_init(&place);
	assert_int_equal(store_superblock(place.store)->chunk_average, 8192);
	assert_string_equal(store_path(place.store), place.path);
	assert_int_equal(store_probe(place.path, &superblock, NULL), 0);
	assert_string_equal(superblock.uuid, store_superblock(place.store)->uuid);
	place_reopen(&place);
	place_clear(&place);
}

static void init_refuses_what_is_not_empty(void **state)
{
	struct place place;
	struct error err = {0};
	const struct store_parameters odd = {.chunk_min = 5000, .chunk_average = 8192, .chunk_max = 16384};
	const struct store_parameters falling = {.chunk_min = 16384, .chunk_average = 8192, .chunk_max = 16384};

	place_make(&place);
	write_text(place.dir, "precious", "data");
	assert_int_equal(store_init(place.dir, NULL, &err), -ENOTEMPTY);
	assert_int_equal(store_init(place.path, &odd, &err), -EINVAL);
	assert_int_equal(store_init(place.path, &falling, &err), -EINVAL);
	assert_int_equal(store_init(place.path, NULL, &err), 0);
	assert_int_equal(store_init(place.path, NULL, &err), -EEXIST);
	place_clear(&place);
}

static void open_says_what_is_wrong(void **state)
{
	struct place place;
	struct error err = {0};

	place_make(&place);
	assert_int_equal(open_result(&place, &err), -ENOENT);
	assert_non_null(strstr(err.hint, "corpusfs init"));
	assert_int_equal(mkdir(place.path, 0700), 0);
	assert_int_equal(open_result(&place, &err), -EMEDIUMTYPE);
	assert_non_null(strstr(err.hint, "corpusfs init"));
	write_text(place.path, "corpusfs", "corpusfs store\nformat 1\n");
	assert_int_equal(open_result(&place, &err), -EBADMSG);
	AUTO_FREE char *lock = xasprintf("%s/lock", place.path);
	assert_int_equal(access(lock, F_OK), -1); /* untouched */
	place_clear(&place);
}

static void a_lost_database_is_not_made_anew(void **state)
{
	struct place place;
	struct error err = {0};

	place_init(&place);
	assert_int_equal(store_close(place.store), 0);
	place.store = NULL;
	AUTO_FREE char *current = xasprintf("%s/db/CURRENT", place.path);
	assert_int_equal(unlink(current), 0);
	assert_int_equal(open_result(&place, &err), -EBADMSG);
	assert_int_equal(access(current, F_OK), -1);
	place_clear(&place);
}

static void the_lock_names_its_owner(void **state)
{
	struct place place;
	struct error err = {0};
	char pid[24];

	place_init(&place);
	snprintf(pid, sizeof(pid), "process %ld ", (long)getpid());
	assert_int_equal(open_result(&place, &err), -EBUSY);
	assert_non_null(strstr(err.text, pid));
	assert_int_equal(store_locked_by(place.path), getpid());
	assert_int_equal(store_close(place.store), 0);
	place.store = NULL;
	assert_int_equal(store_locked_by(place.path), 0);
	place_clear(&place);
}

static void an_interrupted_init_is_begun_again(void **state)
{
	static const char *const points[] = {"init-before-database", "init-before-superblock"};

	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		struct place place;
		struct error err = {0};
		place_make(&place);
		die_at(points[i], "init", place.path);
		assert_int_equal(open_result(&place, &err), -EMEDIUMTYPE);
		assert_non_null(strstr(err.text, "interrupted"));
		assert_int_equal(store_init(place.path, NULL, &err), 0);
		place_open(&place);
		place_clear(&place);
	}
}

static void views_are_found_by_number_and_name(void **state)
{
	struct place place;
	struct view *view, *same;
	struct dataset_info info;
	struct error err = {0};
	const struct snapshot_name wanted = {.dataset = "a", .name = "one"};

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "a", 0755, 1, 2, 0, &err), 0);
	assert_int_equal(dataset_get(place.store, "a", &info), 0);
	assert_int_equal(store_head(place.store, "a", &view), 0);
	assert_int_equal(store_view_by_number(place.store, info.view, &same), 0);
	assert_ptr_equal(view, same);
	store_view_put(place.store, same);
	store_view_put(place.store, view);
	assert_int_equal(store_view_by_number(place.store, info.view + 1, &view), -ESTALE);
	assert_int_equal(store_view_by_name(place.store, "a@one", &view, &err), -ENOENT);
	assert_int_equal(snapshot_create(place.store, &wanted, 1, NULL, 0, &err), 0);
	assert_int_equal(store_view_by_name(place.store, "a@one", &view, &err), 0);
	assert_true(view_read_only(view));
	store_view_put(place.store, view);
	place_clear(&place);
}

/* As another host does after silence: the record gets another name and another word. */
static void take_away(const char *store)
{
	AUTO_FREE char *command = xasprintf("cd %s && mv owner.[0-9a-f]* owner.0123456789abcdef && "
					    "printf 'word 0123456789abcdef\\n' | dd of=owner.0123456789abcdef conv=notrunc status=none",
					    store);
	assert_int_equal(system(command), 0);
}

static void who_was_stopped_before_opening_opens_nothing_that_is_another_s(void **state)
{
	struct place place;
	int status;

	place_init(&place);
	assert_int_equal(store_close(place.store), 0);
	place.store = NULL;
	pid_t child = fork();
	if (child == 0) {
		setenv("CORPUSFS_FAULT", "store-before-open:stop", 1);
		execl("/proc/self/exe", "test", "open", place.path, (char *)NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	assert_true(WIFSTOPPED(status));
	take_away(place.path);
	assert_int_equal(kill(child, SIGCONT), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EROFS);
	place_clear(&place);
}

static int open_as_a_child(const char *path)
{
	struct store *store;

	return -store_open(path, &small_store, &store, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_and_opens),
		cmocka_unit_test(init_refuses_what_is_not_empty),
		cmocka_unit_test(open_says_what_is_wrong),
		cmocka_unit_test(a_lost_database_is_not_made_anew),
		cmocka_unit_test(the_lock_names_its_owner),
		cmocka_unit_test(an_interrupted_init_is_begun_again),
		cmocka_unit_test(who_was_stopped_before_opening_opens_nothing_that_is_another_s),
		cmocka_unit_test(views_are_found_by_number_and_name),
	};

	if (argc == 3 && strcmp(argv[1], "open") == 0)
		return open_as_a_child(argv[2]);
	if (argc == 3)
		return store_init(argv[2], &small_chunks, NULL) == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
