/* A damaged chunk is healed by its own content, and by nothing else, whatever the index takes it for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "lib/chunk/chunk_store.h"
#include "lib/chunk/damaged.h"
#include "lib/chunk/dedup.h"
#include "lib/chunk/heal.h"
#include "tests/unit/chunk_store.h"

#define LEN 30000
#define IDENTITY 16 /* where it begins in a record */

/* A chunk, what it has, and other content of the same length. */
struct scene {
	uint8_t *data, *other;
	uint64_t id;
	uint8_t mine[DIGEST_LEN], theirs[DIGEST_LEN];
};

static void digest(const void *data, uint8_t ret_sha256[DIGEST_LEN])
{
	struct digest *tools = digest_new();

	digest_once(tools, data, LEN, ret_sha256);
	digest_free(tools);
}

static void make_scene(struct store *store, struct scene *scene)
{
	struct stored stored;

	scene->data = noise(LEN, 1);
	scene->other = noise(LEN, 2);
	digest(scene->data, scene->mine);
	digest(scene->other, scene->theirs);
	stored = put(store, scene->data, LEN, 0);
	scene->id = stored.pieces[0].chunk;
	free(stored.pieces);
}

static void clear_scene(struct scene *scene)
{
	free(scene->data);
	free(scene->other);
}

static void index_as(struct store *store, const uint8_t sha256[DIGEST_LEN], uint64_t id)
{
	struct kv_batch *batch = kv_batch_new();

	dedup_put(batch, sha256, LEN, id);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	kv_batch_free(batch);
}

static uint64_t take_in(struct store *store, const uint8_t *data)
{
	struct stored stored = put(store, data, LEN, 0);
	const uint64_t id = stored.pieces[0].chunk;

	free(stored.pieces);
	return id;
}

static void assert_hurt(struct store *store, uint64_t id)
{
	AUTO_FREE uint8_t *out = xmalloc(LEN);

	assert_int_equal(chunks_read(store->chunks, id, 0, LEN, out), -EIO);
}

static void test_damaged_chunk_is_not_healed_by_other_content(void **state)
{
	struct store *store = *state;

	for (int is_listed = 0; is_listed < 2; is_listed++) {
		struct scene scene;

		make_scene(store, &scene);
		index_as(store, scene.theirs, scene.id);
		flip_bit(store, scene.id, 100);
		if (is_listed)
			assert_hurt(store, scene.id);
		assert_reads(store, take_in(store, scene.other), scene.other, LEN);
		assert_hurt(store, scene.id);
		assert_reads(store, take_in(store, scene.data), scene.data, LEN);
		assert_reads(store, scene.id, scene.data, LEN);
		clear_scene(&scene);
		teardown(state);
		setup(state);
		store = *state;
	}
}

/* Whatever of its record has rotted; and where all of it is gone. */
static void test_damaged_chunk_is_healed_by_its_own_content(void **state)
{
	static const size_t places[] = {0, 8, 9, 12, IDENTITY, IDENTITY + 31, 100, LEN + 47};
	struct store *store = *state;

	for (size_t i = 0; i <= ARRAY_SIZE(places); i++) {
		struct scene scene;

		make_scene(store, &scene);
		if (i < ARRAY_SIZE(places)) {
			flip_bit(store, scene.id, places[i]);
		} else {
			struct kv_batch *batch = kv_batch_new();
			const struct small_key key = chunk_key(scene.id);

			kv_batch_delete(batch, KV_SMALL, key.bytes, key.len);
			assert_int_equal(kv_write(store->kv, batch, 0), 0);
			kv_batch_free(batch);
		}
		(void)take_in(store, scene.data);
		assert_reads(store, scene.id, scene.data, LEN);
		clear_scene(&scene);
		teardown(state);
		setup(state);
		store = *state;
	}
}

/* A disk may write a record to a wrong place. */
static void test_chunk_in_whose_place_another_one_lies_is_healed(void **state)
{
	struct store *store = *state;
	struct scene scene;
	AUTO_BUF value = BUF_INIT;

	make_scene(store, &scene);
	const struct small_key key = chunk_key(scene.id), from = chunk_key(take_in(store, scene.other));
	assert_int_equal(kv_get(store->kv, KV_SMALL, from.bytes, from.len, &value), 0);
	put_value(store, KV_SMALL, &key, value.data, value.len);
	assert_hurt(store, scene.id);
	(void)take_in(store, scene.data);
	assert_reads(store, scene.id, scene.data, LEN);
	clear_scene(&scene);
}

static void test_nothing_is_to_be_healed_by_other_content(void **state)
{
	struct store *store = *state;
	struct heal_before before;
	struct scene scene;

	make_scene(store, &scene);
	index_as(store, scene.theirs, scene.id);
	flip_bit(store, scene.id, 100);
	assert_hurt(store, scene.id);
	assert_int_equal(chunks_heal_before(store->chunks, scene.theirs, LEN, &before), 0);
	assert_int_equal(chunks_heal_before(store->chunks, scene.mine, LEN, &before), 1);
	clear_scene(&scene);
}

/* It could not be read for a while, and can be read again. */
static void test_whole_chunk_of_other_content_does_not_count_as_healed(void **state)
{
	struct store *store = *state;
	struct heal_before before = {.length = LEN};
	struct scene scene;

	make_scene(store, &scene);
	before.chunk = before.indexed = scene.id;
	memcpy(before.sha256, scene.theirs, DIGEST_LEN);
	index_as(store, scene.theirs, scene.id);
	damaged_add(store->chunks->damaged, scene.id);
	assert_int_equal(chunks_heal(store->chunks, &(struct heal_bytes){scene.other, LEN}, 1), 0);
	assert_false(chunks_is_healed(store->chunks, &before));
	assert_reads(store, scene.id, scene.data, LEN);
	memcpy(before.sha256, scene.mine, DIGEST_LEN);
	assert_int_equal(chunks_heal(store->chunks, &(struct heal_bytes){scene.data, LEN}, 1), 0);
	assert_true(chunks_is_healed(store->chunks, &before));
	clear_scene(&scene);
}

struct told {
	struct scene *scene;
	unsigned mine, theirs;
};

static int note(void *arg, uint64_t id, const uint8_t sha256[DIGEST_LEN], uint32_t length)
{
	struct told *told = arg;

	assert_int_equal(id, told->scene->id);
	assert_int_equal(length, LEN);
	told->mine += !memcmp(sha256, told->scene->mine, DIGEST_LEN);
	told->theirs += !memcmp(sha256, told->scene->theirs, DIGEST_LEN);
	return 0;
}

static void test_only_its_own_content_is_looked_for(void **state)
{
	struct store *store = *state;
	struct scene scene;
	struct told told = {.scene = &scene};

	make_scene(store, &scene);
	index_as(store, scene.theirs, scene.id);
	flip_bit(store, scene.id, 100);
	assert_int_equal(chunks_identities(store->chunks, &scene.id, 1, note, &told), 0);
	assert_int_equal(told.mine, 1);
	assert_int_equal(told.theirs, 0);
	clear_scene(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_damaged_chunk_is_not_healed_by_other_content),
		STORE_TEST(test_damaged_chunk_is_healed_by_its_own_content),
		STORE_TEST(test_chunk_in_whose_place_another_one_lies_is_healed),
		STORE_TEST(test_nothing_is_to_be_healed_by_other_content),
		STORE_TEST(test_whole_chunk_of_other_content_does_not_count_as_healed),
		STORE_TEST(test_only_its_own_content_is_looked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
