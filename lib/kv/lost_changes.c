#include "lib/kv/lost_changes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "lib/kv/examine.h"
#include "lib/kv/file_numbers.h"
#include "lib/kv/log_file.h"

/*
 * A record of the log (write_batch.cc): u64 sequence | u32 number of changes | changes. A change: u8 kind | of all but the plain kinds the
 * number of a family, varint | key | a value, for those that have one; key and value with their length before them, varint.
 */
#define BATCH_HEAD 12

enum change_kind {
	CHANGE_NOTE = 0x3, /* a value only */
	CHANGE_DELETE = 0x4,
	CHANGE_PUT = 0x5,
	CHANGE_NOTHING = 0xd,
	CHANGE_DELETE_RANGE = 0xe, /* the value is the end of the range */
};

struct reading {
	const struct manifest *manifest;
	lost_change_fn each;
	void *arg;
};

static const uint8_t *read_sized(struct reader *reader, size_t *ret_len)
{
	const uint64_t len = manifest_varint(reader);

	*ret_len = (size_t)len;
	return read_bytes(reader, len);
}

/* What is not understood ends the record: these are not all in any case. */
static int read_record(const struct reading *reading, const uint8_t *record, size_t len)
{
	struct reader reader = reader_over(record, len);
	int result = 0;

	(void)read_bytes(&reader, BATCH_HEAD);
	while (reader.left > 0 && !reader.bad && result == 0) {
		const uint8_t kind = read_u8(&reader);
		size_t key_len, value_len;
		if (kind == CHANGE_NOTHING)
			continue;
		if (kind == CHANGE_NOTE) {
			(void)read_sized(&reader, &value_len);
			continue;
		}
		if (kind != CHANGE_DELETE && kind != CHANGE_PUT && kind != CHANGE_DELETE_RANGE)
			return 0;
		const enum kv_family family = manifest_family_of(reading->manifest, (uint32_t)manifest_varint(&reader));
		const uint8_t *key = read_sized(&reader, &key_len);
		if (kind != CHANGE_DELETE)
			(void)read_sized(&reader, &value_len);
		if (!reader.bad && family != KV_FAMILY_COUNT)
			result = reading->each(reading->arg, family, key, key_len);
	}
	return result;
}

static int read_log(const struct reading *reading, int dir, uint64_t number, bool is_damaged)
{
	struct log_file *file;
	const uint8_t *record;
	size_t len;
	char name[32];
	int result, told = 0;

	snprintf(name, sizeof(name), "%06" PRIu64 ".log", number);
	result = log_file_open(dir, name, &file);
	if (result < 0)
		return result == -ENOENT ? 0 : result;
	/* up to the damage nothing is lost */
	do {
		while ((result = log_file_next(file, &record, &len)) > 0 && told == 0)
			if (!is_damaged)
				told = read_record(reading, record, len);
		is_damaged = false;
	} while (result == -EBADMSG && told == 0 && log_file_resume(file));
	log_file_close(file);
	return told ? told : result == -EBADMSG || result == -ENOTSUP ? 0 : result;
}

int lost_changes_each(const char *path, lost_change_fn each, void *arg)
{
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_ARRAY struct file_numbers logs = {0};
	struct examined examined = {0};
	struct manifest manifest = {0};
	int result = dir < 0 ? -errno : examine_database(path, path, &examined, NULL);

	if (result == 0 && examined.log_number)
		result = manifest_read(dir, path, &manifest, NULL);
	if (result == 0 && examined.log_number)
		result = file_numbers_list(dir, "", ".log", &logs);
	struct reading reading = {.manifest = &manifest, .each = each, .arg = arg};
	for (size_t i = 0; i < logs.count && result == 0; i++)
		if (logs.items[i] >= examined.log_number)
			result = read_log(&reading, dir, logs.items[i], logs.items[i] == examined.log_number);
	manifest_clear(&manifest);
	examined_clear(&examined);
	return result;
}
