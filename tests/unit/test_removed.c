/* Chunks that were removed: a table file still has them, and neither what comes in nor a scrub may rely on that. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/chunk/chunk_store.h"
#include "lib/chunk/set.h"
#include "tests/unit/chunk_store.h"

#define LEN (2 * MIB)

static struct chunk_set *everything(struct store *store)
{
	uint64_t bulk_end, small_end;
	struct chunk_set *set;

	chunks_ends(store->chunks, &bulk_end, &small_end);
	set = chunk_set_new(bulk_end, small_end);
	for (uint64_t id = CHUNK_BULK | 1; id < bulk_end; id++)
		chunk_set_add(set, id);
	return set;
}

/* Nothing needs the chunks that are in the damage list: they are removed, and their entries in the index stay. */
static struct stored put_and_give_up(struct store *store, const uint8_t *data)
{
	struct stored stored = put(store, data, LEN, 0);
	uint64_t bulk_end, small_end, count, bytes;
	struct chunk_set *set;

	for (size_t i = 0; i < stored.count; i++) {
		assert_true(stored.pieces[i].chunk & CHUNK_BULK);
		damaged_add(store->chunks->damaged, stored.pieces[i].chunk);
	}
	chunks_mark_begin(store->chunks, chunk_set_new, &set, &bulk_end, &small_end);
	assert_int_equal(chunks_sweep(store->chunks, set, CHUNK_BULK, bulk_end, NULL, NULL, false, &count, &bytes), 0);
	chunks_mark_end(store->chunks);
	chunk_set_free(set);
	assert_int_equal(chunks_verify(store->chunks, stored.pieces[0].chunk), -ENOENT);
	return stored;
}

static void assert_comes_in_whole(struct store *store, const uint8_t *data)
{
	struct stored again = put(store, data, LEN, 0);

	assert_reads_back(store, &again, data, LEN);
	free(again.pieces);
}

static void test_removed_chunk_is_not_taken_for_what_comes_in(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 1);

	free(put_and_give_up(store, data).pieces);
	assert_comes_in_whole(store, data);
}

static void test_nor_is_one_that_was_removed_before_the_store_was_opened(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 2);

	free(put_and_give_up(store, data).pieces);
	store_close(store);
	store_open(store, false);
	assert_comes_in_whole(store, data);
}

static int count_missing(void *arg, uint64_t id, uint64_t bytes, int result)
{
	size_t *count = arg;

	(void)id;
	(void)bytes;
	*count += result == -ENOENT;
	return 0;
}

static void assert_scrub_misses(struct store *store, const struct stored *stored)
{
	struct chunk_set *needed = everything(store);
	size_t missing = 0;
	uint64_t bulk_end, small_end;

	chunks_ends(store->chunks, &bulk_end, &small_end);
	assert_int_equal(chunks_scrub(store->chunks, needed, CHUNK_BULK | 1, bulk_end, count_missing, &missing), 0);
	assert_int_equal(missing, stored->count);
	for (size_t i = 0; i < stored->count; i++)
		assert_int_equal(chunks_verify_disk(store->chunks, stored->pieces[i].chunk), -ENOENT);
	chunk_set_free(needed);
}

static void test_scrub_tells_of_a_needed_chunk_that_was_removed(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 3), *other = noise(LEN, 4);
	struct stored stored = put_and_give_up(store, data);

	free(put(store, other, LEN, 0).pieces); /* whole, and told of as such */
	assert_scrub_misses(store, &stored);
	store_close(store);
	store_open(store, false);
	assert_scrub_misses(store, &stored);
	free(stored.pieces);
}

/* --- a block that cannot be read while the collector passes it --- */

#define PIECES 700
#define PIECE 20000
#define PASSED 100 /* the piece in it */

static struct stored put_pieces(struct store *store, const uint8_t *data)
{
	struct chunks_group *group = chunks_group_new(store->chunks);
	struct kv_batch *batch = kv_batch_new();
	struct stored stored = {xcalloc(PIECES, sizeof(*stored.pieces)), PIECES};
	size_t count;

	for (size_t i = 0; i < PIECES; i++)
		assert_int_equal(chunks_group_add_whole(group, data + i * PIECE, PIECE, 0), i);
	assert_int_equal(chunks_group_store(group, batch), 0);
	for (size_t i = 0; i < PIECES; i++)
		stored.pieces[i] = *chunks_group_pieces(group, i, &count);
	assert_int_equal(kv_write(store->kv, batch, 0), 0);
	chunks_group_free(group);
	kv_batch_free(batch);
	return stored;
}

/* Flips a bit of the content, wherever a table file has it. */
static void flip(const struct store *store, const uint8_t *content)
{
	DIR *dir = opendir(store->db);
	int flipped = 0;

	for (struct dirent *entry; (entry = readdir(dir));) {
		AUTO_FREE char *path = xasprintf("%s/%s", store->db, entry->d_name);
		AUTO_CLOSE int fd = strstr(entry->d_name, ".sst") ? open(path, O_RDWR) : -1;
		const off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
		AUTO_FREE uint8_t *bytes = xmalloc((size_t)size + 1);
		const uint8_t *found;

		if (fd < 0 || pread(fd, bytes, (size_t)size, 0) != size)
			continue;
		found = memmem(bytes, (size_t)size, content + 1, 64);
		if (!found)
			continue;
		assert_int_equal(pwrite(fd, &(uint8_t){found[-1] ^ 1}, 1, found - 1 - bytes), 1);
		flipped++;
	}
	closedir(dir);
	assert_int_equal(flipped, 1);
}

struct passing {
	struct store *store;
	const uint8_t *content;
	uint64_t id;
	unsigned batches;
};

/* Between two batches of the collector, behind the block: it can be read again, and its content comes in. */
static bool bring_in(void *arg)
{
	struct passing *passing = arg;

	if (passing->batches++ == 1) {
		flip(passing->store, passing->content);
		struct stored again = put(passing->store, passing->content, PIECE, 0);
		assert_int_equal(again.pieces[0].chunk, passing->id);
		free(again.pieces);
	}
	return false;
}

static void test_chunk_that_comes_in_while_the_rows_about_it_are_dropped_is_kept(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise((size_t)PIECES * PIECE, 5), *out = xmalloc(PIECE);
	struct stored stored = put_pieces(store, data);
	struct passing passing = {.store = store, .content = data + (size_t)PASSED * PIECE, .id = stored.pieces[PASSED].chunk};
	uint64_t bulk_end, small_end, count, bytes;
	struct chunk_set *set;

	flip(store, passing.content);
	chunks_mark_begin(store->chunks, chunk_set_new, &set, &bulk_end, &small_end);
	assert_int_equal(chunks_sweep(store->chunks, set, CHUNK_BULK, bulk_end, bring_in, &passing, false, &count, &bytes), 0);
	chunks_mark_end(store->chunks);
	chunk_set_free(set);
	assert_int_equal(count, PIECES - 1);
	assert_true(passing.batches > 2);
	assert_int_equal(chunks_verify(store->chunks, passing.id), 0);
	assert_int_equal(chunks_read(store->chunks, passing.id, 0, PIECE, out), 0);
	assert_memory_equal(out, passing.content, PIECE);
	free(stored.pieces);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_removed_chunk_is_not_taken_for_what_comes_in),
		STORE_TEST(test_nor_is_one_that_was_removed_before_the_store_was_opened),
		STORE_TEST(test_scrub_tells_of_a_needed_chunk_that_was_removed),
		STORE_TEST(test_chunk_that_comes_in_while_the_rows_about_it_are_dropped_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
