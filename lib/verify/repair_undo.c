#include "lib/verify/repair_undo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/repository/blob_id.h"
#include "lib/verify/repair_heal.h"

#define HEADER "undo a repair of content"
#define FILE_MAX (1U << 30)

/* --- writing --- */

static void add_line(struct buf *text, json_t *line)
{
	char *dump = json_dumps(line, JSON_COMPACT | JSON_PRESERVE_ORDER);

	buf_addf(text, "%s\n", dump);
	free(dump);
	json_decref(line);
}

static void add_before(struct buf *text, const struct heal_before *before)
{
	char sha256[BLOB_ID_TEXT];
	struct blob_id id;

	memcpy(id.bytes, before->sha256, BLOB_ID_LEN);
	blob_id_text(&id, sha256);
	/* as text: numbers of JSON have 63 bits here */
	AUTO_FREE char *indexed = xasprintf("%016llx", (unsigned long long)before->indexed);
	AUTO_FREE char *chunk = xasprintf("%016llx", (unsigned long long)before->chunk);
	add_line(text, json_pack("{s:s, s:I, s:s, s:s, s:I}", "sha256", sha256, "length", (json_int_t)before->length, "index", indexed, "chunk",
				 chunk, "found", (json_int_t)before->found));
}

static int make_file(struct store *store, char *name)
{
	char when[32];
	int fd = -1;

	clock_format(clock_now().tv_sec, when);
	for (unsigned i = 1; i < 1000; i++) {
		(void)snprintf(name, REPAIR_UNDO_NAME_MAX, i > 1 ? REPAIR_UNDO_PREFIX "%s-%u" : REPAIR_UNDO_PREFIX "%s", when, i);
		fd = openat(store_dir_fd(store), name, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0 || errno != EEXIST)
			break;
	}
	const int result = fd < 0 ? -errno : fd;
	if (fd < 0)
		name[0] = '\0'; /* there is none */
	return result;
}

static int open_file(struct store *store, char *name, struct buf *text)
{
	int fd;

	if (*name)
		return strncmp(name, REPAIR_UNDO_PREFIX, strlen(REPAIR_UNDO_PREFIX)) == 0 && !strchr(name, '/')
		               ? file_open_inside(store_dir_fd(store), name, O_RDWR | O_APPEND, 0)
		               : -EINVAL;
	fd = make_file(store, name);
	if (fd >= 0)
		add_line(text, json_pack("{s:s, s:s}", "corpusfs", HEADER, "store", store_superblock(store)->uuid));
	return fd;
}

/* A line that a process which died has left half is ended first. */
static int end_torn_line(int fd, struct buf *text)
{
	const off_t size = lseek(fd, 0, SEEK_END);
	char last = '\n';

	if (size < 0 || (size > 0 && pread(fd, &last, 1, size - 1) < 0))
		return -errno;
	if (last != '\n')
		buf_addf(text, "\n");
	return 0;
}

int repair_undo_write(struct store *store, char *name, const struct heal_before *befores, size_t count, struct error *err)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_CLOSE int fd = open_file(store, name, &text);
	int result = fd < 0 ? fd : end_torn_line(fd, &text);

	for (size_t i = 0; i < count; i++)
		add_before(&text, &befores[i]);
	if (result == 0)
		result = file_write_all(fd, text.data, text.len);
	if (result == 0 && (fsync(fd) < 0 || fsync(store_dir_fd(store)) < 0))
		result = -errno;
	return result < 0 ? error_set(err, result, "the file that would undo it (%s) cannot be written: %s; nothing was changed", name, error_text(result)) : 0;
}

/* --- undoing --- */

static bool read_hex(const json_t *line, const char *key, uint64_t *ret_value)
{
	const char *text = json_string_value(json_object_get(line, key));
	char *end;

	if (!text || strlen(text) != 16)
		return false;
	*ret_value = strtoull(text, &end, 16);
	return *end == '\0';
}

static bool read_before(const json_t *line, struct heal_before *ret_before)
{
	const char *sha256 = json_string_value(json_object_get(line, "sha256"));
	const json_int_t length = json_integer_value(json_object_get(line, "length"));
	struct blob_id id;

	*ret_before = (struct heal_before){.length = (uint32_t)length, .found = json_integer_value(json_object_get(line, "found"))};
	if (!sha256 || blob_id_parse(sha256, &id) < 0 || length <= 0 || length > UINT32_MAX)
		return false;
	memcpy(ret_before->sha256, id.bytes, DIGEST_LEN);
	return read_hex(line, "index", &ret_before->indexed) && read_hex(line, "chunk", &ret_before->chunk);
}

static int undo_line(struct store *store, const char *text, size_t len, bool apply, struct repair_undone *undone)
{
	json_t *line = json_loadb(text, len, 0, NULL);
	struct heal_before before;
	const bool is_whole = line && read_before(line, &before);
	int result = is_whole ? chunks_heal_undo(store_chunks(store), &before, apply) : 0;

	json_decref(line);
	undone->lines++;
	undone->unknown += !is_whole;
	undone->undone += result > 0;
	undone->passed += is_whole && result == 0;
	return MIN(result, 0);
}

static int check_header(struct store *store, const char *text, size_t len, struct error *err)
{
	json_t *line = json_loadb(text, len, 0, NULL);
	const char *what = json_string_value(json_object_get(line, "corpusfs")), *uuid = json_string_value(json_object_get(line, "store"));
	int result = 0;

	if (!what || !uuid || strcmp(what, HEADER) != 0)
		result = error_set(err, -EINVAL, "this is no file that undoes a repair of content");
	else if (strcmp(uuid, store_superblock(store)->uuid) != 0)
		result = error_set(err, -EINVAL, "the file undoes a repair of another store");
	json_decref(line);
	return result;
}

int repair_undo(struct store *store, int file, bool apply, struct repair_undone *ret_undone, struct error *err)
{
	AUTO_BUF content = BUF_INIT;
	struct repair_undone undone = {0};
	int result = apply ? store_check_writable(store, err) : 0;
	const char *at, *end;

	if (result < 0)
		return result;
	result = file_read_from_start(file, FILE_MAX, &content);
	if (result < 0)
		return error_set(err, result, "the file cannot be read: %s", error_text(result));
	buf_add_u8(&content, '\n');
	at = (const char *)content.data;
	end = at + content.len;
	for (bool first = true; result == 0 && at < end; first = false) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at));
		const size_t len = (size_t)(line_end - at);
		if (first)
			result = check_header(store, at, len, err);
		else if (len > 0)
			result = undo_line(store, at, len, apply, &undone);
		at = line_end + 1;
	}
	if (result < 0)
		return error_default(err, result, "the repair cannot be undone");
	*ret_undone = undone;
	return 0;
}
