/* Large directories in backups: their pieces, what a later backup has of them, what verify says of them, and what a mount fetches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/large_trees.h"
#include "lib/backup/verify.h"
#include "lib/browse/browse.h"
#include "backup_scene.h"

#define FILES 11000U
#define NAME_LEN 200

static void name_file(unsigned number, char name[NAME_LEN + 1])
{
	memset(name, 'n', NAME_LEN);
	(void)snprintf(name, 8, "%06u", number);
	name[6] = '-';
	name[NAME_LEN] = '\0';
}

static uint64_t make(struct view *view, uint64_t dir, const char *name, uint32_t mode)
{
	struct create create = {.mode = mode};
	struct attr attr;

	assert_int_equal(view_create(view, dir, name, &create, &attr, NULL), 0);
	return attr.ino;
}

static uint64_t find_large(struct view *view)
{
	struct attr attr;

	assert_int_equal(view_lookup(view, ROOT_INO, "large", &attr), 0);
	return attr.ino;
}

static void snapshot(struct scene *scene, struct view *view, const char *text)
{
	const struct snapshot_name name = {.dataset = "d", .name = text};
	struct error err = {0};

	assert_int_equal(view_sync(view), 0);
	store_view_put(scene->place.store, view);
	assert_int_equal(snapshot_create(scene->place.store, &name, 1, "", 0, &err), 0);
}

/* Snapshot "large" has a directory of FILES names, and one below it of a name. */
static int setup_large(void **state)
{
	struct scene *scene;
	struct view *view;
	uint64_t large;
	char name[NAME_LEN + 1];

	(void)setup(state);
	scene = *state;
	view = open_head(scene->place.store, "d");
	large = make(view, ROOT_INO, "large", S_IFDIR | 0755);
	for (unsigned i = 0; i < FILES; i++) {
		name_file(i, name);
		(void)make(view, large, name, i == 5000 ? S_IFDIR | 0755 : S_IFREG | 0644);
		if (i == 5001)
			write_file(view, large, name, 0, "content", 7);
	}
	(void)make(view, ROOT_INO, "other", S_IFREG | 0644);
	snapshot(scene, view, "large");
	return 0;
}

/* The directory with the pieces of the only large directory, and the id of its tree. */
static void find_pieces(struct scene *scene, const char *backup, struct large_tree *ret_large, struct blob_id *ret_tree, struct blob_id *ret_dir)
{
	struct repository *repository = scene->repository.repository;
	struct repository_reader *reader;
	struct snapshot_file snapshot;
	struct node info = {0}, trees = {0};
	struct error err = {0};
	json_t *description;
	AUTO_BUF json = BUF_INIT;
	const json_t *large;

	assert_int_equal(repository_load_index(repository, false, &err), 0);
	reader = repository_reader_new(repository);
	assert_int_equal(snapshot_file_read(repository, backup, &snapshot, &err), 0);
	assert_int_equal(backup_info_read(reader, &snapshot, &description, &err), 0);
	large = json_object_get(description, "large");
	assert_int_equal(json_array_size(large), 1);
	large = json_array_get(large, 0);
	assert_string_equal(json_string_value(json_object_get(large, "path")), "large");
	assert_int_equal(blob_id_parse(json_string_value(json_object_get(large, "tree")), ret_tree), 0);
	assert_int_equal(blob_id_parse(json_string_value(json_object_get(large, "pieces")), ret_dir), 0);
	assert_int_equal(backup_info_find(reader, &snapshot.tree, BACKUP_INFO_DIR, &info), 0);
	assert_int_equal(backup_info_find(reader, &info.subtree, LARGE_TREES_DIR, &trees), 0);
	node_clear(&info);
	assert_int_equal(backup_info_find(reader, &trees.subtree, json_string_value(json_object_get(large, "tree")), &info), 0);
	assert_true(blob_id_equal(&info.subtree, ret_dir));
	assert_int_equal(repository_read_blob(reader, ret_dir, true, &json), 0);
	assert_int_equal(large_tree_read((char *)json.data, json.len, ret_large), 0);
	node_clear(&info);
	node_clear(&trees);
	json_decref(description);
	snapshot_file_clear(&snapshot);
	repository_reader_free(reader);
}

static uint64_t problems(struct scene *scene)
{
	const struct verify_options options = {.repository = scene->repository.repository, .data = true, .sample = 100};
	struct verify_counts counts;
	struct error err = {0};

	assert_int_equal(verify_run(&options, &counts, &err), 0);
	return counts.problems;
}

static void pieces_of_a_large_directory_are_its_tree(void **state)
{
	struct scene *scene = *state;
	struct backup_result result;
	struct large_tree large;
	struct blob_id tree, dir, content;
	struct repository_reader *reader;
	AUTO_BUF json = BUF_INIT;

	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "large", &result), 0);
	find_pieces(scene, result.name, &large, &tree, &dir);
	reader = repository_reader_new(scene->repository.repository);
	assert_int_equal(backup_info_content(reader, &large.tree, &json), 0);
	content = blob_id_of(json.data, json.len);
	assert_true(blob_id_equal(&content, &tree));
	assert_true(large.tree.size == json.len && large.tree.content.count > 5);
	assert_int_equal(problems(scene), 0);
	repository_reader_free(reader);
	large_tree_clear(&large);
}

static void small_directories_have_none(void **state)
{
	struct scene *scene = *state;
	struct repository *repository = scene->repository.repository;
	struct repository_reader *reader;
	struct snapshot_file snapshot;
	struct backup_result result;
	struct node info, trees;
	struct error err = {0};

	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "s", &result), 0);
	assert_int_equal(repository_load_index(repository, false, &err), 0);
	reader = repository_reader_new(repository);
	assert_int_equal(snapshot_file_read(repository, result.name, &snapshot, &err), 0);
	assert_int_equal(backup_info_find(reader, &snapshot.tree, BACKUP_INFO_DIR, &info), 0);
	assert_int_equal(backup_info_find(reader, &info.subtree, LARGE_TREES_DIR, &trees), -ENOENT);
	node_clear(&info);
	snapshot_file_clear(&snapshot);
	repository_reader_free(reader);
}

/* What is the same is the same blobs; also where the directory is not looked at, since nothing in it has changed. */
static void later_backup_has_most_pieces_of_the_one_before(void **state)
{
	struct scene *scene = *state;
	struct view *view = open_head(scene->place.store, "d");
	struct large_tree first, same, changed;
	struct blob_id trees[3], dirs[3];
	struct backup_result result;
	char name[NAME_LEN + 1];
	size_t others = 0;

	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "large", &result), 0);
	find_pieces(scene, result.name, &first, &trees[0], &dirs[0]);
	write_file(view, ROOT_INO, "noise", 0, "x", 1);
	snapshot(scene, view, "elsewhere");
	assert_int_equal(run_backup_of(scene, BACKUP_INCREMENTAL, "elsewhere", &result), 0);
	assert_true(result.compared);
	find_pieces(scene, result.name, &same, &trees[1], &dirs[1]);
	assert_true(blob_id_equal(&trees[0], &trees[1]) && blob_id_equal(&dirs[0], &dirs[1]));
	view = open_head(scene->place.store, "d");
	name_file(7000, name);
	write_file(view, find_large(view), name, 0, "x", 1);
	snapshot(scene, view, "within");
	assert_int_equal(run_backup_of(scene, BACKUP_INCREMENTAL, "within", &result), 0);
	find_pieces(scene, result.name, &changed, &trees[2], &dirs[2]);
	assert_false(blob_id_equal(&trees[0], &trees[2]));
	assert_int_equal(changed.tree.content.count, first.tree.content.count);
	for (size_t i = 0; i < first.tree.content.count; i++)
		others += !blob_id_equal(&first.tree.content.items[i], &changed.tree.content.items[i]);
	assert_int_equal(others, 1);
	assert_int_equal(problems(scene), 0);
	large_tree_clear(&first);
	large_tree_clear(&same);
	large_tree_clear(&changed);
}

/* --- pieces of another tree --- */

static void put(struct repository_hand *hand, bool is_tree, const struct buf *plain, struct blob_id *ret_id)
{
	struct new_blob blob = {.is_tree = is_tree, .plain = plain->data, .len = plain->len, .level = 3, .id = blob_id_of(plain->data, plain->len)};
	struct error err = {0};

	assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	*ret_id = blob.id;
}

static void put_tree(struct repository_hand *hand, const struct node *nodes, size_t count, struct blob_id *ret_id)
{
	AUTO_BUF tree = BUF_INIT;

	tree_begin(&tree);
	for (size_t i = 0; i < count; i++)
		tree_add(&tree, &nodes[i]);
	tree_end(&tree);
	put(hand, true, &tree, ret_id);
}

/* Adds a backup as `backup` is, but that the pieces which it says the large directory has are those in `pieces`. */
static void lie(struct scene *scene, const char *backup, const struct blob_id *tree, const struct blob_id *pieces)
{
	struct repository *repository = scene->repository.repository;
	struct repository_writer *writer = repository_writer_new(repository, repository->index);
	struct repository_hand *hand = repository_hand_new(writer);
	struct repository_reader *reader = repository_reader_new(repository);
	char text[BLOB_ID_TEXT], name[BLOB_ID_TEXT], trees_name[] = LARGE_TREES_DIR;
	struct node info[2] = {{0}}; /* the description, and the pieces */
	struct node one = {.name = text, .mode = S_IFDIR | 0555, .has_subtree = true, .subtree = *pieces}, root[2] = {{0}};
	struct node trees = {.name = trees_name, .mode = S_IFDIR | 0555, .has_subtree = true};
	struct writer_counts counts;
	struct snapshot_file snapshot;
	struct error err = {0};

	blob_id_text(tree, text);
	assert_int_equal(snapshot_file_read(repository, backup, &snapshot, &err), 0);
	assert_int_equal(backup_info_find(reader, &snapshot.tree, BACKUP_INFO_DIR, &root[0]), 0);
	assert_int_equal(backup_info_find(reader, &snapshot.tree, "d", &root[1]), 0);
	put_tree(hand, &one, 1, &trees.subtree);
	assert_int_equal(backup_info_find(reader, &root[0].subtree, "backup.json", &info[0]), 0);
	info[1] = trees;
	put_tree(hand, info, 2, &root[0].subtree);
	put_tree(hand, root, 2, &snapshot.tree);
	assert_int_equal(repository_hand_end(hand, &err), 0);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	snapshot.time.tv_sec += 60; /* the newest */
	assert_int_equal(snapshot_file_write(repository, &snapshot, name, &err), 0);
	node_clear(&info[0]);
	node_clear(&root[0]);
	node_clear(&root[1]);
	snapshot_file_clear(&snapshot);
	repository_writer_free(writer);
	repository_reader_free(reader);
}

/* --- mounts --- */

static void count_problem(void *arg, const char *text)
{
	assert_non_null(strstr(text, "read whole instead"));
	++*(size_t *)arg;
}

static struct browse *browse_newest(struct scene *scene, size_t *told)
{
	struct browse_options options = {.backup = "latest", .only_dataset = true, .cache_bytes = 32 << 20, .problem = count_problem, .arg = told};
	struct browse *browse;
	struct error err = {0};

	assert_int_equal(repository_open(place_objects(&scene->repository), "password", &options.repository, &err), 0);
	assert_int_equal(browse_open(&options, &browse, &err), 0);
	return browse;
}

static uint64_t fetched(struct browse *browse)
{
	return browse_state(browse).fetched.bytes;
}

struct listed {
	unsigned next, up_to; /* up_to: where the list is ended */
	uint64_t at;
};

static int check_entry(void *arg, const char *name, uint64_t next, const struct browse_entry *entry)
{
	struct listed *listed = arg;
	char wanted[NAME_LEN + 1];

	if (listed->next == listed->up_to)
		return 1;
	name_file(listed->next, wanted);
	assert_string_equal(name, wanted);
	assert_int_equal(S_ISDIR(entry->stat.st_mode), listed->next == 5000);
	listed->next++;
	listed->at = next;
	return 0;
}

static void list(struct browse *browse, uint64_t dir, struct listed *listed, unsigned up_to)
{
	const struct browse_listing listing = {.id = dir, .from = listed->at, .each = check_entry, .arg = listed};

	listed->up_to = up_to;
	assert_int_equal(browse_list(browse, &listing, true), 0);
	assert_int_equal(listed->next, up_to);
}

static void read_file(struct browse *browse, uint64_t id)
{
	const struct browse_range range = {.id = id, .size = 100};
	char text[100];

	assert_int_equal(browse_read(browse, &range, true, text), 7);
	assert_memory_equal(text, "content", 7);
}

/* All names, and what they are, whichever way the mount reads them. */
static void look_at_all(struct browse *browse)
{
	struct browse_entry dir, entry, inner;
	struct listed listed = {0};
	char name[NAME_LEN + 1];

	assert_int_equal(browse_find(browse, "large", &dir), 0);
	for (unsigned i = 0; i < FILES; i += i < 4990 || i > 5010 ? 97 : 1) {
		struct browse_entry same;

		name_file(i, name);
		assert_int_equal(browse_lookup(browse, dir.id, name, true, &entry), 0);
		assert_int_equal(browse_getattr(browse, entry.id, true, &same), 0);
		assert_int_equal(same.stat.st_ino, entry.stat.st_ino);
		if (i == 5000)
			assert_int_equal(browse_lookup(browse, entry.id, name, true, &inner), -ENOENT);
		if (i == 5001)
			read_file(browse, entry.id);
		name[NAME_LEN - 1] = 'm';
		assert_int_equal(browse_lookup(browse, dir.id, name, true, &inner), -ENOENT);
	}
	for (unsigned up_to = 1; up_to < FILES; up_to += 1234)
		list(browse, dir.id, &listed, up_to);
	list(browse, dir.id, &listed, FILES);
	list(browse, dir.id, &listed, FILES);
}

static void look_up_fetches_a_piece(void **state)
{
	struct scene *scene = *state;
	struct browse_entry dir, entry;
	struct backup_result result;
	struct browse *browse;
	char name[NAME_LEN + 1];
	size_t told = 0;
	uint64_t before;

	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "large", &result), 0);
	browse = browse_newest(scene, &told);
	assert_int_equal(browse_find(browse, "large", &dir), 0);
	before = fetched(browse);
	name_file(5001, name);
	assert_int_equal(browse_lookup(browse, dir.id, name, true, &entry), 0);
	assert_in_range(fetched(browse) - before, 64 << 10, 1100 << 10);
	before = fetched(browse);
	name_file(5002, name);
	assert_int_equal(browse_lookup(browse, dir.id, name, true, &entry), 0);
	assert_int_equal(fetched(browse), before);
	look_at_all(browse);
	assert_true(fetched(browse) - before < 8 << 20);
	assert_int_equal(told, 0);
	browse_close(browse);
}

static void directory_without_pieces_is_read_whole(void **state)
{
	struct scene *scene = *state;
	struct large_tree large;
	struct blob_id tree, dir;
	struct backup_result result;
	struct browse *browse;
	size_t told = 0;

	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "large", &result), 0);
	find_pieces(scene, result.name, &large, &tree, &dir);
	lie(scene, result.name, &dir, &dir); /* of another tree than any directory's */
	browse = browse_newest(scene, &told);
	look_at_all(browse);
	assert_true(fetched(browse) > TREE_PIECES_FROM);
	assert_int_equal(told, 0);
	browse_close(browse);
	large_tree_clear(&large);
}

/* Pieces that are another tree's, whatever their list says: nobody sees what is in them. */
static void pieces_of_another_tree_are_not_believed(void **state)
{
	struct scene *scene = *state;
	struct view *view = open_head(scene->place.store, "d");
	struct backup_result result, other;
	struct large_tree large, changed;
	struct blob_id trees[2], dirs[2];
	struct browse *browse;
	size_t told = 0;

	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "large", &result), 0);
	find_pieces(scene, result.name, &large, &trees[0], &dirs[0]);
	(void)make(view, find_large(view), "zz", S_IFREG | 0644);
	snapshot(scene, view, "more");
	assert_int_equal(run_backup_of(scene, BACKUP_INCREMENTAL, "more", &other), 0);
	find_pieces(scene, other.name, &changed, &trees[1], &dirs[1]);
	assert_int_equal(problems(scene), 0);
	lie(scene, result.name, &trees[0], &dirs[1]);
	browse = browse_newest(scene, &told);
	look_at_all(browse);
	assert_int_equal(told, 1);
	browse_close(browse);
	assert_int_equal(problems(scene), 1);
	large_tree_clear(&large);
	large_tree_clear(&changed);
}

/* And what was looked up before is the same node as what is looked up then. */
static void damaged_pieces_are_told_once_and_the_tree_is_read(void **state)
{
	struct scene *scene = *state;
	struct repository *repository = scene->repository.repository;
	struct repository_writer *writer;
	struct repository_hand *hand;
	struct writer_counts counts;
	struct backup_result result;
	struct large_tree large;
	struct blob_id tree, dir, lying;
	struct browse *browse;
	struct browse_entry before, after;
	char path[NAME_LEN + 10] = "large/";
	struct error err = {0};
	size_t told = 0;

	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "large", &result), 0);
	find_pieces(scene, result.name, &large, &tree, &dir);
	memset(&large.tree.content.items[large.tree.content.count / 2], 7, BLOB_ID_LEN); /* is nowhere */
	writer = repository_writer_new(repository, repository->index);
	hand = repository_hand_new(writer);
	put_tree(hand, &large.list, 2, &lying);
	assert_int_equal(repository_hand_end(hand, &err), 0);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	repository_writer_free(writer);
	assert_int_equal(repository_load_index(repository, false, &err), 0);
	lie(scene, result.name, &tree, &lying);
	browse = browse_newest(scene, &told);
	name_file(FILES - 1, path + strlen(path));
	assert_int_equal(browse_find(browse, path, &before), 0);
	assert_true(fetched(browse) < TREE_PIECES_FROM);
	look_at_all(browse);
	look_at_all(browse);
	assert_int_equal(browse_find(browse, path, &after), 0);
	assert_true(before.id == after.id && before.stat.st_ino == after.stat.st_ino);
	assert_int_equal(told, 1);
	browse_close(browse);
	assert_true(problems(scene) > 0);
	large_tree_clear(&large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pieces_of_a_large_directory_are_its_tree, setup_large, teardown),
		cmocka_unit_test_setup_teardown(small_directories_have_none, setup_large, teardown),
		cmocka_unit_test_setup_teardown(later_backup_has_most_pieces_of_the_one_before, setup_large, teardown),
		cmocka_unit_test_setup_teardown(look_up_fetches_a_piece, setup_large, teardown),
		cmocka_unit_test_setup_teardown(directory_without_pieces_is_read_whole, setup_large, teardown),
		cmocka_unit_test_setup_teardown(pieces_of_another_tree_are_not_believed, setup_large, teardown),
		cmocka_unit_test_setup_teardown(damaged_pieces_are_told_once_and_the_tree_is_read, setup_large, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
