#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <linux/fs.h>
#include <pthread.h>

#include "lib/tree/freeze/freeze.h"
#include "tests/unit/names.h"

static void a_created_inode_has_what_was_asked_for(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	struct create create = {.mode = S_IFCHR | 0600, .uid = 7, .gid = 8, .rdev = 0x103};
	AUTO_BUF target = BUF_INIT;
	struct attr attr, dir;

	assert_int_equal(view_create(view, ROOT_INO, "null", &create, &attr, NULL), 0);
	assert_int_equal(attr.rdev, 0x103);
	assert_int_equal(attr.uid, 7);
	assert_int_equal(attr.gid, 8);
	assert_int_equal(attr.nlink, 1);
	assert_int_equal(view_getattr(view, ROOT_INO, &dir), 0);
	assert_memory_equal(&dir.mtime, &attr.btime, sizeof(dir.mtime));
	assert_int_equal(view_readlink(view, attr.ino, &target), -EINVAL);
	assert_int_equal(view_readlink(view, make(view, ROOT_INO, "link", S_IFLNK | 0777), &target), 0);
	assert_string_equal((char *)target.data, "target");
	assert_int_equal(target.len, 6);
	assert_int_equal(nlink_of(view, make_dir(view, ROOT_INO, "d")), 2);
	assert_int_equal(nlink_of(view, ROOT_INO), 3);
}

static void names_outlive_a_reopen(void **state)
{
	struct tree_store *store = *state;
	uint64_t dir = make_dir(store->view, ROOT_INO, "d"), file = make_file(store->view, dir, "f");
	struct attr attr;

	tree_store_close(store);
	tree_store_open(store, false);
	assert_int_equal(view_resolve(store->view, "d/f", &attr), 0);
	assert_int_equal(attr.ino, file);
	assert_int_equal(view_resolve(store->view, "", &attr), 0);
	assert_int_equal(attr.ino, ROOT_INO);
	assert_int_equal(view_lookup(store->view, dir, "..", &attr), 0);
	assert_int_equal(attr.ino, ROOT_INO);
	assert_int_equal(view_resolve(store->view, "d/f/x", &attr), -ENOTDIR);
	assert_int_equal(view_resolve(store->view, "d/x", &attr), -ENOENT);
}

static void bad_names_and_places_are_refused(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	struct create file = {.mode = S_IFREG}, link = {.mode = S_IFLNK, .target = ""}, odd = {.mode = 0170000};
	uint64_t dir = make_dir(view, ROOT_INO, "d"), plain = make_file(view, ROOT_INO, "f");
	char name[300];
	struct attr attr;

	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	assert_int_equal(view_create(view, dir, name, &file, &attr, NULL), -ENAMETOOLONG);
	name[255] = '\0';
	assert_int_equal(view_create(view, dir, name, &file, &attr, NULL), 0);
	assert_int_equal(view_create(view, dir, name, &file, &attr, NULL), -EEXIST);
	assert_int_equal(view_create(view, dir, "", &file, &attr, NULL), -EINVAL);
	assert_int_equal(view_create(view, dir, "..", &file, &attr, NULL), -EINVAL);
	assert_int_equal(view_create(view, plain, "x", &file, &attr, NULL), -ENOTDIR);
	assert_int_equal(view_create(view, 12345, "x", &file, &attr, NULL), -ESTALE);
	assert_int_equal(view_create(view, dir, "x", &link, &attr, NULL), -ENOENT);
	assert_int_equal(view_create(view, dir, "x", &odd, &attr, NULL), -EINVAL);
	assert_int_equal(view_lookup(view, plain, "x", &attr), -ENOTDIR);
	assert_int_equal(view_link(view, dir, ROOT_INO, "hard", &attr), -EPERM);
	assert_int_equal(view_link(view, plain, ROOT_INO, "d", &attr), -EEXIST);
	assert_int_equal(view_unlink(view, ROOT_INO, "d"), -EISDIR);
	assert_int_equal(view_unlink(view, ROOT_INO, "none"), -ENOENT);
	assert_int_equal(view_rmdir(view, ROOT_INO, "f"), -ENOTDIR);
	assert_int_equal(view_rmdir(view, ROOT_INO, "d"), -ENOTEMPTY);
	assert_int_equal(view_unlink(view, dir, name), 0);
	assert_int_equal(view_rmdir(view, ROOT_INO, "d"), 0);
	assert_int_equal(nlink_of(view, ROOT_INO), 2);
	assert_int_equal(view_getattr(view, dir, &attr), -ESTALE);
}

static void links_are_counted(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	uint64_t dir = make_dir(view, ROOT_INO, "d"), file = make_file(view, ROOT_INO, "f");
	struct attr attr;

	assert_int_equal(view_link(view, file, dir, "g", &attr), 0);
	assert_int_equal(attr.nlink, 2);
	assert_int_equal(ino_of(view, dir, "g"), file);
	assert_int_equal(view_unlink(view, ROOT_INO, "f"), 0);
	assert_int_equal(nlink_of(view, file), 1);
	assert_int_equal(view_unlink(view, dir, "g"), 0);
	assert_int_equal(view_getattr(view, file, &attr), -ESTALE);
	assert_int_equal(view_link(view, file, dir, "g", &attr), -ESTALE);
}

static void what_was_removed_still_has_attributes(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	uint64_t dir = make_dir(view, ROOT_INO, "d"), file = make_file(view, ROOT_INO, "f");
	const struct setattr change = {.mask = SET_MODE, .mode = 0600}, cut = {.mask = SET_SIZE};
	struct inode *inode;
	struct attr attr;

	assert_int_equal(view_unlink(view, ROOT_INO, "f"), 0);
	assert_int_equal(view_getattr(view, file, &attr), -ESTALE);
	assert_int_equal(view_setattr(view, file, &change, &attr), 0);
	assert_int_equal(view_setattr(view, file, &cut, &attr), -ESTALE);
	assert_int_equal(view_getattr_removed(view, file, &attr), 0);
	assert_int_equal(attr.nlink, 0);
	assert_int_equal(attr.mode, S_IFREG | 0600);
	assert_int_equal(inode_open(view, file, &inode), -ESTALE);
	assert_int_equal(view_rmdir(view, ROOT_INO, "d"), 0);
	assert_int_equal(inode_open(view, dir, &inode), 0);
	inode_close(inode);
	assert_int_equal(view_getattr_removed(view, 4711, &attr), -ESTALE);
}

static void a_removed_directory_takes_no_names(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	uint64_t dir = make_dir(view, ROOT_INO, "d"), file = make_file(view, ROOT_INO, "f");
	struct create create = {.mode = S_IFREG};
	struct inode *opened;
	struct attr attr;

	assert_int_equal(inode_open(view, dir, &opened), 0);
	assert_int_equal(view_rmdir(view, ROOT_INO, "d"), 0);
	assert_int_equal(view_create(view, dir, "x", &create, &attr, NULL), -ENOENT);
	assert_int_equal(view_link(view, file, dir, "x", &attr), -ENOENT);
	assert_int_equal(view_rename(view, ROOT_INO, "f", dir, "x", 0), -ENOENT);
	assert_int_equal(ino_of(view, ROOT_INO, "f"), file);
	inode_attr(opened, &attr);
	assert_int_equal(attr.nlink, 0);
	inode_close(opened);
	assert_int_equal(view_getattr(view, dir, &attr), -ESTALE);
}

struct listing {
	unsigned count, stop_at;
	char last[256];
};

static int list_one(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct listing *listing = arg;

	assert_true(strcmp(listing->last, name) < 0);
	assert_int_equal(type, DT_REG);
	assert_true(ino > ROOT_INO);
	snprintf(listing->last, sizeof(listing->last), "%s", name);
	return ++listing->count == listing->stop_at;
}

static void a_directory_is_listed_in_parts(void **state)
{
	struct view *view = ((struct tree_store *)*state)->view;
	uint64_t dir = make_dir(view, ROOT_INO, "d");
	uint64_t file = make_file(view, ROOT_INO, "plain");
	unsigned total = 0;
	char name[16];

	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		make_file(view, dir, name);
	}
	for (unsigned i = 0; i < 300; i += 3) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(view_unlink(view, dir, name), 0);
	}
	struct listing listing = {.stop_at = 7};

	for (unsigned before = 1; before != total; before = total, total += listing.count, listing.count = 0)
		assert_int_equal(view_list(view, dir, listing.last, list_one, &listing), 0);
	assert_int_equal(total, 200);
	assert_int_equal(view_list(view, file, "", list_one, &listing), -ENOTDIR);
}

/* Opens what the store's view sees now as a snapshot; the head goes on in a new epoch. */
static struct view *snapshot(struct tree_store *store)
{
	struct line line = view_line(store->view);
	struct view_options options = {.dataset = 1, .family = 1, .view = 9, .line = &line};
	struct kv_batch *batch = kv_batch_new();
	struct freeze *freeze;
	struct view *taken;
	uint64_t epoch;

	assert_int_equal(freeze_begin(&store->view, 1, &freeze), 0);
	assert_int_equal(family_next_epoch(store->tree, 1, batch, &epoch), 0);
	assert_int_equal(view_open(store->tree, &options, &taken), 0);
	freeze_set_shared(freeze, store->view, &line);
	line_add(&line, epoch, epoch);
	freeze_set_epoch(freeze, store->view, &line, epoch);
	freeze_end(freeze);
	line_clear(&line);
	kv_batch_free(batch);
	return taken;
}

static void a_snapshot_keeps_names_as_they_were(void **state)
{
	struct tree_store *store = *state;
	struct view *view = store->view;
	struct create create = {.mode = S_IFREG};
	uint64_t dir = make_dir(view, ROOT_INO, "d"), file = make_file(view, dir, "f"), kept = make_file(view, dir, "kept");
	struct view *taken = snapshot(store);
	struct attr attr;

	assert_int_equal(view_unlink(view, dir, "f"), 0);
	assert_int_equal(view_rename(view, dir, "kept", ROOT_INO, "moved", 0), 0);
	assert_int_equal(view_rmdir(view, ROOT_INO, "d"), 0);
	make_file(view, ROOT_INO, "d");
	assert_int_equal(ino_of(taken, dir, "f"), file);
	assert_int_equal(ino_of(taken, dir, "kept"), kept);
	assert_int_equal(ino_of(taken, ROOT_INO, "moved"), 0);
	assert_int_equal(nlink_of(taken, ROOT_INO), 3);
	assert_int_equal(nlink_of(view, ROOT_INO), 2);
	assert_int_equal(view_create(taken, dir, "x", &create, &attr, NULL), -EROFS);
	assert_int_equal(view_unlink(taken, dir, "f"), -EROFS);
	assert_int_equal(view_rename(taken, dir, "f", dir, "g", 0), -EROFS);
	view_close(taken);
}

static void a_retired_view_reads_and_does_not_write(void **state)
{
	struct tree_store *store = *state;
	struct create create = {.mode = S_IFREG};
	struct inode *inode = new_file(store, "f");
	struct freeze *freeze;
	struct attr attr;

	assert_int_equal(freeze_begin(&store->view, 1, &freeze), 0);
	freeze_retire(freeze, store->view);
	freeze_end(freeze);
	assert_int_equal(view_lookup(store->view, ROOT_INO, "f", &attr), 0);
	assert_int_equal(view_create(store->view, ROOT_INO, "g", &create, &attr, NULL), -ESTALE);
	assert_int_equal(view_unlink(store->view, ROOT_INO, "f"), -ESTALE);
	assert_int_equal(inode_write(inode, 0, "x", 1, 0), -ESTALE);
	inode_close(inode);
}

static void attributes_are_set(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "f");
	struct setattr set = {.mask = SET_MODE, .mode = 06755};
	struct attr attr, before;

	assert_int_equal(inode_write(inode, 0, "buffered", 8, 0), 0);
	assert_int_equal(view_setattr(store->view, inode_ino(inode), &set, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 06755);
	/* the new size is not committed with the mode */
	assert_int_equal(attr.size, 8);
	assert_int_equal(inode->record.size, 0);
	set = (struct setattr){.mask = SET_GID, .gid = 5};
	assert_int_equal(view_setattr(store->view, inode_ino(inode), &set, &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0755);
	assert_int_equal(attr.gid, 5);
	before = attr;
	set = (struct setattr){.mask = SET_MTIME | SET_ATIME, .mtime = {11, 12}, .atime = {13, 14}};
	assert_int_equal(view_setattr(store->view, inode_ino(inode), &set, &attr), 0);
	assert_true(attr.mtime.tv_sec == 11 && attr.mtime.tv_nsec == 12 && attr.atime.tv_sec == 13);
	assert_memory_not_equal(&attr.ctime, &before.ctime, sizeof(attr.ctime));
	set = (struct setattr){.mask = SET_SIZE, .size = 3};
	assert_int_equal(view_setattr(store->view, inode_ino(inode), &set, &attr), 0);
	assert_int_equal(attr.size, 3);
	assert_int_not_equal(attr.mtime.tv_sec, 11);
	assert_int_equal(view_setattr(store->view, ROOT_INO, &set, &attr), -EISDIR);
	inode_close(inode);
	tree_store_close(store);
	tree_store_open(store, false);
	assert_int_equal(view_lookup(store->view, ROOT_INO, "f", &attr), 0);
	assert_int_equal(attr.size, 3);
	assert_int_equal(attr.mode, S_IFREG | 0755);
}

static void check_scanned(struct view *view, struct attr_scan *scan, uint64_t ino)
{
	struct attr scanned, now;
	int r = attr_scan_get(scan, ino, &scanned);

	assert_int_equal(r, view_getattr(view, ino, &now));
	if (r == 0)
		assert_memory_equal(&scanned, &now, sizeof(now));
}

/* The cache of inodes is smaller than the directory: most are read from disk, and what changes during the scan leaves memory again. */
static void a_scan_of_attributes_is_as_true_as_asking_for_each(void **state)
{
	struct tree_store *store = *state;
	struct setattr change = {.mask = SET_MODE};
	struct inode *buffered = new_file(store, "buffered");
	uint64_t first = inode_ino(buffered), inos[100];
	struct attr attr;

	for (unsigned i = 0; i < ARRAY_SIZE(inos); i++) {
		char name[16];
		snprintf(name, sizeof(name), "f%u", i);
		inos[i] = make(store->view, ROOT_INO, name, i % 10 == 0 ? S_IFLNK | 0777 : S_IFREG | 0644);
	}
	assert_int_equal(inode_write(buffered, 0, "12345", 5, 0), 0);
	assert_int_equal(view_unlink(store->view, ROOT_INO, "f50"), 0);

	struct attr_scan *scan = attr_scan_new(store->view, first, inos[99] + 1);

	check_scanned(store->view, scan, first);
	check_scanned(store->view, scan, first);
	for (unsigned i = 0; i < ARRAY_SIZE(inos); i++) {
		if (i == 30) {
			for (unsigned j = 0; j < ARRAY_SIZE(inos); j++) {
				change.mode = 0600 + j % 8;
				assert_int_equal(view_setattr(store->view, inos[j], &change, &attr), j == 50 ? -ESTALE : 0);
			}
		}
		check_scanned(store->view, scan, inos[i]);
	}
	assert_int_equal(attr_scan_get(scan, inos[99] + 1, &attr), -ESTALE);
	attr_scan_free(scan);
	inode_close(buffered);
}

struct player {
	struct tree_store *store;
	uint64_t dirs[2];
	unsigned seed;
	bool *stop;
};

static void *play(void *arg)
{
	struct player *player = arg;
	struct view *view = player->store->view;
	struct create create = {.mode = S_IFREG | 0600};
	unsigned seed = player->seed;

	while (!__atomic_load_n(player->stop, __ATOMIC_RELAXED)) {
		char name[] = "x", other[] = "y";
		uint64_t dir = player->dirs[rand_r(&seed) % 2], to = player->dirs[rand_r(&seed) % 2];
		struct inode *inode;
		struct attr attr;
		int r = 0;
		name[0] = (char)('a' + rand_r(&seed) % 8);
		other[0] = (char)('a' + rand_r(&seed) % 8);
		switch (rand_r(&seed) % 6) {
		case 0: r = view_create(view, dir, name, &create, &attr, NULL); break;
		case 1: r = view_unlink(view, dir, name); break;
		case 2: r = view_rename(view, dir, name, to, other, rand_r(&seed) % 3 ? 0 : RENAME_EXCHANGE); break;
		case 3: r = view_lookup(view, dir, name, &attr); break;
		case 4:
			r = view_lookup(view, dir, name, &attr);
			r = r == 0 ? view_link(view, attr.ino, to, other, &attr) : r;
			break;
		default:
			r = view_lookup(view, dir, name, &attr);
			r = r == 0 ? inode_open(view, attr.ino, &inode) : r;
			if (r == 0) {
				r = inode_write(inode, 0, "hello", 5, 0);
				inode_close(inode);
			}
			break;
		}
		if (r != 0 && r != -ENOENT && r != -EEXIST && r != -ESTALE)
			abort();
	}
	return NULL;
}

static void threads_and_snapshots_do_not_hold_each_other_up(void **state)
{
	struct tree_store *store = *state;
	struct player players[4];
	pthread_t threads[4];
	unsigned expected = 0, links = 0;
	bool stop = false;

	for (unsigned i = 0; i < 4; i++) {
		players[i] = (struct player){.store = store, .seed = i + 1, .stop = &stop};
		players[i].dirs[0] = i ? players[0].dirs[0] : make_dir(store->view, ROOT_INO, "d");
		players[i].dirs[1] = i ? players[0].dirs[1] : make_dir(store->view, ROOT_INO, "e");
		assert_int_equal(pthread_create(&threads[i], NULL, play, &players[i]), 0);
	}
	for (unsigned i = 0; i < 30; i++) {
		struct view *taken = snapshot(store);
		usleep(10000);
		view_close(taken);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	tree_store_close(store);

	/* every name has its inode, and the link counts add up: each name is one of nlink */
	struct tree_key first = tree_prefix_family(1), end = tree_prefix_end(first);
	struct error err;
	struct kv_options options = {.cache_bytes = MIB, .memtable_bytes = 4 * MIB, .threads = 1};

	assert_int_equal(kv_open(store->db, &options, &store->kv, &err), 0);
	struct line all = {0};
	line_add(&all, 1, 1000);
	struct version_iter *iter = version_iter_new(store->kv, &all, &first, &end, 0);
	while (version_iter_next(iter)) {
		struct inode_record record;
		size_t len;
		const uint8_t *value = version_iter_value(iter, &len);
		expected += version_iter_parts(iter)->kind == KEY_ENTRY;
		if (version_iter_parts(iter)->kind != KEY_INODE)
			continue;
		assert_int_equal(inode_record_decode(value, len, &record), 0);
		assert_true(record.nlink > 0);
		links += S_ISDIR(record.mode) ? 0 : record.nlink;
	}
	version_iter_free(iter);
	line_clear(&all);
	kv_close(store->kv);
	assert_int_equal(expected, links + 2);
	tree_store_open(store, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(a_created_inode_has_what_was_asked_for),
		TREE_TEST(names_outlive_a_reopen),
		TREE_TEST(bad_names_and_places_are_refused),
		TREE_TEST(links_are_counted),
		TREE_TEST(what_was_removed_still_has_attributes),
		TREE_TEST(a_removed_directory_takes_no_names),
		TREE_TEST(a_directory_is_listed_in_parts),
		TREE_TEST(a_snapshot_keeps_names_as_they_were),
		TREE_TEST(a_retired_view_reads_and_does_not_write),
		TREE_TEST(attributes_are_set),
		TREE_TEST(a_scan_of_attributes_is_as_true_as_asking_for_each),
		TREE_TEST(threads_and_snapshots_do_not_hold_each_other_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
