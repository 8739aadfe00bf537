#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/format/key.h"
#include "lib/format/record.h"
#include "tests/unit/round_trip.h"

static int line_again(const void *value, size_t len, struct buf *out)
{
	struct reader reader = reader_over(value, len);
	struct line line;

	if (line_decode(&reader, &line) < 0)
		return -EBADMSG;
	line_encode(&line, out);
	line_clear(&line);
	return reader.left > 0 ? -EBADMSG : 0;
}

static struct inode_record sample_inode(void)
{
	return (struct inode_record){.mode = S_IFREG | 0644,
	                             .uid = 1000,
	                             .gid = UINT32_MAX,
	                             .nlink = 2,
	                             .size = 5,
	                             .allocated = 5,
	                             .rdev = 0x0102030405060708,
	                             .parent = 9,
	                             .atime = {1, 2},
	                             .mtime = {-3, 999999999},
	                             .ctime = {INT64_MAX, 0},
	                             .btime = {7, 8},
	                             .is_inline = true,
	                             .content = 77};
}

static void test_inode(void **state)
{
	struct inode_record record = sample_inode(), back;
	AUTO_BUF value = BUF_INIT;

	inode_record_encode(&record, &value);
	assert_int_equal(value.len, 112);
	assert_int_equal(inode_record_decode(value.data, value.len, &back), 0);
	assert_true(back.is_inline && back.content == 77 && back.target_len == 0 && !back.target);
	assert_true(back.mtime.tv_sec == -3 && back.mtime.tv_nsec == 999999999 && back.ctime.tv_sec == INT64_MAX);
	assert_true(back.size == 5 && back.rdev == record.rdev && back.gid == UINT32_MAX && back.parent == 9);
	abuse(inode_again, &value);

	buf_reset(&value);
	record.is_inline = false;
	inode_record_encode(&record, &value);
	assert_int_equal(inode_record_decode(value.data, value.len, &back), 0);
	assert_true(!back.is_inline && back.content == 77);
	abuse(inode_again, &value);
}

static void test_symlink(void **state)
{
	struct inode_record record = sample_inode(), back;
	AUTO_BUF value = BUF_INIT;

	record.mode = S_IFLNK | 0777;
	record.is_inline = false;
	record.content = 0;
	record.target = (const uint8_t *)"hello";
	record.target_len = 5;
	inode_record_encode(&record, &value);
	assert_int_equal(value.len, 112 + 5);
	assert_int_equal(inode_record_decode(value.data, value.len, &back), 0);
	assert_true(!back.is_inline && back.target_len == 5 && memcmp(back.target, "hello", 5) == 0);
	abuse(inode_again, &value);
}

/* What cannot be: content without its record, too much of it, of no regular file; a target of no symlink. */
static void test_inode_in_itself_wrong(void **state)
{
	struct inode_record wrong[4];
	AUTO_BUF value = BUF_INIT;

	for (size_t i = 0; i < 4; i++)
		wrong[i] = sample_inode();
	wrong[0].content = 0;
	wrong[1].allocated = INLINE_MAX + 1;
	wrong[2].mode = S_IFDIR | 0755;
	wrong[3].target = (const uint8_t *)"hello";
	wrong[3].target_len = 5;
	for (size_t i = 0; i < 4; i++) {
		struct inode_record back;
		buf_reset(&value);
		inode_record_encode(&wrong[i], &value);
		assert_int_equal(inode_record_decode(value.data, value.len, &back), -EBADMSG);
	}
}

static void test_content(void **state)
{
	static const uint8_t longest[INLINE_MAX + 1];
	static const size_t good[] = {1, 5, INLINE_MAX}, bad[] = {0, INLINE_MAX + 1};
	const uint8_t *data;
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		AUTO_BUF value = BUF_INIT;
		content_record_encode(longest, good[i], &value);
		assert_int_equal(content_record_decode(value.data, value.len, &data, &len), 0);
		assert_true(len == good[i] && data == value.data + 1);
		expect_same(content_again, value.data, value.len);
		value.data[0]++;
		assert_int_equal(content_record_decode(value.data, value.len, &data, &len), -EBADMSG);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		AUTO_BUF value = BUF_INIT;
		content_record_encode(longest, bad[i], &value);
		assert_int_equal(content_record_decode(value.data, value.len, &data, &len), -EBADMSG);
	}
}

static void test_extent(void **state)
{
	struct extent_record record = {.length = 262144, .chunk = CHUNK_BULK | 5, .chunk_offset = 9};
	AUTO_BUF value = BUF_INIT;

	extent_record_encode(&record, &value);
	assert_int_equal(value.len, 17);
	assert_int_equal(extent_record_decode(value.data, value.len, &record), 0);
	abuse(extent_again, &value);
	assert_int_equal(record.chunk_len, 262144 + 9);
	/* a part that the chunk goes on behind */
	record.length = 100000;
	buf_reset(&value);
	extent_record_encode(&record, &value);
	assert_int_equal(value.len, 21);
	assert_int_equal(extent_record_decode(value.data, value.len, &record), 0);
	abuse(extent_again, &value);
	assert_int_equal(record.chunk_len, 262144 + 9);
	record.length = 0;
	buf_reset(&value);
	extent_record_encode(&record, &value);
	assert_int_equal(extent_record_decode(value.data, value.len, &record), -EBADMSG);
	record = (struct extent_record){.length = EXTENT_LEN_MAX, .chunk = 1, .chunk_offset = 1};
	buf_reset(&value);
	extent_record_encode(&record, &value);
	assert_int_equal(extent_record_decode(value.data, value.len, &record), -EBADMSG);
}

static void test_entry_and_family(void **state)
{
	struct entry_record entry = {.ino = INO_MAX, .type = DT_LNK};
	struct family_record family = {.next_epoch = 3, .next_ino = 4};
	AUTO_BUF value = BUF_INIT;

	entry_record_encode(&entry, &value);
	assert_int_equal(value.len, 10);
	abuse(entry_again, &value);
	entry.type = DT_UNKNOWN;
	buf_reset(&value);
	entry_record_encode(&entry, &value);
	assert_int_equal(entry_record_decode(value.data, value.len, &entry), -EBADMSG);
	buf_reset(&value);
	family_record_encode(&family, &value);
	assert_int_equal(value.len, 17);
	abuse(family_again, &value);
}

static struct line line_of(const struct interval *intervals, size_t count)
{
	struct line line = {0};

	for (size_t i = 0; i < count; i++)
		line_add(&line, intervals[i].first, intervals[i].last);
	return line;
}

static void test_dataset_and_snapshot(void **state)
{
	static const struct interval intervals[] = {{1, 5}, {9, 9}};
	char holds[2][8] = {"ci", "paper"};
	char *hold_list[] = {holds[0], holds[1]};
	char text[] = "{\"keep\":7}";
	struct dataset_record dataset = {.id = 1,
	                                 .family = 2,
	                                 .view = 3,
	                                 .epoch = 9,
	                                 .created = -1,
	                                 .level = -5,
	                                 .line = line_of(intervals, 2),
	                                 .schedule = text};
	struct snapshot_record snapshot = {.dataset = 1,
	                                   .family = 2,
	                                   .view = VIEW_MAX,
	                                   .number = 4,
	                                   .taken = {5, 6},
	                                   .flags = SNAPSHOT_GUARD,
	                                   .line = line_of(intervals, 2),
	                                   .note = text,
	                                   .holds = hold_list,
	                                   .hold_count = 2};
	struct dataset_record dataset_back;
	struct snapshot_record snapshot_back;
	AUTO_BUF value = BUF_INIT;

	dataset_record_encode(&dataset, &value);
	assert_int_equal(dataset_record_decode(value.data, value.len, &dataset_back), 0);
	assert_true(dataset_back.level == -5 && dataset_back.created == -1 && dataset_back.epoch == 9);
	assert_true(line_equal(&dataset.line, &dataset_back.line));
	assert_string_equal(dataset_back.schedule, text);
	assert_int_equal(dataset_back.quota, 0);
	dataset_record_clear(&dataset_back);
	abuse(dataset_again, &value);
	dataset.quota = 1ULL << 40;
	buf_reset(&value);
	dataset_record_encode(&dataset, &value);
	assert_int_equal(dataset_record_decode(value.data, value.len, &dataset_back), 0);
	assert_int_equal(dataset_back.quota, 1ULL << 40);
	dataset_record_clear(&dataset_back);
	abuse(dataset_again, &value);

	buf_reset(&value);
	snapshot_record_encode(&snapshot, &value);
	assert_int_equal(snapshot_record_decode(value.data, value.len, &snapshot_back), 0);
	assert_int_equal(snapshot_back.hold_count, 2);
	assert_string_equal(snapshot_back.holds[1], "paper");
	snapshot_record_clear(&snapshot_back);
	abuse(snapshot_again, &value);

	buf_reset(&value);
	line_clear(&snapshot.line);
	snapshot.note = NULL;
	snapshot.hold_count = 0;
	snapshot_record_encode(&snapshot, &value);
	abuse(snapshot_again, &value);
	line_clear(&dataset.line);
}

static void test_prune(void **state)
{
	static const struct interval intervals[] = {{1, 5}, {9, 9}};
	struct prune_record record = {
		.family = 1, .line = line_of(intervals, 2), .scan = line_of(intervals, 1), .at_epoch = 3, .at_ino = 4};
	AUTO_BUF value = BUF_INIT;

	prune_record_encode(&record, &value);
	abuse(prune_again, &value);
	prune_record_clear(&record);
}

static void test_huge_counts_allocate_nothing(void **state)
{
	AUTO_BUF value = BUF_INIT;
	struct snapshot_record snapshot = {0};
	struct line line;

	buf_add_le32(&value, UINT32_MAX);
	buf_add_le64(&value, 1);
	struct reader reader = reader_over(value.data, value.len);
	assert_int_equal(line_decode(&reader, &line), -EBADMSG);
	buf_reset(&value);
	snapshot_record_encode(&snapshot, &value);
	memset(value.data + value.len - 4, 0xff, 4);
	assert_int_equal(snapshot_record_decode(value.data, value.len, &snapshot), -EBADMSG);
	memset(value.data + value.len - 8, 0xff, 4);
	assert_int_equal(snapshot_record_decode(value.data, value.len, &snapshot), -EBADMSG);
}

static void test_line_joins_what_touches(void **state)
{
	struct line line = {0};

	line_add(&line, 10, 20);
	line_add(&line, 30, 40);
	line_add(&line, 1, 2);
	assert_int_equal(line.count, 3);
	line_add(&line, 21, 22);
	assert_int_equal(line.count, 3);
	line_add(&line, 9, 9);
	assert_true(line.items[1].first == 9 && line.items[1].last == 22);
	line_add(&line, 23, 29);
	assert_int_equal(line.count, 2);
	assert_true(line.items[1].first == 9 && line.items[1].last == 40);
	line_add(&line, 0, UINT64_MAX);
	assert_int_equal(line.count, 1);
	line_add(&line, UINT64_MAX, UINT64_MAX);
	line_add(&line, 0, 0);
	assert_int_equal(line.count, 1);
	assert_true(line_has(&line, 0) && line_has(&line, UINT64_MAX));
	line_clear(&line);
	assert_false(line_has(&line, 0));
}

static void test_line_against_a_bitmap(void **state)
{
	bool model[256] = {0};
	struct line line = {0};
	uint64_t seed = 1;

	for (size_t round = 0; round < 400; round++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		uint64_t first = (seed >> 33) % 250, last = first + (seed >> 50) % 4;
		if (round % 40 == 0) {
			line_clear(&line);
			memset(model, 0, sizeof(model));
		}
		line_add(&line, first, last);
		for (uint64_t i = first; i <= last; i++)
			model[i] = true;
		for (uint64_t i = 0; i < 256; i++)
			assert_int_equal(line_has(&line, i), model[i]);
		for (uint32_t i = 1; i < line.count; i++)
			assert_true(line.items[i].first > line.items[i - 1].last + 1);
	}
	struct line copy = line_copy(&line);
	AUTO_BUF value = BUF_INIT;
	assert_true(line_equal(&line, &copy));
	line_encode(&line, &value);
	abuse(line_again, &value);
	line_add(&copy, 1000, 1000);
	assert_false(line_equal(&line, &copy));
	line_clear(&line);
	line_clear(&copy);
}

static void test_newer_versions_are_refused(void **state)
{
	struct inode_record inode = sample_inode();
	struct entry_record entry = {.ino = 1, .type = DT_REG};
	AUTO_BUF value = BUF_INIT;

	inode_record_encode(&inode, &value);
	value.data[0] = FORMAT_VERSION + 1;
	assert_int_equal(inode_record_decode(value.data, value.len, &inode), -EBADMSG);
	buf_reset(&value);
	entry_record_encode(&entry, &value);
	value.data[0] = 0;
	assert_int_equal(entry_record_decode(value.data, value.len, &entry), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inode),
		cmocka_unit_test(test_symlink),
		cmocka_unit_test(test_inode_in_itself_wrong),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_extent),
		cmocka_unit_test(test_entry_and_family),
		cmocka_unit_test(test_dataset_and_snapshot),
		cmocka_unit_test(test_prune),
		cmocka_unit_test(test_huge_counts_allocate_nothing),
		cmocka_unit_test(test_line_joins_what_touches),
		cmocka_unit_test(test_line_against_a_bitmap),
		cmocka_unit_test(test_newer_versions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
