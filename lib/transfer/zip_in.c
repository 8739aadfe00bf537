#include "lib/transfer/zip_in.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "lib/base/buf.h"
#include "lib/transfer/unpack.h"
#include "lib/transfer/zip_directory.h"

struct zip_in {
	struct stream_in *in;
	struct zip_directory directory;
	size_t next;
	bool is_loaded;

	/* The member's data. */
	const struct zip_entry *entry;
	struct stream_in *part;
	struct unpack *unpack;
	uint64_t at;
	uint32_t crc;
	char target[PATH_MAX + 1]; /* of a symbolic link: it is its content */
	char problem[ERROR_TEXT_MAX];
};

bool zip_in_begins_with(const uint8_t *data, size_t len)
{
	return len >= 4 && memcmp(data, "PK", 2) == 0 && (memcmp(data + 2, "\3\4", 2) == 0 || memcmp(data + 2, "\5\6", 2) == 0);
}

struct zip_in *zip_in_new(struct stream_in *in)
{
	struct zip_in *zip = xcalloc(1, sizeof(*zip));

	zip->in = in;
	return zip;
}

static void end_data(struct zip_in *zip)
{
	unpack_free(zip->unpack);
	stream_in_free(zip->part);
	zip->unpack = NULL;
	zip->part = NULL;
}

void zip_in_free(struct zip_in *zip)
{
	if (!zip)
		return;
	end_data(zip);
	zip_directory_clear(&zip->directory);
	free(zip);
}

const char *zip_in_problem(const struct zip_in *zip)
{
	return zip->problem;
}

uint64_t zip_in_position(const struct zip_in *zip)
{
	return zip->entry ? zip->entry->header_at + (zip->part ? stream_in_position(zip->part) : 0) : 0;
}

static int failed(struct zip_in *zip, int code, const char *text)
{
	if (code == -EBADMSG)
		snprintf(zip->problem, sizeof(zip->problem), "%s", text);
	return code;
}

/* --- data --- */

static int begin_data(struct zip_in *zip)
{
	const struct zip_entry *entry = zip->entry;
	uint64_t at;
	int r = zip_entry_data(&zip->directory, entry, zip->in, &at);

	if (r < 0)
		return failed(zip, r, zip->directory.problem);
	zip->part = stream_in_new_part(zip->in, at, entry->packed_size);
	if (!zip->part)
		return failed(zip, -ENOMEM, NULL);
	zip->unpack = unpack_new(zip->part, entry->method == ZIP_STORED     ? UNPACK_PLAIN
	                                    : entry->method == ZIP_DEFLATED ? UNPACK_DEFLATE
	                                                                    : UNPACK_KNOWN);
	zip->at = 0;
	zip->crc = (uint32_t)crc32(0, NULL, 0);
	return 0;
}

int zip_in_data(struct zip_in *zip, const void **ret_data, size_t *ret_len, uint64_t *ret_offset)
{
	const struct zip_entry *entry = zip->entry;
	int r = zip->unpack ? 0 : begin_data(zip);

	if (r < 0)
		return r;
	r = unpack_some(zip->unpack, UINT64_MAX, ret_data, ret_len);
	if (r < 0)
		return failed(zip, r, unpack_problem(zip->unpack));
	if (r == 0)
		return zip->at == entry->size && zip->crc == entry->crc ? 0 : failed(zip, -EBADMSG, "its checksum is wrong");
	if (*ret_len > entry->size - zip->at)
		return failed(zip, -EBADMSG, "it holds more than it says");
	*ret_offset = zip->at;
	zip->at += *ret_len;
	zip->crc = (uint32_t)crc32_z(zip->crc, *ret_data, *ret_len);
	return 1;
}

/* --- members --- */

static const char *why_not(const struct zip_entry *entry)
{
	if (zip_entry_is_encrypted(entry))
		return "it is encrypted";
	switch (entry->method) {
	case ZIP_STORED:
	case ZIP_DEFLATED:
	case ZIP_BZIP2:
	case ZIP_ZSTD:
	case ZIP_XZ: return NULL;
	default: return "it is compressed in a way that is not known here";
	}
}

static int read_target(struct zip_in *zip, struct archive_found *found)
{
	const void *data;
	uint64_t offset;
	size_t len;
	int r;

	if (zip->entry->size > PATH_MAX) {
		found->problem = "what it links to is too long";
		return 0;
	}
	while ((r = zip_in_data(zip, &data, &len, &offset)) == 1)
		memcpy(zip->target + offset, data, len);
	zip->target[zip->entry->size] = '\0';
	found->member.target = zip->target;
	found->member.size = 0;
	return r;
}

int zip_in_next(struct zip_in *zip, struct archive_found *ret_found)
{
	const struct zip_entry *entry;
	int r = zip->is_loaded ? 0 : zip_directory_load(&zip->directory, zip->in);

	if (r < 0)
		return failed(zip, r, zip->directory.problem);
	zip->is_loaded = true;
	end_data(zip);
	if (zip->next == zip->directory.count)
		return 0;
	entry = zip->entry = &zip->directory.items[zip->next++];
	*ret_found = (struct archive_found){
		.member = {.path = entry->name, .mode = entry->mode, .uid = entry->uid, .gid = entry->gid, .size = entry->size,
	                   .has_size = true, .has_mtime = true, .mtime = entry->mtime},
		.problem = why_not(entry),
	};
	if (!ret_found->problem && S_ISLNK(entry->mode))
		r = read_target(zip, ret_found);
	if (S_ISDIR(entry->mode) && entry->size > 0)
		r = failed(zip, -EBADMSG, "a directory in it has content");
	return r < 0 ? r : 1;
}
