#include "lib/kv/examine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/kv/file_numbers.h"
#include "lib/kv/log_file.h"
#include "lib/kv/manifest_copy.h"

/* A record of the log: u64 sequence of its first change | u32 number of changes | the changes */
#define BATCH_HEAD 12
#define LOG_NAME_MAX 32
#define LOG_NAME_FORMAT "%06" PRIu64 ".log"

/* What the copy knows to have been on disk (MC4), where that is more. */
static void ask_copy(int dir, uint64_t *number, uint64_t *bytes)
{
	struct manifest manifest = {0};
	AUTO_BUF copy = BUF_INIT;
	uint64_t copied;

	if (manifest_copy_read(dir, &copied, &copy) < 0 || copied < *number || manifest_of_bytes(copy.data, copy.len, &manifest) < 0)
		return;
	*bytes = MAX(copied > *number ? 0 : *bytes, manifest.whole);
	*number = copied;
	manifest_clear(&manifest);
}

int examine_manifest(int dir, const char *shown, const struct synced_state *synced, struct manifest *manifest, struct error *err)
{
	int result = manifest_read(dir, shown, manifest, err);

	if (result < 0)
		return result;
	uint64_t number = synced->manifest, bytes = synced->manifest_bytes;
	ask_copy(dir, &number, &bytes);
	if (manifest->number == number && manifest->whole < bytes)
		return error_set(err, -EBADMSG, "%s/%s: is damaged: %" PRIu64 " of its %" PRIu64 " bytes are whole", shown, manifest->name,
				 manifest->whole, bytes);
	if (manifest->number < number)
		return error_set(err, -EBADMSG, "%s/CURRENT: is damaged: it names %s, which is older than the database", shown, manifest->name);
	return 0;
}

static int look_at_table(int dir, const struct manifest *manifest, const struct manifest_table *table, struct examined *examined)
{
	char name[KV_TABLE_NAME_MAX];
	struct stat st;

	table_file_name(table->number, name);
	const int64_t found = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (int64_t)st.st_size : -1;
	if (found < 0 && errno != ENOENT)
		return -errno;
	if (found == (int64_t)table->bytes)
		return 0;
	struct examined_table damaged = {
		.number = table->number, .bytes = table->bytes, .found = found, .family = manifest_family_of(manifest, table->family)};
	array_add(&examined->tables, damaged);
	return 0;
}

static uint64_t first_log_of(const struct manifest *manifest)
{
	uint64_t first = UINT64_MAX;

	for (size_t i = 0; i < manifest->families.count; i++)
		first = MIN(first, manifest->families.items[i].first_log);
	return MAX(first, manifest->first_log);
}

/* --- logs --- */

/* How far one of them goes. */
struct reach {
	uint64_t end, size; /* bytes: of whole records, of the file */
	uint64_t sequence;  /* of its last change; as it was if it has none */
	bool whole, missing;
};

static int read_log(int dir, uint64_t number, struct reach *reach)
{
	struct log_file *file;
	const uint8_t *record;
	size_t len;
	char name[LOG_NAME_MAX];
	int result;

	snprintf(name, sizeof(name), LOG_NAME_FORMAT, number);
	result = log_file_open(dir, name, &file);
	if (result == -ENOENT) {
		reach->end = reach->size = 0;
		reach->whole = false;
		reach->missing = true;
		return 0;
	}
	if (result < 0)
		return result;
	while ((result = log_file_next(file, &record, &len)) > 0) {
		struct reader reader = reader_over(record, len);
		const uint64_t first = read_le64(&reader), count = read_le32(&reader);
		if (!reader.bad && count > 0)
			reach->sequence = MAX(reach->sequence, first + count - 1);
	}
	reach->end = log_file_end(file);
	reach->size = log_file_size(file);
	reach->whole = result == 0;
	log_file_close(file);
	return result == -EBADMSG ? 0 : result;
}

static void note_damage(struct examined *examined, uint64_t number, const struct reach *reach, const struct synced_state *synced)
{
	examined->log_number = number;
	examined->log_at = reach->end;
	examined->log_bytes = reach->size;
	examined->log_missing = reach->missing;
	examined->synced_time = synced->time;
	if (reach->sequence && synced->sequence > reach->sequence)
		examined->changes_lost = synced->sequence - reach->sequence;
}

/* How many bytes of a log were on disk when it was closed; 0: it was not, or nobody knows. */
static uint64_t closed_bytes(const struct synced_state *synced, uint64_t number)
{
	for (size_t i = 0; i < synced->closed.count; i++)
		if (synced->closed.items[i].number == number)
			return synced->closed.items[i].bytes;
	return 0;
}

/* The logs that are needed: those that are there, and those that are known to have been there. */
static int needed_logs(int dir, const struct synced_state *synced, uint64_t first, struct file_numbers *needed)
{
	AUTO_ARRAY struct file_numbers there = {0};
	int result = file_numbers_list(dir, "", ".log", &there);

	for (size_t i = 0; i < synced->closed.count; i++)
		array_add(&there, synced->closed.items[i].number);
	array_add(&there, synced->log);
	file_numbers_sort(&there);
	for (size_t i = 0; i < there.count; i++)
		if (there.items[i] >= MAX(first, 1U) && (needed->count == 0 || *array_last(needed) != there.items[i]))
			array_add(needed, there.items[i]);
	return result;
}

/* RocksDB replays up to the first record that is not whole: that one is damage if a change behind it was on disk. */
static int look_at_logs(int dir, const struct synced_state *synced, uint64_t first_log, struct examined *examined)
{
	AUTO_ARRAY struct file_numbers logs = {0};
	const bool promised = synced->sequence > 0 && synced->log >= first_log;
	int result = needed_logs(dir, synced, first_log, &logs);
	struct reach reach = {0};

	for (size_t i = 0; i < logs.count && result == 0; i++) {
		reach.missing = false;
		result = read_log(dir, logs.items[i], &reach);
		const bool ends_early = !reach.whole || reach.end < closed_bytes(synced, logs.items[i]);
		const bool is_last = i + 1 == logs.count;
		if (result < 0 || (!ends_early && !is_last))
			continue;
		if (reach.end < closed_bytes(synced, logs.items[i]) || (promised && reach.sequence < synced->sequence))
			note_damage(examined, logs.items[i], &reach, synced);
		break;
	}
	return result;
}

bool examine_has_logs(int dir, const struct synced_state *synced, const struct manifest *manifest, bool first)
{
	struct examined examined = {0};
	char name[LOG_NAME_MAX];

	snprintf(name, sizeof(name), LOG_NAME_FORMAT, first_log_of(manifest));
	if (first && faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	return look_at_logs(dir, synced, first_log_of(manifest), &examined) == 0 && examined.log_number == 0;
}

int examine_database(const char *path, const char *shown, struct examined *ret_examined, struct error *err)
{
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct synced_state synced = {0};
	struct examined examined = {.understood = true};
	struct manifest manifest = {0};

	if (dir < 0)
		return error_set(err, -errno, "%s: %s", shown, strerror(errno));
	int result = synced_read(dir, &synced);
	if (result == -ENOENT || result == -EBADMSG)
		examined.synced_lost = result == -ENOENT ? "is missing" : "is damaged";
	else if (result < 0)
		return error_set(err, result, "%s/" SYNCED_NAME ": %s", shown, error_text(result));
	result = examine_manifest(dir, shown, &synced, &manifest, err);
	if (result == -ENOTSUP)
		examined.understood = false;
	for (size_t i = 0; i < manifest.tables.count && result == 0; i++) {
		result = look_at_table(dir, &manifest, &manifest.tables.items[i], &examined);
		if (result < 0)
			error_set(err, result, "%s: a table cannot be looked at: %s", shown, error_text(result));
	}
	if (result == 0) {
		result = look_at_logs(dir, &synced, first_log_of(&manifest), &examined);
		if (result < 0 && result != -ENOTSUP)
			error_set(err, result, "%s: a write-ahead log cannot be read: %s", shown, error_text(result));
	}
	manifest_clear(&manifest);
	array_clear(&synced.closed);
	if (result < 0 && result != -ENOTSUP) {
		examined_clear(&examined);
		return result;
	}
	*ret_examined = examined;
	return 0;
}

void examined_clear(struct examined *examined)
{
	array_clear(&examined->tables);
}
