#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/tree/records/quota.h"
#include "lib/tree/records/view_inside.h"
#include "tests/unit/tree_store.h"

/* More extents than one batch removes. */
#define MANY_BLOCKS 600
#define BLOCK 8192

static unsigned count_keys(struct tree_store *store, enum kv_family family, const void *first, size_t first_len, const void *end,
			   size_t end_len)
{
	struct kv_iter *iter = kv_iter_new(store->kv, family, first, first_len, end, end_len);
	unsigned count = 0;

	for (kv_iter_first(iter); kv_iter_valid(iter); kv_iter_next(iter))
		count++;
	kv_iter_free(iter);
	return count;
}

/* Everything that the store holds about an inode. */
static unsigned traces(struct tree_store *store, uint64_t ino)
{
	struct tree_key first = tree_prefix_inode(1, ino), end = tree_prefix_end(first);
	struct tree_key content = tree_stem_content(1, ino), content_end = tree_prefix_end(content);
	struct small_key touched = touched_key(1, 1, ino), orphan = catalog_key_orphan(1, ino);

	return count_keys(store, KV_TREE, first.bytes, first.len, end.bytes, end.len) +
	       count_keys(store, KV_CONTENT, content.bytes, content.len, content_end.bytes, content_end.len) +
	       (kv_has(store->kv, KV_TOUCHED, touched.bytes, touched.len) == 0) +
	       (kv_has(store->kv, KV_CATALOG, orphan.bytes, orphan.len) == 0);
}

static unsigned orphans(struct tree_store *store)
{
	struct small_key first = catalog_key_orphan(1, 0), end = catalog_key_orphan(1, UINT64_MAX);

	return count_keys(store, KV_CATALOG, first.bytes, first.len, end.bytes, end.len);
}

static void fill(struct inode *inode, unsigned blocks)
{
	uint8_t block[BLOCK];

	/* every other block, so that each is an extent at least */
	for (unsigned i = 0; i < blocks; i++) {
		fill_noise(block, sizeof(block), i);
		assert_int_equal(inode_write(inode, (uint64_t)i * 2 * BLOCK, block, sizeof(block), 0), 0);
	}
}

static void a_closed_small_file_goes_with_its_name(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "f");
	uint64_t ino = inode_ino(inode);

	fill(inode, 4);
	assert_int_equal(inode_commit(inode), 0);
	assert_int_equal(view_xattr_set(store->view, ino, "user.a", "1", 1, 0), 0);
	inode_close(inode);
	assert_int_equal(view_unlink(store->view, ROOT_INO, "f"), 0);
	assert_int_equal(traces(store, ino), 0);
}

static void buffered_content_of_a_removed_file_is_dropped(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "f");
	uint64_t ino = inode_ino(inode);

	fill(inode, 4);
	inode_close(inode);
	assert_true(view_dirty_bytes(store->view) > 0);
	assert_int_equal(view_unlink(store->view, ROOT_INO, "f"), 0);
	assert_int_equal(view_sync(store->view), 0);
	assert_int_equal(view_dirty_bytes(store->view), 0);
	assert_int_equal(traces(store, ino), 0);
}

static void a_closed_big_file_goes_in_steps(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "f");
	uint64_t ino = inode_ino(inode);

	fill(inode, MANY_BLOCKS);
	assert_int_equal(inode_commit(inode), 0);
	inode_close(inode);
	assert_true(traces(store, ino) > MANY_BLOCKS);
	assert_int_equal(view_unlink(store->view, ROOT_INO, "f"), 0);
	assert_int_equal(traces(store, ino), 0);
}

static void an_open_file_outlives_its_name(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "f"), *again;
	uint64_t ino = inode_ino(inode);
	struct attr attr;
	char out[4];

	assert_int_equal(inode_write(inode, 0, "abc", 3, 0), 0);
	assert_int_equal(view_unlink(store->view, ROOT_INO, "f"), 0);
	assert_int_equal(orphans(store), 1);
	assert_int_equal(inode_sync(inode), 0);
	assert_int_equal(inode_open(store->view, ino, &again), 0);
	inode_close(inode);
	assert_int_equal(inode_read(again, 0, 4, out), 3);
	inode_attr(again, &attr);
	assert_int_equal(attr.nlink, 0);
	inode_close(again);
	assert_int_equal(inode_open(store->view, ino, &again), -ESTALE);
	assert_int_equal(traces(store, ino), 0);
}

static void an_unnamed_file_can_get_a_name(void **state)
{
	struct tree_store *store = *state;
	struct create create = {.mode = S_IFREG | 0600};
	struct inode *inode;
	struct attr attr;
	uint64_t ino;

	assert_int_equal(view_create(store->view, ROOT_INO, NULL, &create, &attr, &inode), 0);
	assert_int_equal(attr.nlink, 0);
	assert_int_equal(orphans(store), 1);
	assert_int_equal(view_link(store->view, attr.ino, ROOT_INO, "named", &attr), 0);
	assert_int_equal(attr.nlink, 1);
	assert_int_equal(orphans(store), 0);
	inode_close(inode);
	assert_int_equal(view_lookup(store->view, ROOT_INO, "named", &attr), 0);
	assert_int_equal(view_create(store->view, ROOT_INO, NULL, &create, &attr, &inode), 0);
	ino = attr.ino;
	inode_close(inode);
	assert_int_equal(traces(store, ino), 0);
}

static void the_quota_counts_open_files_without_a_name(void **state)
{
	struct tree_store *store = *state;
	const struct quota *quota = &store->view->quota;
	struct create create = {.mode = S_IFREG | 0600};
	struct inode *inode = new_file(store, "f");
	struct attr attr;

	assert_int_equal(view_unlink(store->view, ROOT_INO, "f"), 0);
	assert_int_equal(quota->unnamed, 1);
	inode_close(inode);
	assert_int_equal(quota->unnamed, 0);
	assert_int_equal(view_create(store->view, ROOT_INO, NULL, &create, &attr, &inode), 0);
	inode_close(inode);
	assert_int_equal(quota->unnamed, 0);
	inode = new_file(store, "f");
	assert_int_equal(view_unlink(store->view, ROOT_INO, "f"), 0);
	assert_int_equal(view_link(store->view, inode_ino(inode), ROOT_INO, "again", &attr), 0);
	assert_int_equal(quota->unnamed, 0);
	inode_close(inode);
	assert_int_equal(quota->unnamed, 0);
	assert_int_equal(quota->closing, 0);
}

static void room_that_came_back_before_the_wait_is_not_missed(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	struct quota_patience patience = quota_patience(view);

	quota_change(view, 100);
	assert_false(quota_wait(view, &patience));
	quota_change(view, -100);
	assert_true(quota_wait(view, &patience));
	assert_false(quota_wait(view, &patience));
}

/*
 * Each crash happens in a process of its own, this program anew, since the fault points are read once in a process. What goes wrong there
 * ends in abort().
 */
static int status_of(struct tree_store *store, const char *fault, const char *scene)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		setenv("CORPUSFS_FAULT", fault, 1);
		execl("/proc/self/exe", "test_orphan", scene, store->dir, (char *)NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	tree_store_open(store, false);
	return status;
}

static void crash_at(struct tree_store *store, const char *fault, const char *scene)
{
	const int status = status_of(store, fault, scene);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void unlink_file(struct tree_store *store)
{
	if (view_unlink(store->view, ROOT_INO, "f") < 0)
		abort();
}

static void leave_open(struct tree_store *store)
{
	struct inode *inode = open_file(store, "f");

	unlink_file(store);
	if (inode_sync(inode) < 0)
		abort();
	raise(SIGKILL);
}

/* The first time its inode cannot be read. */
static void unlink_twice(struct tree_store *store)
{
	struct attr attr;

	if (view_unlink(store->view, ROOT_INO, "f") != -EIO || view_lookup(store->view, ROOT_INO, "f", &attr) < 0)
		abort();
	unlink_file(store);
	tree_store_close(store);
}

static int play_scene(const char *scene, const char *dir)
{
	struct tree_store store = {.budget = MIB, .idle_ms = 1000000};

	snprintf(store.dir, sizeof(store.dir), "%s", dir);
	snprintf(store.db, sizeof(store.db), "%s/db", dir);
	snprintf(store.ingest, sizeof(store.ingest), "%s/ingest", dir);
	tree_store_open(&store, false);
	if (strcmp(scene, "unlink") == 0)
		unlink_file(&store);
	else if (strcmp(scene, "unlink-twice") == 0)
		unlink_twice(&store);
	else
		leave_open(&store);
	return 0;
}

static uint64_t big_file(struct tree_store *store)
{
	struct inode *inode = new_file(store, "f");
	uint64_t ino = inode_ino(inode);

	fill(inode, MANY_BLOCKS);
	inode_close(inode);
	tree_store_close(store);
	return ino;
}

static void check_reaped(struct tree_store *store, uint64_t ino)
{
	struct inode *inode;
	struct attr attr;

	assert_int_equal(view_lookup(store->view, ROOT_INO, "f", &attr), -ENOENT);
	assert_int_equal(orphans(store), 1);
	assert_int_equal(inode_open(store->view, ino, &inode), -ESTALE);
	assert_int_equal(view_reap_orphans(store->view), 0);
	assert_int_equal(traces(store, ino), 0);
	assert_int_equal(view_reap_orphans(store->view), 0);
}

static void a_kill_before_the_batch_leaves_the_name(void **state)
{
	struct tree_store *store = *state;
	uint64_t ino = big_file(store);
	struct attr attr;

	crash_at(store, "transaction-before-write", "unlink");
	assert_int_equal(view_lookup(store->view, ROOT_INO, "f", &attr), 0);
	assert_int_equal(attr.ino, ino);
	assert_int_equal(orphans(store), 0);
}

static void a_kill_before_the_removal_is_made_good(void **state)
{
	struct tree_store *store = *state;
	uint64_t ino = big_file(store);

	crash_at(store, "orphan-before-remove", "unlink");
	check_reaped(store, ino);
}

static void a_kill_during_the_removal_is_made_good(void **state)
{
	struct tree_store *store = *state;
	uint64_t ino = big_file(store);

	crash_at(store, "orphan-batch", "unlink");
	check_reaped(store, ino);
}

static void a_file_open_at_the_kill_is_removed_later(void **state)
{
	struct tree_store *store = *state;
	uint64_t ino = big_file(store);

	crash_at(store, "", "leave-open");
	check_reaped(store, ino);
}

/* An orphan entry says little: what the view sees decides. */
static void a_named_inode_is_no_orphan(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "f");
	struct small_key named = catalog_key_orphan(1, inode_ino(inode)), missing = catalog_key_orphan(1, 4711);
	struct kv_batch *batch = kv_batch_new();
	struct attr attr;

	inode_close(inode);
	kv_batch_put(batch, KV_CATALOG, named.bytes, named.len, "", 0);
	kv_batch_put(batch, KV_CATALOG, missing.bytes, missing.len, "", 0);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	kv_batch_free(batch);
	assert_int_equal(view_reap_orphans(store->view), 0);
	assert_int_equal(orphans(store), 0);
	assert_int_equal(view_lookup(store->view, ROOT_INO, "f", &attr), 0);
}

static void change_record(struct tree_store *store, enum kv_family family, const struct tree_key *key, bool is_there)
{
	struct kv_batch *batch = kv_batch_new();

	if (is_there)
		kv_batch_put(batch, family, key->bytes, key->len, "x", 1);
	else
		kv_batch_delete(batch, family, key->bytes, key->len);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	kv_batch_free(batch);
}

static uint64_t stored_file(struct tree_store *store, const char *name)
{
	struct inode *inode = new_file(store, name);
	const uint64_t ino = inode_ino(inode);

	fill(inode, 4);
	assert_int_equal(inode_commit(inode), 0);
	inode_close(inode);
	return ino;
}

/* Among its records stands what is none. What could not be looked through goes when it can be. */
static void a_file_with_damaged_records_is_removed(void **state)
{
	struct tree_store *store = *state;
	const uint64_t ino = stored_file(store, "f");
	const struct tree_key damaged = tree_prefix_kind(1, ino, KEY_EXTENT);
	struct attr attr;

	change_record(store, KV_TREE, &damaged, true);
	assert_int_equal(view_unlink(store->view, ROOT_INO, "f"), 0);
	assert_int_equal(view_lookup(store->view, ROOT_INO, "f", &attr), -ENOENT);
	assert_int_equal(view_sync(store->view), 0);
	tree_store_close(store);
	tree_store_open(store, false);
	assert_true(view_reap_orphans(store->view) < 0);
	assert_int_equal(orphans(store), 1);
	tree_store_close(store);
	tree_store_open(store, false);
	change_record(store, KV_TREE, &damaged, false);
	check_reaped(store, ino);
}

/* Its record cannot be read, or is not there. Nobody takes the name for that of no file. */
static void a_file_whose_inode_is_damaged_is_removed(void **state)
{
	struct tree_store *store = *state;
	const uint64_t damaged = stored_file(store, "damaged"), missing = stored_file(store, "missing");
	const struct tree_key of_damaged = tree_key_at(tree_stem_inode(1, damaged), 1), of_missing = tree_key_at(tree_stem_inode(1, missing), 1);
	char too_long[NAME_LEN_MAX + 2] = {0};
	uint64_t ino;
	struct attr attr;
	uint8_t type;

	memset(too_long, 'n', sizeof(too_long) - 1);
	stored_file(store, "sound");
	tree_store_close(store);
	tree_store_open(store, false);
	change_record(store, KV_TREE, &of_damaged, true);
	change_record(store, KV_TREE, &of_missing, false);
	assert_int_equal(view_lookup(store->view, ROOT_INO, "damaged", &attr), -EIO);
	assert_int_equal(view_lookup(store->view, ROOT_INO, "missing", &attr), -EIO);
	assert_int_equal(view_name_type(store->view, ROOT_INO, "damaged", &ino, &type), 0);
	assert_true(ino == damaged && type == DT_REG);
	assert_int_equal(view_name_type(store->view, ROOT_INO, too_long, &ino, &type), -ENAMETOOLONG);
	assert_int_equal(view_rmdir(store->view, ROOT_INO, "damaged"), -ENOTDIR);
	assert_int_equal(view_unlink(store->view, ROOT_INO, "damaged"), 0);
	assert_int_equal(view_unlink(store->view, ROOT_INO, "missing"), 0);
	assert_int_equal(view_lookup(store->view, ROOT_INO, "damaged", &attr), -ENOENT);
	assert_int_equal(view_lookup(store->view, ROOT_INO, "missing", &attr), -ENOENT);
	assert_int_equal(view_lookup(store->view, ROOT_INO, "sound", &attr), 0);
	assert_int_equal(orphans(store), 0);
}

/* The name would be gone, and all else of the file left to a repair. */
static void a_file_whose_inode_cannot_be_read_just_now_stays_whole(void **state)
{
	struct tree_store *store = *state;
	const uint64_t ino = big_file(store);
	struct attr attr;

	assert_int_equal(status_of(store, "remove-before-inode:eio", "unlink-twice"), 0);
	assert_int_equal(view_lookup(store->view, ROOT_INO, "f", &attr), -ENOENT);
	assert_int_equal(orphans(store), 0);
	assert_int_equal(traces(store, ino), 0);
}

int main(int argc, char **argv)
{
	if (argc == 3)
		return play_scene(argv[1], argv[2]);

	const struct CMUnitTest tests[] = {
		TREE_TEST(a_closed_small_file_goes_with_its_name),
		TREE_TEST(buffered_content_of_a_removed_file_is_dropped),
		TREE_TEST(a_closed_big_file_goes_in_steps),
		TREE_TEST(an_open_file_outlives_its_name),
		TREE_TEST(an_unnamed_file_can_get_a_name),
		TREE_TEST(the_quota_counts_open_files_without_a_name),
		TREE_TEST(room_that_came_back_before_the_wait_is_not_missed),
		TREE_TEST(a_kill_before_the_batch_leaves_the_name),
		TREE_TEST(a_kill_before_the_removal_is_made_good),
		TREE_TEST(a_kill_during_the_removal_is_made_good),
		TREE_TEST(a_file_open_at_the_kill_is_removed_later),
		TREE_TEST(a_named_inode_is_no_orphan),
		TREE_TEST(a_file_with_damaged_records_is_removed),
		TREE_TEST(a_file_whose_inode_is_damaged_is_removed),
		TREE_TEST(a_file_whose_inode_cannot_be_read_just_now_stays_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
