/* Copies of a repository's small objects: it can be opened and looked at while its place is away, and no copy is believed that is not what it should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/repository/locks.h"
#include "lib/repository/objects_etcd.h"
#include "lib/repository/objects_kept.h"
#include "tests/unit/repository_place.h"

/* --- a place that can be away --- */

struct leaving {
	struct objects objects; /* first */
	struct objects *behind; /* NULL: it was closed */
};

static bool is_away;
static int away_code; /* what is said then */
static bool has_etcd, stale_ok; /* heads are in it; no member is ever asked */
static unsigned asked; /* while it was away */

static int turn_away(void)
{
	asked += is_away;
	return is_away ? away_code : 0;
}

static struct objects *behind(struct objects *objects)
{
	return ((struct leaving *)objects)->behind;
}

static int put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	int r = turn_away();

	return r < 0 ? r : behind(objects)->place->put(behind(objects), kind, name, data, len);
}

static int get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	int r = turn_away();

	return r < 0 ? r : behind(objects)->place->get(behind(objects), kind, name, offset, len, out);
}

static int size(struct objects *objects, enum object_kind kind, const char *name, uint64_t *ret_size)
{
	int r = turn_away();

	return r < 0 ? r : behind(objects)->place->size(behind(objects), kind, name, ret_size);
}

static int list(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg)
{
	int r = turn_away();

	return r < 0 ? r : behind(objects)->place->list(behind(objects), kind, each, arg);
}

static int remove_object(struct objects *objects, enum object_kind kind, const char *name)
{
	int r = turn_away();

	return r < 0 ? r : behind(objects)->place->remove(behind(objects), kind, name);
}

static void close_leaving(struct objects *objects)
{
	objects_close(behind(objects));
	free(objects);
}

static const struct objects_place leaving_place = {.put = put, .get = get, .size = size, .list = list, .remove = remove_object, .close = close_leaving};

/* --- fixture --- */

struct fixture {
	struct repository_place place; /* as it is made, without copies */
	char copies[64];
	struct repository *repository; /* with copies; NULL */
	struct objects *kept;          /* of it */
	struct blob_id blob;
};

static int open_leaving(void *arg, struct objects **ret_place)
{
	struct leaving *leaving;
	int r = turn_away();

	if (r < 0)
		return r;
	leaving = xcalloc(1, sizeof(*leaving));
	leaving->objects.place = &leaving_place;
	leaving->behind = place_objects(&((struct fixture *)arg)->place);
	*ret_place = &leaving->objects;
	if (!has_etcd)
		return 0;
	return objects_etcd_open(&leaving->objects, &(struct etcd_options){.members = "127.0.0.1:1", .stale_ok = stale_ok}, ret_place, NULL);
}

static int try_open(struct fixture *fixture, struct error *err)
{
	struct objects_kept_options options = {.open = open_leaving, .arg = fixture, .patience_ms = 1};
	int fd = open(fixture->copies, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(objects_kept_folders(fd), 0);
	options.copies = objects_dir_open(fd);
	if (open_leaving(fixture, &options.place) < 0)
		options.place = NULL;
	fixture->kept = objects_kept_open(&options);
	return repository_open(fixture->kept, "password", &fixture->repository, err);
}

static void reopen(struct fixture *fixture)
{
	struct error err = {0};

	repository_close(fixture->repository);
	assert_int_equal(try_open(fixture, &err), 0);
	assert_int_equal(repository_load_index(fixture->repository, false, &err), 0);
}

static void add_blob(struct fixture *fixture, const char *text)
{
	struct repository *repository = fixture->place.repository;
	struct blob_index *nothing = blob_index_new();
	struct repository_writer *writer = repository_writer_new(repository, nothing);
	struct repository_hand *hand = repository_hand_new(writer);
	struct writer_counts counts;
	struct error err = {0};
	const struct new_blob blob = {.id = blob_id_of(text, strlen(text)), .plain = text, .len = strlen(text)};

	assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	assert_int_equal(repository_hand_end(hand, &err), 0);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	repository_writer_free(writer);
	blob_index_free(nothing);
	fixture->blob = blob.id;
}

static int set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));

	is_away = false;
	away_code = -ETIMEDOUT;
	has_etcd = stale_ok = false;
	asked = 0;
	repository_place_make(&fixture->place);
	add_blob(fixture, "content");
	snprintf(fixture->copies, sizeof(fixture->copies), "%s/copies", fixture->place.path);
	assert_int_equal(mkdir(fixture->copies, 0700), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	repository_close(fixture->repository);
	repository_place_clear(&fixture->place);
	free(fixture);
	return 0;
}

/* The last file of a folder of copies, which has so many. */
static void copy_in(const struct fixture *fixture, const char *folder, size_t count, char path[600])
{
	char inside[40];

	snprintf(inside, sizeof(inside), "copies/%s", folder);
	assert_int_equal(place_count(&fixture->place, inside, path), count);
}

static void spoil(const char *path)
{
	int fd;

	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "spoilt", 6, 40), 6);
	close(fd);
}

static int read_blob(struct fixture *fixture)
{
	struct repository_reader *reader = repository_reader_new(fixture->repository);
	AUTO_BUF plain = BUF_INIT;
	int r = repository_read_blob(reader, &fixture->blob, false, &plain);

	repository_reader_free(reader);
	return r;
}

static void what_was_read_once_is_opened_while_the_place_is_away(void **state)
{
	struct fixture *fixture = *state;
	struct repository_lock *lock;
	struct error err = {0};

	is_away = true;
	assert_int_equal(try_open(fixture, &err), -EHOSTUNREACH);
	is_away = false;
	reopen(fixture);
	assert_int_equal(read_blob(fixture), 0);
	is_away = true;
	reopen(fixture);
	assert_true(blob_index_has(fixture->repository->index, &fixture->blob, false));
	assert_int_equal(read_blob(fixture), -EHOSTUNREACH);
	assert_int_equal(repository_lock_take_to_read(fixture->repository, &lock, &err), 0);
	assert_null(lock);
	/* It is back. */
	is_away = false;
	usleep(1100000); /* from one try to the next */
	assert_int_equal(read_blob(fixture), 0);
}

static void place_that_goes_is_asked_once(void **state)
{
	struct fixture *fixture = *state;
	struct object_names names = {0};
	struct error err = {0};

	reopen(fixture);
	is_away = true;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(repository_list(fixture->repository, OBJECT_INDEX, &names, &err), 0);
		assert_int_equal(names.count, i + 1);
		assert_int_equal(repository_load_index(fixture->repository, false, &err), 0);
	}
	assert_int_equal(asked, 1);
	/* Who wants content asks. */
	assert_int_equal(read_blob(fixture), -ETIMEDOUT);
	assert_int_equal(asked, 2);
	is_away = false;
	assert_int_equal(read_blob(fixture), 0);
	array_clear(&names);
}

/* Where heads are in etcd, a copy does not know what is the newest. */
static void what_etcd_says_is_not_hidden_by_copies(void **state)
{
	static const int codes[] = {-EREMOTEIO, -EUCLEAN, -EBADMSG};
	struct fixture *fixture = *state;
	struct object_names names = {0};
	struct error err = {0};

	reopen(fixture);
	is_away = true;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		away_code = codes[i];
		assert_int_equal(repository_list(fixture->repository, OBJECT_HEAD, &names, &err), codes[i]);
	}
	assert_int_equal(asked, ARRAY_SIZE(codes));
	away_code = -ETIMEDOUT;
	assert_int_equal(repository_list(fixture->repository, OBJECT_HEAD, &names, &err), 0);
	array_clear(&names);
}

/* Nor is it one while the place cannot be asked whether heads are in etcd. */
static void copies_of_heads_are_no_answer_where_etcd_decides(void **state)
{
	struct fixture *fixture = *state;
	struct object_names names = {0};
	struct error err = {0};

	for (unsigned i = 0; i < 2; i++) {
		has_etcd = true;
		stale_ok = i == 1;
		is_away = false;
		reopen(fixture);
		is_away = true;
		assert_int_equal(repository_list(fixture->repository, OBJECT_SNAPSHOT, &names, &err), 0);
		assert_int_equal(repository_list(fixture->repository, OBJECT_HEAD, &names, &err), stale_ok ? 0 : -ETIMEDOUT);
	}
	array_clear(&names);
}

static void damaged_copy_is_fetched_anew(void **state)
{
	const char *const folders[] = {"index", "keys", ""};
	struct fixture *fixture = *state;
	struct error err = {0};
	char path[600];

	reopen(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		if (*folders[i])
			copy_in(fixture, folders[i], 1, path);
		else
			snprintf(path, sizeof(path), "%s/config", fixture->copies);
		spoil(path);
		reopen(fixture);
		is_away = true;
		reopen(fixture);
		is_away = false;
		/* Away, it is an error, whatever it was. */
		spoil(path);
		repository_close(fixture->repository);
		fixture->repository = NULL;
		is_away = true;
		if (try_open(fixture, &err) == 0)
			assert_int_not_equal(repository_load_index(fixture->repository, false, &err), 0);
		is_away = false;
		reopen(fixture);
	}
}

static void copies_go_with_what_they_are_of(void **state)
{
	struct fixture *fixture = *state;
	char path[600], copy[600];

	reopen(fixture);
	add_blob(fixture, "more");
	reopen(fixture);
	copy_in(fixture, "index", 2, copy);
	assert_int_equal(place_count(&fixture->place, "index", path), 2);
	assert_int_equal(unlink(path), 0);
	reopen(fixture);
	copy_in(fixture, "index", 1, copy);
	assert_string_not_equal(strrchr(copy, '/'), strrchr(path, '/'));
}

/* They are another's then: one of what is gone stays, and one of what is new is not made; what was asked for is found all the same. */
static void copies_that_were_stopped_are_not_touched(void **state)
{
	struct fixture *fixture = *state;
	struct error err = {0};
	char copy[600], again[600], path[600];

	reopen(fixture);
	copy_in(fixture, "index", 1, copy);
	snprintf(path, sizeof(path), "%s/index/%s", fixture->place.path, strrchr(copy, '/') + 1);
	assert_int_equal(unlink(path), 0);
	add_blob(fixture, "more");
	objects_kept_stop(fixture->kept);
	assert_int_equal(repository_load_index(fixture->repository, false, &err), 0);
	assert_int_equal(read_blob(fixture), 0);
	copy_in(fixture, "index", 1, again);
	assert_string_equal(again, copy);
}

/* Its folder is gone: nothing can be kept. */
static void without_room_for_copies_all_goes_on(void **state)
{
	struct fixture *fixture = *state;
	struct error err = {0};
	char folder[100];

	assert_int_equal(try_open(fixture, &err), 0);
	snprintf(folder, sizeof(folder), "%s/index", fixture->copies);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(repository_load_index(fixture->repository, false, &err), 0);
	assert_int_equal(read_blob(fixture), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_read_once_is_opened_while_the_place_is_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(place_that_goes_is_asked_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_etcd_says_is_not_hidden_by_copies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(copies_of_heads_are_no_answer_where_etcd_decides, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damaged_copy_is_fetched_anew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(copies_go_with_what_they_are_of, set_up, tear_down),
		cmocka_unit_test_setup_teardown(copies_that_were_stopped_are_not_touched, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_room_for_copies_all_goes_on, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
