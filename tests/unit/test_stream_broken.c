/* Streams that are cut, damaged or out of order: nothing of them is seen, and what was cut goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/store/catalog.h"
#include "lib/verify/check.h"
#include "tests/unit/random_changes.h"
#include "tests/unit/stream_store.h"

struct pair {
	struct place a, b;
	struct buf full, difference; /* s0; s1 since s0 */
};

static void fill_dataset(struct store *store)
{
	const struct create dir = {.mode = S_IFDIR | 0755}, link = {.mode = S_IFLNK | 0777, .target = "there"};
	struct view *view = open_head(store, "d");
	AUTO_FREE uint8_t *data = xmalloc(2 << 20);
	struct attr attr, file;

	fill_random(9, data, 2 << 20);
	assert_int_equal(view_create(view, ROOT_INO, "dir", &dir, &attr, NULL), 0);
	write_file(view, attr.ino, "small", 0, "text", 4);
	assert_int_equal(view_lookup(view, attr.ino, "small", &file), 0);
	assert_int_equal(view_link(view, file.ino, ROOT_INO, "linked", &file), 0);
	assert_int_equal(view_create(view, attr.ino, "symlink", &link, &file, NULL), 0);
	write_file(view, ROOT_INO, "big", 100000, data, 150000);
	write_file(view, ROOT_INO, "gone", 0, "text", 4);
	store_view_put(store, view);
}

static void change_dataset(struct store *store)
{
	const struct create dir = {.mode = S_IFDIR | 0700};
	struct view *view = open_head(store, "d");
	struct attr attr, big;

	assert_int_equal(view_rename(view, ROOT_INO, "dir", ROOT_INO, "moved", 0), 0);
	assert_int_equal(view_create(view, ROOT_INO, "dir", &dir, &attr, NULL), 0);
	assert_int_equal(view_lookup(view, ROOT_INO, "big", &big), 0);
	assert_int_equal(view_rename(view, ROOT_INO, "big", attr.ino, "BIG", 0), 0);
	write_file(view, attr.ino, "BIG", 120000, "new", 3);
	assert_int_equal(view_unlink(view, ROOT_INO, "gone"), 0);
	assert_int_equal(view_unlink(view, ROOT_INO, "linked"), 0);
	write_file(view, attr.ino, "new", 0, "text", 4);
	store_view_put(store, view);
}

static int setup(void **state)
{
	struct pair *pair = xcalloc(1, sizeof(*pair));
	struct error err;

	place_init(&pair->a);
	place_init(&pair->b);
	assert_int_equal(dataset_create(pair->a.store, "d", 0755, 0, 0, 1, &err), 0);
	fill_dataset(pair->a.store);
	snapshot(pair->a.store, "d", "s0");
	make_stream(pair->a.store, "s0", NULL, &pair->full);
	change_dataset(pair->a.store);
	snapshot(pair->a.store, "d", "s1");
	make_stream(pair->a.store, "s1", "s0", &pair->difference);
	*state = pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;

	place_clear(&pair->a);
	place_clear(&pair->b);
	buf_clear(&pair->full);
	buf_clear(&pair->difference);
	free(pair);
	return 0;
}

static void drop(struct store *store, const char *dataset)
{
	assert_true(receive_drop(store, dataset, NULL) >= 0);
}

/* --- cut --- */

/* Of each stream the receiver gets the header and `frames` more, and then the next one goes on. Returns how many streams it took. */
static unsigned receive_in_pieces(struct pair *pair, const char *name, const char *from, size_t frames, bool reopens)
{
	struct stream_position position = {0};
	unsigned streams = 0;
	struct error err;
	int r = -ENODATA;

	while (r == -ENODATA) {
		AUTO_BUF stream = BUF_INIT;

		if (reopens)
			place_reopen(&pair->b);
		make_stream_at(pair->a.store, name, from, &position, &stream);
		struct boundaries found = find_frames(&stream);
		const size_t last = MIN(1 + frames, found.count - 1);
		r = receive_as(pair->b.store, 0, "d", stream.data, found.items[last], &err);
		if (r == -ENODATA)
			assert_int_equal(receive_position(pair->b.store, "d", &position), 0);
		array_clear(&found);
		streams++;
		assert_true(streams < 1000);
	}
	if (r < 0)
		print_error("%s\n", err.text);
	assert_int_equal(r, 0);
	assert_false(unfinished(pair->b.store, "d"));
	return streams;
}

static void streams_that_are_cut_behind_each_frame_go_on(void **state)
{
	struct pair *pair = *state;

	assert_true(receive_in_pieces(pair, "s0", NULL, 1, false) > 10);
	compare(pair->a.store, "d@s0", pair->b.store, "d");
	assert_true(receive_in_pieces(pair, "s1", "s0", 1, false) > 10);
	compare(pair->a.store, "d@s0", pair->b.store, "d@s0");
	compare(pair->a.store, "d@s1", pair->b.store, "d");
}

static void streams_that_are_cut_go_on_in_another_process(void **state)
{
	struct pair *pair = *state;

	receive_in_pieces(pair, "s0", NULL, 4, true);
	compare(pair->a.store, "d@s0", pair->b.store, "d");
	receive_in_pieces(pair, "s1", "s0", 4, true);
	compare(pair->a.store, "d@s1", pair->b.store, "d");
}

static void nothing_of_a_cut_stream_is_seen(void **state)
{
	struct pair *pair = *state;
	uint64_t random = 11;
	struct error err;

	for (unsigned i = 0; i < 15; i++) {
		const size_t len = i < 3 ? i * 7 : (size_t)(next_random(&random) % pair->full.len);
		int r = receive_as(pair->b.store, 0, "d", pair->full.data, len, &err);

		assert_true(r == -ENODATA || r == -EBADMSG || (r == -ENOMSG && len == 0));
		assert_false(has_dataset(pair->b.store, "d"));
	}
	receive_all(pair->b.store, "d", &pair->full);
	for (unsigned i = 0; i < 15; i++) {
		const size_t len = (size_t)(next_random(&random) % pair->difference.len);

		assert_true(receive_as(pair->b.store, 0, "d", pair->difference.data, len, &err) < 0);
		assert_int_equal(dataset_is_at(pair->b.store, "d", "s0"), 1);
	}
	compare(pair->a.store, "d@s0", pair->b.store, "d");
	receive_all(pair->b.store, "d", &pair->difference);
	compare(pair->a.store, "d@s1", pair->b.store, "d");
}

static void a_stream_goes_on_only_where_it_stopped(void **state)
{
	struct pair *pair = *state;
	struct boundaries found = find_frames(&pair->full);
	struct stream_position position, other = {.step = 3};
	AUTO_BUF stream = BUF_INIT;
	struct error err;

	make_stream_at(pair->a.store, "s0", NULL, &other, &stream);
	assert_int_equal(receive_as(pair->b.store, 0, "d", stream.data, stream.len, &err), -ENOENT);
	assert_int_equal(receive_as(pair->b.store, 0, "d", pair->full.data, found.items[5], &err), -ENODATA);
	assert_int_equal(receive_position(pair->b.store, "d", &position), 0);
	assert_int_not_equal(position.step, 3);
	assert_int_equal(receive_as(pair->b.store, 0, "d", stream.data, stream.len, &err), -EINVAL);
	/* It is still there. */
	buf_reset(&stream);
	make_stream_at(pair->a.store, "s0", NULL, &position, &stream);
	receive_all(pair->b.store, "d", &stream);
	compare(pair->a.store, "d@s0", pair->b.store, "d");
	array_clear(&found);
}

static void a_token_says_what_is_sent_on(void **state)
{
	struct pair *pair = *state;
	struct boundaries found = find_frames(&pair->difference);
	char token[STREAM_TOKEN_MAX], *dataset, *name, *from;
	struct stream_position position, again;
	struct error err;

	receive_all(pair->b.store, "d", &pair->full);
	assert_int_equal(receive_as(pair->b.store, 0, "d", pair->difference.data, found.items[4], &err), -ENODATA);
	assert_int_equal(receive_position(pair->b.store, "d", &position), 0);
	position_to_token(&position, token);
	assert_int_equal(send_find(pair->a.store, token, &again, &dataset, &name, &from, &err), 0);
	assert_memory_equal(&again, &position, sizeof(again));
	assert_string_equal(dataset, "d");
	assert_string_equal(name, "s1");
	assert_string_equal(from, "s0");
	free(dataset);
	free(name);
	free(from);
	token[20] = token[20] == '0' ? '1' : '0';
	assert_int_equal(send_find(pair->a.store, token, &again, &dataset, &name, &from, &err), -EINVAL);
	assert_int_equal(send_find(pair->b.store, "corpusfs-12", &again, &dataset, &name, &from, &err), -EINVAL);
	array_clear(&found);
}

/* --- another dataset gets the name --- */

/* `d` and `e` are replicas at s0, of two families, and some of s1 came into `of`. Returns where that goes on. */
static struct stream_position cut_into(struct pair *pair, const char *of)
{
	struct boundaries found = find_frames(&pair->difference);
	struct stream_position position;
	struct error err;

	receive_all(pair->b.store, "d", &pair->full);
	receive_all(pair->b.store, "e", &pair->full);
	assert_int_equal(receive_as(pair->b.store, 0, of, pair->difference.data, found.items[5], &err), -ENODATA);
	assert_int_equal(receive_position(pair->b.store, of, &position), 0);
	assert_true(has_dataset(pair->b.store, of[0] == 'd' ? "@d" : "@e"));
	array_clear(&found);
	return position;
}

static int no_problem(void *arg, const struct check_problem *problem)
{
	fail_msg("%s: %s", problem->rule, problem->text);
	return 0;
}

/* `e` has got the name `d`. */
static void check_difference_arrives(struct pair *pair)
{
	const struct check_options options = {.problem = no_problem};
	struct check_counts counts = {0};
	struct error err;

	compare(pair->a.store, "d@s0", pair->b.store, "d");
	receive_all(pair->b.store, "d", &pair->difference);
	compare(pair->a.store, "d@s0", pair->b.store, "d@s0");
	compare(pair->a.store, "d@s1", pair->b.store, "d@s1");
	compare(pair->a.store, "d@s1", pair->b.store, "d");
	assert_int_equal(check_run(pair->b.store, &options, &counts, &err), 0);
}

static void what_is_unfinished_goes_with_its_dataset(void **state)
{
	struct pair *pair = *state;
	struct stream_position position = cut_into(pair, "d");
	AUTO_BUF rest = BUF_INIT;
	struct error err;

	make_stream_at(pair->a.store, "s1", "s0", &position, &rest);
	assert_int_equal(dataset_destroy(pair->b.store, "d", DATASET_DESTROY_SNAPSHOTS, &err), 0);
	assert_false(has_dataset(pair->b.store, "@d"));
	assert_int_equal(dataset_rename(pair->b.store, "e", "d", &err), 0);
	assert_int_equal(receive_position(pair->b.store, "d", &position), -ENOENT);
	assert_int_equal(receive_as(pair->b.store, 0, "d", rest.data, rest.len, &err), -ENOENT);
	check_difference_arrives(pair);
}

static void what_is_unfinished_goes_with_its_name(void **state)
{
	struct pair *pair = *state;
	struct error err;

	cut_into(pair, "d");
	assert_int_equal(dataset_rename(pair->b.store, "d", "old", &err), 0);
	assert_false(has_dataset(pair->b.store, "@d"));
	assert_int_equal(dataset_rename(pair->b.store, "e", "d", &err), 0);
	assert_false(unfinished(pair->b.store, "d"));
	check_difference_arrives(pair);
	/* A stream had begun to make the dataset whose name another one gets. */
	assert_int_equal(receive_as(pair->b.store, 0, "new", pair->full.data, pair->full.len - 20, &err), -ENODATA);
	assert_true(unfinished(pair->b.store, "new"));
	assert_int_equal(dataset_rename(pair->b.store, "old", "new", &err), 0);
	assert_false(has_dataset(pair->b.store, "@new"));
}

static void what_is_being_received_keeps_its_name(void **state)
{
	struct pair *pair = *state;
	struct store *b = pair->b.store;
	struct error err;

	receive_all(b, "d", &pair->full);
	assert_int_equal(receiving_claim(b, "d", &err), 0);
	assert_int_equal(dataset_rename(b, "d", "e", &err), -EBUSY);
	assert_int_equal(dataset_destroy(b, "d", DATASET_DESTROY_SNAPSHOTS, &err), -EBUSY);
	assert_int_equal(dataset_destroy_now(b, "d", DATASET_DESTROY_SNAPSHOTS, &err), -EBUSY);
	assert_int_equal(dataset_create(b, "f", 0755, 0, 0, 1, &err), 0);
	receiving_release(b, "d");
	assert_int_equal(receiving_claim(b, "e", &err), 0);
	assert_int_equal(dataset_rename(b, "f", "e", &err), -EBUSY);
	receiving_release(b, "e");
	assert_int_equal(dataset_rename(b, "d", "e", &err), 0);
	assert_int_equal(dataset_destroy(b, "e", DATASET_DESTROY_SNAPSHOTS, &err), 0);
}

/* As older versions left it: what came into `e` lies where what comes into `d` is looked for. */
static void misplace(struct place *place)
{
	struct store *store = place->store;
	struct kv_batch *batch = kv_batch_new();

	mutex_take(&store->change_lock);
	struct dataset *hidden = catalog_dataset(store, "@e");
	catalog_delete_dataset(batch, "@e");
	catalog_put_dataset(batch, "@d", &hidden->record);
	assert_int_equal(catalog_write(store->kv, batch), 0);
	mutex_give(&store->change_lock);
	kv_batch_free(batch);
	place_reopen(place);
}

static void what_belongs_to_another_dataset_does_not_go_on(void **state)
{
	struct pair *pair = *state;
	struct stream_position position = cut_into(pair, "e"), again;
	AUTO_BUF rest = BUF_INIT;
	struct error err;

	make_stream_at(pair->a.store, "s1", "s0", &position, &rest);
	misplace(&pair->b);
	assert_int_equal(receive_position(pair->b.store, "d", &again), -ENOENT);
	assert_int_equal(receive_as(pair->b.store, 0, "d", rest.data, rest.len, &err), -ESTALE);
	assert_false(has_dataset(pair->b.store, "@d"));
	check_difference_arrives(pair);
}

/* The last look, when all else has failed. */
static void what_belongs_to_another_dataset_does_not_appear(void **state)
{
	static const uint8_t id[SNAPSHOT_ID_LEN] = {7};
	const struct received received = {.dataset = "d", .base = "s0", .snapshot = "s1", .note = "", .id = id};
	const struct snapshot_name built = {"@d", RECEIVED_SNAPSHOT};
	struct pair *pair = *state;
	struct error err;

	cut_into(pair, "e");
	misplace(&pair->b);
	assert_int_equal(snapshot_create(pair->b.store, &built, 1, "", 0, &err), 0);
	assert_int_equal(receiving_finish(pair->b.store, &received, &err), -ESTALE);
	check_difference_arrives(pair);
}

static void must_fail(struct pair *pair, const struct buf *stream, const char *what)
{
	struct error err;
	int r = receive_as(pair->b.store, 0, "d", stream->data, stream->len, &err);

	if (r == 0)
		fail_msg("a stream is taken that is %s", what);
	assert_true(err.text[0] != '\0');
	drop(pair->b.store, "d");
}

static void copy_stream(const struct buf *stream, struct buf *copy)
{
	buf_reset(copy);
	buf_add(copy, stream->data, stream->len);
}

static void streams_with_a_flipped_bit_are_refused(void **state)
{
	struct pair *pair = *state;
	AUTO_BUF bad = BUF_INIT;
	uint64_t random = 23;

	for (unsigned i = 0; i < 40; i++) {
		const size_t bit = (size_t)(next_random(&random) % (i < 20 ? 4096 : pair->full.len * 8));

		copy_stream(&pair->full, &bad);
		bad.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		must_fail(pair, &bad, "damaged");
		assert_false(has_dataset(pair->b.store, "d"));
	}
	receive_all(pair->b.store, "d", &pair->full);
	for (unsigned i = 0; i < 20; i++) {
		const size_t bit = (size_t)(next_random(&random) % (pair->difference.len * 8));

		copy_stream(&pair->difference, &bad);
		bad.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		must_fail(pair, &bad, "damaged");
	}
	compare(pair->a.store, "d@s0", pair->b.store, "d");
}

static void frames_that_are_missing_doubled_or_exchanged_are_refused(void **state)
{
	struct pair *pair = *state;
	struct boundaries found = find_frames(&pair->full);
	AUTO_BUF bad = BUF_INIT;

	for (size_t i = 1; i + 2 < found.count; i += 3) {
		const size_t at = found.items[i], next = found.items[i + 1], behind = found.items[i + 2];

		buf_reset(&bad);
		buf_add(&bad, pair->full.data, at);
		buf_add(&bad, pair->full.data + next, pair->full.len - next);
		must_fail(pair, &bad, "without a frame");
		buf_reset(&bad);
		buf_add(&bad, pair->full.data, next);
		buf_add(&bad, pair->full.data + at, pair->full.len - at);
		must_fail(pair, &bad, "with a frame twice");
		buf_reset(&bad);
		buf_add(&bad, pair->full.data, at);
		buf_add(&bad, pair->full.data + next, behind - next);
		buf_add(&bad, pair->full.data + at, next - at);
		buf_add(&bad, pair->full.data + behind, pair->full.len - behind);
		must_fail(pair, &bad, "out of order");
	}
	assert_false(has_dataset(pair->b.store, "d"));
	array_clear(&found);
}

/* What labels stand for is noted in the receiver's store. */
static void spoil_labels(struct store *store)
{
	struct kv_batch *batch = kv_batch_new();
	struct dataset_info hidden;

	assert_int_equal(dataset_get(store, "@d", &hidden), 0);
	const struct small_key first = catalog_key_label(hidden.id, 0), end = catalog_key_label(hidden.id, UINT64_MAX);
	struct kv_iter *iter = kv_iter_new(store_kv(store), KV_CATALOG, first.bytes, first.len, end.bytes, end.len);
	unsigned count = 0;

	for (kv_iter_first(iter); kv_iter_valid(iter); kv_iter_next(iter), count++) {
		size_t len;
		const uint8_t *key = kv_iter_key(iter, &len);

		kv_batch_put(batch, KV_CATALOG, key, len, "spoilt", 6);
	}
	kv_iter_free(iter);
	assert_true(count > 0);
	assert_int_equal(kv_write(store_kv(store), batch, 0), 0);
	kv_batch_free(batch);
}

/* Cut behind any frame, also where a file is open. */
static void damage_of_the_store_is_not_blamed_on_the_stream(void **state)
{
	struct pair *pair = *state;
	struct boundaries found = find_frames(&pair->full);
	unsigned told = 0;
	struct error err;

	for (size_t i = 3; i + 2 < found.count; i++) {
		struct stream_position position;
		AUTO_BUF rest = BUF_INIT;

		assert_int_equal(receive_as(pair->b.store, 0, "d", pair->full.data, found.items[i], &err), -ENODATA);
		assert_int_equal(receive_position(pair->b.store, "d", &position), 0);
		make_stream_at(pair->a.store, "s0", NULL, &position, &rest);
		spoil_labels(pair->b.store);
		if (receive_as(pair->b.store, 0, "d", rest.data, rest.len, &err) == 0) {
			assert_int_equal(dataset_destroy(pair->b.store, "d", DATASET_DESTROY_SNAPSHOTS, &err), 0);
			continue;
		}
		assert_int_equal(err.code, -EBADMSG);
		assert_non_null(strstr(err.text, "this store"));
		assert_true(unfinished(pair->b.store, "d"));
		told++;
	}
	assert_true(told >= 3);
	array_clear(&found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(streams_that_are_cut_behind_each_frame_go_on, setup, teardown),
		cmocka_unit_test_setup_teardown(streams_that_are_cut_go_on_in_another_process, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_of_a_cut_stream_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_goes_on_only_where_it_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(a_token_says_what_is_sent_on, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_unfinished_goes_with_its_dataset, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_unfinished_goes_with_its_name, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_being_received_keeps_its_name, setup, teardown),
		cmocka_unit_test_setup_teardown(what_belongs_to_another_dataset_does_not_go_on, setup, teardown),
		cmocka_unit_test_setup_teardown(what_belongs_to_another_dataset_does_not_appear, setup, teardown),
		cmocka_unit_test_setup_teardown(streams_with_a_flipped_bit_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_of_the_store_is_not_blamed_on_the_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_that_are_missing_doubled_or_exchanged_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
