/* Restoring into a directory by several threads: small files together, a big one, and what is damaged among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/restore.h"
#include "lib/backup/verify.h"
#include "lib/base/clock.h"
#include "lib/repository/fetch.h"
#include "tests/unit/repository_place.h"

#define FILES 300
/* Bytes of a blob. File i has i % 3 of them, the first one many; a second one is shared with another file. */
#define PART 5000U
#define PARTS_OF_BIG 2000

/* A place of which something cannot be read. */
struct away {
	struct objects objects;
	struct objects *inner;
	int code;               /* what reading fails with */
	atomic_uint reads_left; /* of packs, before all fail */
	bool only_place;        /* instead, only what reads this blob fails: */
	struct blob_place place;
	bool is_slow; /* they wait in vain */
	atomic_uint failures;
};

struct fixture {
	struct repository_place place;
	char out[100];
	struct blob_id bad; /* the blob to be damaged */
	struct blob_id sub; /* the list of a directory */
	struct away away;
};

static void fill(uint8_t *part, uint32_t number)
{
	uint32_t state = number * 2654435761U + 1;

	for (size_t i = 0; i < PART; i++) {
		state = state * 1664525U + 1013904223U;
		part[i] = number % 2 ? (uint8_t)(state >> 24) : (uint8_t)(number >> i % 4 * 8);
	}
}

static uint32_t parts_of(uint32_t file)
{
	return file == 0 ? PARTS_OF_BIG : file % 3;
}

static uint32_t number_of(uint32_t file, uint32_t part)
{
	return file == 0 ? 100000 + part : part == 1 ? 7 + file / 6 : file;
}

static void add_part(struct repository_writer *writer, struct repository_hand *hand, struct node *node, uint32_t number)
{
	uint8_t data[PART];
	struct error err = {0};

	fill(data, number);
	const struct new_blob blob = {.id = blob_id_of(data, PART), .plain = data, .len = PART, .level = 1};
	if (repository_writer_claim(writer, &blob.id, false))
		assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	array_add(&node->content, blob.id);
	node->size += PART;
}

static struct blob_id add_tree(struct repository_hand *hand, const struct buf *tree)
{
	const struct new_blob blob = {.id = blob_id_of(tree->data, tree->len), .is_tree = true, .plain = tree->data, .len = tree->len};
	struct error err = {0};

	assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	return blob.id;
}

/* A directory "sub" with an empty file. */
static void add_sub(struct fixture *fixture, struct repository_hand *hand, struct buf *tree)
{
	struct node file = {.name = xstrdup("file"), .mode = S_IFREG | 0644, .links = 1, .uid = geteuid(), .gid = getegid()};
	struct node sub = {.name = xstrdup("sub"), .mode = S_IFDIR | 0755, .links = 1, .uid = geteuid(), .gid = getegid(), .has_subtree = true};
	AUTO_BUF list = BUF_INIT;

	tree_begin(&list);
	tree_add(&list, &file);
	tree_end(&list);
	fixture->sub = sub.subtree = add_tree(hand, &list);
	tree_add(tree, &sub);
	node_clear(&file);
	node_clear(&sub);
}

static void write_backup(struct fixture *fixture)
{
	struct repository *repository = fixture->place.repository;
	struct blob_index *nothing = blob_index_new();
	struct repository_writer *writer = repository_writer_new(repository, nothing);
	struct repository_hand *hand = repository_hand_new(writer);
	struct snapshot_file snapshot = {.time = {1700000000, 0}, .host = xstrdup("host"), .user = xstrdup("user")};
	struct writer_counts counts;
	struct error err = {0};
	char name[BLOB_ID_TEXT];
	AUTO_BUF tree = BUF_INIT;

	tree_begin(&tree);
	for (uint32_t i = 0; i < FILES; i++) {
		struct node node = {.name = xasprintf("%03u", i), .mode = S_IFREG | 0644, .links = 1, .uid = geteuid(), .gid = getegid()};

		for (uint32_t part = 0; part < parts_of(i); part++)
			add_part(writer, hand, &node, number_of(i, part));
		if (i == 100)
			fixture->bad = node.content.items[0];
		tree_add(&tree, &node);
		node_clear(&node);
	}
	add_sub(fixture, hand, &tree);
	tree_end(&tree);
	snapshot.tree = add_tree(hand, &tree);
	array_add(&snapshot.paths, xstrdup("/d"));
	assert_int_equal(repository_hand_end(hand, &err), 0);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	assert_int_equal(snapshot_file_write(repository, &snapshot, name, &err), 0);
	repository_writer_free(writer);
	blob_index_free(nothing);
	snapshot_file_clear(&snapshot);
}

static int set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));

	repository_place_make(&fixture->place);
	snprintf(fixture->out, sizeof(fixture->out), "%s/out", fixture->place.path);
	assert_int_equal(mkdir(fixture->out, 0700), 0);
	write_backup(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->away.inner)
		fixture->place.repository->objects = fixture->away.inner;
	repository_place_clear(&fixture->place);
	free(fixture);
	return 0;
}

static int restore(struct fixture *fixture, bool keep_going, struct restore_result *ret_result, struct error *err)
{
	const struct restore_options options = {.transfer = {.uid = geteuid(), .gid = getegid()}, .repository = fixture->place.repository, .place = "it",
	                                        .path = "", .keep_going = keep_going, .target_fd = open(fixture->out, O_RDONLY | O_DIRECTORY),
	                                        .target = fixture->out};
	int r = restore_to_directory(NULL, &options, ret_result, err);

	close(options.target_fd);
	return r;
}

/* True: it is there, and it is right. */
static bool check_file(const struct fixture *fixture, uint32_t file)
{
	uint8_t wanted[PART], found[PART];
	char path[120];
	int fd;

	snprintf(path, sizeof(path), "%s/%03u", fixture->out, file);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	for (uint32_t part = 0; part < parts_of(file); part++) {
		fill(wanted, number_of(file, part));
		assert_int_equal(read(fd, found, PART), PART);
		assert_memory_equal(found, wanted, PART);
	}
	assert_int_equal(read(fd, found, 1), 0);
	close(fd);
	return true;
}

static void test_all_files_come_back_by_several_threads(void **state)
{
	struct fixture *fixture = *state;
	struct restore_result result;
	struct error err = {0};

	assert_int_equal(restore(fixture, false, &result, &err), 0);
	assert_int_equal(result.transfer.files, FILES + 1);
	assert_int_equal(result.fetched, result.transfer.bytes);
	for (uint32_t i = 0; i < FILES; i++)
		assert_true(check_file(fixture, i));
}

static void damage(struct fixture *fixture)
{
	struct blob_place place;
	char name[BLOB_ID_TEXT], path[600];
	struct error err = {0};
	int fd;

	assert_int_equal(repository_load_index(fixture->place.repository, false, &err), 0);
	assert_true(blob_index_find(fixture->place.repository->index, &fixture->bad, false, 0, &place));
	blob_id_text(&place.pack, name);
	snprintf(path, sizeof(path), "%s/data/%.2s/%s", fixture->place.path, name, name);
	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "damaged", 7, place.blob.offset + 17), 7);
	close(fd);
}

static void test_damaged_blob_leaves_out_the_files_that_have_it_and_no_other(void **state)
{
	struct fixture *fixture = *state;
	struct restore_result result;
	struct error err = {0};

	damage(fixture);
	assert_int_equal(restore(fixture, true, &result, &err), 0);
	assert_int_equal(result.transfer.problems, 1);
	for (uint32_t i = 0; i < FILES; i++)
		assert_int_equal(check_file(fixture, i), i != 100);
}

static void test_damaged_blob_ends_a_restore_that_is_not_to_go_on(void **state)
{
	struct fixture *fixture = *state;
	struct restore_result result;
	struct error err = {0};

	damage(fixture);
	assert_int_equal(restore(fixture, false, &result, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "100"));
	assert_false(check_file(fixture, 100));
}

/* --- a place that does not answer --- */

static bool is_away(struct away *away, enum object_kind kind, const char *name, uint64_t offset, size_t len)
{
	char pack[BLOB_ID_TEXT];

	unsigned left = atomic_load(&away->reads_left);

	if (!away->only_place) {
		while (kind == OBJECT_PACK && left > 0 && !atomic_compare_exchange_weak(&away->reads_left, &left, left - 1))
			;
		return left == 0;
	}
	blob_id_text(&away->place.pack, pack);
	return kind == OBJECT_PACK && strcmp(pack, name) == 0 && offset < away->place.blob.offset + away->place.blob.length &&
	       offset + len > away->place.blob.offset;
}

static int away_get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	struct away *away = (struct away *)objects;

	if (is_away(away, kind, name, offset, len)) {
		if (away->is_slow)
			clock_pause_us(FETCH_LONG_US + 100000);
		atomic_fetch_add(&away->failures, 1);
		return away->code;
	}
	return away->inner->place->get(away->inner, kind, name, offset, len, out);
}

static int away_size(struct objects *objects, enum object_kind kind, const char *name, uint64_t *ret_size)
{
	struct away *away = (struct away *)objects;

	return away->inner->place->size(away->inner, kind, name, ret_size);
}

static int away_list(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg)
{
	struct away *away = (struct away *)objects;

	return away->inner->place->list(away->inner, kind, each, arg);
}

static int away_put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	struct away *away = (struct away *)objects;

	return away->inner->place->put(away->inner, kind, name, data, len);
}

static int away_remove(struct objects *objects, enum object_kind kind, const char *name)
{
	struct away *away = (struct away *)objects;

	return away->inner->place->remove(away->inner, kind, name);
}

static const struct objects_place away_place = {.get = away_get, .size = away_size, .list = away_list, .put = away_put, .remove = away_remove};

/* `blob`: only what reads this one fails; NULL: all that comes after so many reads of packs. */
static void go_away(struct fixture *fixture, int code, unsigned reads, const struct blob_id *blob, bool is_tree)
{
	struct repository *repository = fixture->place.repository;
	struct away *away = &fixture->away;
	struct error err = {0};

	*away = (struct away){.objects = {&away_place}, .inner = repository->objects, .code = code, .only_place = blob != NULL};
	atomic_store(&away->reads_left, reads);
	assert_int_equal(repository_load_index(repository, false, &err), 0);
	assert_true(!blob || blob_index_find(repository->index, blob, is_tree, 0, &away->place));
	repository->objects = &away->objects;
}

static void test_a_place_that_is_away_is_no_damage_and_ends_a_restore(void **state)
{
	static const int codes[] = {-EHOSTUNREACH, -EACCES, -EMFILE, -EIO};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(codes); i++) {
		struct restore_result result;
		struct error err = {0};

		go_away(fixture, codes[i / 2], 3, NULL, false);
		assert_int_equal(restore(fixture, i % 2 == 1, &result, &err), codes[i / 2]);
		assert_null(strstr(err.text, "damaged"));
		assert_non_null(strstr(err.text, error_text(codes[i / 2])));
		assert_int_equal(result.transfer.problems, 0);
		/* Not one after another: those who read at that time found out. */
		assert_true(atomic_load(&fixture->away.failures) < 40);
		fixture->place.repository->objects = fixture->away.inner;
	}
}

static void test_a_directory_that_cannot_be_asked_for_is_not_left_out(void **state)
{
	struct fixture *fixture = *state;
	struct restore_result result;
	struct error err = {0};

	go_away(fixture, -EHOSTUNREACH, 0, &fixture->sub, true);
	assert_int_equal(restore(fixture, true, &result, &err), -EHOSTUNREACH);
	assert_null(strstr(err.text, "damaged"));
	assert_int_equal(result.transfer.problems, 0);
}

static void test_who_has_waited_in_vain_does_not_wait_again(void **state)
{
	struct fixture *fixture = *state;
	struct restore_result result;
	struct error err = {0};

	go_away(fixture, -ETIMEDOUT, 0, &fixture->bad, false);
	fixture->away.is_slow = true;
	assert_int_equal(restore(fixture, true, &result, &err), -ETIMEDOUT);
	assert_int_equal(atomic_load(&fixture->away.failures), 1);
}

static void test_a_drill_that_is_to_go_on_takes_no_place_that_is_away_for_damage(void **state)
{
	struct fixture *fixture = *state;
	const struct restore_options options = {.transfer = {.uid = geteuid(), .gid = getegid()}, .repository = fixture->place.repository, .place = "it",
	                                        .path = "", .keep_going = true};
	struct restore_result result;
	struct error err = {0};

	go_away(fixture, -EHOSTUNREACH, 0, &fixture->bad, false);
	assert_int_equal(restore_to_memory(&options, &result, &err), -EHOSTUNREACH);
	assert_non_null(strstr(err.text, "cannot be read: No route to host"));
}

static void test_verify_takes_no_place_that_is_away_for_damage(void **state)
{
	struct fixture *fixture = *state;
	const struct verify_options options = {.repository = fixture->place.repository, .data = true, .sample = 100};
	const struct blob_id *blobs[] = {&fixture->sub, &fixture->bad};

	for (size_t i = 0; i < ARRAY_SIZE(blobs); i++) {
		struct verify_counts counts;
		struct error err = {0};

		go_away(fixture, -EHOSTUNREACH, 0, blobs[i], i == 0);
		assert_int_equal(verify_run(&options, &counts, &err), -EHOSTUNREACH);
		assert_int_equal(counts.problems, 0);
		assert_string_equal(err.text, "the repository cannot be read any more: No route to host");
		fixture->place.repository->objects = fixture->away.inner;
	}
}

/* The disk gives all else. */
static void test_a_part_that_its_disk_cannot_read_is_left_out(void **state)
{
	struct fixture *fixture = *state;
	struct restore_result result;
	struct error err = {0};

	go_away(fixture, -EIO, 0, &fixture->bad, false);
	assert_int_equal(restore(fixture, false, &result, &err), -EBADMSG);
	assert_int_equal(restore(fixture, true, &result, &err), 0);
	assert_int_equal(result.transfer.problems, 1);
	for (uint32_t i = 0; i < FILES; i++)
		assert_int_equal(check_file(fixture, i), i != 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_files_come_back_by_several_threads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_blob_leaves_out_the_files_that_have_it_and_no_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_blob_ends_a_restore_that_is_not_to_go_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_place_that_is_away_is_no_damage_and_ends_a_restore, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_directory_that_cannot_be_asked_for_is_not_left_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_who_has_waited_in_vain_does_not_wait_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_drill_that_is_to_go_on_takes_no_place_that_is_away_for_damage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_verify_takes_no_place_that_is_away_for_damage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_part_that_its_disk_cannot_read_is_left_out, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
