/* What must hold of the catalogue, of chunks and of the index of equal content (K5, K11 to K14), breach by breach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>

#include "tests/unit/check_store.h"

#include "lib/chunk/chunks.h"

/* --- of the catalogue --- */

static void break_given_out_epoch(struct fixture *fixture)
{
	put_family(fixture, fixture->epoch, 2000);
}

static void break_given_out_inode(struct fixture *fixture)
{
	put_family(fixture, fixture->epoch + 1, FILE_F);
}

static void break_open_epoch(struct fixture *fixture)
{
	struct dataset_record record = head_record(fixture);

	record.epoch--;
	catalog_put_dataset(fixture->batch, "d", &record);
	dataset_record_clear(&record);
}

static void put_number(struct fixture *fixture, const char *name, uint64_t next)
{
	struct small_key key = catalog_key_name('N', name);
	AUTO_BUF value = BUF_INIT;

	buf_add_le64(&value, next);
	catalog_record_put(fixture->batch, &key, value.data, value.len);
}

/* A clone that sees what the head still writes. */
static void break_line(struct fixture *fixture)
{
	struct dataset_record record = head_record(fixture);

	record.id++;
	record.view++;
	record.epoch++;
	line_add(&record.line, record.epoch, record.epoch);
	catalog_put_dataset(fixture->batch, "e", &record);
	dataset_record_clear(&record);
	put_family(fixture, fixture->epoch + 2, 2000);
	put_number(fixture, "dataset", 100);
	put_number(fixture, "view", 100);
}

static void break_orphan(struct fixture *fixture)
{
	put_inode(fixture, NOBODY, &(struct inode_record){.mode = S_IFREG | 0644});
}

static void break_named_orphan(struct fixture *fixture)
{
	struct small_key key = catalog_key_orphan(1, FILE_F);

	catalog_record_put(fixture->batch, &key, "", 0);
}

static void break_absent_orphan(struct fixture *fixture)
{
	struct small_key key = catalog_key_orphan(1, NOBODY);

	catalog_record_put(fixture->batch, &key, "", 0);
}

static void break_orphan_of_nothing(struct fixture *fixture)
{
	struct small_key key = catalog_key_snapshot_orphan(77, FILE_F);

	catalog_record_put(fixture->batch, &key, "", 0);
}

static void break_catalogue(struct fixture *fixture)
{
	struct small_key identity = catalog_key_identity(1, 77), unknown = catalog_key_name('Z', "z");

	catalog_record_put(fixture->batch, &identity, "x", 1);
	catalog_record_put(fixture->batch, &unknown, "x", 1);
}

static void break_number(struct fixture *fixture)
{
	put_number(fixture, "view", 1);
}

static void break_numbers(struct fixture *fixture)
{
	struct dataset_record record = head_record(fixture);

	catalog_put_dataset(fixture->batch, "e", &record);
	dataset_record_clear(&record);
}

static void break_snapshot(struct fixture *fixture)
{
	struct snapshot_record record = {.dataset = 77, .family = fixture->family, .view = 50, .note = xstrdup("")};

	catalog_put_snapshot(fixture->batch, "s", &record);
	snapshot_record_clear(&record);
	put_number(fixture, "view", 51);
}

/* --- of content --- */

static const uint8_t no_sha256[32] = {1};

static void put_dedup(struct fixture *fixture, uint64_t chunk, uint32_t length)
{
	AUTO_BUF value = BUF_INIT;

	dedup_record_encode(&(struct dedup_record){chunk, length}, &value);
	kv_batch_put(fixture->batch, KV_DEDUP, no_sha256, sizeof(no_sha256), value.data, value.len);
}

/* Content of 3000 bytes, which is stored. */
static uint64_t store_chunk(struct fixture *fixture)
{
	struct chunks_group *group = chunks_group_new(store_chunks(fixture->place.store));
	uint8_t content[3000] = {1};
	size_t count;

	(void)chunks_group_add_whole(group, content, sizeof(content), 0);
	assert_int_equal(chunks_group_store(group, fixture->batch), 0);
	const uint64_t chunk = chunks_group_pieces(group, 0, &count)->chunk;
	write_batch(fixture);
	chunks_group_free(group);
	return chunk;
}

static void break_chunk_length(struct fixture *fixture)
{
	put_extent(fixture, 8192, 4096, store_chunk(fixture));
}

static void break_dedup_content(struct fixture *fixture)
{
	put_dedup(fixture, store_chunk(fixture), 3000);
}

static void break_dedup_record(struct fixture *fixture)
{
	kv_batch_put(fixture->batch, KV_DEDUP, no_sha256, sizeof(no_sha256), "x", 1);
}

static const struct breach breaches[] = {
	{"K5", 1, break_chunk_length, false},
	{"K11", 1, break_given_out_epoch, false},
	{"K11", 1, break_open_epoch, true},
	{"K11", 1, break_line, true},
	{"K12", 1, break_orphan, false},
	{"K12", 1, break_named_orphan, false},
	{"K12", 1, break_absent_orphan, false},
	{"K12", 1, break_orphan_of_nothing, false},
	{"K13", 1, break_given_out_inode, false},
	{"K13", 2, break_catalogue, false},
	{"K13", 1, break_number, false},
	{"K13", 2, break_numbers, false},
	{"K13", 1, break_snapshot, false},
	{"K14", 1, break_dedup_content, false},
	{"K14", 1, break_dedup_record, false},
};

static void test_each_breach_is_found_by_its_rule_alone(void **state)
{
	play_breaches(breaches, ARRAY_SIZE(breaches));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_breach_is_found_by_its_rule_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
