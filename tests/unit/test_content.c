#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/falloc.h>
#include <pthread.h>

#include "lib/tree/content/space.h"
#include "lib/tree/records/extent.h"
#include "tests/unit/tree_store.h"

#define SPACE (400UL << 10)
#define KEEP FALLOC_FL_KEEP_SIZE

/* The model of a file: its bytes, zeros beyond its size. */
struct model {
	uint8_t bytes[SPACE];
	uint64_t size;
};

static void check(struct inode *inode, const struct model *model, uint64_t offset, size_t len)
{
	AUTO_FREE uint8_t *out = xmalloc(len + 1);
	uint64_t expected = offset < model->size ? MIN(len, model->size - offset) : 0;

	memset(out, 0xee, len);
	assert_int_equal(inode_read(inode, offset, len, out), expected);
	if (expected)
		assert_memory_equal(out, model->bytes + offset, expected);
}

static void model_write(struct inode *inode, struct model *model, uint64_t offset, size_t len)
{
	fill_noise(model->bytes + offset, len, (uint64_t)rand());
	assert_int_equal(inode_write(inode, offset, model->bytes + offset, len, 0), 0);
	model->size = MAX(model->size, offset + len);
}

static void model_resize(struct inode *inode, struct model *model, uint64_t size)
{
	set_size(inode, size);
	if (size < model->size)
		memset(model->bytes + size, 0, model->size - size);
	model->size = size;
}

static void model_allocate(struct inode *inode, struct model *model, int mode, uint64_t offset, size_t len)
{
	assert_int_equal(inode_allocate(inode, mode, offset, len), 0);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(model->bytes + offset, 0, len);
	if (!(mode & KEEP))
		model->size = MAX(model->size, offset + len);
}

static void model_copy(struct inode *from, const struct model *source, uint64_t offset, struct inode *to, struct model *target, uint64_t to_offset,
		       uint64_t len)
{
	len = offset < source->size ? MIN(len, source->size - offset) : 0;
	if (from == to && offset < to_offset + len && to_offset < offset + len) {
		assert_int_equal(inode_copy(from, offset, to, to_offset, len), len ? -EINVAL : 0);
		return;
	}
	for (uint64_t done = 0; done < len;) {
		ssize_t one = inode_copy(from, offset + done, to, to_offset + done, len - done);

		assert_true(one > 0);
		done += (uint64_t)one;
	}
	if (len) {
		memmove(target->bytes + to_offset, source->bytes + offset, len);
		target->size = MAX(target->size, to_offset + len);
	}
}

static void random_range(uint64_t *offset, size_t *len)
{
	static const size_t scale[] = { 100, 3000, 30000, SPACE };
	size_t space = rand() % 4 ? SPACE : 4000;

	*offset = (uint64_t)rand() % space;
	*len = 1 + (size_t)rand() % scale[rand() % 4];
	*len = MIN(*len, space - *offset);
}

static void random_step(struct inode **inodes, struct model **models)
{
	static const int modes[] = { 0, KEEP, KEEP | FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, KEEP | FALLOC_FL_ZERO_RANGE };
	int which = rand() % 2, other = rand() % 2;
	struct inode *inode = inodes[which];
	struct model *model = models[which];
	uint64_t offset, to;
	size_t len;

	random_range(&offset, &len);
	switch (rand() % 12) {
	case 0:
		model_resize(inode, model, rand() % 3 ? offset : (uint64_t)rand() % 3000);
		break;
	case 1:
		model_allocate(inode, model, modes[rand() % 5], offset, len);
		break;
	case 2:
		to = (uint64_t)rand() % (SPACE - len + 1);
		model_copy(inode, model, offset, inodes[other], models[other], to, len);
		break;
	case 3:
		assert_int_equal(inode_commit(inode), 0);
		break;
	case 4:
	case 5:
	case 6:
		check(inode, model, offset, len);
		break;
	default:
		model_write(inode, model, offset, len);
	}
}

static void reopen(struct tree_store *store, struct inode **inodes)
{
	inode_close(inodes[0]);
	inode_close(inodes[1]);
	tree_store_close(store);
	tree_store_open(store, false);
	inodes[0] = open_file(store, "a");
	inodes[1] = open_file(store, "b");
}

static void run_model(struct tree_store *store, unsigned seed, int steps)
{
	struct inode *inodes[] = { new_file(store, "a"), new_file(store, "b") };
	struct model *models[] = { xcalloc(1, sizeof(struct model)), xcalloc(1, sizeof(struct model)) };

	srand(seed);
	for (int i = 0; i < steps; i++) {
		random_step(inodes, models);
		if (i % 50 == 49) {
			check(inodes[0], models[0], 0, SPACE);
			check(inodes[1], models[1], 0, SPACE);
		}
		if (i % 400 == 399)
			reopen(store, inodes);
	}
	check(inodes[0], models[0], 0, SPACE);
	check(inodes[1], models[1], 0, SPACE);
	inode_close(inodes[0]);
	inode_close(inodes[1]);
	free(models[0]);
	free(models[1]);
}

static void test_random_changes_and_reopening(void **state)
{
	run_model(*state, 5, 1600);
}

static void test_random_changes_while_committers_run(void **state)
{
	struct tree_store *store = *state;

	tree_store_close(store);
	store->idle_ms = 1;
	store->budget = 300000; /* writers wait for room, too */
	tree_store_open(store, false);
	run_model(store, 6, 1600);
}

static void test_small_files_stay_inline_and_big_ones_do_not(void **state)
{
	struct inode *inode = new_file(*state, "file");
	struct model *model = xcalloc(1, sizeof(*model));

	model_write(inode, model, 0, 1000);
	assert_int_equal(inode_commit(inode), 0);
	assert_true(inode->record.is_inline);
	model_write(inode, model, 500, 100);
	assert_int_equal(inode_commit(inode), 0);
	assert_true(inode->record.is_inline);
	check(inode, model, 0, SPACE);
	model_write(inode, model, 5000, 100);
	assert_int_equal(inode_commit(inode), 0);
	assert_false(inode->record.is_inline);
	assert_int_equal(inode->record.allocated, 1100);
	check(inode, model, 0, SPACE);
	model_resize(inode, model, 700);
	model_write(inode, model, 0, 10);
	assert_int_equal(inode_commit(inode), 0);
	assert_false(inode->record.is_inline);
	check(inode, model, 0, SPACE);
	model_resize(inode, model, 0);
	model_write(inode, model, 10, 10);
	assert_int_equal(inode_commit(inode), 0);
	assert_true(inode->record.is_inline);
	check(inode, model, 0, SPACE);
	inode_close(inode);
	free(model);
}

static void test_bytes_cut_off_do_not_come_back(void **state)
{
	struct inode *inode = new_file(*state, "file");
	struct model *model = xcalloc(1, sizeof(*model));
	static const size_t sizes[] = { 1500, 150000 };

	for (size_t i = 0; i < 4; i++) {
		model_write(inode, model, 0, sizes[i % 2]);
		if (i > 1)
			assert_int_equal(inode_commit(inode), 0);
		model_resize(inode, model, 777);
		model_resize(inode, model, sizes[i % 2]);
		check(inode, model, 0, SPACE);
		assert_int_equal(inode_commit(inode), 0);
		check(inode, model, 0, SPACE);
	}
	inode_close(inode);
	free(model);
}

static uint64_t seek(struct inode *inode, uint64_t offset, int whence)
{
	uint64_t found = 0;

	assert_int_equal(inode_seek(inode, offset, whence, &found), 0);
	return found;
}

static void test_seek_finds_data_and_holes(void **state)
{
	struct inode *inode = new_file(*state, "file");
	struct model *model = xcalloc(1, sizeof(*model));
	uint64_t found;

	model_write(inode, model, 100000, 50000);
	model_allocate(inode, model, 0, 200000, 1000);
	assert_int_equal(seek(inode, 0, SEEK_DATA), 98304);
	assert_int_equal(seek(inode, 0, SEEK_HOLE), 0);
	assert_int_equal(seek(inode, 120000, SEEK_DATA), 120000);
	assert_int_equal(seek(inode, 120000, SEEK_HOLE), 151552);
	assert_int_equal(inode_seek(inode, 151552, SEEK_DATA, &found), -ENXIO);
	assert_int_equal(seek(inode, 200500, SEEK_HOLE), 200500);
	assert_int_equal(inode_seek(inode, 201000, SEEK_HOLE, &found), -ENXIO);
	assert_int_equal(inode->record.allocated, 51000);
	model_resize(inode, model, 1000);
	model_write(inode, model, 0, 1000);
	assert_int_equal(seek(inode, 10, SEEK_HOLE), 1000);
	inode_close(inode);
	free(model);
}

static void test_a_lost_extent_is_an_error_and_not_zeros(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "file");
	struct model *model = xcalloc(1, sizeof(*model));
	struct extent extent;
	struct tree_key key;
	struct kv_batch *batch = kv_batch_new();
	uint8_t byte;

	model_write(inode, model, 0, 100000);
	assert_int_equal(inode_commit(inode), 0);
	assert_int_equal(extents_before(store->view, inode->ino, 50000, &extent), 0);
	key = tree_key_at(tree_stem_extent(1, inode->ino, extent.offset), extent.epoch);
	kv_batch_delete(batch, KV_TREE, key.bytes, key.len);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	assert_int_equal(inode_read(inode, extent.offset, 1, &byte), -EIO);
	assert_int_equal(inode_read(inode, 0, 1, &byte), 1);
	kv_batch_free(batch);
	inode_close(inode);
	free(model);
}

/* Reading says so, and so does a change that would need it; what does not need it works. */
static void test_lost_inline_content_is_an_error_and_not_zeros(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "file");
	struct tree_key key = tree_stem_content(store->view->family_id, inode_ino(inode));
	struct kv_batch *batch = kv_batch_new();
	char out[16];

	assert_int_equal(inode_write(inode, 0, "content", 7, 0), 0);
	assert_int_equal(inode_commit(inode), 0);
	key = tree_key_at(key, inode->record.content);
	inode_close(inode);
	kv_batch_delete(batch, KV_CONTENT, key.bytes, key.len);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	kv_batch_free(batch);
	tree_store_close(store);
	tree_store_open(store, false);
	inode = open_file(store, "file");
	assert_int_equal(inode_read(inode, 0, sizeof(out), out), -EIO);
	assert_int_equal(inode_write(inode, 100, "more", 4, 0), -EIO);
	assert_int_equal(inode_allocate(inode, FALLOC_FL_PUNCH_HOLE | KEEP, 0, 3), -EIO);
	set_size(inode, 0);
	assert_int_equal(inode_write(inode, 0, "new", 3, 0), 0);
	assert_int_equal(inode_commit(inode), 0);
	assert_int_equal(inode_read(inode, 0, sizeof(out), out), 3);
	inode_close(inode);
}

static void test_limits_are_told(void **state)
{
	struct tree_store *store = *state;
	struct inode *inode = new_file(store, "file");

	assert_int_equal(inode_write(inode, 1ULL << 62, "x", 1, 0), -EFBIG);
	assert_int_equal(inode_write(inode, UINT64_MAX, "x", 1, 0), -EFBIG);
	assert_int_equal(inode_allocate(inode, 0, 0, 1ULL << 61), -ENOSPC);
	assert_int_equal(inode_allocate(inode, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -EOPNOTSUPP);
	assert_int_equal(inode_write(inode, (1ULL << 62) - 1, "x", 1, 0), 0);
	assert_int_equal(inode_commit(inode), 0);
	assert_int_equal(inode->record.size, 1ULL << 62);
	set_size(inode, 0);
	inode_close(inode);
}

static void test_no_space_is_told_before_the_disk_is_full(void **state)
{
	struct tree_store *store = *state;
	struct space *space;

	assert_int_equal(space_new(store->dir, 1ULL << 60, NULL, &space), 0);
	assert_int_equal(space_promised(space), 0);
	assert_int_equal(space_check(space, 1, 0), -ENOSPC);
	space_free(space);
	assert_int_equal(space_new(store->dir, 1, NULL, &space), 0);
	assert_int_equal(space_check(space, 1, 0), 0);
	assert_int_equal(space_check(space, 1ULL << 60, 0), -ENOSPC);
	space_free(space);
}

/* --- a reader beside a writer: each block is of one generation, and generations do not go back --- */

#define BLOCKS 64
#define BLOCK 4096

struct race {
	struct inode *inode;
	bool stop; /* atomic */
};

static void *write_generations(void *arg)
{
	struct race *race = arg;
	AUTO_FREE uint8_t *data = xmalloc(BLOCKS * BLOCK);

	for (unsigned generation = 1; generation < 120; generation++) {
		memset(data, (int)generation, BLOCKS * BLOCK);
		for (unsigned i = 0; i < BLOCKS; i += 16)
			assert_int_equal(inode_write(race->inode, (uint64_t)i * BLOCK, data, 16 * BLOCK, 0), 0);
		if (generation % 3 == 0)
			assert_int_equal(inode_commit(race->inode), 0);
	}
	__atomic_store_n(&race->stop, true, __ATOMIC_RELEASE);
	return NULL;
}

static void test_a_reader_beside_a_writer_never_goes_back(void **state)
{
	struct tree_store *store = *state;
	struct race race = { .inode = new_file(store, "file") };
	AUTO_FREE uint8_t *data = xcalloc(BLOCKS, BLOCK);
	uint8_t seen[BLOCKS] = { 0 };
	pthread_t thread;

	assert_int_equal(inode_write(race.inode, 0, data, BLOCKS * BLOCK, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_generations, &race), 0);
	while (!__atomic_load_n(&race.stop, __ATOMIC_ACQUIRE)) {
		assert_int_equal(inode_read(race.inode, 0, BLOCKS * BLOCK, data), BLOCKS * BLOCK);
		for (unsigned i = 0; i < BLOCKS; i++) {
			assert_true(data[i * BLOCK] >= seen[i]);
			seen[i] = data[i * BLOCK];
			assert_int_equal(data[i * BLOCK], data[i * BLOCK + BLOCK - 1]);
		}
	}
	pthread_join(thread, NULL);
	inode_close(race.inode);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(test_small_files_stay_inline_and_big_ones_do_not),
		TREE_TEST(test_bytes_cut_off_do_not_come_back),
		TREE_TEST(test_seek_finds_data_and_holes),
		TREE_TEST(test_a_lost_extent_is_an_error_and_not_zeros),
		TREE_TEST(test_lost_inline_content_is_an_error_and_not_zeros),
		TREE_TEST(test_limits_are_told),
		TREE_TEST(test_no_space_is_told_before_the_disk_is_full),
		TREE_TEST(test_a_reader_beside_a_writer_never_goes_back),
		TREE_TEST(test_random_changes_and_reopening),
		TREE_TEST(test_random_changes_while_committers_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
