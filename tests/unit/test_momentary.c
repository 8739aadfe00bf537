/* Errors of the moment, as a lack of memory or a database that is not open, tell nothing of a chunk: none gets into the list of damaged ones. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/chunk/chunk_store.h"
#include "lib/chunk/look.h"
#include "lib/chunk/set.h"
#include "lib/kv/inside.h"
#include "tests/unit/chunk_store.h"

#define LEN (2U << 20)
#define SMALL_LEN (512U << 10) /* goes through the log */
#define PAGE 4096

/* --- reads that fail --- */

static enum { NONE, ALL, LARGE, SOME_PAGES } failing;
static int error;
static unsigned failed;

/* LARGE: those of content. SOME_PAGES: reads past the page cache are of whole pages, which RocksDB's are not. */
static bool fails(size_t len, off_t at)
{
	return failing == ALL || (failing == LARGE && len >= 16000) || (failing == SOME_PAGES && len % PAGE == 0 && (len > PAGE || at / PAGE % 2 == 1));
}

static ssize_t read_or_fail(int fd, void *bytes, size_t len, off_t at)
{
	if (!fails(len, at))
		return syscall(SYS_pread64, fd, bytes, len, at);
	failed++;
	errno = error;
	return -1;
}

/* In place of the C library's, for RocksDB, too. */
ssize_t my_pread(int fd, void *bytes, size_t len, off_t at) __asm__("pread");
ssize_t my_pread64(int fd, void *bytes, size_t len, off_t at) __asm__("pread64");

ssize_t my_pread(int fd, void *bytes, size_t len, off_t at)
{
	return read_or_fail(fd, bytes, len, at);
}

ssize_t my_pread64(int fd, void *bytes, size_t len, off_t at)
{
	return read_or_fail(fd, bytes, len, at);
}

/* --- each door to the list --- */

struct scene {
	size_t len;
	uint8_t *data, *out;
	struct stored stored;
};

static void make_scene(struct store *store, struct scene *scene, size_t len)
{
	scene->len = len;
	scene->data = noise(len, 1);
	scene->out = xmalloc(len);
	scene->stored = put(store, scene->data, len, 0);
	store_close(store);
	store_open(store, false);
}

static void clear_scene(struct scene *scene)
{
	free(scene->data);
	free(scene->out);
	free(scene->stored.pieces);
}

struct seen {
	unsigned whole, other;
};

static int see(void *arg, uint64_t id, uint64_t bytes, int result)
{
	struct seen *seen = arg;

	(void)id;
	(void)bytes;
	seen->whole += result == 0;
	seen->other += result != 0;
	return 0;
}

static int scrub(struct store *store, const struct scene *scene, struct seen *seen)
{
	uint64_t bulk_end, small_end;
	int ret;

	chunks_ends(store->chunks, &bulk_end, &small_end);
	struct chunk_set *set = chunk_set_new(bulk_end, small_end);
	for (size_t i = 0; i < scene->stored.count; i++)
		chunk_set_add(set, scene->stored.pieces[i].chunk);
	*seen = (struct seen){0};
	ret = chunks_scrub(store->chunks, set, CHUNK_BULK, bulk_end, see, seen);
	chunk_set_free(set);
	return ret;
}

static void go_through_all_doors(struct store *store, struct scene *scene)
{
	const struct chunk_piece *piece = &scene->stored.pieces[0];
	uint8_t sha256[DIGEST_LEN];
	struct chunk_look look;
	struct seen seen;
	uint32_t len;

	assert_true(chunks_read(store->chunks, piece->chunk, 0, piece->length, scene->out) < 0);
	assert_true(chunks_verify(store->chunks, piece->chunk) < 0);
	assert_false(chunk_is_damage(chunks_verify(store->chunks, piece->chunk)));
	assert_true(chunks_digest(store->chunks, piece->chunk, &len, sha256) < 0);
	assert_true(chunk_look_open(store->chunks, piece->chunk, &look) < 0);
	assert_true(scrub(store, scene, &seen) < 0);
	assert_int_equal(seen.other, 0);
}

static void assert_nothing_is_listed(struct store *store, const struct scene *scene)
{
	struct chunk_damage *list;

	assert_int_equal(chunks_list_damage(store->chunks, &list), 0);
	free(list);
	assert_reads_back(store, &scene->stored, scene->data, scene->len);
}

static void test_reads_that_fail_for_a_moment_damage_nothing(void **state)
{
	static const int errors[] = {ENOMEM, EMFILE, ENFILE};
	struct store *store = *state;
	struct scene scene;

	make_scene(store, &scene, LEN);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		error = errors[i];
		failed = 0;
		failing = ALL;
		go_through_all_doors(store, &scene);
		failing = NONE;
		assert_true(failed > 0);
		assert_nothing_is_listed(store, &scene);
	}
	clear_scene(&scene);
}

/* What comes in while the chunks that it hits cannot be read. */
static void test_hits_that_cannot_be_read_for_a_moment_are_stored_anew(void **state)
{
	struct store *store = *state;
	struct scene scene;
	struct stored again;

	make_scene(store, &scene, SMALL_LEN);
	error = ENOMEM;
	failing = LARGE;
	again = put(store, scene.data, SMALL_LEN, 0);
	failing = NONE;
	assert_true(again.pieces[0].chunk != scene.stored.pieces[0].chunk);
	assert_reads_back(store, &again, scene.data, SMALL_LEN);
	assert_nothing_is_listed(store, &scene);
	free(again.pieces);
	clear_scene(&scene);
}

static void test_pages_that_cannot_be_read_for_a_moment_are_no_damage_for_a_scrub(void **state)
{
	static const int errors[] = {ENOMEM, EINTR, EAGAIN};
	struct store *store = *state;
	struct scene scene;
	struct seen seen;

	make_scene(store, &scene, LEN);
	assert_int_equal(scrub(store, &scene, &seen), 0);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		error = errors[i];
		failed = 0;
		failing = SOME_PAGES;
		assert_int_equal(scrub(store, &scene, &seen), 0);
		failing = NONE;
		assert_true(failed > 0);
		assert_int_equal(seen.whole, scene.stored.count);
		assert_int_equal(seen.other, 0);
	}
	assert_nothing_is_listed(store, &scene);
	clear_scene(&scene);
}

/* The other way round: the disk's own errors are damage. */
static void test_chunk_that_the_disk_cannot_read_is_listed(void **state)
{
	struct store *store = *state;
	struct scene scene;

	make_scene(store, &scene, LEN);
	error = EIO;
	failing = ALL;
	assert_int_equal(chunks_verify(store->chunks, scene.stored.pieces[0].chunk), -EIO);
	failing = NONE;
	assert_true(chunks_known_damaged(store->chunks, scene.stored.pieces[0].chunk));
	clear_scene(&scene);
}

/* As after an opening anew that has failed. */
static void test_database_that_is_not_open_damages_nothing(void **state)
{
	struct store *store = *state;
	struct scene scene;

	make_scene(store, &scene, LEN);
	rocksdb_t *db = store->kv->db;
	store->kv->db = NULL;
	go_through_all_doors(store, &scene);
	store->kv->db = db;
	assert_nothing_is_listed(store, &scene);
	clear_scene(&scene);
}

static int calm_teardown(void **state)
{
	failing = NONE;
	return teardown(state);
}

#define MOMENTARY_TEST(function) cmocka_unit_test_setup_teardown(function, setup, calm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MOMENTARY_TEST(test_reads_that_fail_for_a_moment_damage_nothing),
		MOMENTARY_TEST(test_hits_that_cannot_be_read_for_a_moment_are_stored_anew),
		MOMENTARY_TEST(test_pages_that_cannot_be_read_for_a_moment_are_no_damage_for_a_scrub),
		MOMENTARY_TEST(test_chunk_that_the_disk_cannot_read_is_listed),
		MOMENTARY_TEST(test_database_that_is_not_open_damages_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
