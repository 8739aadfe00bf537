/* What comes back into a directory has the identity of what was backed up, or the restore fails. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/restore.h"
#include "lib/backup/verify.h"
#include "forged_backup.h"

/* --- a backup that says another identity --- */

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

static bool change_description(struct forge *forge, struct node *node)
{
	if (strcmp(node->name, BACKUP_INFO_FILE) == 0)
		change_identity(forge, node);
	return true;
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
	forge_backup(scene, made.name, change_description, other);
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

/* --- holes --- */

#define HOLE (256U << 20)

/* Bytes that this process has read. */
static unsigned long long bytes_read(void)
{
	FILE *file = fopen("/proc/self/io", "re");
	unsigned long long bytes = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "rchar: %llu", &bytes), 1);
	(void)fclose(file);
	return bytes;
}

/* What somebody wrote into a hole is found all the same. */
static void test_what_is_there_is_not_read_through_its_holes(void **state)
{
	char target[] = "/tmp/corpusfs-restored-XXXXXX";
	const struct snapshot_name name = {.dataset = "d", .name = "sparse"};
	struct scene *scene = *state;
	struct view *view = open_head(scene->place.store, "d");
	struct restore_result result;
	struct backup_result made;
	struct error err = {0};
	AUTO_FREE char *path = NULL;
	unsigned long long before;
	struct stat st;
	int fd;

	write_file(view, ROOT_INO, "sparse", 0, (const uint8_t *)"begin", 5);
	write_file(view, ROOT_INO, "sparse", HOLE, (const uint8_t *)"end", 3);
	assert_int_equal(view_sync(view), 0);
	store_view_put(scene->place.store, view);
	assert_int_equal(snapshot_create(scene->place.store, &name, 1, "", 0, &err), 0);
	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "sparse", &made), 0);
	assert_non_null(mkdtemp(target));
	assert_int_equal(restore(scene, target, made.name, &result), 0);
	before = bytes_read();
	assert_int_equal(restore(scene, target, made.name, &result), 0);
	assert_true(result.compared && result.same && result.transfer.skipped == 2);
	assert_true(bytes_read() - before < HOLE / 4);
	path = xasprintf("%s/sparse", target);
	assert_int_equal(stat(path, &st), 0);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "rot", 3, HOLE / 2), 3);
	assert_int_equal(futimens(fd, (const struct timespec[2]){st.st_atim, st.st_mtim}), 0);
	close(fd);
	assert_int_equal(restore(scene, target, made.name, &result), 0);
	assert_true(result.compared && result.same && result.transfer.skipped == 1 && result.transfer.files == 1);
	remove_tree(target);
}

/* --- what verify finds --- */

/* What stands in the description. */
static bool change_text(struct forge *forge, struct node *node, const char *from, const char *to)
{
	AUTO_BUF json = BUF_INIT, changed = BUF_INIT;
	char *at;

	if (strcmp(node->name, BACKUP_INFO_FILE) != 0)
		return true;
	assert_int_equal(repository_read_blob(forge->reader, &node->content.items[0], false, &json), 0);
	at = memmem(json.data, json.len, from, strlen(from));
	assert_non_null(at);
	buf_add(&changed, json.data, (size_t)(at - (char *)json.data));
	buf_add(&changed, to, strlen(to));
	buf_add(&changed, at + strlen(from), json.len - changed.len + strlen(to) - strlen(from));
	node->content.items[0] = put_blob(forge, false, &changed);
	node->size = changed.len;
	return true;
}

static bool make_newer(struct forge *forge, struct node *node)
{
	return change_text(forge, node, "\"version\":1", "\"version\":2");
}

static void test_backup_of_a_newer_version_is_refused(void **state)
{
	char target[] = "/tmp/corpusfs-restored-XXXXXX", name[BLOB_ID_TEXT];
	struct restore_result result;
	struct backup_result made;

	assert_non_null(mkdtemp(target));
	assert_int_equal(run_backup(*state, &made), 0);
	forge_backup(*state, made.name, make_newer, name);
	assert_int_equal(restore(*state, target, name, &result), -EPROTONOSUPPORT);
	remove_tree(target);
}

static bool rename_noise(struct forge *forge, struct node *node)
{
	if (strcmp(node->name, "noise") == 0) {
		free(node->name);
		node->name = xstrdup("../noise");
	}
	return true;
}

static bool stretch_noise(struct forge *forge, struct node *node)
{
	node->size += strcmp(node->name, "noise") == 0;
	return true;
}

static bool drop_lists(struct forge *forge, struct node *node)
{
	node->has_subtree = node->has_subtree && strcmp(node->name, "d") != 0;
	return true;
}

static bool name_twice(struct forge *forge, struct node *node)
{
	if (strcmp(node->name, "f10") == 0)
		tree_add(&forge->tree, node);
	return true;
}

/* The last one has the first one's name. */
static bool name_twice_apart(struct forge *forge, struct node *node)
{
	if (strcmp(node->name, "noise") == 0) {
		free(node->name);
		node->name = xstrdup("f1");
	}
	return true;
}

static bool drop_version(struct forge *forge, struct node *node)
{
	return change_text(forge, node, "\"version\":1,", "");
}

static bool cut_json(struct forge *forge, struct node *node)
{
	return change_text(forge, node, "}\n", "");
}

static bool drop_description(struct forge *forge, struct node *node)
{
	return strcmp(node->name, BACKUP_INFO_FILE) != 0;
}

static bool say_other_identity(struct forge *forge, struct node *node)
{
	char text[100];

	(void)snprintf(text, sizeof(text), "\"identity\":\"%064d\",\"was\":\"", 1);
	return change_text(forge, node, "\"identity\":\"", text);
}

static bool say_no_identity(struct forge *forge, struct node *node)
{
	return change_text(forge, node, "\"identity\":\"", "\"identity\":\"x");
}

/* It begins before the one that ends there, or after the end of the file. */
static bool move_hole(struct forge *forge, struct node *node)
{
	return change_text(forge, node, "\"holes\":[[", "\"holes\":[[9");
}

static bool make_time_odd(struct forge *forge, struct node *node)
{
	return change_text(forge, node, "{\"path\":\"holes\"", "{\"path\":\"holes\",\"mtime\":[1,1000000000]");
}

static bool keep_all(struct forge *forge, struct node *node)
{
	return true;
}

static void test_verify_finds_what_cannot_be_restored(void **state)
{
	bool (*const changes[])(struct forge *forge, struct node *node) = {
		rename_noise, stretch_noise, drop_lists, name_twice, name_twice_apart, make_newer, drop_version, cut_json, drop_description, say_other_identity,
		say_no_identity, move_hole, make_time_odd,
	};
	struct scene *scene = *state;
	const struct verify_options options = {.repository = scene->repository.repository};
	struct verify_counts counts;
	struct backup_result made;
	struct error err = {0};
	char name[BLOB_ID_TEXT];

	add_files(scene);
	assert_int_equal(run_backup_of(scene, BACKUP_FULL, "more", &made), 0);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		assert_int_equal(verify_run(&options, &counts, &err), 0);
		assert_int_equal(counts.hurt, i);
		assert_int_equal(counts.problems, 2 * i); /* what is wrong, and which backup it hurts */
		forge_backup(scene, made.name, changes[i], name);
	}
	assert_int_equal(verify_run(&options, &counts, &err), 0);
	assert_int_equal(counts.hurt, ARRAY_SIZE(changes));
	forge_backup(scene, made.name, changes[0], name);
	forge_backup(scene, name, keep_all, name);
	assert_int_equal(verify_run(&options, &counts, &err), 0);
	assert_int_equal(counts.hurt, ARRAY_SIZE(changes) + 2); /* they have the trees of another one */
	assert_int_equal(counts.problems, 2 * ARRAY_SIZE(changes) + 2);
}

/* --- a description that cannot be read --- */

static bool lose_file(struct forge *forge, struct node *node)
{
	if (strcmp(node->name, BACKUP_INFO_FILE) == 0)
		node->content.items[0].bytes[7] ^= 1;
	return true;
}

static bool lose_directory(struct forge *forge, struct node *node)
{
	if (strcmp(node->name, BACKUP_INFO_DIR) == 0)
		node->subtree.bytes[7] ^= 1;
	return true;
}

static void restore_without(struct scene *scene, bool (*change)(struct forge *forge, struct node *node))
{
	char target[] = "/tmp/corpusfs-restored-XXXXXX", name[BLOB_ID_TEXT];
	struct restore_options options = {.repository = scene->repository.repository, .place = "place", .backup = name, .path = "", .target = target,
	                                  .keep_going = true, .dataset = change == lose_file ? "one" : "two"};
	struct restore_result result;
	struct backup_result made;
	struct error err = {0};
	AUTO_FREE char *noise = NULL;

	assert_int_equal(run_backup(scene, &made), 0);
	forge_backup(scene, made.name, change, name);
	assert_non_null(mkdtemp(target));
	assert_int_equal(restore(scene, target, name, &result), -EBADMSG);
	options.target_fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(restore_to_directory(NULL, &options, &result, &err), 0);
	close(options.target_fd);
	assert_true(result.transfer.files == 1 && result.transfer.problems == 1 && !result.compared);
	noise = xasprintf("%s/noise", target);
	assert_int_equal(access(noise, R_OK), 0);
	assert_int_equal(restore_to_dataset(scene->place.store, &options, &result, &err), 0);
	assert_true(result.transfer.files == 1 && result.transfer.problems == 1 && !result.compared);
	remove_tree(target);
}

static void test_files_come_back_without_the_description_of_their_backup(void **state)
{
	restore_without(*state, lose_file);
	restore_without(*state, lose_directory);
}

static void test_a_dataset_that_has_the_name_of_the_description_is_not_backed_up(void **state)
{
	struct scene *scene = *state;
	const struct backup_options options = {.repository = scene->repository.repository, .place = "place", .type = BACKUP_FULL, .snapshot = "s",
	                                       .dataset = BACKUP_INFO_DIR};
	struct backup_result made;
	struct error err = {0};

	assert_int_equal(backup_run(scene->place.store, &options, &made, &err), -EINVAL);
	assert_non_null(strstr(err.hint, "rename"));
}

/* --- names of one file that are none --- */

static bool make_one_file(struct forge *forge, struct node *node)
{
	if (S_ISREG(node->mode)) {
		node->inode = 77;
		node->device_id = 5;
		node->links = 2;
	}
	return true;
}

/* A file with two names that changed between the two readings. */
static void test_names_of_one_file_with_two_contents_are_two_files(void **state)
{
	char target[] = "/tmp/corpusfs-restored-XXXXXX", other[BLOB_ID_TEXT];
	struct restore_result result;
	struct backup_result made;
	struct stat one, two;
	AUTO_FREE char *noise = NULL;
	AUTO_FREE char *more = NULL;

	assert_non_null(mkdtemp(target));
	take_later(*state);
	assert_int_equal(run_backup_of(*state, BACKUP_FULL, "later", &made), 0);
	forge_backup(*state, made.name, make_one_file, other);
	assert_int_equal(restore(*state, target, other, &result), 0);
	assert_int_equal(result.transfer.problems, 1);
	noise = xasprintf("%s/noise", target);
	more = xasprintf("%s/more", target);
	assert_int_equal(stat(noise, &one), 0);
	assert_int_equal(stat(more, &two), 0);
	assert_true(one.st_ino != two.st_ino);
	assert_true(one.st_nlink == 1 && two.st_nlink == 1);
	remove_tree(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_mode_that_somebody_changed_is_set_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_of_one_file_with_two_contents_are_two_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files_come_back_without_the_description_of_their_backup, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_dataset_that_has_the_name_of_the_description_is_not_backed_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_there_is_not_read_through_its_holes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backup_of_a_newer_version_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_verify_finds_what_cannot_be_restored, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_comes_into_a_directory_is_compared_with_what_was_backed_up, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
