/*
 * Fuzzes every decoder of lib/format: the first byte of an input chooses the decoder, the rest is what it gets. Whatever a decoder
 * accepts, encoding must give back byte for byte, since there is one way to write each record.
 *
 * Built with -DFUZZ_ENGINE it is a libFuzzer target. Without, main() mutates the seeds below a given number of times, always in the same
 * way, so that any compiler can run it under its sanitizers: fuzz_decode [ITERATIONS [SEED]].
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "lib/format/key.h"
#include "lib/format/record.h"
#include "lib/format/superblock.h"
#include "tests/unit/again.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_equal(const struct buf *again, const uint8_t *data, size_t len)
{
	if (again->len != len || (len > 0 && memcmp(again->data, data, len) != 0))
		abort();
}

static void fuzz_line(const uint8_t *data, size_t len)
{
	struct reader reader = reader_over(data, len);
	AUTO_BUF again = BUF_INIT;
	struct line line, rebuilt = {0};

	if (line_decode(&reader, &line) < 0)
		return;
	for (uint32_t i = line.count; i-- > 0;)
		line_add(&rebuilt, line.items[i].first, line.items[i].last);
	if (!line_equal(&line, &rebuilt))
		abort();
	line_encode(&line, &again);
	line_clear(&line);
	line_clear(&rebuilt);
	must_equal(&again, data, len - reader.left);
}

static void fuzz_chunk(const uint8_t *data, size_t len)
{
	struct chunk_header header;
	uint8_t again[CHUNK_HEADER_LEN];

	if (chunk_header_decode(data, len, &header) < 0)
		return;
	chunk_header_encode(&header, again);
	if (memcmp(again, data, CHUNK_HEADER_LEN) != 0 || header.stored + header.stored_len != data + len)
		abort();
}

static void fuzz_superblock(const uint8_t *data, size_t len)
{
	struct superblock superblock;
	struct error err;
	AUTO_BUF again = BUF_INIT;

	if (superblock_decode("fuzz", data, len, &superblock, &err) < 0)
		return;
	superblock_encode(&superblock, &again);
	must_equal(&again, data, len);
}

static struct tree_key stem_again(const struct tree_key_parts *parts)
{
	switch (parts->kind) {
	case KEY_XATTR: return tree_stem_xattr(parts->family, parts->ino, parts->name);
	case KEY_EXTENT: return tree_stem_extent(parts->family, parts->ino, parts->offset);
	case KEY_CONTENT: return tree_stem_content(parts->family, parts->ino);
	case KEY_ENTRY: return tree_stem_entry(parts->family, parts->ino, parts->name);
	default: return tree_stem_inode(parts->family, parts->ino);
	}
}

static void fuzz_tree_key(const uint8_t *data, size_t len)
{
	struct tree_key_parts parts;

	if (tree_key_parse(data, len, &parts) < 0)
		return;
	struct tree_key key = tree_key_at(stem_again(&parts), parts.epoch);
	if (key.len != len || memcmp(key.bytes, data, len) != 0)
		abort();
}

static void fuzz_short_keys(const uint8_t *data, size_t len)
{
	uint32_t family;
	uint64_t epoch, ino, id;
	struct small_key key;

	if (catalog_key_digest_parse(data, len, &family, &ino, &epoch) == 0) {
		key = catalog_key_digest(family, ino, epoch);
		if (memcmp(key.bytes, data, len) != 0)
			abort();
	}
	if (catalog_key_damage_parse(data, len, &id) == 0) {
		key = catalog_key_damage(id);
		if (memcmp(key.bytes, data, len) != 0)
			abort();
	}
	if (touched_key_parse(data, len, &family, &epoch, &ino) == 0) {
		key = touched_key(family, epoch, ino);
		if (memcmp(key.bytes, data, len) != 0)
			abort();
	}
	if (chunk_key_parse(data, len, &id) == 0) {
		key = chunk_key(id);
		if (memcmp(key.bytes, data, len) != 0)
			abort();
	}
}

static void fuzz_record(round_trip *again, const uint8_t *data, size_t len)
{
	AUTO_BUF out = BUF_INIT;

	if (again(data, len, &out) == 0)
		must_equal(&out, data, len);
}

/* Records of one identity or of nothing. */
static void fuzz_marks(const uint8_t *data, size_t len)
{
	fuzz_record(identity_again, data, len);
	fuzz_record(origin_again, data, len);
	fuzz_record(replica_again, data, len);
}

/* Each is a record that is decoded and encoded again, or a function of its own. */
static const struct {
	round_trip *again;
	void (*fuzz)(const uint8_t *data, size_t len);
} targets[] = {
	{inode_again, NULL},
	{extent_again, NULL},
	{entry_again, NULL},
	{dataset_again, NULL},
	{snapshot_again, NULL},
	{family_again, NULL},
	{NULL, fuzz_line},
	{NULL, fuzz_chunk},
	{NULL, fuzz_superblock},
	{NULL, fuzz_tree_key},
	{NULL, fuzz_short_keys},
	{prune_again, NULL},
	{dedup_again, NULL},
	{NULL, fuzz_marks},
	{digest_again, NULL},
	{damage_again, NULL},
	{content_again, NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	/* A copy of the exact size lets the sanitizer see a read of one byte too many. */
	AUTO_FREE uint8_t *copy = xmalloc(size - 1);
	if (size > 1)
		memcpy(copy, data + 1, size - 1);
	size_t target = data[0] % ARRAY_SIZE(targets);
	if (targets[target].again)
		fuzz_record(targets[target].again, copy, size - 1);
	else
		targets[target].fuzz(copy, size - 1);
	return 0;
}

#ifndef FUZZ_ENGINE

#define SEED_COUNT ARRAY_SIZE(targets)

/* One valid record for each target, in the order of the targets. */
static void make_seeds(struct buf seeds[SEED_COUNT])
{
	char text[] = "text";
	char *holds[] = {text, text};
	struct interval intervals[] = {{1, 4}, {7, 7}, {9, UINT64_MAX}};
	struct line line = {.items = intervals, .count = ARRAY_SIZE(intervals)};
	struct superblock superblock = {.format = 1,
	                                .uuid = "01234567-89ab-cdef-0123-456789abcdef",
	                                .created = 1700000000,
	                                .chunk_min = 16384,
	                                .chunk_average = 65536,
	                                .chunk_max = 262144};
	uint8_t header[CHUNK_HEADER_LEN];
	struct tree_key tree = tree_key_at(tree_stem_entry(1, 2, "name"), 3);
	struct small_key touched = touched_key(1, 2, 3);

	for (size_t i = 0; i < SEED_COUNT; i++)
		buf_add_u8(&seeds[i], (uint8_t)i);
	inode_record_encode(&(struct inode_record){.mode = 0100644, .is_inline = true, .content = 3}, &seeds[0]);
	extent_record_encode(&(struct extent_record){.length = 4096, .chunk = CHUNK_BULK | 1}, &seeds[1]);
	entry_record_encode(&(struct entry_record){.ino = 2, .type = DT_REG}, &seeds[2]);
	dataset_record_encode(&(struct dataset_record){.id = 1, .view = 2, .line = line, .schedule = text}, &seeds[3]);
	snapshot_record_encode(&(struct snapshot_record){.view = 3, .line = line, .note = text, .holds = holds, .hold_count = 2},
	                       &seeds[4]);
	family_record_encode(&(struct family_record){.next_epoch = 5, .next_ino = 6}, &seeds[5]);
	line_encode(&line, &seeds[6]);
	chunk_header_encode(&(struct chunk_header){.codec = CHUNK_CODEC_ZSTD, .plain_len = 9}, header);
	buf_add(&seeds[7], header, sizeof(header));
	superblock_encode(&superblock, &seeds[8]);
	buf_add(&seeds[9], tree.bytes, tree.len);
	buf_add(&seeds[10], touched.bytes, touched.len);
	prune_record_encode(&(struct prune_record){.family = 1, .line = line, .scan = line}, &seeds[11]);
	dedup_record_encode(&(struct dedup_record){.chunk = CHUNK_BULK | 9, .length = 4096}, &seeds[12]);
	identity_record_encode(header + CHUNK_HEADER_LEN - NODE_LEN, &seeds[13]);
	digest_record_encode(&(struct digest_record){.has_content = true, .size = 9, .allocated = 9, .is_sparse = true, .has_sha256 = true},
			     &seeds[14]);
	damage_record_encode(&(struct damage_record){.found = 1700000000, .replacement = CHUNK_BULK | 9}, &seeds[15]);
	content_record_encode(text, sizeof(text), &seeds[16]);
}

static uint64_t next_random(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

/* One change somewhere behind the first byte, which chooses the target. */
static void mutate(struct buf *input, uint64_t *random)
{
	static const uint8_t telling[] = {0, 1, 2, 0x7f, 0x80, 0xff};
	size_t at = input->len > 1 ? 1 + next_random(random) % (input->len - 1) : 0;

	if (at == 0) {
		buf_add_u8(input, (uint8_t)next_random(random));
		return;
	}
	switch (next_random(random) % 6) {
	case 0: input->data[at] ^= (uint8_t)(1U << next_random(random) % 8); break;
	case 1: input->data[at] = (uint8_t)next_random(random); break;
	case 2: input->data[at] = telling[next_random(random) % sizeof(telling)]; break;
	case 3: input->len = at; break;
	case 4:
		memmove(input->data + at, input->data + at + 1, input->len - at - 1);
		input->len--;
		break;
	default:
		buf_add_u8(input, 0);
		memmove(input->data + at + 1, input->data + at, input->len - at - 1);
		input->data[at] = (uint8_t)next_random(random);
		break;
	}
}

int main(int argc, char **argv)
{
	unsigned long iterations = argc > 1 ? strtoul(argv[1], NULL, 10) : 200000;
	uint64_t random = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 0x9e3779b97f4a7c15;
	struct buf seeds[SEED_COUNT] = {0};
	AUTO_BUF input = BUF_INIT;

	make_seeds(seeds);
	for (size_t i = 0; i < SEED_COUNT; i++)
		LLVMFuzzerTestOneInput(seeds[i].data, seeds[i].len);
	for (unsigned long i = 0; i < iterations; i++) {
		const struct buf *seed = &seeds[i % SEED_COUNT];
		buf_reset(&input);
		buf_add(&input, seed->data, seed->len);
		for (uint64_t changes = 1 + next_random(&random) % 4; changes > 0; changes--)
			mutate(&input, &random);
		LLVMFuzzerTestOneInput(input.data, input.len);
	}
	for (size_t i = 0; i < SEED_COUNT; i++)
		buf_clear(&seeds[i]);
	printf("%lu inputs\n", iterations);
	return 0;
}

#endif
