#include "lib/base/spill_run.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define WRITE_STEP (256U << 10)
#define READ_STEP (64U << 10)

void run_clear(struct run *run)
{
	array_clear(&run->blocks);
	buf_clear(&run->keys);
}

/* --- items --- */

int item_compare(const struct spill_item *a, const struct spill_item *b)
{
	int order = memcmp(a->key, b->key, MIN(a->key_len, b->key_len));

	if (order != 0)
		return order;
	return a->key_len < b->key_len ? -1 : a->key_len > b->key_len;
}

void item_add(struct buf *out, const struct spill_item *item)
{
	buf_add_le32(out, (uint32_t)item->key_len);
	buf_add_le32(out, (uint32_t)item->value_len);
	buf_add(out, item->key, item->key_len);
	buf_add(out, item->value, item->value_len);
}

int item_at(const uint8_t *at, size_t left, struct spill_item *ret_item)
{
	struct reader reader = reader_over(at, left);
	uint32_t key_len = read_le32(&reader), value_len = read_le32(&reader);
	const uint8_t *key = read_bytes(&reader, key_len), *value = read_bytes(&reader, value_len);

	if (reader.bad)
		return 0;
	*ret_item = (struct spill_item){.key = key, .key_len = key_len, .value = value, .value_len = value_len};
	return 1;
}

static size_t item_len(const struct spill_item *item)
{
	return ITEM_HEAD + item->key_len + item->value_len;
}

/* --- writing --- */

static int write_at(int fd, const uint8_t *data, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t done = pwrite(fd, data, len, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		data += done;
		len -= (size_t)done;
		offset += (uint64_t)done;
	}
	return 0;
}

void run_writer_init(struct run_writer *writer, int fd, uint64_t offset, unsigned level)
{
	*writer = (struct run_writer){.run = {.fd = fd, .offset = offset, .end = offset, .level = level}, .block_end = offset};
}

static int write_out(struct run_writer *writer)
{
	int result = write_at(writer->run.fd, writer->buf.data, writer->buf.len, writer->run.end - writer->buf.len);

	buf_reset(&writer->buf);
	return result;
}

int run_writer_add(struct run_writer *writer, const struct spill_item *item)
{
	struct run *run = &writer->run;

	if (run->end >= writer->block_end) {
		array_add(&run->blocks, (struct run_block){.offset = run->end, .key_at = run->keys.len, .key_len = (uint32_t)item->key_len});
		buf_add(&run->keys, item->key, item->key_len);
		writer->block_end = run->end + RUN_BLOCK;
	}
	item_add(&writer->buf, item);
	run->end += item_len(item);
	return writer->buf.len >= WRITE_STEP ? write_out(writer) : 0;
}

int run_writer_end(struct run_writer *writer, struct run *ret_run)
{
	int result = writer->buf.len > 0 ? write_out(writer) : 0;

	if (result == 0) {
		*ret_run = writer->run;
		writer->run = (struct run){0};
	}
	run_writer_clear(writer);
	return result;
}

void run_writer_clear(struct run_writer *writer)
{
	run_clear(&writer->run);
	buf_clear(&writer->buf);
}

/* --- reading --- */

/* Appends up to `len` bytes at the offset; all of them, unless the run ends before. */
static int read_at(const struct run *run, uint64_t offset, size_t len, struct buf *out)
{
	len = MIN(len, run->end - offset);
	buf_reserve(out, len);
	while (len > 0) {
		ssize_t done = pread(run->fd, out->data + out->len, len, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		out->len += (size_t)done;
		len -= (size_t)done;
		offset += (uint64_t)done;
	}
	return 0;
}

static struct spill_item key_of_block(const struct run *run, size_t i)
{
	const struct run_block *block = &run->blocks.items[i];

	return (struct spill_item){.key = run->keys.data + block->key_at, .key_len = block->key_len};
}

/* The last block whose first key is not behind the key; SIZE_MAX: none. */
static size_t find_block(const struct run *run, const struct spill_item *wanted)
{
	size_t low = 0, high = run->blocks.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct spill_item first = key_of_block(run, middle);
		if (item_compare(&first, wanted) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

int run_get(const struct run *run, const void *key, size_t key_len, struct buf *value)
{
	struct spill_item wanted = {.key = key, .key_len = key_len}, item;
	size_t block = find_block(run, &wanted), at = 0;
	AUTO_BUF bytes = BUF_INIT;
	uint64_t end;
	int result;

	if (block == SIZE_MAX)
		return -ENOENT;
	end = block + 1 < run->blocks.count ? run->blocks.items[block + 1].offset : run->end;
	result = read_at(run, run->blocks.items[block].offset, end - run->blocks.items[block].offset, &bytes);
	if (result < 0)
		return result;
	while (item_at(bytes.data + at, bytes.len - at, &item)) {
		int order = item_compare(&item, &wanted);
		if (order > 0)
			break;
		if (order == 0) {
			if (value)
				buf_add(value, item.value, item.value_len);
			return 0;
		}
		at += item_len(&item);
	}
	return -ENOENT;
}

void run_reader_init(struct run_reader *reader, const struct run *run)
{
	*reader = (struct run_reader){.run = run, .next = run->offset};
}

int run_reader_next(struct run_reader *reader, struct spill_item *ret_item)
{
	for (;;) {
		if (item_at(reader->buf.data + reader->at, reader->buf.len - reader->at, ret_item)) {
			reader->at += item_len(ret_item);
			return 1;
		}
		if (reader->next == reader->run->end)
			return reader->at == reader->buf.len ? 0 : -EIO;
		reader->buf.len -= reader->at;
		if (reader->at > 0)
			memmove(reader->buf.data, reader->buf.data + reader->at, reader->buf.len);
		reader->at = 0;
		size_t before = reader->buf.len;
		int result = read_at(reader->run, reader->next, READ_STEP, &reader->buf);
		if (result < 0)
			return result;
		reader->next += reader->buf.len - before;
	}
}

void run_reader_clear(struct run_reader *reader)
{
	buf_clear(&reader->buf);
}
