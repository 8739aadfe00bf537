/* What a tree has accepted is there again after its process has died: in processes that die. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/tree/content/pending.h"
#include "tests/unit/fault_wait.h"
#include "tests/unit/replay_views.h"

#define FILE_MAX 400000U

struct file {
	uint32_t len;
	time_t mtime; /* that was set; 0: it was changed since */
	uint8_t bytes[FILE_MAX];
};

/* Of the process that dies: the file as it was told, and as it is to be when the operation at hand is done. */
struct told {
	struct file now, next;
	uint64_t seed; /* of the operation at hand */
};

static uint64_t draw(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return *seed >> 33;
}

static void resize(struct file *file, uint32_t len)
{
	if (len > file->len)
		memset(file->bytes + file->len, 0, len - file->len);
	file->len = len;
}

/* One after the other. What is asked for again when half of it was done gives the same. */
static int set_lengths(struct inode *inode, struct file *file, uint64_t first, uint64_t second)
{
	struct setattr change = {.mask = SET_SIZE, .size = first};
	struct attr attr;
	int result;

	resize(file, (uint32_t)first);
	resize(file, (uint32_t)second);
	if (!inode)
		return 0;
	result = view_setattr(inode_view(inode), inode_ino(inode), &change, &attr);
	change.size = second;
	return result < 0 ? result : view_setattr(inode_view(inode), inode_ino(inode), &change, &attr);
}

/* One operation, on the inode (or not, if NULL) and the model. */
static int operate(struct inode *inode, struct file *file, uint64_t seed)
{
	static const int modes[] = {0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};
	const uint64_t kind = draw(&seed) % 12, offset = draw(&seed) % (FILE_MAX / 2), len = draw(&seed) % (FILE_MAX / 4) + 1;
	const struct setattr times = {.mask = SET_MTIME, .mtime = {.tv_sec = (time_t)offset + 1}};
	AUTO_FREE uint8_t *data = xmalloc(len);
	struct attr attr;

	if (kind != 9)
		file->mtime = kind > 9 ? times.mtime.tv_sec : 0;
	if (kind > 9)
		return inode ? view_setattr(inode_view(inode), inode_ino(inode), &times, &attr) : 0;
	if (kind < 5) {
		fill_noise(data, len, seed);
		resize(file, MAX(file->len, (uint32_t)(offset + len)));
		memcpy(file->bytes + offset, data, len);
		return inode ? inode_write(inode, offset, data, len, WRITE_KEEP) : 0;
	}
	if (kind < 7)
		return set_lengths(inode, file, offset, kind == 5 ? offset : offset + len);
	if (kind == 9)
		return inode ? inode_commit(inode) : 0;
	const int mode = modes[draw(&seed) % ARRAY_SIZE(modes)];
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		resize(file, MAX(file->len, (uint32_t)(offset + len)));
	if (mode && offset < file->len)
		memset(file->bytes + offset, 0, MIN(len, file->len - offset));
	return inode ? inode_allocate(inode, mode, offset, len) : 0;
}

static void move_records(struct inode *inode)
{
	mutex_take(&inode->lock);
	dirty_move_records_apart(&inode->active);
	mutex_give(&inode->lock);
}

/* As a crash leaves them that comes after the copy of a move, and before the record is forgotten. */
static void copy_records(struct tree *tree, const struct inode *inode)
{
	for (size_t i = 0; i < inode->active.records.count; i++) {
		const struct journal_record *record = inode->active.records.items[i];
		struct journal_record *copy = journal_take(tree->journal, record->size - sizeof(*record));

		if (!copy)
			break;
		memcpy((uint8_t *)copy + sizeof(copy->number), (const uint8_t *)record + sizeof(copy->number), record->size - sizeof(copy->number));
		atomic_store(&copy->number, atomic_load(&record->number));
	}
}

static void __attribute__((noreturn)) work_and_die(struct tree_store *store, struct told *told, uint64_t seed, unsigned count, bool is_moving)
{
	struct inode *inode;

	store->budget = 8 * MIB;
	tree_store_open(store, false);
	inode = open_file(store, "file");
	for (unsigned i = 0; i < count; i++) {
		told->seed = draw(&seed);
		told->next = told->now;
		if (operate(inode, &told->next, told->seed) < 0)
			abort();
		told->now = told->next;
		if (is_moving && draw(&seed) % 8 == 0)
			move_records(inode);
	}
	if (is_moving && draw(&seed) % 2)
		copy_records(store->tree, inode);
	told->seed = 0;
	_exit(0);
}

static void compare(struct inode *inode, const struct file *file)
{
	struct attr attr;

	inode_attr(inode, &attr);
	assert_true(file->mtime == 0 || attr.mtime.tv_sec == file->mtime);
	assert_content(inode, file->bytes, file->len, FILE_MAX);
}

/* The next process: it has the memory and the database as the first left them. */
static void go_on(struct tree_store *store, struct told *told)
{
	const struct replay_views views = {.find = find, .put = put, .arg = store};
	struct replayed replayed;
	struct inode *inode;

	tree_store_open(store, false);
	assert_int_equal(tree_replay(store->tree, &views, &replayed), 0);
	assert_int_equal(replayed.dropped, 0);
	inode = open_file(store, "file");
	/* what was not answered is asked again */
	if (told->seed)
		assert_int_equal(operate(inode, &told->now, told->seed), 0);
	compare(inode, &told->now);
	assert_int_equal(inode_commit(inode), 0);
	compare(inode, &told->now);
	inode_close(inode);
	tree_store_close(store);
}

#define BIG_FILES 5
#define BIG_LEN (4U * MIB)
#define HOLE_LEN (MIB / 2) /* of the first one, when all are written */

/* The journal of who punches a hole into what somebody else writes meanwhile. */
static void undo_some(struct tree *tree, struct inode *inode)
{
	struct journal_record *record = journal_take(tree->journal, 0);

	assert_non_null(record);
	mutex_take(&inode->lock);
	inode_count_record(inode, record, JOURNAL_DISCARD, 0, HOLE_LEN);
	mutex_give(&inode->lock);
}

static void __attribute__((noreturn)) write_much_and_die(struct tree_store *store)
{
	AUTO_FREE uint8_t *data = xmalloc(BIG_LEN);
	struct inode *files[BIG_FILES];

	tree_store_open(store, false);
	for (unsigned i = 0; i < BIG_FILES; i++) {
		files[i] = new_file(store, (char[]){(char)('a' + i), 0});
		fill_noise(data, BIG_LEN, i);
		for (uint64_t offset = 0; offset < BIG_LEN; offset += MIB)
			assert_int_equal(inode_write(files[i], offset, data + offset, MIB, WRITE_KEEP), 0);
	}
	undo_some(store->tree, files[0]);
	_exit(0);
}

/* The most that was buffered at a time. */
struct look {
	struct tree_store *store;
	uint64_t most;
};

static int find_and_look(void *arg, uint32_t number, struct view **ret_view)
{
	struct look *look = arg;
	uint64_t bytes, inodes;

	pending_usage(look->store->tree, NULL, &bytes, &inodes);
	look->most = MAX(look->most, bytes);
	return find(look->store, number, ret_view);
}

static void go_on_with_little(struct tree_store *store)
{
	AUTO_FREE uint8_t *data = xmalloc(BIG_LEN), *out = xmalloc(BIG_LEN);
	struct look look = {.store = store};
	const struct replay_views views = {.find = find_and_look, .put = put, .arg = &look};
	struct replayed replayed;

	tree_store_open(store, false);
	assert_int_equal(tree_replay(store->tree, &views, &replayed), 0);
	assert_int_equal(replayed.bytes, BIG_FILES * BIG_LEN);
	/* the first one waits for its hole */
	assert_true(look.most > BIG_LEN && look.most <= BIG_LEN + store->budget / 16 + MIB);
	for (unsigned i = 0; i < BIG_FILES; i++) {
		struct inode *inode = open_file(store, (char[]){(char)('a' + i), 0});

		fill_noise(data, BIG_LEN, i);
		memset(data, 0, i == 0 ? HOLE_LEN : 0);
		assert_int_equal(inode_read(inode, 0, BIG_LEN, out), BIG_LEN);
		assert_memory_equal(out, data, BIG_LEN);
		inode_close(inode);
	}
	tree_store_close(store);
}

/* --- a copy that was not done, over what was written meanwhile --- */

#define COPY_LEN (MIB / 2)

static const char *const copied[] = {"source", "target"};

static void make_copied(struct tree_store *store)
{
	AUTO_FREE uint8_t *data = xmalloc(COPY_LEN);

	tree_store_open(store, true);
	for (unsigned i = 0; i < ARRAY_SIZE(copied); i++) {
		struct inode *inode = new_file(store, copied[i]);

		fill_noise(data, COPY_LEN, i);
		assert_int_equal(inode_write(inode, 0, data, COPY_LEN, 0), 0);
		assert_int_equal(inode_commit(inode), 0);
		inode_close(inode);
	}
	tree_store_close(store);
}

static void *copy_main(void *arg)
{
	struct inode **files = arg;

	(void)!inode_copy(files[0], 0, files[1], 0, COPY_LEN);
	return NULL;
}

/* The copy has committed what there was. What is written then is answered; the copy dies before its batch is written. */
static void __attribute__((noreturn)) write_beside_a_copy_and_die(struct tree_store *store)
{
	AUTO_FREE uint8_t *data = xmalloc(COPY_LEN);
	pthread_t thread;

	tree_store_open(store, false);
	struct inode *files[] = {open_file(store, copied[0]), open_file(store, copied[1])};
	fill_noise(data, COPY_LEN, ARRAY_SIZE(copied));
	assert_int_equal(pthread_create(&thread, NULL, copy_main, files), 0);
	fault_wait("copy-before-step");
	assert_int_equal(inode_write(files[1], 0, data, COPY_LEN, WRITE_KEEP), 0);
	pthread_join(thread, NULL);
	_exit(0);
}

/* Whoever asked for the copy is dead, too. */
static void go_on_without_the_copy(struct tree_store *store)
{
	const struct replay_views views = {.find = find, .put = put, .arg = store};
	AUTO_FREE uint8_t *data = xmalloc(COPY_LEN), *out = xmalloc(COPY_LEN);
	struct replayed replayed;
	struct inode *inode;

	tree_store_open(store, false);
	assert_int_equal(tree_replay(store->tree, &views, &replayed), 0);
	inode = open_file(store, copied[1]);
	fill_noise(data, COPY_LEN, ARRAY_SIZE(copied));
	assert_int_equal(inode_read(inode, 0, COPY_LEN, out), COPY_LEN);
	assert_memory_equal(out, data, COPY_LEN);
	inode_close(inode);
	tree_store_close(store);
}

static bool do_not_wait(void *arg, const struct replay_lost *file, uint64_t waited_ms)
{
	unsigned *asked = arg;

	(*asked)++;
	assert_int_equal(file->error, -EIO);
	assert_int_equal(waited_ms, 0);
	return false;
}

/* The disk gives errors to every request, and somebody wants the process to end. What is lost is told. */
static void go_on_in_a_hurry(struct tree_store *store, const struct told *told)
{
	unsigned asked = 0;
	const struct replay_views views = {.find = find, .put = put, .arg = store, .waits = do_not_wait, .waits_arg = &asked};
	struct replayed replayed;
	struct inode *inode;

	tree_store_open(store, false);
	assert_int_equal(tree_replay(store->tree, &views, &replayed), 0);
	assert_int_equal(asked, 1);
	assert_int_equal(replayed.lost.count, 1);
	assert_int_equal(replayed.lost.items[0].error, -EIO);
	assert_int_equal(replayed.lost.items[0].records, 1);
	inode = open_file(store, "file");
	tree_mark_lost(&views, &replayed);
	replayed_clear(&replayed);
	assert_int_equal(inode_sync(inode), -EIO);
	inode_close(inode);
	tree_store_close(store);
}

static void make(struct tree_store *store)
{
	void *journal = steal_ptr(store->journal);

	tree_store_open(store, true);
	inode_close(new_file(store, "file"));
	tree_store_close(store);
	store->journal = journal;
}

/* What an environment says of fault points is read once in a process, so each step is made in one of its own. Returns its status. */
struct step {
	const char *fault;
	uint64_t seed;
	unsigned count;
	bool is_moving; /* records of the journal */
	uint64_t budget; /* of who goes on; 0: enough for all */
	void (*run)(struct tree_store *store); /* or NULL: */
	enum { WORK_AND_DIE, GO_ON, GO_ON_IN_A_HURRY } what;
};

static int take_step(struct tree_store *store, struct told *told, struct step step)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		/* a failed assertion must not jump out into the parent's tests */
		setenv("CMOCKA_TEST_ABORT", "1", 1);
		store->budget = step.budget ? step.budget : store->budget;
		if (step.fault)
			setenv("CORPUSFS_FAULT", step.fault, 1);
		if (step.run)
			step.run(store);
		else if (step.what == GO_ON)
			go_on(store, told);
		else if (step.what == GO_ON_IN_A_HURRY)
			go_on_in_a_hurry(store, told);
		else
			work_and_die(store, told, step.seed, step.count, step.is_moving);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void accepted_changes_survive_the_process(void **state)
{
	static const char *const faults[] = {NULL, "transaction-before-write", "commit-after-write", "commit-before-write", "content-between-steps"};
	struct tree_store store = {.budget = 64 * MIB, .idle_ms = 1000000, .journal_bytes = MEMORY, .journal = shared_memory(MEMORY)};
	struct told *told = shared_memory(sizeof(*told));
	uint64_t seed = 1;
	unsigned killed = 0;

	tree_store_place(&store);
	assert_int_equal(take_step(&store, told, (struct step){.run = make}), 0);
	for (unsigned turn = 0; turn < 60; turn++) {
		struct step step = {.what = WORK_AND_DIE, .seed = draw(&seed), .count = (unsigned)(draw(&seed) % 30) + 1, .is_moving = true};
		char fault[64];
		int status;

		snprintf(fault, sizeof(fault), "%s:kill:%u", faults[turn % ARRAY_SIZE(faults)], (unsigned)(draw(&seed) % 6) + 1);
		step.fault = faults[turn % ARRAY_SIZE(faults)] ? fault : NULL;
		status = take_step(&store, told, step);
		assert_true(status == 0 || (step.fault && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
		killed += status != 0;
		/* with a small one, much is committed before all is replayed */
		assert_int_equal(take_step(&store, told, (struct step){.what = GO_ON, .budget = turn % 2 ? MIB : 0}), 0);
	}
	assert_true(killed > 10);
	munmap(store.journal, MEMORY);
	munmap(told, sizeof(*told));
	tree_store_remove(&store);
}

static void set_length(struct inode *inode, uint64_t size)
{
	const struct setattr change = {.mask = SET_SIZE, .size = size}, times = {.mask = SET_MTIME, .mtime = {.tv_sec = 1}};
	struct attr attr;

	assert_int_equal(view_setattr(inode_view(inode), inode_ino(inode), &change, &attr), 0);
	assert_int_equal(view_setattr(inode_view(inode), inode_ino(inode), &times, &attr), 0);
}

/* However long it is not committed. */
static void lengths_and_times_set_again_and_again_take_no_more_of_the_journal(void **state)
{
	struct tree_store store = {.budget = 64 * MIB, .idle_ms = 1000000, .journal_bytes = MEMORY, .journal = shared_memory(MEMORY)};
	struct inode *inode;

	tree_store_place(&store);
	tree_store_open(&store, true);
	inode = new_file(&store, "file");
	assert_int_equal(inode_write(inode, 0, "content", 7, WRITE_KEEP), 0);
	for (uint64_t i = 0; i < 1000; i++) {
		set_length(inode, 1000 + i);
		set_length(inode, 3000 - i);
		set_length(inode, 2000);
		assert_true(inode->active.records.count <= 4);
	}
	assert_int_equal(inode_commit(inode), 0);
	assert_int_equal(inode->active.record_bytes, 0);
	inode_close(inode);
	tree_store_close(&store);
	munmap(store.journal, MEMORY);
	tree_store_remove(&store);
}

static void what_is_replayed_is_committed_before_it_is_much(void **state)
{
	struct tree_store store = {.budget = 64 * MIB, .idle_ms = 1000000, .journal_bytes = MEMORY, .journal = shared_memory(MEMORY)};

	tree_store_place(&store);
	assert_int_equal(take_step(&store, NULL, (struct step){.run = make}), 0);
	assert_int_equal(take_step(&store, NULL, (struct step){.run = write_much_and_die}), 0);
	assert_int_equal(take_step(&store, NULL, (struct step){.run = go_on_with_little}), 0);
	munmap(store.journal, MEMORY);
	tree_store_remove(&store);
}

static void a_copy_that_was_not_done_takes_nothing_that_was_written(void **state)
{
	struct tree_store store = {.budget = 64 * MIB, .idle_ms = 1000000, .journal_bytes = MEMORY, .journal = shared_memory(MEMORY)};
	const struct step step = {.run = write_beside_a_copy_and_die, .fault = "copy-before-step:sleep1000,transaction-before-write:kill:1"};

	tree_store_place(&store);
	assert_int_equal(take_step(&store, NULL, (struct step){.run = make_copied}), 0);
	const int status = take_step(&store, NULL, step);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(take_step(&store, NULL, (struct step){.run = go_on_without_the_copy}), 0);
	munmap(store.journal, MEMORY);
	tree_store_remove(&store);
}

#define AWAY "replay-before-change:eio:1,replay-before-change:eio:2,replay-before-change:eio:3,replay-before-change:eio:4,replay-before-change:eio:5"

static void a_disk_that_is_away_for_a_moment_is_waited_for(void **state)
{
	struct tree_store store = {.budget = 64 * MIB, .idle_ms = 1000000, .journal_bytes = MEMORY, .journal = shared_memory(MEMORY)};
	struct told *told = shared_memory(sizeof(*told));

	tree_store_place(&store);
	assert_int_equal(take_step(&store, told, (struct step){.run = make}), 0);
	assert_int_equal(take_step(&store, told, (struct step){.what = WORK_AND_DIE, .seed = 8, .count = 1}), 0);
	assert_true(told->now.len > 0); /* it was a write */
	assert_int_equal(take_step(&store, told, (struct step){.what = GO_ON, .fault = AWAY}), 0);
	assert_int_equal(take_step(&store, told, (struct step){.what = WORK_AND_DIE, .seed = 8, .count = 1}), 0);
	assert_int_equal(take_step(&store, told, (struct step){.what = GO_ON_IN_A_HURRY, .fault = AWAY}), 0);
	munmap(store.journal, MEMORY);
	munmap(told, sizeof(*told));
	tree_store_remove(&store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted_changes_survive_the_process),
		cmocka_unit_test(what_is_replayed_is_committed_before_it_is_much),
		cmocka_unit_test(a_copy_that_was_not_done_takes_nothing_that_was_written),
		cmocka_unit_test(a_disk_that_is_away_for_a_moment_is_waited_for),
		/* last: a process in which RocksDB has had threads may not fork */
		cmocka_unit_test(lengths_and_times_set_again_and_again_take_no_more_of_the_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
