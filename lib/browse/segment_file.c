#include "lib/browse/segment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <xxhash.h>

#include "lib/base/fault.h"

#define MAGIC "corpusC1"
#define MAGIC_LEN 8
#define HEADER 16
#define SLOT 16
#define SUM_LEN 8
#define RECORD_EXTRA (SUM_LEN + BLOB_ID_LEN)
#define SLOTS_MAX (1U << 20)

uint64_t segment_key(const struct blob_id *id)
{
	struct reader reader = reader_over(id->bytes, BLOB_ID_LEN);

	return read_le64(&reader);
}

void segment_name(uint32_t number, char name[SEGMENT_NAME])
{
	(void)snprintf(name, SEGMENT_NAME, "%08x", number);
}

uint32_t segment_begin(uint32_t slots)
{
	return HEADER + slots * SLOT;
}

uint64_t segment_record_bytes(uint32_t length)
{
	return RECORD_EXTRA + (uint64_t)(length & ~SEGMENT_TREE);
}

static uint64_t checksum(const struct blob_id *id, uint32_t length, const void *data)
{
	return XXH3_64bits_withSeed(data, length & ~SEGMENT_TREE, XXH3_64bits_withSeed(id->bytes, BLOB_ID_LEN, length));
}

/* --- writing --- */

static int write_at(int fd, const struct iovec *pieces, int count, uint64_t offset)
{
	size_t wanted = 0;
	ssize_t done;

	for (int i = 0; i < count; i++)
		wanted += pieces[i].iov_len;
	do
		done = pwritev(fd, pieces, count, (off_t)offset);
	while (done < 0 && errno == EINTR);
	if (done < 0)
		return -errno;
	return (size_t)done == wanted ? 0 : -ENOSPC;
}

int segment_create(int dir, uint32_t number, uint32_t slots, int *ret_fd)
{
	AUTO_BUF header = BUF_INIT;
	char name[SEGMENT_NAME];
	int fd, r;

	segment_name(number, name);
	fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	buf_add(&header, MAGIC, MAGIC_LEN);
	buf_add_le32(&header, slots);
	buf_add_le32(&header, 0);
	r = write_at(fd, &(struct iovec){header.data, header.len}, 1, 0);
	if (r < 0) {
		(void)unlinkat(dir, name, 0);
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int segment_write(int fd, uint32_t slot, const struct blob_spot *spot, const struct blob_id *id, const void *data)
{
	AUTO_BUF head = BUF_INIT, entry = BUF_INIT;
	int r;

	buf_add_le64(&head, checksum(id, spot->length, data));
	buf_add(&head, id->bytes, BLOB_ID_LEN);
	buf_add_le64(&entry, spot->key);
	buf_add_le32(&entry, spot->offset);
	buf_add_le32(&entry, spot->length);
	r = write_at(fd, (const struct iovec[]){{head.data, head.len}, {(void *)data, spot->length & ~SEGMENT_TREE}}, 2, spot->offset);
	if (r == 0)
		r = fault_point("cache-before-entry");
	return r < 0 ? r : write_at(fd, &(struct iovec){entry.data, entry.len}, 1, HEADER + (uint64_t)slot * SLOT);
}

/* --- reading --- */

int segment_read_any(int fd, const struct blob_spot *spot, struct blob_id *ret_id, struct buf *ret_plain)
{
	const size_t len = spot->length & ~SEGMENT_TREE;
	uint8_t head[RECORD_EXTRA] = {0};
	struct reader reader = reader_over(head, sizeof(head));
	struct blob_id id;
	ssize_t got;

	buf_reset(ret_plain);
	if (!buf_try_reserve(ret_plain, len + 1))
		return -ENOMEM;
	do
		got = preadv(fd, (const struct iovec[]){{head, sizeof(head)}, {ret_plain->data, len}}, 2, spot->offset);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno; /* what cannot be read now is not known to be damaged */
	memcpy(id.bytes, head + SUM_LEN, BLOB_ID_LEN);
	if (got != (ssize_t)(sizeof(head) + len) || read_le64(&reader) != checksum(&id, spot->length, ret_plain->data))
		return -EBADMSG;
	ret_plain->len = len;
	ret_plain->data[len] = '\0';
	*ret_id = id;
	return 0;
}

int segment_read(int fd, const struct blob_spot *spot, const struct blob_id *id, struct buf *ret_plain)
{
	struct blob_id found;
	int r = segment_read_any(fd, spot, &found, ret_plain);

	if (r == 0 && !blob_id_equal(&found, id)) {
		buf_reset(ret_plain);
		r = -EBADMSG;
	}
	return r;
}

static int read_header(int fd, struct segment_table *table)
{
	uint8_t header[HEADER] = {0};
	struct reader reader = reader_over(header + MAGIC_LEN, sizeof(header) - MAGIC_LEN);
	struct stat st;
	ssize_t got;

	if (fstat(fd, &st) < 0)
		return -errno;
	got = pread(fd, header, sizeof(header), 0);
	if (got < 0)
		return -errno;
	if (got != (ssize_t)sizeof(header) || memcmp(header, MAGIC, MAGIC_LEN) != 0)
		return -EBADMSG;
	table->slots = read_le32(&reader);
	if (table->slots == 0 || table->slots > SLOTS_MAX)
		return -EBADMSG;
	table->bytes = MAX((uint64_t)st.st_size, segment_begin(table->slots));
	return 0;
}

int segment_read_table(int fd, uint32_t number, struct segment_table *table)
{
	AUTO_BUF bytes = BUF_INIT;
	struct reader reader;
	ssize_t got;
	int r = read_header(fd, table);

	if (r < 0)
		return r;
	buf_reserve(&bytes, (size_t)table->slots * SLOT);
	got = pread(fd, bytes.data, (size_t)table->slots * SLOT, HEADER);
	if (got < 0)
		return -errno;
	reader = reader_over(bytes.data, (size_t)got); /* a file that ends early */
	array_reset(&table->spots);
	table->used = 0;
	for (uint32_t i = 0; i < table->slots && reader.left >= SLOT; i++) {
		struct blob_spot spot = {.segment = number};

		spot.key = read_le64(&reader);
		spot.offset = read_le32(&reader);
		spot.length = read_le32(&reader);
		if (spot.offset)
			table->used = i + 1;
		if (spot.offset >= segment_begin(table->slots) && spot.offset + segment_record_bytes(spot.length) <= table->bytes)
			array_add(&table->spots, spot);
	}
	return 0;
}
