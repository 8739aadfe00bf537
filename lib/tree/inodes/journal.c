#include "lib/tree/inodes/journal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clean.h"

#define MAGIC 0x6a6f75726e616c31ULL
#define SEGMENT (8UL << 20)
#define ALIGN 64UL
#define NO_SEGMENT SIZE_MAX

enum filling { WITH_BYTES, WITHOUT, APART, FILLINGS };

/* Segments that each leaves free: one for records without bytes, whose caller cannot wait, and one more for moves, which make room. */
static const size_t leaves[FILLINGS] = {[WITH_BYTES] = 2, [WITHOUT] = 0, [APART] = 1};

/* At the beginning of each segment. `end` is raised after a record's size is set, so that all records below it can be walked over. */
struct head {
	_Atomic uint64_t magic, end; /* magic 0: free */
};

struct journal {
	pthread_mutex_t lock; /* guards all below but number, and the heads */
	uint8_t *memory;
	size_t count;
	uint32_t *live;       /* records of each segment that are not forgotten */
	size_t *free_list;
	size_t free_count;
	size_t filling[FILLINGS];
	bool *apart;          /* the segment was filled by moves */
	bool *there;          /* all pages of the segment are */
	bool *given_back;     /* none is */
	bool *was_used;       /* it became free since journal_give_back */
	bool is_starved;      /* the last segment that was wanted could not have them */
	_Atomic uint64_t number;
};

size_t journal_memory(uint64_t write_buffer_bytes)
{
	/* what records leave at the ends of segments, and what others in a segment hold back */
	return (size_t)(write_buffer_bytes + write_buffer_bytes / 4) / SEGMENT * SEGMENT + 5 * SEGMENT;
}

static struct head *head_of(const struct journal *journal, size_t segment)
{
	return (struct head *)(void *)(journal->memory + segment * SEGMENT);
}

static uint64_t first_place(void)
{
	return (sizeof(struct head) + ALIGN - 1) / ALIGN * ALIGN;
}

static struct journal_record *record_at(const struct journal *journal, size_t segment, uint64_t place)
{
	return (struct journal_record *)(void *)(journal->memory + segment * SEGMENT + place);
}

static uint64_t size_with(size_t len)
{
	return (sizeof(struct journal_record) + len + ALIGN - 1) / ALIGN * ALIGN;
}

/*
 * Memory is had before it is used: where there is none (strict accounting, a limit), whoever touches it is killed. It costs no more than
 * having it page by page. -ENOMEM
 */
static int populate(struct journal *journal, size_t segment, size_t size)
{
	/* before Linux 5.14 it comes as it is touched */
	if (madvise(journal->memory + segment * SEGMENT, size, MADV_POPULATE_WRITE) < 0 && errno != EINVAL)
		return -ENOMEM;
	return 0;
}

/* Counts what is left in a segment. */
static int look_at(struct journal *journal, size_t segment)
{
	struct head *head = head_of(journal, segment);
	uint64_t end;

	if (populate(journal, segment, (size_t)sysconf(_SC_PAGESIZE)) < 0)
		return -ENOMEM;
	end = atomic_load(&head->end);
	if (atomic_load(&head->magic) == 0)
		return 0;
	if (atomic_load(&head->magic) != MAGIC || end < first_place() || end > SEGMENT)
		return -EBADMSG;
	for (uint64_t place = first_place(); place < end;) {
		struct journal_record *record = record_at(journal, segment, place);
		if (record->size < sizeof(*record) || record->size % ALIGN || record->size > end - place)
			return -EBADMSG;
		if (atomic_load(&record->number) && record->kind == JOURNAL_WRITE && record->len > record->size - sizeof(*record))
			return -EBADMSG;
		journal->live[segment] += atomic_load(&record->number) != 0;
		atomic_store(&journal->number, MAX(atomic_load(&journal->number), atomic_load(&record->number)));
		place += record->size;
	}
	return 0;
}

static void set_free(struct journal *journal, size_t segment)
{
	atomic_store(&head_of(journal, segment)->magic, 0);
	journal->was_used[segment] = true;
	journal->free_list[journal->free_count++] = segment;
}

int journal_new(void *memory, size_t size, struct journal **ret_journal)
{
	struct journal *journal = xcalloc(1, sizeof(*journal));
	int result = 0;

	pthread_mutex_init(&journal->lock, NULL);
	journal->memory = memory;
	journal->count = size / SEGMENT;
	journal->live = xcalloc(journal->count + 1, sizeof(*journal->live));
	journal->free_list = xcalloc(journal->count + 1, sizeof(*journal->free_list));
	journal->there = xcalloc(journal->count + 1, sizeof(*journal->there));
	journal->given_back = xcalloc(journal->count + 1, sizeof(*journal->given_back));
	journal->was_used = xcalloc(journal->count + 1, sizeof(*journal->was_used));
	journal->apart = xcalloc(journal->count + 1, sizeof(*journal->apart));
	for (size_t i = 0; i < FILLINGS; i++)
		journal->filling[i] = NO_SEGMENT;
	for (size_t i = journal->count; i-- > 0 && result == 0;) {
		result = look_at(journal, i);
		if (result == 0 && journal->live[i] == 0)
			set_free(journal, i);
	}
	if (result < 0) {
		journal_free(journal);
		return result;
	}
	*ret_journal = journal;
	return 0;
}

void journal_free(struct journal *journal)
{
	if (!journal)
		return;
	pthread_mutex_destroy(&journal->lock);
	free(journal->live);
	free(journal->free_list);
	free(journal->there);
	free(journal->given_back);
	free(journal->was_used);
	free(journal->apart);
	free(journal);
}

/* A segment with room for `size` bytes; NO_SEGMENT: there is none. Caller holds the lock. */
static size_t segment_for(struct journal *journal, uint64_t size, enum filling which)
{
	size_t *filling = &journal->filling[which], segment = *filling;

	if (segment != NO_SEGMENT && atomic_load(&head_of(journal, segment)->end) + size <= SEGMENT)
		return segment;
	if (journal->free_count <= leaves[which])
		return NO_SEGMENT;
	*filling = NO_SEGMENT;
	if (segment != NO_SEGMENT && journal->live[segment] == 0)
		set_free(journal, segment);
	segment = journal->free_list[journal->free_count - 1];
	journal->is_starved = !journal->there[segment] && populate(journal, segment, SEGMENT) < 0;
	if (journal->is_starved)
		return NO_SEGMENT;
	journal->there[segment] = true;
	journal->given_back[segment] = false;
	journal->apart[segment] = which == APART;
	journal->free_count--;
	*filling = segment;
	atomic_store(&head_of(journal, segment)->end, first_place());
	atomic_store(&head_of(journal, segment)->magic, MAGIC);
	return segment;
}

static struct journal_record *take(struct journal *journal, uint64_t size, enum filling which)
{
	struct journal_record *record = NULL;

	pthread_mutex_lock(&journal->lock);
	size_t segment = segment_for(journal, size, which);
	if (segment != NO_SEGMENT) {
		struct head *head = head_of(journal, segment);
		const uint64_t place = atomic_load(&head->end);

		record = record_at(journal, segment, place);
		atomic_store(&record->number, 0);
		record->size = size;
		journal->live[segment]++;
		atomic_store(&head->end, place + size);
	}
	pthread_mutex_unlock(&journal->lock);
	return record;
}

struct journal_record *journal_take(struct journal *journal, size_t len)
{
	return take(journal, size_with(len), len > 0 ? WITH_BYTES : WITHOUT);
}

bool journal_is_starved(struct journal *journal)
{
	pthread_mutex_lock(&journal->lock);
	bool is_starved = journal->is_starved;
	pthread_mutex_unlock(&journal->lock);
	return is_starved;
}

uint8_t *journal_data(struct journal_record *record)
{
	return (uint8_t *)(record + 1);
}

void journal_count(struct journal *journal, struct journal_record *record)
{
	atomic_store(&record->number, atomic_fetch_add(&journal->number, 1) + 1);
}

static size_t segment_of(const struct journal *journal, const struct journal_record *record)
{
	return (size_t)((const uint8_t *)record - journal->memory) / SEGMENT;
}

static bool is_filling(const struct journal *journal, size_t segment)
{
	for (size_t i = 0; i < FILLINGS; i++)
		if (journal->filling[i] == segment)
			return true;
	return false;
}

void journal_forget(struct journal *journal, struct journal_record *record)
{
	const size_t segment = segment_of(journal, record);

	atomic_store(&record->number, 0);
	pthread_mutex_lock(&journal->lock);
	if (--journal->live[segment] == 0) {
		/* the next record goes where the last one was, as long as all are forgotten at once */
		if (is_filling(journal, segment))
			atomic_store(&head_of(journal, segment)->end, first_place());
		else
			set_free(journal, segment);
	}
	pthread_mutex_unlock(&journal->lock);
}

struct journal_record *journal_move_apart(struct journal *journal, struct journal_record *record)
{
	struct journal_record *moved;

	pthread_mutex_lock(&journal->lock);
	const bool is_apart = journal->apart[segment_of(journal, record)];
	pthread_mutex_unlock(&journal->lock);
	moved = is_apart ? NULL : take(journal, record->size, APART);
	if (!moved)
		return record;
	/* all but the number, which comes last; the size is that already */
	moved->ino = record->ino;
	moved->offset = record->offset;
	moved->len = record->len;
	moved->kind = record->kind;
	moved->view = record->view;
	moved->atime = record->atime;
	moved->mtime = record->mtime;
	moved->ctime = record->ctime;
	memcpy(journal_data(moved), journal_data(record), record->size - sizeof(*record));
	atomic_store(&moved->number, atomic_load(&record->number));
	journal_forget(journal, record);
	return moved;
}

/* Zeros are left, which is a free segment. Caller holds the lock. */
static void give_back(struct journal *journal, size_t segment)
{
	if (!journal->was_used[segment] && !journal->given_back[segment] &&
	    madvise(journal->memory + segment * SEGMENT, SEGMENT, MADV_REMOVE) == 0) {
		journal->given_back[segment] = true;
		journal->there[segment] = false;
	}
	journal->was_used[segment] = false;
}

void journal_give_back(struct journal *journal)
{
	/* one after the other, so that writers do not wait for all */
	for (size_t i = 0; i < journal->count; i++) {
		pthread_mutex_lock(&journal->lock);
		if (i < journal->free_count)
			give_back(journal, journal->free_list[i]);
		pthread_mutex_unlock(&journal->lock);
	}
}

static int by_number(const void *a, const void *b)
{
	const struct journal_record *const *left = a, *const *right = b;
	const uint64_t one = atomic_load(&(*left)->number), other = atomic_load(&(*right)->number);

	return one < other ? -1 : one > other;
}

struct journal_record **journal_left(struct journal *journal, size_t *ret_count)
{
	struct journal_record **records;
	size_t count = 0;

	for (size_t i = 0; i < journal->count; i++)
		count += journal->live[i];
	records = xcalloc(count + 1, sizeof(struct journal_record *));
	count = 0;
	for (size_t i = 0; i < journal->count; i++) {
		if (atomic_load(&head_of(journal, i)->magic) != MAGIC)
			continue;
		for (uint64_t place = first_place(); place < atomic_load(&head_of(journal, i)->end);) {
			struct journal_record *record = record_at(journal, i, place);
			if (atomic_load(&record->number))
				records[count++] = record;
			place += record->size;
		}
	}
	qsort(records, count, sizeof(*records), by_number);
	*ret_count = count;
	return records;
}
