/* What comes back into a directory has the identity of what was backed up, or the restore fails. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/restore.h"
#include "backup_scene.h"

/* --- a backup that says another identity --- */

struct forge {
	struct repository_reader *reader;
	struct repository_writer *writer;
	struct repository_hand *hand;
	struct buf tree; /* that is made */
};

static struct blob_id put_blob(struct forge *forge, bool is_tree, const struct buf *bytes)
{
	const struct new_blob blob = {.id = blob_id_of(bytes->data, bytes->len), .is_tree = is_tree, .plain = bytes->data, .len = bytes->len};
	struct error err = {0};

	assert_int_equal(repository_hand_add(forge->hand, &blob, &err), 0);
	return blob.id;
}

static void change_identity(struct forge *forge, struct node *file)
{
	AUTO_BUF json = BUF_INIT;
	char *at;

	assert_int_equal(file->content.count, 1);
	assert_int_equal(repository_read_blob(forge->reader, &file->content.items[0], false, &json), 0);
	at = strstr((char *)json.data, "\"identity\":\"");
	assert_non_null(at);
	at += strlen("\"identity\":\"");
	*at = *at == '0' ? '1' : '0';
	file->content.items[0] = put_blob(forge, false, &json);
}

static struct blob_id change_tree(struct forge *forge, const struct blob_id *tree);

static int change_node(void *arg, struct node *node)
{
	struct forge *forge = arg;

	if (strcmp(node->name, BACKUP_INFO_DIR) == 0)
		node->subtree = change_tree(forge, &node->subtree);
	else if (strcmp(node->name, BACKUP_INFO_FILE) == 0)
		change_identity(forge, node);
	tree_add(&forge->tree, node);
	return 0;
}

static struct blob_id change_tree(struct forge *forge, const struct blob_id *tree)
{
	struct buf outer = forge->tree;
	AUTO_BUF json = BUF_INIT;
	struct blob_id id;

	forge->tree = (struct buf)BUF_INIT;
	assert_int_equal(repository_read_blob(forge->reader, tree, true, &json), 0);
	tree_begin(&forge->tree);
	assert_int_equal(tree_read((char *)json.data, json.len, change_node, forge), 0);
	tree_end(&forge->tree);
	id = put_blob(forge, true, &forge->tree);
	buf_clear(&forge->tree);
	forge->tree = outer;
	return id;
}

/* A copy of the backup, with another name. */
static void forge_backup(struct scene *scene, const char *name, char ret_name[BLOB_ID_TEXT])
{
	struct repository *repository = scene->repository.repository;
	struct forge forge = {.tree = BUF_INIT};
	struct snapshot_file snapshot = {0};
	struct writer_counts counts;
	struct error err = {0};

	assert_int_equal(repository_load_index(repository, false, &err), 0);
	forge.reader = repository_reader_new(repository);
	forge.writer = repository_writer_new(repository, repository->index);
	forge.hand = repository_hand_new(forge.writer);
	assert_int_equal(snapshot_file_read(repository, name, &snapshot, &err), 0);
	snapshot.tree = change_tree(&forge, &snapshot.tree);
	assert_int_equal(repository_hand_end(forge.hand, &err), 0);
	assert_int_equal(repository_writer_end(forge.writer, &counts, &err), 0);
	assert_int_equal(snapshot_file_write(repository, &snapshot, ret_name, &err), 0);
	snapshot_file_clear(&snapshot);
	repository_writer_free(forge.writer);
	repository_reader_free(forge.reader);
}

/* --- into a directory --- */

static int restore(struct scene *scene, const char *target, const char *backup, struct restore_result *ret_result)
{
	AUTO_CLOSE int fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct restore_options options = {.repository = scene->repository.repository, .place = "place", .backup = backup, .path = "",
	                                        .target_fd = fd, .target = target};
	struct error err = {0};

	assert_true(fd >= 0);
	return restore_to_directory(NULL, &options, ret_result, &err);
}

/* Short ones, one with holes, one of more than a MiB, and directories whose order is not that of their paths. */
static void add_files(struct scene *scene)
{
	static uint8_t noise[3000000];
	const struct snapshot_name name = {.dataset = "d", .name = "more"};
	struct view *view = open_head(scene->place.store, "d");
	struct error err = {0};
	char file[16];

	fill_random(3, noise, sizeof(noise));
	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(file, sizeof(file), "f%u", i);
		write_file(view, ROOT_INO, file, 0, noise + i, i * 5000);
	}
	write_file(view, ROOT_INO, "big", 0, noise, sizeof(noise));
	write_file(view, ROOT_INO, "holes", 0, noise, 100);
	write_file(view, ROOT_INO, "holes", 5000000, noise, 100);
	assert_int_equal(view_sync(view), 0);
	store_view_put(scene->place.store, view);
	assert_int_equal(snapshot_create(scene->place.store, &name, 1, "", 0, &err), 0);
}

static void test_what_comes_into_a_directory_is_compared_with_what_was_backed_up(void **state)
{
	struct scene *scene = *state;
	char target[] = "/tmp/corpusfs-restored-XXXXXX", other[BLOB_ID_TEXT];
	struct restore_result result;
	struct backup_result made;

	assert_non_null(mkdtemp(target));
	add_files(scene);
	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "more", &made), 0);
	/* the second time all files are there */
	for (int turn = 0; turn < 2; turn++) {
		assert_int_equal(restore(scene, target, made.name, &result), 0);
		assert_true(result.compared && result.same);
		assert_string_equal(result.identity, made.identity);
		assert_true((turn == 0 ? result.transfer.files : result.transfer.skipped) > 40);
	}
	forge_backup(scene, made.name, other);
	assert_int_equal(restore(scene, target, other, &result), -EILSEQ);
	assert_true(result.compared && !result.same);
	assert_string_equal(result.identity, made.identity);
	remove_tree(target);
}

static uint32_t mode_of(const char *target, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s", target, name);
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

/* The file is passed over all the same. */
static void test_a_mode_that_somebody_changed_is_set_again(void **state)
{
	char target[] = "/tmp/corpusfs-restored-XXXXXX";
	AUTO_FREE char *path = NULL;
	struct restore_result result;
	struct backup_result made;
	uint32_t mode;

	assert_non_null(mkdtemp(target));
	assert_int_equal(run_backup(*state, &made), 0);
	assert_int_equal(restore(*state, target, made.name, &result), 0);
	mode = mode_of(target, "noise");
	path = xasprintf("%s/noise", target);
	assert_int_equal(chmod(path, mode ^ 022), 0);
	assert_int_equal(restore(*state, target, made.name, &result), 0);
	assert_int_equal(result.transfer.skipped, 1);
	assert_true(result.compared && result.same);
	assert_int_equal(mode_of(target, "noise"), mode);
	remove_tree(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_mode_that_somebody_changed_is_set_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_comes_into_a_directory_is_compared_with_what_was_backed_up, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
