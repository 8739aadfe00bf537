#include "lib/format/superblock.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <xxhash.h>

#include "lib/base/clock.h"
#include "lib/format/record.h"

#define TEXT_MAX 4096
#define CHECK_LINE_LEN 23 /* "check " 16 digits "\n" */
#define CHUNK_LEAST 4096U
#define CHUNK_MOST (16U << 20)

void superblock_encode(const struct superblock *superblock, struct buf *out)
{
	char created[32];
	size_t start = out->len;

	clock_format(superblock->created, created);
	buf_addf(out, "corpusfs store\n");
	buf_addf(out, "format %" PRIu32 "\n", superblock->format);
	buf_addf(out, "uuid %s\n", superblock->uuid);
	buf_addf(out, "created %s\n", created);
	buf_addf(out, "compat %" PRIu64 "\n", superblock->compat);
	buf_addf(out, "ro-compat %" PRIu64 "\n", superblock->ro_compat);
	buf_addf(out, "incompat %" PRIu64 "\n", superblock->incompat);
	buf_addf(out, "chunk-min %" PRIu32 "\n", superblock->chunk_min);
	buf_addf(out, "chunk-average %" PRIu32 "\n", superblock->chunk_average);
	buf_addf(out, "chunk-max %" PRIu32 "\n", superblock->chunk_max);
	buf_addf(out, "check %016" PRIx64 "\n", (uint64_t)XXH3_64bits(out->data + start, out->len - start));
}

/* Takes "KEY VALUE\n" off the text (which it cuts into pieces) and returns the value, or NULL. */
static char *take_line(char **text, const char *key)
{
	size_t key_len = strlen(key);
	char *end = strchr(*text, '\n');

	if (!end || strncmp(*text, key, key_len) != 0 || (*text)[key_len] != ' ')
		return NULL;
	char *value = *text + key_len + 1;
	*end = '\0';
	*text = end + 1;
	return value;
}

static bool take_number(char **text, const char *key, uint64_t limit, uint64_t *ret_number)
{
	char *value = take_line(text, key);
	char *end;

	if (!value || !isdigit((unsigned char)*value))
		return false;
	errno = 0;
	uint64_t number = strtoull(value, &end, 10);
	if (errno || *end != '\0' || number > limit)
		return false;
	*ret_number = number;
	return true;
}

static bool take_u32(char **text, const char *key, uint32_t *ret_number)
{
	uint64_t number;

	if (!take_number(text, key, UINT32_MAX, &number))
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

static bool take_uuid(char **text, char *uuid)
{
	const char *value = take_line(text, "uuid");

	if (!value || strlen(value) != 36)
		return false;
	for (size_t i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? value[i] != '-' : !strchr("0123456789abcdef", value[i]))
			return false;
	}
	memcpy(uuid, value, 37);
	return true;
}

static bool take_time(char **text, int64_t *ret_seconds)
{
	const char *value = take_line(text, "created");
	struct tm tm = {0};

	if (!value)
		return false;
	const char *end = strptime(value, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (!end || *end != '\0')
		return false;
	*ret_seconds = timegm(&tm);
	return true;
}

static bool sane_chunk_size(uint32_t size)
{
	return size >= CHUNK_LEAST && size <= CHUNK_MOST && (size & (size - 1)) == 0;
}

static bool sane_chunk_sizes(const struct superblock *superblock)
{
	return sane_chunk_size(superblock->chunk_min) && sane_chunk_size(superblock->chunk_average) &&
	       sane_chunk_size(superblock->chunk_max) && superblock->chunk_min <= superblock->chunk_average &&
	       superblock->chunk_average <= superblock->chunk_max;
}

/* The check stands in the last line, in every format, so that damage is never mistaken for a newer format. */
static bool check_matches(const char *text, size_t len)
{
	char expected[CHECK_LINE_LEN + 1];

	if (len <= CHECK_LINE_LEN || len > TEXT_MAX || memchr(text, '\0', len))
		return false;
	snprintf(expected, sizeof(expected), "check %016" PRIx64 "\n", (uint64_t)XXH3_64bits(text, len - CHECK_LINE_LEN));
	return memcmp(text + len - CHECK_LINE_LEN, expected, CHECK_LINE_LEN) == 0;
}

static bool parse_rest(char *text, struct superblock *superblock)
{
	return take_uuid(&text, superblock->uuid) && take_time(&text, &superblock->created) &&
	       take_number(&text, "compat", UINT64_MAX, &superblock->compat) &&
	       take_number(&text, "ro-compat", UINT64_MAX, &superblock->ro_compat) &&
	       take_number(&text, "incompat", UINT64_MAX, &superblock->incompat) &&
	       take_u32(&text, "chunk-min", &superblock->chunk_min) &&
	       take_u32(&text, "chunk-average", &superblock->chunk_average) &&
	       take_u32(&text, "chunk-max", &superblock->chunk_max) && take_line(&text, "check") && *text == '\0' &&
	       sane_chunk_sizes(superblock);
}

/* There is one way to write a superblock. A text that we would write differently is not ours. */
static bool is_canonical(const struct superblock *superblock, const void *text, size_t len)
{
	AUTO_BUF again = BUF_INIT;

	superblock_encode(superblock, &again);
	return again.len == len && memcmp(again.data, text, len) == 0;
}

static int damaged(const char *path, const char *what, struct error *err)
{
	error_set(err, -EBADMSG, "%s: the superblock is damaged (%s)", path, what);
	error_hint(err, "nothing was changed; " SUPERBLOCK_HINT_MEND);
	return -EBADMSG;
}

static int newer_format(const char *path, uint32_t format, struct error *err)
{
	error_set(err, -EPROTONOSUPPORT, "%s: the store has format %" PRIu32 ", which this program does not know", path, format);
	error_hint(err, "nothing was changed; use the newer version of corpusfs that wrote it");
	return -EPROTONOSUPPORT;
}

/* All of them are unknown to this version; some have a name already. */
static int unknown_features(const char *path, uint64_t bits, struct error *err)
{
	static const char *const names[] = {"encryption", "remote chunks"};
	AUTO_BUF text = BUF_INIT;

	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(bits >> bit & 1))
			continue;
		if (bit < ARRAY_SIZE(names))
			buf_addf(&text, "%s%s", text.len ? ", " : "", names[bit]);
		else
			buf_addf(&text, "%sfeature %" PRIu64, text.len ? ", " : "", (uint64_t)1 << bit);
	}
	error_set(err, -EPROTONOSUPPORT, "%s: the store uses %s, which this program does not know", path, (const char *)text.data);
	error_hint(err, "nothing was changed; use the newer version of corpusfs that wrote it");
	return -EPROTONOSUPPORT;
}

bool superblock_writable(const struct superblock *superblock)
{
	return superblock->ro_compat == 0;
}

int superblock_decode(const char *path, const void *text, size_t len, struct superblock *ret_superblock, struct error *err)
{
	static const char magic[] = "corpusfs store\n";
	struct superblock superblock = {0};

	if (len < sizeof(magic) - 1 || memcmp(text, magic, sizeof(magic) - 1) != 0)
		return damaged(path, "it does not start with \"corpusfs store\"", err);
	if (!check_matches(text, len))
		return damaged(path, "its check does not match", err);

	AUTO_FREE char *copy = xmalloc(len + 1);
	memcpy(copy, text, len);
	copy[len] = '\0';
	char *rest = copy + sizeof(magic) - 1;
	if (!take_u32(&rest, "format", &superblock.format))
		return damaged(path, "it has no format number", err);
	if (superblock.format > FORMAT_VERSION)
		return newer_format(path, superblock.format, err);
	if (superblock.format == 0 || !parse_rest(rest, &superblock) || !is_canonical(&superblock, text, len))
		return damaged(path, "a line has an impossible value", err);
	if (superblock.incompat)
		return unknown_features(path, superblock.incompat, err);
	*ret_superblock = superblock;
	return 0;
}
