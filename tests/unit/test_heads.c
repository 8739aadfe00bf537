/* Heads of published datasets: what is put, found again, and what becomes of one whose answer was lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/heads.h"
#include "lib/repository/etcd_mark.h"
#include "tests/unit/repository_place.h"

/* A place that puts a head, or does not, and says what it likes. */
struct liar {
	struct objects objects;
	struct objects *inner;
	bool puts, half; /* half: of it alone */
	int says, other_first;
	int cannot_look; /* what it says to who asks for a head's size, from the first put on */
	bool was_put;
	unsigned heads_read;
	char unreadable; /* the last digit of a head's name; '\0': none */
	unsigned times; /* that it says so; then it tells the truth */
};

static struct liar *liar_of(struct objects *objects)
{
	return (struct liar *)objects;
}

static int liar_put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	struct liar *liar = liar_of(objects);

	liar->was_put |= kind == OBJECT_HEAD;
	if (kind != OBJECT_HEAD || liar->times == 0)
		return liar->inner->place->put(liar->inner, kind, name, data, len);
	liar->times--;
	if (liar->other_first)
		assert_int_equal(liar->inner->place->put(liar->inner, kind, name, "another", 7), 0);
	if (liar->puts)
		assert_int_equal(liar->inner->place->put(liar->inner, kind, name, data, liar->half ? len / 2 : len), 0);
	return liar->says;
}

static int liar_get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	struct liar *liar = liar_of(objects);

	if (kind == OBJECT_HEAD && liar->unreadable && name[BLOB_ID_TEXT - 2] == liar->unreadable)
		return -EIO;
	liar->heads_read += kind == OBJECT_HEAD;
	return liar->inner->place->get(liar->inner, kind, name, offset, len, out);
}

static int liar_size(struct objects *objects, enum object_kind kind, const char *name, uint64_t *ret_size)
{
	struct liar *liar = liar_of(objects);

	if (kind == OBJECT_HEAD && liar->cannot_look && liar->was_put)
		return liar->cannot_look;
	return liar->inner->place->size(liar->inner, kind, name, ret_size);
}

static int liar_list(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg)
{
	return liar_of(objects)->inner->place->list(liar_of(objects)->inner, kind, each, arg);
}

static void liar_close(struct objects *objects)
{
	objects_close(liar_of(objects)->inner);
	free(objects);
}

static const struct objects_place liar_place = {
	.put = liar_put, .put_new = liar_put, .get = liar_get, .size = liar_size, .list = liar_list, .close = liar_close,
};

static struct head new_head(const char *dataset, const char *name, uint64_t number)
{
	struct head head = {.dataset = xstrdup(dataset), .name = xstrdup(name), .number = number, .by = xstrdup("store/1"), .published = {1000, 5}};

	memset(head.backup, 'a', BLOB_ID_TEXT - 1);
	return head;
}

static int put(struct repository *repository, const char *dataset, const char *name, uint64_t number, bool conditional, bool *ret_unknown)
{
	struct head head = new_head(dataset, name, number);
	struct error err = {0};
	int r = head_put(repository, &head, conditional, ret_unknown, &err);

	assert_true(r == 0 || err.text[0]);
	head_clear(&head);
	return r;
}

static size_t count_of(struct repository *repository, const char *dataset)
{
	struct heads heads = {0};
	struct error err = {0};
	size_t count;

	assert_int_equal(heads_read(repository, dataset, &heads, &err), 0);
	count = heads.count;
	for (size_t i = 0; i < count; i++)
		assert_false(heads.items[i].is_damaged);
	heads_clear(&heads);
	return count;
}

static void test_versions_come_back_in_order(void **state)
{
	struct repository_place place;
	struct heads heads = {0};
	struct error err = {0};
	bool unknown;

	repository_place_make(&place);
	for (uint64_t number = 300; number > 0; number -= 100)
		assert_int_equal(put(place.repository, "words", "v", number, true, &unknown), 0);
	assert_int_equal(put(place.repository, "other @\xff", "v", 1, true, &unknown), 0);
	assert_int_equal(put(place.repository, "words", "w", 200, true, &unknown), -EEXIST);
	assert_int_equal(heads_read(place.repository, "words", &heads, &err), 0);
	assert_int_equal(heads.count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(heads.items[i].number, 100 * (i + 1));
	assert_string_equal(heads.items[0].dataset, "words");
	assert_int_equal(heads.items[0].published.tv_nsec, 5);
	heads_clear(&heads);
	assert_int_equal(count_of(place.repository, "nothing"), 0);
	repository_place_clear(&place);
}

/* Of put_through alone, which needs a dataset of its own each time. Made when it is first needed: see the first test. */
static struct repository_place shared;

static int clear_shared(void **state)
{
	if (shared.repository)
		repository_place_clear(&shared);
	return 0;
}

/* What a place says of a put, and what it did. `other`: of another writer, before. */
static int put_through(bool conditional, struct liar lies, bool *ret_unknown, size_t *ret_count)
{
	static unsigned datasets;
	struct repository *repository = NULL;
	struct error err = {0};
	struct liar *liar = xcalloc(1, sizeof(*liar));
	struct heads heads = {0};
	char dataset[32];
	int r;

	if (!shared.repository)
		repository_place_make(&shared);
	snprintf(dataset, sizeof(dataset), "words %u", datasets++);
	*liar = lies;
	liar->objects.place = &liar_place;
	liar->inner = place_objects(&shared);
	assert_int_equal(repository_open(&liar->objects, "password", &repository, &err), 0);
	r = put(repository, dataset, "v", 1, conditional, ret_unknown);
	liar->cannot_look = 0;
	assert_int_equal(heads_read(repository, dataset, &heads, &err), 0);
	*ret_count = heads.count;
	heads_clear(&heads);
	repository_close(repository);
	return r;
}

static void test_answer_that_was_lost(void **state)
{
	/* Also of a first try, where the next one is refused or finds no room. */
	static const int answers[] = {-ETIMEDOUT, -EIO, -EEXIST, -EACCES, -ENOSPC};
	bool unknown;
	size_t count;

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		for (int conditional = 0; conditional < 2; conditional++) {
			assert_int_equal(put_through(conditional, (struct liar){.puts = true, .says = answers[i], .times = 1}, &unknown, &count), 0);
			assert_int_equal(count, 1);
			assert_int_equal(put_through(conditional, (struct liar){.other_first = 1, .says = answers[i], .times = 1}, &unknown, &count), -EEXIST);
			assert_false(unknown);
		}
}

static void test_put_that_may_come_later_is_not_known(void **state)
{
	bool unknown = false;
	size_t count;

	assert_int_equal(put_through(true, (struct liar){.says = -ETIMEDOUT, .times = 1}, &unknown, &count), -ETIMEDOUT);
	assert_true(unknown);
	assert_int_equal(put_through(true, (struct liar){.says = -EACCES, .times = 1}, &unknown, &count), -EACCES);
	assert_false(unknown);
}

/* The rest may be on its way: it is no other's. */
static void test_half_of_it_is_not_known(void **state)
{
	bool unknown = false;
	size_t count;

	assert_int_equal(put_through(true, (struct liar){.puts = true, .half = true, .says = -EIO, .times = 1}, &unknown, &count), -EIO);
	assert_true(unknown);
}

static void test_head_that_cannot_be_looked_at_is_not_known(void **state)
{
	static const int answers[] = {-EEXIST, -EEXIST, -EEXIST, -EACCES, -ENOSPC}, looks[] = {-EIO, -ETIMEDOUT, -EACCES, -EIO, -EACCES};
	size_t count;

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		bool unknown = false;
		int r = put_through(true, (struct liar){.puts = true, .says = answers[i], .times = 1, .cannot_look = looks[i]}, &unknown, &count);

		assert_true(r < 0 && r != -EEXIST);
		assert_true(unknown);
		assert_int_equal(count, 1);
	}
}

static void test_head_that_a_crash_may_take_is_not_known(void **state)
{
	bool unknown = false;
	size_t count;

	assert_int_equal(put_through(true, (struct liar){.puts = true, .says = -ENOTRECOVERABLE, .times = 1}, &unknown, &count), -ENOTRECOVERABLE);
	assert_true(unknown);
}

static int put_in_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct objects *objects = objects_dir_open(fd);
	uint64_t size;
	int r = objects->place->put_new(objects, OBJECT_HEAD, "one", "text", 4), there = objects->place->size(objects, OBJECT_HEAD, "one", &size);

	objects_close(objects);
	return r == -EIO && there == -ENOENT ? 0 : 1;
}

/* The variable of the fault points is read once in a process, so it is set in one of its own, before this one has read it. */
static void test_name_that_does_not_come_to_the_disk_goes_again(void **state)
{
	char path[] = "/tmp/corpusfs-test-XXXXXX", folder[64];
	int status;
	pid_t child;

	assert_non_null(mkdtemp(path));
	child = fork();
	if (child == 0) {
		setenv("CORPUSFS_FAULT", "object-after-rename:eio", 1);
		_exit(put_in_directory(path));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	snprintf(folder, sizeof(folder), "%s/heads", path);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(status, 0);
}

static void put_junk(struct repository *repository, const char *dataset, uint64_t number)
{
	char name[BLOB_ID_TEXT];

	head_dataset_text(repository, dataset, name);
	snprintf(name + HEAD_DATASET_TEXT - 1, sizeof(name) - HEAD_DATASET_TEXT + 1, "%016llx", (unsigned long long)number);
	assert_int_equal(repository->objects->place->put(repository->objects, OBJECT_HEAD, name, "junk", 4), 0);
}

static void test_junk_of_impossible_numbers_is_no_head(void **state)
{
	static const uint64_t numbers[] = {0, HEAD_NUMBER_MAX + 1, UINT64_MAX - 1, UINT64_MAX};
	struct repository_place place;
	struct heads heads = {0};
	struct error err = {0};
	bool unknown;

	repository_place_make(&place);
	assert_int_equal(put(place.repository, "words", "v", 1, true, &unknown), 0);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		put_junk(place.repository, "words", numbers[i]);
	assert_int_equal(count_of(place.repository, "words"), 1);
	put_junk(place.repository, "words", HEAD_NUMBER_MAX);
	assert_int_equal(heads_read(place.repository, "words", &heads, &err), 0);
	assert_int_equal(heads.count, 2);
	assert_true(heads.items[1].is_damaged);
	heads_clear(&heads);
	repository_place_clear(&place);
}

/* Of a backup whose name is this digit 64 times. */
static void put_of(struct repository *repository, const char *dataset, uint64_t number, char digit)
{
	struct head head = new_head(dataset, "v", number);
	struct error err = {0};
	bool unknown;

	memset(head.backup, digit, BLOB_ID_TEXT - 1);
	assert_int_equal(head_put(repository, &head, true, &unknown, &err), 0);
	head_clear(&head);
}

/* The number of the head that needs the backup of this digit; 0: none. */
static uint64_t keeping(struct repository *repository, char digit)
{
	char backup[BLOB_ID_TEXT] = "";
	struct heads heads = {0};
	const struct head *head;
	struct error err = {0};
	uint64_t number;

	memset(backup, digit, BLOB_ID_TEXT - 1);
	assert_int_equal(heads_read(repository, NULL, &heads, &err), 0);
	head = heads_keeping(&heads, backup);
	number = head ? head->number : 0;
	heads_clear(&heads);
	return number;
}

/* Their names are hashes: in which order they are listed is chance. */
static void test_head_is_the_last_of_its_dataset_whatever_numbers_others_have(void **state)
{
	struct repository_place place;
	struct heads heads = {0};
	struct error err = {0};

	repository_place_make(&place);
	for (unsigned i = 0; i < 8; i++) {
		const char dataset[] = {(char)('p' + i), '\0'};

		put_of(place.repository, dataset, 10 * (i + 1), (char)('0' + i));
		put_of(place.repository, dataset, 10 * (i + 1) - 1, '9');
	}
	assert_int_equal(heads_read(place.repository, NULL, &heads, &err), 0);
	for (size_t i = 0; i < heads.count; i++)
		assert_int_equal(head_is_newest(&heads, i), heads.items[i].number % 10 == 0);
	heads_clear(&heads);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(keeping(place.repository, (char)('0' + i)), 10 * (i + 1));
	assert_int_equal(keeping(place.repository, '9'), 0);
	repository_place_clear(&place);
}

static void test_behind_junk_the_newest_that_can_be_read_keeps_its_backup(void **state)
{
	struct repository_place place;

	repository_place_make(&place);
	put_of(place.repository, "words", 1, 'a');
	put_of(place.repository, "words", 2, 'b');
	put_junk(place.repository, "words", 3);
	put_junk(place.repository, "words", 4);
	put_junk(place.repository, "junk alone", 1);
	assert_int_equal(keeping(place.repository, 'b'), 2);
	assert_int_equal(keeping(place.repository, 'a'), 0);
	repository_place_clear(&place);
}

/* The backup of a head is looked for last. */
static bool is_found(struct repository *repository, const char *text)
{
	struct head head = {0};
	struct error err = {0};

	assert_int_equal(head_find(repository, text, &head, &err), -ENOENT);
	return strstr(err.text, "backup aaaaaaaa is gone") != NULL;
}

static void test_only_the_heads_that_are_needed_are_read(void **state)
{
	struct repository_place place;
	struct repository *repository = NULL;
	struct error err = {0};
	struct liar *liar = xcalloc(1, sizeof(*liar));
	struct head head = {0};
	bool unknown;

	repository_place_make(&place);
	for (uint64_t number = 1; number <= 3; number++) {
		const char name[] = {(char)('0' + number), '\0'};

		assert_int_equal(put(place.repository, "words", name, number, true, &unknown), 0);
	}
	liar->objects.place = &liar_place;
	liar->inner = place_objects(&place);
	assert_int_equal(repository_open(&liar->objects, "password", &repository, &err), 0);
	assert_true(is_found(repository, "words"));
	assert_int_equal(liar->heads_read, 1);
	assert_true(is_found(repository, "words@2"));
	assert_int_equal(liar->heads_read, 3);
	assert_false(is_found(repository, "words@4"));
	assert_false(is_found(repository, "others"));
	/* One that cannot be read is in the way of itself, and of nobody else. */
	liar->unreadable = '1';
	assert_true(is_found(repository, "words"));
	assert_true(is_found(repository, "words@2"));
	assert_int_equal(head_find(repository, "words@1", &head, &err), -EIO);
	liar->unreadable = '3';
	assert_true(is_found(repository, "words@1"));
	assert_int_equal(head_find(repository, "words", &head, &err), -EIO);
	assert_int_equal(head_find(repository, "words@4", &head, &err), -EIO);
	repository_close(repository);
	repository_place_clear(&place);
}

/* Its number, or 0: there is none. */
static int64_t newer_than(struct repository *repository, const char *dataset, uint64_t number)
{
	struct head head = {0};
	int r = head_newer(repository, dataset, number, &head, NULL);
	int64_t found = r == 1 ? (int64_t)head.number : r;

	head_clear(&head);
	return found;
}

static void test_newer_head_is_found_by_its_name_alone(void **state)
{
	struct repository_place place;
	struct repository *repository = NULL;
	struct error err = {0};
	struct liar *liar = xcalloc(1, sizeof(*liar));

	repository_place_make(&place);
	for (uint64_t number = 1; number <= 3; number++)
		put_of(place.repository, "words", number, 'a');
	put_of(place.repository, "others", 7, 'a');
	put_junk(place.repository, "words", HEAD_NUMBER_MAX + 1);
	liar->objects.place = &liar_place;
	liar->inner = place_objects(&place);
	assert_int_equal(repository_open(&liar->objects, "password", &repository, &err), 0);
	for (uint64_t number = 3; number <= 4; number++)
		assert_int_equal(newer_than(repository, "words", number), 0);
	assert_int_equal(newer_than(repository, "nothing", 0), 0);
	assert_int_equal(liar->heads_read, 0);
	assert_int_equal(newer_than(repository, "words", 1), 3);
	assert_int_equal(newer_than(repository, "others", 0), 7);
	assert_int_equal(liar->heads_read, 2);
	put_junk(place.repository, "words", 4);
	assert_int_equal(newer_than(repository, "words", 3), -EBADMSG);
	/* Who does not ask etcd, where heads are in it, would stay behind. */
	assert_int_equal(repository->objects->place->put(repository->objects, OBJECT_HEAD, ETCD_MARK_NAME, "mark", 4), 0);
	assert_int_equal(newer_than(repository, "others", 7), -EOPNOTSUPP);
	repository_close(repository);
	repository_place_clear(&place);
}

static void test_conflict_that_does_not_end_is_not_known(void **state)
{
	bool unknown = false;
	size_t count;

	assert_int_equal(put_through(true, (struct liar){.says = -EEXIST, .times = 100}, &unknown, &count), -EAGAIN);
	assert_true(unknown);
}

static void test_conflict_of_which_nothing_is_there_is_tried_again(void **state)
{
	bool unknown;
	size_t count;

	assert_int_equal(put_through(true, (struct liar){.says = -EEXIST, .times = 2}, &unknown, &count), 0);
	assert_int_equal(count, 1);
}

static void test_writer_that_was_overwritten_is_told(void **state)
{
	bool unknown;
	size_t count;

	assert_int_equal(put_through(false, (struct liar){.other_first = 1, .says = 0, .times = 1}, &unknown, &count), -EEXIST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name_that_does_not_come_to_the_disk_goes_again), /* the first one: see there */
		cmocka_unit_test(test_versions_come_back_in_order),
		cmocka_unit_test(test_answer_that_was_lost),
		cmocka_unit_test(test_put_that_may_come_later_is_not_known),
		cmocka_unit_test(test_half_of_it_is_not_known),
		cmocka_unit_test(test_head_that_cannot_be_looked_at_is_not_known),
		cmocka_unit_test(test_head_that_a_crash_may_take_is_not_known),
		cmocka_unit_test(test_junk_of_impossible_numbers_is_no_head),
		cmocka_unit_test(test_head_is_the_last_of_its_dataset_whatever_numbers_others_have),
		cmocka_unit_test(test_behind_junk_the_newest_that_can_be_read_keeps_its_backup),
		cmocka_unit_test(test_only_the_heads_that_are_needed_are_read),
		cmocka_unit_test(test_newer_head_is_found_by_its_name_alone),
		cmocka_unit_test(test_conflict_that_does_not_end_is_not_known),
		cmocka_unit_test(test_conflict_of_which_nothing_is_there_is_tried_again),
		cmocka_unit_test(test_writer_that_was_overwritten_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, clear_shared);
}
