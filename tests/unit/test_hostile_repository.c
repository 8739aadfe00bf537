/* Repositories whose writer did not mean well, or that others change meanwhile: restoring, verifying, pruning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/prune.h"
#include "lib/backup/restore.h"
#include "lib/backup/verify.h"
#include "tests/unit/repository_place.h"

/* --- backups by hand --- */

static struct blob_id add_blob(struct repository_hand *hand, bool is_tree, const void *data, size_t len)
{
	const struct new_blob blob = {.id = blob_id_of(data, len), .is_tree = is_tree, .plain = data, .len = len};
	struct error err = {0};

	assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	return blob.id;
}

/* A snapshot, as of restic, of a directory with a file of each name, content "content". */
static void add_backup(struct repository *repository, const char *const *names, size_t count)
{
	struct blob_index *nothing = blob_index_new();
	struct repository_writer *writer = repository_writer_new(repository, nothing);
	struct repository_hand *hand = repository_hand_new(writer);
	struct snapshot_file snapshot = {.time = {1700000000, 0}, .host = xstrdup("host"), .user = xstrdup("user")};
	struct writer_counts counts;
	struct error err = {0};
	char name[BLOB_ID_TEXT];
	AUTO_BUF tree = BUF_INIT;

	tree_begin(&tree);
	for (size_t i = 0; i < count; i++) {
		struct node node = {.name = xstrdup(names[i]), .mode = S_IFREG | 0644, .links = 1, .size = 7, .uid = geteuid(), .gid = getegid()};

		array_add(&node.content, add_blob(hand, false, "content", 7));
		tree_add(&tree, &node);
		node_clear(&node);
	}
	tree_end(&tree);
	snapshot.tree = add_blob(hand, true, tree.data, tree.len);
	array_add(&snapshot.paths, xstrdup("/d"));
	assert_int_equal(repository_hand_end(hand, &err), 0);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	assert_int_equal(snapshot_file_write(repository, &snapshot, name, &err), 0);
	repository_writer_free(writer);
	blob_index_free(nothing);
	snapshot_file_clear(&snapshot);
}

static const char *const plain_names[] = {"a", "b"};

/* --- a place that lets somebody else work between two calls --- */

struct between {
	struct objects objects;
	struct objects *inner;
	enum object_kind kind; /* what is read or listed first of this kind lets him work */
	bool on_get;
	void (*work)(void *arg);
	void *arg;
};

static struct between *between_of(struct objects *objects)
{
	return (struct between *)objects;
}

static void let_work(struct between *between, enum object_kind kind, bool is_get)
{
	void (*work)(void *arg) = between->work;

	if (!work || kind != between->kind || is_get != between->on_get)
		return;
	between->work = NULL;
	work(between->arg);
}

static int between_put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	struct objects *inner = between_of(objects)->inner;

	return inner->place->put(inner, kind, name, data, len);
}

static int between_get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	struct objects *inner = between_of(objects)->inner;
	int r = inner->place->get(inner, kind, name, offset, len, out);

	let_work(between_of(objects), kind, true);
	return r;
}

static int between_size(struct objects *objects, enum object_kind kind, const char *name, uint64_t *ret_size)
{
	struct objects *inner = between_of(objects)->inner;

	return inner->place->size(inner, kind, name, ret_size);
}

static int between_list(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg)
{
	struct objects *inner = between_of(objects)->inner;
	int r = inner->place->list(inner, kind, each, arg);

	let_work(between_of(objects), kind, false);
	return r;
}

static int between_remove(struct objects *objects, enum object_kind kind, const char *name)
{
	struct objects *inner = between_of(objects)->inner;

	return inner->place->remove(inner, kind, name);
}

static void between_close(struct objects *objects)
{
	objects_close(between_of(objects)->inner);
	free(objects);
}

static const struct objects_place between_place = {
	.put = between_put, .get = between_get, .size = between_size, .list = between_list, .remove = between_remove, .close = between_close,
};

/* The repository again, where `work` is done after the first call of this kind. */
static struct repository *open_between(const struct repository_place *place, enum object_kind kind, bool on_get, void (*work)(void *arg), void *arg)
{
	struct between *between = xcalloc(1, sizeof(*between));
	struct repository *repository = NULL;
	struct error err = {0};

	*between = (struct between){.objects = {&between_place}, .inner = place_objects(place)};
	assert_int_equal(repository_open(&between->objects, "password", &repository, &err), 0);
	between->kind = kind;
	between->on_get = on_get;
	between->work = work;
	between->arg = arg;
	return repository;
}

/* --- names --- */

static int restore(struct repository *repository, const char *path, bool keep_going, struct restore_result *ret_result)
{
	const struct restore_options options = {.transfer = {.uid = geteuid(), .gid = getegid()}, .repository = repository, .place = "it", .path = "",
	                                        .keep_going = keep_going, .target_fd = open(path, O_RDONLY | O_DIRECTORY), .target = path};
	struct error err = {0};
	int r;

	assert_true(options.target_fd >= 0);
	r = restore_to_directory(NULL, &options, ret_result, &err);
	close(options.target_fd);
	return r;
}

static void test_names_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = {"", ".", "..", "a/b", "/tmp/corpusfs-hostile", "../hostile"};
	struct repository_place place;
	struct restore_result result;
	char out[100], path[600];

	repository_place_make(&place);
	snprintf(out, sizeof(out), "%s/out", place.path);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *const names[] = {bad[i], "good"};

		assert_int_equal(mkdir(out, 0700), 0);
		add_backup(place.repository, names, 2);
		assert_int_equal(restore(place.repository, out, false, &result), -EBADMSG);
		assert_int_equal(place_count(&place, "out", path), 0);
		assert_int_equal(restore(place.repository, out, true, &result), 0);
		assert_int_equal(result.transfer.problems, 1);
		assert_int_equal(place_count(&place, "out", path), 1);
		assert_int_equal(access("/tmp/corpusfs-hostile", F_OK), -1);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(rmdir(out), 0);
		assert_int_equal(place_count(&place, "snapshots", path), 1);
		assert_int_equal(unlink(path), 0);
	}
	repository_place_clear(&place);
}

/* --- others at work --- */

static void make_backup(void *arg)
{
	static const char *const names[] = {"new"};

	add_backup(arg, names, 1);
}

static void test_backup_that_ends_while_one_verifies_is_no_damage(void **state)
{
	struct repository_place place;
	struct verify_counts counts;
	struct verify_options options = {0};
	struct error err = {0};

	repository_place_make(&place);
	add_backup(place.repository, plain_names, 2);
	options.repository = open_between(&place, OBJECT_INDEX, true, make_backup, place.repository);
	assert_int_equal(verify_run(&options, &counts, &err), 0);
	assert_int_equal(counts.problems, 0);
	repository_close(options.repository);
	repository_place_clear(&place);
}

static void test_newest_backup_is_restored_although_it_ends_meanwhile(void **state)
{
	struct repository_place place;
	struct repository *repository;
	struct restore_result result;
	char out[100], path[600];

	repository_place_make(&place);
	add_backup(place.repository, plain_names, 2);
	repository = open_between(&place, OBJECT_INDEX, true, make_backup, place.repository);
	snprintf(out, sizeof(out), "%s/out", place.path);
	assert_int_equal(mkdir(out, 0700), 0);
	assert_int_equal(restore(repository, out, false, &result), 0);
	assert_int_equal(place_count(&place, "out", path), 2);
	repository_close(repository);
	repository_place_clear(&place);
}

/* Who does not know of locks. */
static void test_prune_keeps_an_index_file_that_came_meanwhile(void **state)
{
	struct repository_place place;
	struct repository *other;
	struct prune_options options = {.max_unused = 5};
	struct prune_counts counts;
	struct verify_counts verified;
	struct error err = {0};
	char path[600];

	repository_place_make(&place);
	add_backup(place.repository, plain_names, 2);
	add_backup(place.repository, (const char *const[]){"c"}, 1);
	assert_true(place_count(&place, "snapshots", path) == 2 && unlink(path) == 0);
	options.repository = open_between(&place, OBJECT_SNAPSHOT, false, make_backup, place.repository);
	assert_int_equal(repository_lock_take(options.repository, true, &options.lock, &err), 0);
	assert_int_equal(prune_run(&options, &counts, &err), 0);
	repository_lock_release(options.lock);
	repository_close(options.repository);
	other = open_between(&place, OBJECT_SNAPSHOT, false, NULL, NULL);
	assert_int_equal(verify_run(&(struct verify_options){.repository = other}, &verified, &err), 0);
	assert_int_equal(verified.snapshots, 2);
	assert_int_equal(verified.problems, 0);
	repository_close(other);
	repository_place_clear(&place);
}

/* --- an index that is wrong --- */

struct shift {
	struct index_writer writer;
	bool is_shorter; /* lengths are wrong, else places */
};

static int shift_place(void *arg, const struct blob_place *place)
{
	struct shift *shift = arg;
	struct pack_blob blob = place->blob;

	/* Trees are read all the same. */
	if (!blob.is_tree && shift->is_shorter)
		blob.length--;
	else if (!blob.is_tree)
		blob.offset++;
	index_writer_add(&shift->writer, &place->pack, &blob, 1);
	return 0;
}

static void replace_index(const struct repository_place *place, bool is_shorter)
{
	struct repository *repository = place->repository;
	struct shift shift = {.is_shorter = is_shorter};
	struct error err = {0};
	char path[600], name[BLOB_ID_TEXT];

	assert_int_equal(repository_load_index(repository, false, &err), 0);
	assert_int_equal(blob_index_each(repository->index, shift_place, &shift), 0);
	assert_int_equal(place_count(place, "index", path), 1);
	assert_int_equal(unlink(path), 0);
	index_writer_end(&shift.writer, NULL, 0);
	assert_int_equal(repository_put_file(repository, OBJECT_INDEX, &shift.writer.json, name, &err), 0);
	buf_clear(&shift.writer.json);
}

/* Each pack is what its name says, and nobody finds what is in it. */
static void test_an_index_that_says_wrong_places_is_no_undamaged_repository(void **state)
{
	for (int shorter = 0; shorter < 2; shorter++) {
		struct repository_place place;
		struct verify_counts counts;
		struct verify_options options = {.data = true, .sample = 100};
		struct error err = {0};

		repository_place_make(&place);
		options.repository = place.repository;
		add_backup(place.repository, (const char *const[]){"a"}, 1);
		assert_int_equal(verify_run(&options, &counts, &err), 0);
		assert_int_equal(counts.problems, 0);
		replace_index(&place, shorter);
		assert_int_equal(verify_run(&options, &counts, &err), 0);
		assert_int_equal(counts.packs_read, 2);
		/* the pack, the backup that is hurt, and, where the index says another length, the file that has not its own */
		assert_int_equal(counts.problems, 2 + shorter);
		assert_int_equal(counts.hurt, 1);
		repository_place_clear(&place);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_that_are_none_are_refused),
		cmocka_unit_test(test_an_index_that_says_wrong_places_is_no_undamaged_repository),
		cmocka_unit_test(test_backup_that_ends_while_one_verifies_is_no_damage),
		cmocka_unit_test(test_newest_backup_is_restored_although_it_ends_meanwhile),
		cmocka_unit_test(test_prune_keeps_an_index_file_that_came_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
