/* Streams that are whole: random histories arrive as they were; and who may receive what, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/falloc.h>

#include "lib/store/schedule.h"
#include "lib/stream/replication.h"
#include "lib/tree/files/acl.h"
#include "lib/tree/files/bulk.h"
#include "tests/unit/random_changes.h"
#include "tests/unit/stream_store.h"

struct pair {
	struct place a, b;
};

static int setup(void **state)
{
	struct pair *pair = xcalloc(1, sizeof(*pair));
	struct error err;

	place_init(&pair->a);
	place_init(&pair->b);
	assert_int_equal(dataset_create(pair->a.store, "d", 0750, 7, 8, 1, &err), 0);
	*state = pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;

	place_clear(&pair->a);
	place_clear(&pair->b);
	free(pair);
	return 0;
}

static void put_text(struct store *store, const char *name, const char *text)
{
	struct view *view = open_head(store, "d");

	write_file(view, ROOT_INO, name, 0, text, strlen(text));
	store_view_put(store, view);
}

static void send_to(struct store *from, const char *name, const char *base, struct store *to, const char *dataset)
{
	AUTO_BUF stream = BUF_INIT;

	make_stream(from, name, base, &stream);
	receive_all(to, dataset, &stream);
}

static bool is_at(struct store *store, const char *dataset, const char *name)
{
	return dataset_is_at(store, dataset, name) == 1;
}

/* --- random histories --- */

/* What random_changes.h does not do: holes, zeros, owners, times far off, other types under old names. */
static void change_further(struct view *view, uint64_t *seed)
{
	struct setattr set = {.mask = SET_UID | SET_GID | SET_ATIME | SET_MTIME, .uid = (uint32_t)random_next(seed) % 5, .gid = 3,
	                      .atime = {-4000000000, 1}, .mtime = {20000000000, 999999999}};
	struct inode *inode;
	struct pick pick;
	struct attr attr;

	if (!pick_name(view, seed, &pick))
		return;
	if (random_next(seed) % 3 == 0)
		assert_int_equal(view_setattr(view, pick.ino, &set, &attr), 0);
	if (pick.type != DT_REG)
		return;
	assert_int_equal(inode_open(view, pick.ino, &inode), 0);
	switch (random_next(seed) % 4) {
	case 0: assert_int_equal(inode_allocate(inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096 * (random_next(seed) % 5), 8192), 0); break;
	case 1: assert_int_equal(inode_allocate(inode, FALLOC_FL_ZERO_RANGE, 4096 * (random_next(seed) % 20), 8192), 0); break;
	case 2:
		set = (struct setattr){.mask = SET_SIZE, .size = random_next(seed) % 200000};
		assert_int_equal(view_setattr(view, pick.ino, &set, &attr), 0);
		break;
	default: assert_int_equal(inode_write(inode, 100000 + random_next(seed) % 100000, "far", 3, 0), 0);
	}
	inode_close(inode);
}

static void change(struct store *store, uint64_t *seed, unsigned count)
{
	struct view *view = open_head(store, "d");

	for (unsigned i = 0; i < count; i++)
		(random_next(seed) % 4 ? change_something : change_further)(view, seed);
	store_view_put(store, view);
}

/* Each snapshot goes to `b`, from the last one that went; and all of it to a dataset of its own. */
static void a_random_history_arrives(struct pair *pair, uint64_t seed)
{
	struct store *a = pair->a.store, *b = pair->b.store;
	char name[16], last[16] = "", whole[16];
	struct error err;

	change(a, &seed, 60);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		snapshot(a, "d", name);
		/* A differential stream goes past a snapshot. */
		if (i == 0 || random_next(&seed) % 4) {
			AUTO_FREE char *view_name = xasprintf("d@%s", name);

			send_to(a, name, *last ? last : NULL, b, "d");
			compare(a, view_name, b, view_name);
			compare(a, view_name, b, "d");
			assert_true(is_at(b, "d", name));
			memcpy(last, name, sizeof(last));
			snprintf(whole, sizeof(whole), "whole%u", i);
			send_to(a, name, NULL, b, whole);
			compare(a, view_name, b, whole);
		}
		if (random_next(&seed) % 5 == 0)
			assert_int_equal(dataset_rollback(a, "d", i > 0 && random_next(&seed) % 2 ? "s0" : name, random_next(&seed) % 2, NULL, &err), 0);
		change(a, &seed, 1 + (unsigned)random_next(&seed) % 30);
	}
	(void)collect(b, false, false);
	AUTO_FREE char *view_name = xasprintf("d@%s", last);
	compare(a, view_name, b, view_name);
	compare(a, "d@s0", b, "d@s0");
}

static void random_histories_arrive(void **state)
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		void *pair;

		assert_int_equal(setup(&pair), 0);
		a_random_history_arrives(pair, seed * 7919);
		assert_int_equal(teardown(&pair), 0);
	}
}

/* What is sent is the same, byte for byte, whenever it is sent. */
static void a_stream_is_the_same_every_time(void **state)
{
	struct pair *pair = *state;
	AUTO_BUF first = BUF_INIT;
	AUTO_BUF again = BUF_INIT;
	uint64_t seed = 5;

	change(pair->a.store, &seed, 50);
	snapshot(pair->a.store, "d", "s0");
	change(pair->a.store, &seed, 50);
	snapshot(pair->a.store, "d", "s1");
	make_stream(pair->a.store, "s1", "s0", &first);
	change(pair->a.store, &seed, 50);
	place_reopen(&pair->a);
	make_stream(pair->a.store, "s1", "s0", &again);
	assert_int_equal(bytes_compare(first.data, first.len, again.data, again.len), 0);
}

/* --- special things --- */

static void names_that_are_no_text_and_acls_arrive(void **state)
{
	static const uint8_t acl[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 9, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
	                              16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255};
	struct pair *pair = *state;
	struct view *view = open_head(pair->a.store, "d");
	const struct xattr_init xattrs[] = {{"user.empty", "", 0}, {"trusted.bytes", "a\0b", 3}, {ACL_ACCESS, acl, sizeof(acl)}};
	const struct create file = {.mode = S_IFREG | 06640, .uid = 1, .gid = 2, .xattrs = xattrs, .xattr_count = 3};
	const struct create device = {.mode = S_IFBLK | 0600, .rdev = 0x12345};
	char longest[NAME_LEN_MAX + 1];
	struct attr attr;

	memset(longest, 0xff, NAME_LEN_MAX);
	longest[NAME_LEN_MAX] = '\0';
	assert_int_equal(view_create(view, ROOT_INO, "\x80\n\xfe", &file, &attr, NULL), 0);
	assert_int_equal(view_link(view, attr.ino, ROOT_INO, longest, &attr), 0);
	assert_int_equal(view_create(view, ROOT_INO, "device", &device, &attr, NULL), 0);
	store_view_put(pair->a.store, view);
	snapshot(pair->a.store, "d", "s0");
	send_to(pair->a.store, "s0", NULL, pair->b.store, "d");
	compare(pair->a.store, "d@s0", pair->b.store, "d");
}

static void deep_trees_and_their_moves_arrive(void **state)
{
	const struct create create = {.mode = S_IFDIR | 0755};
	struct pair *pair = *state;
	struct view *view = open_head(pair->a.store, "d");
	uint64_t dir = ROOT_INO, middle = 0;
	struct attr attr;

	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(view_create(view, dir, "m", &create, &attr, NULL), 0);
		write_file(view, dir, "a", 0, "a", 1);
		write_file(view, dir, "z", 0, "z", 1);
		dir = attr.ino;
		middle = i == 100 ? dir : middle;
	}
	snapshot(pair->a.store, "d", "s0");
	send_to(pair->a.store, "s0", NULL, pair->b.store, "d");
	/* The lower half goes to the top, and the upper half below it. */
	assert_int_equal(view_rename(view, middle, "m", ROOT_INO, "low", 0), 0);
	assert_int_equal(view_rename(view, ROOT_INO, "m", dir, "up", 0), 0);
	write_file(view, dir, "a", 0, "end", 3);
	store_view_put(pair->a.store, view);
	snapshot(pair->a.store, "d", "s1");
	send_to(pair->a.store, "s1", "s0", pair->b.store, "d");
	compare(pair->a.store, "d@s0", pair->b.store, "d@s0");
	compare(pair->a.store, "d@s1", pair->b.store, "d");
}

/* The hint in a file's record shows where it got its last name, which it has lost again. */
static void files_are_found_where_no_hint_leads(void **state)
{
	const struct create create = {.mode = S_IFDIR | 0755};
	struct pair *pair = *state;
	struct view *view = open_head(pair->a.store, "d");
	struct attr one, other, file;

	assert_int_equal(view_create(view, ROOT_INO, "one", &create, &one, NULL), 0);
	assert_int_equal(view_create(view, ROOT_INO, "other", &create, &other, NULL), 0);
	write_file(view, one.ino, "f", 0, "f", 1);
	assert_int_equal(view_lookup(view, one.ino, "f", &file), 0);
	assert_int_equal(view_link(view, file.ino, other.ino, "g", &file), 0);
	assert_int_equal(view_unlink(view, other.ino, "g"), 0);
	snapshot(pair->a.store, "d", "s0");
	send_to(pair->a.store, "s0", NULL, pair->b.store, "d");
	write_file(view, one.ino, "f", 0, "changed", 7);
	store_view_put(pair->a.store, view);
	snapshot(pair->a.store, "d", "s1");
	send_to(pair->a.store, "s1", "s0", pair->b.store, "d");
	compare(pair->a.store, "d@s1", pair->b.store, "d");
}

static void a_stream_of_little_change_is_short(void **state)
{
	struct pair *pair = *state;
	struct view *view = open_head(pair->a.store, "d");
	AUTO_FREE uint8_t *data = xmalloc(4 << 20);
	AUTO_BUF stream = BUF_INIT;

	fill_random(3, data, 4 << 20);
	write_file(view, ROOT_INO, "big", 0, data, 4 << 20);
	snapshot(pair->a.store, "d", "s0");
	send_to(pair->a.store, "s0", NULL, pair->b.store, "d");
	write_file(view, ROOT_INO, "big", 1 << 20, "some bytes", 10);
	store_view_put(pair->a.store, view);
	snapshot(pair->a.store, "d", "s1");
	make_stream(pair->a.store, "s1", "s0", &stream);
	assert_true(stream.len < 100000);
	receive_all(pair->b.store, "d", &stream);
	compare(pair->a.store, "d@s1", pair->b.store, "d");
}

/* --- what the next stream begins at --- */

struct ticked {
	char taken[NAME_LEN_MAX + 1], destroyed[NAME_LEN_MAX + 1]; /* the last */
};

static void note_tick(void *arg, const char *dataset, const char *name, bool taken)
{
	struct ticked *ticked = arg;

	snprintf(taken ? ticked->taken : ticked->destroyed, NAME_LEN_MAX + 1, "%s", name);
}

static struct ticked tick(struct store *store, unsigned hour)
{
	struct ticked ticked = {0};
	struct error err;

	assert_int_equal(schedule_tick(store, 3600LL * (400000 + hour), note_tick, &ticked, &err), 0);
	return ticked;
}

/* One snapshot is kept, and what replicas stand at: of each command the last that it has, and one that is on its way. */
static void a_schedule_keeps_what_replicas_stand_at(void **state)
{
	const struct schedule schedule = {{1, 0, 0, 0}};
	struct pair *pair = *state;
	struct store *a = pair->a.store;
	struct ticked first, second, third, fourth;
	struct error err;

	assert_int_equal(schedule_set(a, "d", &schedule, &err), 0);
	first = tick(a, 0);
	assert_int_equal(replication_begin(a, "d", first.taken, "one", &err), 0);
	second = tick(a, 1);
	assert_string_equal(second.destroyed, "");
	assert_int_equal(replication_note(a, "d", first.taken, "one", "by ssh", &err), 0);
	assert_int_equal(replication_note(a, "d", first.taken, "two", "by ssh", &err), 0);
	assert_int_equal(replication_note(a, "d", second.taken, "one", "by ssh", &err), 0);
	third = tick(a, 2);
	assert_string_equal(third.destroyed, "");
	/* What is on its way does not end the hold of what is there. */
	assert_int_equal(replication_begin(a, "d", third.taken, "two", &err), 0);
	assert_int_equal(replication_note(a, "d", third.taken, "one", "by ssh", &err), 0);
	fourth = tick(a, 3);
	assert_string_equal(fourth.destroyed, second.taken);
	assert_int_equal(replication_note(a, "d", third.taken, "two", "by ssh", &err), 0);
	assert_string_equal(tick(a, 4).destroyed, fourth.taken);
	assert_int_equal(replication_note(a, "d", "none", "two", "by ssh", &err), -ENOENT);
}

/* --- who may --- */

static void a_replica_is_not_changed_by_others(void **state)
{
	struct pair *pair = *state;
	struct store *b = pair->b.store;
	struct snapshot_name target = {"d", "mine"};
	struct error err;
	struct view *view;
	struct attr attr;

	put_text(pair->a.store, "f", "text");
	snapshot(pair->a.store, "d", "s0");
	send_to(pair->a.store, "s0", NULL, b, "d");
	for (unsigned i = 0; i < 2; i++) {
		const struct create create = {.mode = S_IFREG | 0644};
		struct bulk_file file = {.dir = ROOT_INO, .name = "new", .create = create};

		view = open_head(b, "d");
		assert_int_equal(view_lookup(view, ROOT_INO, "f", &attr), 0);
		assert_int_equal(view_create(view, ROOT_INO, "new", &create, &attr, NULL), -EROFS);
		assert_int_equal(view_add_files(view, &file, 1), -EROFS);
		assert_int_equal(view_unlink(view, ROOT_INO, "f"), -EROFS);
		assert_int_equal(view_rename(view, ROOT_INO, "f", ROOT_INO, "g", 0), -EROFS);
		assert_int_equal(view_xattr_set(view, ROOT_INO, "user.a", "b", 1, 0), -EROFS);
		store_view_put(b, view);
		assert_int_equal(snapshot_create(b, &target, 1, "", 0, &err), -EROFS);
		assert_int_equal(dataset_rollback(b, "d", "s0", true, NULL, &err), -EROFS);
		place_reopen(&pair->b);
		b = pair->b.store;
	}
	assert_int_equal(dataset_clone(b, "d", "s0", "clone", &err), 0);
	view = open_head(b, "clone");
	write_file(view, ROOT_INO, "f", 0, "x", 1);
	store_view_put(b, view);
	compare(pair->a.store, "d@s0", b, "d");
}

static void a_promoted_replica_goes_back_as_a_stream(void **state)
{
	struct pair *pair = *state;
	struct store *a = pair->a.store, *b = pair->b.store;
	AUTO_BUF stream = BUF_INIT;
	struct error err;
	uint64_t seed = 77;

	change(a, &seed, 50);
	snapshot(a, "d", "s0");
	send_to(a, "s0", NULL, b, "d");
	assert_int_equal(dataset_set_replica(b, "d", false, &err), 0);
	change(b, &seed, 30);
	snapshot(b, "d", "s1");
	make_stream(b, "s1", "s0", &stream);
	/* Not while it can be written. */
	assert_int_equal(receive_as(a, 0, "d", stream.data, stream.len, &err), -EROFS);
	assert_int_equal(dataset_set_replica(a, "d", true, &err), 0);
	receive_all(a, "d", &stream);
	compare(b, "d@s1", a, "d");
	/* And forth again: numbers of snapshots travel. */
	assert_int_equal(dataset_set_replica(a, "d", false, &err), 0);
	assert_int_equal(dataset_set_replica(b, "d", true, &err), 0);
	change(a, &seed, 30);
	snapshot(a, "d", "s2");
	send_to(a, "s2", "s1", b, "d");
	compare(a, "d@s2", b, "d");
}

static void a_fork_is_noticed(void **state)
{
	struct pair *pair = *state;
	struct store *a = pair->a.store, *b = pair->b.store;
	AUTO_BUF stream = BUF_INIT;
	struct view *before;
	struct error err;

	put_text(a, "f", "one");
	snapshot(a, "d", "s0");
	send_to(a, "s0", NULL, b, "d");
	assert_int_equal(dataset_set_replica(b, "d", false, &err), 0);
	put_text(b, "f", "there");
	put_text(a, "f", "here!");
	snapshot(a, "d", "s1");
	make_stream(a, "s1", "s0", &stream);
	assert_int_equal(dataset_set_replica(b, "d", true, &err), 0);
	assert_int_equal(receive_as(b, 0, "d", stream.data, stream.len, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "fork"));
	before = open_head(b, "d");
	store_view_put(b, before);
	/* What was written there is kept by a rollback. */
	assert_int_equal(dataset_set_replica(b, "d", false, &err), 0);
	assert_int_equal(dataset_rollback(b, "d", "s0", true, NULL, &err), 0);
	assert_int_equal(dataset_set_replica(b, "d", true, &err), 0);
	receive_all(b, "d", &stream);
	compare(a, "d@s1", b, "d");
}

/* The same tree with another number is another base: what a tree's identity does not count may differ. */
static void a_base_must_be_the_same_snapshot(void **state)
{
	struct pair *pair = *state;
	AUTO_BUF stream = BUF_INIT;
	struct error err;

	put_text(pair->a.store, "f", "text");
	snapshot(pair->a.store, "d", "s0");
	snapshot(pair->a.store, "d", "s1");
	send_to(pair->a.store, "s0", NULL, pair->b.store, "d");
	put_text(pair->a.store, "f", "more");
	snapshot(pair->a.store, "d", "s2");
	make_stream(pair->a.store, "s2", "s1", &stream);
	assert_int_equal(receive_as(pair->b.store, 0, "d", stream.data, stream.len, &err), -ENOENT);
	assert_int_equal(receive_as(pair->b.store, 0, "other", stream.data, stream.len, &err), -ENOENT);
	buf_reset(&stream);
	make_stream(pair->a.store, "s2", NULL, &stream);
	assert_int_equal(receive_as(pair->b.store, 0, "d", stream.data, stream.len, &err), -EEXIST);
	compare(pair->a.store, "d@s0", pair->b.store, "d");
}

static void a_head_that_was_written_is_not_at_its_snapshot(void **state)
{
	struct pair *pair = *state;
	struct store *a = pair->a.store;

	put_text(a, "f", "text");
	snapshot(a, "d", "s0");
	assert_true(is_at(a, "d", "s0"));
	put_text(a, "f", "more");
	assert_false(is_at(a, "d", "s0"));
	snapshot(a, "d", "s1");
	assert_true(is_at(a, "d", "s1"));
	assert_false(is_at(a, "d", "s0"));
	assert_int_equal(dataset_is_at(a, "d", "s2"), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_histories_arrive),
		cmocka_unit_test_setup_teardown(a_stream_is_the_same_every_time, setup, teardown),
		cmocka_unit_test_setup_teardown(names_that_are_no_text_and_acls_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(deep_trees_and_their_moves_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(files_are_found_where_no_hint_leads, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_of_little_change_is_short, setup, teardown),
		cmocka_unit_test_setup_teardown(a_schedule_keeps_what_replicas_stand_at, setup, teardown),
		cmocka_unit_test_setup_teardown(a_replica_is_not_changed_by_others, setup, teardown),
		cmocka_unit_test_setup_teardown(a_promoted_replica_goes_back_as_a_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(a_fork_is_noticed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_base_must_be_the_same_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(a_head_that_was_written_is_not_at_its_snapshot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
