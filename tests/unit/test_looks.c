/* Chunks that are looked at together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/chunk/looks.h"
#include "tests/unit/chunk_store.h"

#define LEN (4 * MIB)

/* Opened again, for what was just put is not in a table of its own yet. */
static struct stored put_and_open(struct store *store, const uint8_t *data, int level)
{
	struct stored stored = put(store, data, LEN, level);

	store_close(store);
	store_open(store, false);
	assert_true(stored.count > CHUNK_LOOKS_MAX);
	return stored;
}

static void assert_plain(const struct chunk_looks_item *item, const struct chunk_piece *piece, const uint8_t *data)
{
	assert_true(item->is_there && item->header.plain_len == piece->length);
	assert_non_null(item->plain);
	assert_memory_equal(item->plain, data + piece->offset, piece->length);
}

static void test_neighbours_are_read_together_compressed_or_not(void **state)
{
	for (int level = 0; level <= 3; level += 3) {
		struct store *store = *state;
		AUTO_FREE uint8_t *data = text(LEN, (uint64_t)level + 7);
		struct stored stored = put_and_open(store, data, level);
		struct chunk_looks *looks = chunk_looks_new(store->chunks);

		for (size_t at = 0; at < stored.count; at += CHUNK_LOOKS_MAX) {
			const size_t count = MIN(stored.count - at, CHUNK_LOOKS_MAX);
			struct chunk_looks_item *items = chunk_looks_read(looks, stored.pieces[at].chunk, count);

			for (size_t i = 0; i < count; i++) {
				assert_true(items[i].is_there && !items[i].is_wanted && !items[i].plain);
				assert_true((items[i].header.codec == CHUNK_CODEC_ZSTD) == (level > 0));
				items[i].is_wanted = i % 5 != 1;
			}
			chunk_looks_verify(looks, NULL);
			for (size_t i = 0; i < count; i++) {
				if (i % 5 == 1)
					assert_null(items[i].plain);
				else
					assert_plain(&items[i], &stored.pieces[at + i], data);
			}
		}
		chunk_looks_free(looks);
		free(stored.pieces);
	}
}

static void test_what_is_nowhere_is_not_there(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 3);
	struct stored stored = put_and_open(store, data, 0);
	struct chunk_looks *looks = chunk_looks_new(store->chunks);
	struct chunk_looks_item *items = chunk_looks_read(looks, stored.pieces[stored.count - 2].chunk, 5);

	for (size_t i = 0; i < 5; i++) {
		assert_true(items[i].is_there == (i < 2));
		items[i].is_wanted = true;
	}
	chunk_looks_verify(looks, NULL);
	for (size_t i = 0; i < 5; i++)
		assert_true((items[i].plain != NULL) == (i < 2));
	chunk_looks_free(looks);
	chunk_looks_free(NULL);
	free(stored.pieces);
}

/* Changes a byte of the tables where these bytes are. */
static void damage_table(const struct store *store, const uint8_t *bytes)
{
	DIR *dir = opendir(store->db);
	struct dirent *entry;
	size_t damaged = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		AUTO_FREE char *path = xasprintf("%s/%s", store->db, entry->d_name);
		AUTO_BUF table = BUF_INIT;
		uint8_t *found;

		if (!strstr(entry->d_name, ".sst") || file_read(path, 64 * MIB, &table) < 0 || !(found = memmem(table.data, table.len, bytes, 64)))
			continue;
		*found ^= 1;
		AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
		assert_int_equal(pwrite(fd, found, 1, found - table.data), 1);
		damaged++;
	}
	closedir(dir);
	assert_int_equal(damaged, 1);
}

static void test_a_damaged_chunk_is_not_there_and_its_neighbours_are(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 4);
	struct stored stored = put_and_open(store, data, 0);
	struct chunk_looks *looks = chunk_looks_new(store->chunks);
	struct chunk_looks_item *items;

	damage_table(store, data + stored.pieces[3].offset + 1000);
	items = chunk_looks_read(looks, stored.pieces[0].chunk, 8);
	for (size_t i = 0; i < 8; i++) {
		assert_true(items[i].is_there == (i != 3));
		items[i].is_wanted = true;
	}
	chunk_looks_verify(looks, NULL);
	for (size_t i = 0; i < 8; i++) {
		if (i == 3)
			assert_null(items[i].plain);
		else
			assert_plain(&items[i], &stored.pieces[i], data);
	}
	chunk_looks_free(looks);
	free(stored.pieces);
}

static void test_something_else_is_hashed_beside_what_is_wanted(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(LEN, 5);
	struct stored stored = put_and_open(store, data, 0);
	struct chunk_looks *looks = chunk_looks_new(store->chunks);
	struct chunk_looks_item *items = chunk_looks_read(looks, stored.pieces[0].chunk, 4);
	struct digest *digest = digest_new();
	uint8_t found[DIGEST_LEN] = {0}, wanted[DIGEST_LEN];
	struct digest_job beside = {.data = data, .len = 100000, .sha256 = found};

	digest_once(digest, data, beside.len, wanted);
	chunk_looks_verify(looks, &beside); /* nothing is wanted */
	assert_memory_not_equal(found, wanted, DIGEST_LEN);
	for (size_t i = 0; i < 4; i++)
		items[i].is_wanted = true;
	chunk_looks_verify(looks, &beside);
	assert_memory_equal(found, wanted, DIGEST_LEN);
	for (size_t i = 0; i < 4; i++)
		assert_plain(&items[i], &stored.pieces[i], data);
	digest_free(digest);
	chunk_looks_free(looks);
	free(stored.pieces);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_neighbours_are_read_together_compressed_or_not, setup, teardown),
		cmocka_unit_test_setup_teardown(test_something_else_is_hashed_beside_what_is_wanted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_nowhere_is_not_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_damaged_chunk_is_not_there_and_its_neighbours_are, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
