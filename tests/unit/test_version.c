#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "lib/tree/freeze/freeze.h"
#include "tests/unit/tree_store.h"

#define STEMS 6
#define VIEWS 9
#define STEPS 1200

/* What one view ought to see: a number under each stem, 0 for nothing. */
struct model_view {
	struct view *view; /* NULL: the place is free */
	bool is_head;
	uint64_t epoch;
	uint32_t values[STEMS];
};

struct model {
	struct tree_store *store;
	struct model_view views[VIEWS];
	unsigned seed;
	uint32_t next_value;
};

static unsigned pick(struct model *model, unsigned count)
{
	model->seed = model->seed * 1103515245 + 12345;
	return (model->seed >> 16) % count;
}

static struct tree_key stem_of(unsigned number)
{
	/* one name is the beginning of another; an extent's offset ends in bytes of all kinds */
	static const char *const names[] = {"a", "aa", "ab"};

	if (number < 3)
		return tree_stem_entry(1, 7, names[number]);
	return tree_stem_extent(1, 7, number == 3 ? 0 : number == 4 ? 255 : UINT64_MAX);
}

static void share(struct model *model)
{
	for (unsigned i = 0; i < VIEWS; i++) {
		struct line shared = {0};
		if (!model->views[i].view || !model->views[i].is_head)
			continue;
		for (unsigned j = 0; j < VIEWS; j++) {
			if (i == j || !model->views[j].view)
				continue;
			struct line line = view_line(model->views[j].view);
			for (uint32_t k = 0; k < line.count; k++)
				line_add(&shared, line.items[k].first, line.items[k].last);
			line_clear(&line);
		}
		view_set_shared(model->views[i].view, &shared);
		line_clear(&shared);
	}
}

static int free_place(const struct model *model)
{
	for (int i = 0; i < VIEWS; i++) {
		if (!model->views[i].view)
			return i;
	}
	return -1;
}

static uint64_t new_epoch(struct model *model)
{
	struct kv_batch *batch = kv_batch_new();
	uint64_t epoch;

	assert_int_equal(family_next_epoch(model->store->tree, 1, batch, &epoch), 0);
	kv_batch_free(batch);
	return epoch;
}

static void add_view(struct model *model, int place, const struct line *line, uint64_t epoch, const struct model_view *like)
{
	struct line none = {0};
	struct view_options options = {.dataset = 1, .family = 1, .view = 2, .epoch = epoch, .line = line, .shared = &none};

	model->views[place] = *like;
	model->views[place].is_head = epoch != 0;
	model->views[place].epoch = epoch;
	assert_int_equal(view_open(model->store->tree, &options, &model->views[place].view), 0);
}

static void snapshot(struct model *model, struct model_view *head)
{
	int place = free_place(model);

	if (place < 0)
		return;

	uint64_t epoch = new_epoch(model);
	struct line line = view_line(head->view);
	struct freeze *freeze;

	assert_int_equal(freeze_begin(&head->view, 1, &freeze), 0);
	add_view(model, place, &line, 0, head);
	freeze_set_shared(freeze, head->view, &line);
	line_add(&line, epoch, epoch);
	freeze_set_epoch(freeze, head->view, &line, epoch);
	freeze_end(freeze);
	head->epoch = epoch;
	line_clear(&line);
	share(model);
}

static void branch(struct model *model, const struct model_view *origin)
{
	int place = free_place(model);

	if (place < 0)
		return;

	uint64_t epoch = new_epoch(model);
	struct line line = view_line(origin->view);

	line_add(&line, epoch, epoch);
	add_view(model, place, &line, epoch, origin);
	line_clear(&line);
	share(model);
}

static void destroy(struct model *model, struct model_view *view)
{
	view_close(view->view);
	view->view = NULL;
	share(model);
}

static unsigned versions_of(struct model *model, const struct tree_key *stem, struct line *line, uint64_t *epochs, bool *tombstones)
{
	struct tree_key first = tree_key_at(*stem, UINT64_MAX), end = tree_key_at(*stem, 0);
	struct kv_iter *iter = kv_iter_new(model->store->kv, KV_TREE, first.bytes, first.len, end.bytes, end.len);
	unsigned count = 0;

	for (kv_iter_first(iter); kv_iter_valid(iter); kv_iter_next(iter)) {
		struct tree_key_parts parts;
		size_t len;
		const uint8_t *key = kv_iter_key(iter, &len);
		assert_int_equal(tree_key_parse(key, len, &parts), 0);
		if (!line_has(line, parts.epoch))
			continue;
		(void)kv_iter_value(iter, &len);
		epochs[count] = parts.epoch;
		tombstones[count++] = len == 0;
	}
	kv_iter_free(iter);
	return count;
}

static void write_value(struct model *model, struct model_view *head, unsigned number)
{
	struct tree_key stem = stem_of(number);
	struct kv_batch *batch = kv_batch_new();
	AUTO_BUF old = BUF_INIT;
	uint64_t old_epoch = 0, epochs[64];
	bool tombstones[64];
	uint32_t value = model->next_value++;
	struct view *view = head->view;
	int r = version_newest(model->store->kv, &view->line, &stem, &old, &old_epoch);

	assert_true(r == 0 || r == -ENOENT);
	rwlock_read(&view->epoch_lock);
	version_put(view, batch, &stem, old_epoch, &value, sizeof(value));
	assert_int_equal(kv_write(model->store->kv, batch, 0), 0);
	rwlock_give(&view->epoch_lock);
	kv_batch_free(batch);
	head->values[number] = value;

	unsigned count = versions_of(model, &stem, &view->line, epochs, tombstones);

	assert_true(count >= 1 && epochs[0] == head->epoch);
	if (count > 1 && old_epoch == epochs[1])
		assert_true(line_has(&view->shared, old_epoch));
}

static void delete_value(struct model *model, struct model_view *head, unsigned number)
{
	struct tree_key stem = stem_of(number);
	struct kv_batch *batch = kv_batch_new();
	uint64_t epochs[64];
	bool tombstones[64];
	struct view *view = head->view;

	AUTO_BUF old = BUF_INIT;
	uint64_t old_epoch;
	bool is_last;
	int r = version_newest_of(model->store->kv, &view->line, &stem, &old, &old_epoch, &is_last);

	rwlock_read(&view->epoch_lock);
	if (r == 0 && is_last && old.len > 0)
		version_delete_last(view, batch, &stem, old_epoch);
	else
		assert_int_equal(version_delete(view, batch, &stem, NULL), 0);
	if (head->values[number] == 0)
		assert_int_equal(kv_batch_count(batch), 0);
	assert_int_equal(kv_write(model->store->kv, batch, 0), 0);
	rwlock_give(&view->epoch_lock);
	kv_batch_free(batch);
	if (head->values[number] == 0)
		return;
	head->values[number] = 0;

	unsigned count = versions_of(model, &stem, &view->line, epochs, tombstones);

	/* a tombstone hides something that others see, or there is none */
	if (count > 0 && epochs[0] == head->epoch)
		assert_true(count > 1 && tombstones[0] && !tombstones[1] && line_has(&view->shared, epochs[1]));
}

/* All stems in one scan: in their order as keys, one of them twice. */
static void compare_scan(struct model *model, const struct model_view *view)
{
	static const unsigned ascending[] = {3, 3, 4, 5, 0, 1, 2};
	struct tree_key first = tree_prefix_inode(1, 7), end = tree_prefix_end(first);
	struct line line = view_line(view->view);
	struct version_scan *scan = version_scan_new(model->store->kv, &line, &first, &end);

	for (unsigned i = pick(model, 3); i < ARRAY_SIZE(ascending); i += 1 + pick(model, 2)) {
		uint32_t expected = view->values[ascending[i]];
		struct tree_key stem = stem_of(ascending[i]);
		const uint8_t *value;
		size_t len;
		int r = version_scan_get(scan, &stem, &value, &len);
		assert_int_equal(r, expected ? 0 : -ENOENT);
		if (r == 0)
			assert_memory_equal(value, &expected, sizeof(expected));
	}
	version_scan_free(scan);
	line_clear(&line);
}

static void compare_view(struct model *model, const struct model_view *view)
{
	struct tree_key first = tree_prefix_inode(1, 7), end = tree_prefix_end(first);
	struct line line = view_line(view->view);
	struct version_iter *iter = version_iter_new(model->store->kv, &line, &first, &end, 0);
	unsigned seen = 0, expected = 0;

	compare_scan(model, view);
	for (unsigned i = 0; i < STEMS; i++) {
		struct tree_key stem = stem_of(i);
		AUTO_BUF value = BUF_INIT;
		uint64_t epoch;
		int r = view_version_get(view->view, &stem, &value, &epoch);
		assert_int_equal(r, view->values[i] ? 0 : -ENOENT);
		if (r == 0)
			assert_memory_equal(value.data, &view->values[i], sizeof(uint32_t));
		expected += view->values[i] != 0;
	}
	while (version_iter_next(iter)) {
		const struct tree_key_parts *parts = version_iter_parts(iter);
		unsigned number = 0;
		size_t len;
		for (; number < STEMS; number++) {
			struct tree_key key = tree_key_at(stem_of(number), parts->epoch);
			struct tree_key_parts other;
			assert_int_equal(tree_key_parse(key.bytes, key.len, &other), 0);
			if (other.kind == parts->kind && other.offset == parts->offset && other.name_len == parts->name_len &&
			    (!parts->name || memcmp(other.name, parts->name, parts->name_len) == 0))
				break;
		}
		assert_true(number < STEMS && view->values[number] != 0);
		assert_memory_equal(version_iter_value(iter, &len), &view->values[number], sizeof(uint32_t));
		seen++;
	}
	assert_int_equal(version_iter_status(iter), 0);
	assert_int_equal(seen, expected);
	version_iter_free(iter);
	line_clear(&line);
}

static struct model_view *pick_view(struct model *model, bool is_head)
{
	unsigned start = pick(model, VIEWS);

	for (unsigned i = 0; i < VIEWS; i++) {
		struct model_view *view = &model->views[(start + i) % VIEWS];
		if (view->view && view->is_head == is_head)
			return view;
	}
	return NULL;
}

static void step(struct model *model)
{
	struct model_view *head = pick_view(model, true), *frozen = pick_view(model, false);
	unsigned choice = pick(model, 100), number = pick(model, STEMS);

	if (choice < 40)
		write_value(model, head, number);
	else if (choice < 75)
		delete_value(model, head, number);
	else if (choice < 84)
		snapshot(model, head);
	else if (choice < 90 && frozen)
		branch(model, frozen);
	else if (choice < 97 && frozen)
		destroy(model, frozen);
	else if (head != &model->views[0])
		destroy(model, head);
}

static void run(struct tree_store *store, unsigned seed)
{
	struct model model = {.store = store, .seed = seed, .next_value = 1};
	struct model_view empty = {0};
	struct interval interval = {1, 1};
	struct line line = {&interval, 1};

	add_view(&model, 0, &line, 1, &empty);
	for (unsigned i = 0; i < STEPS; i++) {
		step(&model);
		for (unsigned j = 0; j < VIEWS; j++) {
			if (model.views[j].view)
				compare_view(&model, &model.views[j]);
		}
	}
	for (unsigned i = 0; i < VIEWS; i++)
		view_close(model.views[i].view);
}

static void every_view_sees_its_own_values_1(void **state)
{
	run(*state, 1);
}

static void every_view_sees_its_own_values_2(void **state)
{
	run(*state, 77);
}

static void every_view_sees_its_own_values_3(void **state)
{
	run(*state, 4242);
}

static void deleting_in_steps_deletes_all(void **state)
{
	struct tree_store *store = *state;
	struct view *view = store->view;
	struct kv_batch *batch = kv_batch_new();
	struct tree_key first = tree_prefix_kind(1, 9, KEY_EXTENT), end = tree_prefix_end(first), next = first;
	size_t tombstones = 0;
	unsigned steps = 0;
	int r;

	for (uint64_t i = 0; i < 100; i++) {
		struct tree_key stem = tree_stem_extent(1, 9, i * 4096);
		version_put(view, batch, &stem, 0, "x", 1);
	}
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	do {
		kv_batch_clear(batch);
		r = version_delete_range(view, batch, 16, &next, &end, &tombstones);
		assert_true(r >= 0 && kv_batch_count(batch) <= 16);
		assert_int_equal(kv_write(store->kv, batch, 0), 0);
		steps++;
	} while (r > 0);
	assert_int_equal(steps, 7);
	assert_int_equal(tombstones, 0);
	kv_batch_free(batch);

	struct kv_iter *iter = kv_iter_new(store->kv, KV_TREE, first.bytes, first.len, end.bytes, end.len);

	kv_iter_first(iter);
	assert_false(kv_iter_valid(iter));
	kv_iter_free(iter);
}

static void numbers_are_not_given_out_again_after_a_reopen(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "one");
	uint64_t before = inode_ino(inode), epoch, later;
	struct kv_batch *batch = kv_batch_new();

	inode_close(inode);
	assert_int_equal(family_next_epoch(store->tree, 1, batch, &epoch), 0);
	tree_store_close(store);
	tree_store_open(store, false);
	inode = new_file(store, "two");
	assert_true(inode_ino(inode) > before);
	inode_close(inode);
	assert_int_equal(family_next_epoch(store->tree, 1, batch, &later), 0);
	assert_int_equal(later, epoch + 1);
	assert_int_equal(family_next_epoch(store->tree, 99, batch, &later), -ENOENT);
	kv_batch_free(batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(every_view_sees_its_own_values_1), TREE_TEST(every_view_sees_its_own_values_2),
		TREE_TEST(every_view_sees_its_own_values_3), TREE_TEST(deleting_in_steps_deletes_all),
		TREE_TEST(numbers_are_not_given_out_again_after_a_reopen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
