/*
 * The files that are read before RocksDB opens a database, and the owner's record: the first byte chooses the file, the rest is what is in it.
 *
 *   0 a log or manifest, record by record, also behind damage    1 the manifest    2 CURRENT    3 SYNCED    4 the record of an owner
 *   5 the copy of the manifest    6 u16 length and the manifest, and behind it its copy: one is made of both
 *   7 a table    8 u8: 1 of an index; and a block of one, unpacked, or with its type and checksum
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/kv/log_file.h"
#include "lib/kv/manifest.h"
#include "lib/kv/manifest_copy.h"
#include "lib/kv/manifest_mend.h"
#include "lib/kv/synced.h"
#include "lib/kv/table_block.h"
#include "lib/kv/table_look.h"
#include "lib/store/lock_record.h"
#include "tests/fuzz/target.h"

#define BOTH "both"
#define TABLE "table"
#define BLOCK "block"

static void read_log(int dir)
{
	struct log_file *file;
	const uint8_t *record;
	uint64_t end = 0;
	size_t len;

	if (log_file_open(dir, "LOG", &file) < 0)
		return;
	do {
		while (log_file_next(file, &record, &len) > 0) {
			if (log_file_end(file) <= end || log_file_end(file) > log_file_size(file))
				abort(); /* it goes on, and stays inside */
			end = log_file_end(file);
		}
	} while (log_file_resume(file));
	log_file_close(file);
}

static void read_manifest(int dir)
{
	struct manifest manifest = {0};
	struct error err;

	if (manifest_read(dir, "fuzz", &manifest, &err) == 0)
		manifest_clear(&manifest);
}

static void read_synced(int dir)
{
	struct synced_state state = {0};

	if (synced_read(dir, &state) == 0)
		array_clear(&state.closed);
}

static void read_owner(int dir)
{
	struct lock_record record;
	uint64_t beat;
	int ignored = lock_record_read(dir, "owner.fuzz", true, &record, &beat);

	(void)ignored;
}

static void read_copy(int dir)
{
	struct manifest manifest = {0};
	AUTO_BUF bytes = BUF_INIT;
	uint64_t number;

	if (manifest_copy_read(dir, &number, &bytes) == 0 && manifest_of_bytes(bytes.data, bytes.len, &manifest) == 0)
		manifest_clear(&manifest);
}

static void put(int dir, const char *name, const void *data, size_t size);

static void mend(int dir)
{
	AUTO_BUF both = BUF_INIT;
	struct manifest manifest = {0};
	struct manifest_mend mend = {0};
	struct error err = {0};

	if (file_read_inside(dir, BOTH, 1 << 20, &both) < 0)
		return;
	struct reader reader = reader_over(both.data, both.len);
	const uint16_t len = read_le16(&reader);
	const uint8_t *first = read_bytes(&reader, len);
	if (!first)
		return;
	put(dir, "MANIFEST-000001", first, len);
	put(dir, MANIFEST_COPY_NAME, first + len, reader.left);
	const int result = manifest_mend_look(dir, "fuzz", &mend, &err);
	/* what it would write can be read, all of it */
	if (result == 0 && mend.text && (manifest_of_bytes(mend.bytes.data, mend.bytes.len, &manifest) < 0 || manifest.whole != mend.bytes.len))
		abort();
	manifest_clear(&manifest);
	manifest_mend_clear(&mend);
}

static void read_table(int dir)
{
	AUTO_CLOSE int fd = openat(dir, TABLE, O_RDONLY | O_CLOEXEC);
	struct table_look look;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		abort();
	if (table_look(fd, (uint64_t)st.st_size, NULL, NULL, &look) < 0)
		return;
	for (size_t i = 0; i < look.parts.count; i++) {
		const struct table_part *part = &look.parts.items[i];
		const uint8_t *key;
		size_t len;
		table_look_key(&look, i, &key, &len);
		if (len > part->key.len || (part->whole && part->handle.offset + part->handle.len + BLOCK_TRAILER > (uint64_t)st.st_size))
			abort(); /* what is whole lies inside */
	}
	table_look_clear(&look);
}

static void read_block(int dir)
{
	AUTO_BUF bytes = BUF_INIT, unpacked = BUF_INIT;
	struct block_iter iter;

	if (file_read_inside(dir, BLOCK, 1 << 20, &bytes) < 0 || bytes.len == 0)
		return;
	const struct buf plain = {bytes.data + 1, bytes.len - 1, 0};
	int result = block_iter_begin(&iter, &plain, bytes.data[0] & 1);
	while (result >= 0 && (result = block_iter_next(&iter)) > 0)
		if (!iter.deltas && iter.value + iter.value_len > bytes.data + bytes.len)
			abort();
	block_iter_clear(&iter);
	if (plain.len >= BLOCK_TRAILER && block_unpack(plain.data, plain.len - BLOCK_TRAILER, &unpacked) == 0 && unpacked.len > BLOCK_RAW_MAX)
		abort();
}

static const struct {
	const char *name;
	void (*read)(int dir);
} files[] = {
	{"LOG", read_log}, {"MANIFEST-000001", read_manifest}, {"CURRENT", read_manifest}, {SYNCED_NAME, read_synced}, {"owner.fuzz", read_owner},
	{MANIFEST_COPY_NAME, read_copy}, {BOTH, mend}, {TABLE, read_table}, {BLOCK, read_block},
};

static void put(int dir, const char *name, const void *data, size_t size)
{
	AUTO_CLOSE int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];

	if (size == 0)
		return 0;
	snprintf(path, sizeof(path), "/tmp/corpusfs-fuzz.%d", getpid());
	mkdir(path, 0700);
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		abort();
	put(dir, "CURRENT", "MANIFEST-000001\n", 16);
	put(dir, files[data[0] % ARRAY_SIZE(files)].name, data + 1, size - 1);
	files[data[0] % ARRAY_SIZE(files)].read(dir);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(dir, files[i].name, 0);
	rmdir(path);
	return 0;
}
