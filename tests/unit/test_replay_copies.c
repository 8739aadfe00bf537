/*
 * A copy that was answered is there after the process has died, and so is the length that fallocate(2) gave, whatever somebody else has written to
 * the file and changed of its length since it had committed what there was: in processes that die.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/wait.h>

#include "tests/unit/fault_wait.h"
#include "tests/unit/replay_views.h"

#define K 1024U
#define COPIED (128 * K) /* bytes of a copy, which must not be small */
#define COMMITTED (64 * K)
#define FILE_MAX (1024 * K)
#define TOO_LATE 2 /* exit code: the copy did not wait long enough */

/* While a copy rests: bytes are written, the length is set. Then the copy goes on. */
struct scene {
	uint32_t written_at, length, copied_to;
	uint32_t length_after; /* set when the copy is done; 0: it stays */
	uint32_t allocated;    /* not 0: instead of a copy, so many bytes are allocated from the start on */
};

#define WRITTEN 50U

struct model {
	uint32_t len;
	uint8_t bytes[FILE_MAX];
};

struct copying {
	struct inode *source, *target;
	uint32_t to, allocated;
	atomic_bool is_done;
};

static void resize(struct model *model, uint32_t len)
{
	if (len > model->len)
		memset(model->bytes + model->len, 0, len - model->len);
	model->len = len;
}

static void put_noise(struct model *model, uint32_t offset, uint32_t len, uint64_t seed)
{
	resize(model, MAX(model->len, offset + len));
	fill_noise(model->bytes + offset, len, seed);
}

static void play(struct model *model, const struct scene *scene)
{
	put_noise(model, 0, COMMITTED, 1);
	put_noise(model, scene->written_at, WRITTEN, 2);
	resize(model, scene->length);
	if (scene->allocated)
		resize(model, MAX(model->len, scene->allocated));
	else
		put_noise(model, scene->copied_to, COPIED, 0);
	if (scene->length_after)
		resize(model, scene->length_after);
}

static void write_noise(struct inode *inode, uint32_t offset, uint32_t len, uint64_t seed)
{
	AUTO_FREE uint8_t *data = xmalloc(len);

	fill_noise(data, len, seed);
	assert_int_equal(inode_write(inode, offset, data, len, WRITE_KEEP), 0);
}

static void make(struct tree_store *store, const struct scene *scene)
{
	static const char *const names[] = {"source", "target"};
	const uint32_t lens[] = {COPIED, COMMITTED};

	store->journal = NULL;
	tree_store_open(store, true);
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct inode *inode = new_file(store, names[i]);

		write_noise(inode, 0, lens[i], i);
		assert_int_equal(inode_commit(inode), 0);
		inode_close(inode);
	}
	tree_store_close(store);
}

static void *copy_main(void *arg)
{
	struct copying *copying = arg;

	if (copying->allocated)
		assert_int_equal(inode_allocate(copying->target, 0, 0, copying->allocated), 0);
	else
		assert_int_equal(inode_copy(copying->source, 0, copying->target, copying->to, COPIED), COPIED);
	atomic_store(&copying->is_done, true);
	return NULL;
}

static void work_and_die(struct tree_store *store, const struct scene *scene)
{
	struct copying copying = {.to = scene->copied_to, .allocated = scene->allocated};
	const char *point = scene->allocated ? "allocate-before-step" : "copy-before-step";
	AUTO_FREE char *fault = xasprintf("%s:sleep1000", point);
	pthread_t thread;

	setenv("CORPUSFS_FAULT", fault, 1);
	tree_store_open(store, false);
	copying.source = open_file(store, "source");
	copying.target = open_file(store, "target");
	assert_int_equal(pthread_create(&thread, NULL, copy_main, &copying), 0);
	fault_wait(point);
	write_noise(copying.target, scene->written_at, WRITTEN, 2);
	set_size(copying.target, scene->length);
	if (atomic_load(&copying.is_done))
		_exit(TOO_LATE);
	pthread_join(thread, NULL);
	if (scene->length_after)
		set_size(copying.target, scene->length_after);
	_exit(0);
}

static void go_on(struct tree_store *store, const struct scene *scene)
{
	const struct replay_views views = {.find = find, .put = put, .arg = store};
	AUTO_FREE struct model *model = xcalloc(1, sizeof(*model));
	struct replayed replayed;
	struct inode *inode;

	play(model, scene);
	tree_store_open(store, false);
	assert_int_equal(tree_replay(store->tree, &views, &replayed), 0);
	assert_true(replayed.records >= 3); /* written, the length, the copy */
	inode = open_file(store, "target");
	assert_content(inode, model->bytes, model->len, FILE_MAX);
	assert_int_equal(inode_commit(inode), 0);
	assert_content(inode, model->bytes, model->len, FILE_MAX);
	inode_close(inode);
	tree_store_close(store);
}

/* What an environment says of fault points is read once in a process, and one in which RocksDB has had threads may not fork. */
static int in_a_process(struct tree_store *store, void (*run)(struct tree_store *store, const struct scene *scene), const struct scene *scene)
{
	const pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		/* a failed assertion must not jump out into the parent's tests */
		setenv("CMOCKA_TEST_ABORT", "1", 1);
		run(store, scene);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void survives(struct scene scene)
{
	struct tree_store store;
	int status;

	do {
		store = (struct tree_store){.budget = 64 * MIB, .idle_ms = 1000000, .journal_bytes = MEMORY, .journal = shared_memory(MEMORY)};
		tree_store_place(&store);
		assert_int_equal(in_a_process(&store, make, &scene), 0);
		status = in_a_process(&store, work_and_die, &scene);
		if (status == 0)
			assert_int_equal(in_a_process(&store, go_on, &scene), 0);
		munmap(store.journal, MEMORY);
		tree_store_remove(&store);
	} while (WIFEXITED(status) && WEXITSTATUS(status) == TOO_LATE);
	assert_int_equal(status, 0);
}

static void a_copy_after_a_longer_length_is_there(void **state)
{
	survives((struct scene){.written_at = 0, .length = 100 * K, .copied_to = 200 * K});
}

static void a_copy_over_the_end_of_a_longer_length_is_there(void **state)
{
	survives((struct scene){.written_at = 0, .length = 250 * K, .copied_to = 200 * K});
}

/* Nothing is buffered any more, but the journal has what was. */
static void a_copy_after_all_that_was_buffered_was_cut_off_is_there(void **state)
{
	survives((struct scene){.written_at = 500 * K, .length = 32 * K, .copied_to = 32 * K});
}

static void a_copy_before_a_longer_length_is_there(void **state)
{
	survives((struct scene){.written_at = 0, .length = 100 * K, .copied_to = 200 * K, .length_after = 500 * K});
}

/* As above, nothing is buffered any more. */
static void a_length_that_was_allocated_after_all_that_was_buffered_was_cut_off_is_there(void **state)
{
	survives((struct scene){.written_at = 500 * K, .length = 32 * K, .allocated = 300 * K});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copy_after_a_longer_length_is_there),
		cmocka_unit_test(a_copy_over_the_end_of_a_longer_length_is_there),
		cmocka_unit_test(a_copy_after_all_that_was_buffered_was_cut_off_is_there),
		cmocka_unit_test(a_copy_before_a_longer_length_is_there),
		cmocka_unit_test(a_length_that_was_allocated_after_all_that_was_buffered_was_cut_off_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
