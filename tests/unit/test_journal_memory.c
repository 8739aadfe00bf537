/* The memory of a journal: what of it nobody needs goes back to the system, and where the system has none nothing is lost. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/tree/inodes/journal.h"
#include "tests/unit/tree_store.h"

#define SEGMENTS 5
#define SEGMENT (8 * MIB)
#define EACH 7 /* records with most bytes in a segment */
#define MEMORY (SEGMENTS * SEGMENT)

static uint64_t taken(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void memory_that_nobody_needs_is_given_back(void **state)
{
	AUTO_CLOSE int fd = memfd_create("journal", MFD_CLOEXEC);
	struct journal_record *records[SEGMENTS * EACH], *kept;
	struct journal *journal;
	size_t count = 0;

	assert_int_equal(ftruncate(fd, MEMORY), 0);
	void *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(memory != MAP_FAILED);
	assert_int_equal(journal_new(memory, MEMORY, &journal), 0);
	kept = journal_take(journal, JOURNAL_DATA_MAX);
	memset(journal_data(kept), 1, JOURNAL_DATA_MAX);
	while ((records[count] = journal_take(journal, JOURNAL_DATA_MAX)))
		count++;
	for (size_t i = 0; i < count; i++)
		journal_forget(journal, records[i]);
	journal_give_back(journal);
	assert_true(taken(fd) >= (SEGMENTS - 2) * SEGMENT); /* it was needed a moment ago */
	journal_give_back(journal);
	/* that of the record, and the one that would be filled next */
	assert_int_equal(taken(fd), 2 * SEGMENT);
	/* there is room again, but beside the record, and in the segments that are kept back */
	for (size_t i = 0; i < (SEGMENTS - 3) * EACH; i++) {
		struct journal_record *record = journal_take(journal, JOURNAL_DATA_MAX);
		assert_non_null(record);
		memset(journal_data(record), 2, JOURNAL_DATA_MAX);
	}
	for (size_t i = 0; i < JOURNAL_DATA_MAX; i++)
		assert_int_equal(journal_data(kept)[i], 1);
	journal_free(journal);
	munmap(memory, MEMORY);
}

/* Memory of which the system has only so much. */
static void open_starved(struct tree_store *store, size_t size)
{
	AUTO_CLOSE int fd = memfd_create("journal", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, MEMORY), 0);
	store->journal = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	store->journal_bytes = MEMORY;
	assert_true(store->journal != MAP_FAILED);
	tree_store_open(store, false);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
}

static void writers_wait_for_commits_where_the_system_has_no_memory(void **state)
{
	struct tree_store *store = *state;
	AUTO_FREE uint8_t *data = xmalloc(MIB), *found = xmalloc(MIB);
	struct inode *inode;

	inode_close(new_file(store, "file"));
	tree_store_close(store);
	open_starved(store, 8 * MIB);
	inode = open_file(store, "file");
	for (uint64_t i = 0; i < 20; i++) {
		fill_noise(data, MIB, i);
		assert_int_equal(inode_write(inode, i * MIB, data, MIB, WRITE_KEEP), 0);
	}
	for (uint64_t i = 0; i < 20; i++) {
		fill_noise(data, MIB, i);
		assert_int_equal(inode_read(inode, i * MIB, MIB, found), MIB);
		assert_memory_equal(found, data, MIB);
	}
	inode_close(inode);
	tree_store_close(store);
	munmap(store->journal, MEMORY);
	open_starved(store, 0);
	inode = open_file(store, "file");
	assert_int_equal(inode_write(inode, 0, data, MIB, WRITE_KEEP), -ENOMEM);
	assert_int_equal(inode_read(inode, 0, MIB, found), MIB);
	inode_close(inode);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_that_nobody_needs_is_given_back),
		TREE_TEST(writers_wait_for_commits_where_the_system_has_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
