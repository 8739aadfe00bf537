#include "lib/transfer/tar_pax.h"

#include <errno.h>
#include <string.h>

#include "lib/base/base64.h"

#define NS_DIGITS 9
#define NS_PER_S 1000000000L
#define XATTR_PREFIX "SCHILY.xattr."
#define XATTR_PREFIX_LIBARCHIVE "LIBARCHIVE.xattr."
#define SELINUX "RHT.security.selinux"
#define HOLES_SUN ".holesdata"

/* --- values --- */

static int bad(struct pax *pax, const char *text)
{
	pax->problem = text;
	return -EBADMSG;
}

static bool is_key(const char *key, size_t key_len, const char *name)
{
	return strlen(name) == key_len && memcmp(name, key, key_len) == 0;
}

static void set_text(struct pax_text *text, const char *value, size_t len)
{
	buf_reset(&text->value);
	buf_add(&text->value, value, len);
	buf_add_u8(&text->value, '\0');
	text->value.len--;
	text->is_set = len > 0;
}

static int parse_count(const char *value, size_t len, uint64_t *ret_count)
{
	uint64_t count = 0;

	if (len == 0)
		return -EBADMSG;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9' || count > (INT64_MAX - 9) / 10)
			return -EBADMSG;
		count = count * 10 + (uint64_t)(value[i] - '0');
	}
	*ret_count = count;
	return 0;
}

static int set_number(struct pax *pax, struct pax_number *number, const char *value, size_t len)
{
	number->is_set = len > 0;
	if (len > 0 && parse_count(value, len, &number->value) < 0)
		return bad(pax, "a number in its pax header is none");
	return 0;
}

static void set_owner(struct pax *pax, struct pax_number *number, const char *value, size_t len)
{
	number->is_set = len > 0 && parse_count(value, len, &number->value) == 0;
	if (len > 0 && !number->is_set)
		pax->warning = "its owner cannot be read";
}

int pax_time_parse(const char *text, size_t len, struct timespec *ret_time)
{
	bool is_negative = len > 0 && *text == '-', is_cut = false;
	size_t at = is_negative, point = at, digits = 0;
	uint64_t seconds;
	long ns = 0;

	while (point < len && text[point] != '.')
		point++;
	if (parse_count(text + at, point - at, &seconds) < 0)
		return -EBADMSG;
	for (at = point + 1; at < len; at++) {
		if (text[at] < '0' || text[at] > '9')
			return -EBADMSG;
		if (digits++ < NS_DIGITS)
			ns = ns * 10 + (text[at] - '0');
		else
			is_cut = is_cut || text[at] != '0';
	}
	for (; digits < NS_DIGITS; digits++)
		ns *= 10;
	if (is_negative && is_cut)
		ns++;
	*ret_time = (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = ns};
	/* -1.25 is three quarters of a second after -2. */
	if (is_negative)
		*ret_time = (struct timespec){.tv_sec = -(time_t)seconds - (ns > 0), .tv_nsec = ns > 0 ? NS_PER_S - ns : 0};
	return 0;
}

static void set_time(struct pax *pax, struct pax_time *when, const char *value, size_t len)
{
	when->is_set = len > 0 && pax_time_parse(value, len, &when->value) == 0;
	if (len > 0 && !when->is_set)
		pax->warning = "its time cannot be read";
}

/* --- extended attributes --- */

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit |= 0x20;
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* GNU tar writes '%' and '=' of a name as "%25" and "%3D", libarchive all but letters and digits. */
static char *decode_name(const char *name, size_t len, bool any)
{
	char *decoded = xmalloc(len + 1), *out = decoded;

	for (size_t i = 0; i < len; i++) {
		int high = i + 2 < len && name[i] == '%' ? hex_digit(name[i + 1]) : -1, low = high >= 0 ? hex_digit(name[i + 2]) : -1;
		char byte = low >= 0 ? (char)(high << 4 | low) : '\0';

		if (low >= 0 && (any || byte == '%' || byte == '=')) {
			*out++ = byte;
			i += 2;
		} else {
			*out++ = name[i];
		}
	}
	*out = '\0';
	return decoded;
}

static uint32_t sum_of(const char *name)
{
	uint32_t sum = 2166136261U;

	for (; *name; name++)
		sum = (sum ^ (uint8_t)*name) * 16777619U;
	return sum;
}

/* Takes over the name and the value. */
static int set_xattr(struct pax *pax, char *name, struct buf value)
{
	const uint32_t sum = sum_of(name);

	for (size_t i = 0; i < pax->xattrs.count; i++) {
		struct pax_xattr *xattr = &pax->xattrs.items[i];

		if (xattr->sum == sum && strcmp(xattr->name, name) == 0) {
			free(name);
			buf_clear(&xattr->value);
			xattr->value = value;
			return 0;
		}
	}
	array_add(&pax->xattrs, (struct pax_xattr){.name = name, .sum = sum, .value = value});
	return pax->xattrs.count <= PAX_XATTRS_MAX ? 0 : bad(pax, "a member has too many extended attributes");
}

static int add_decoded(struct pax *pax, char *name, const char *text, size_t len)
{
	struct buf value = BUF_INIT;

	if (base64_decode(text, len, &value) == 0)
		return set_xattr(pax, name, value);
	free(name);
	buf_clear(&value);
	return bad(pax, "the value of an extended attribute is not base64");
}

static bool begins(const char *key, size_t key_len, const char *with)
{
	const size_t len = strlen(with);

	return key_len > len && memcmp(key, with, len) == 0;
}

static bool is_xattr(const char *key, size_t key_len)
{
	return begins(key, key_len, XATTR_PREFIX) || begins(key, key_len, XATTR_PREFIX_LIBARCHIVE) || is_key(key, key_len, SELINUX);
}

static int add_xattr(struct pax *pax, const char *key, size_t key_len, const char *text, size_t len)
{
	const size_t plain = strlen(XATTR_PREFIX), libarchive = strlen(XATTR_PREFIX_LIBARCHIVE);
	struct buf value = BUF_INIT;

	if (begins(key, key_len, XATTR_PREFIX_LIBARCHIVE))
		return add_decoded(pax, decode_name(key + libarchive, key_len - libarchive, true), text, len);
	buf_add(&value, text, len);
	if (begins(key, key_len, XATTR_PREFIX))
		return set_xattr(pax, decode_name(key + plain, key_len - plain, false), value);
	/* GNU tar writes the text, and the attribute has a NUL. */
	buf_add_u8(&value, '\0');
	return set_xattr(pax, xstrdup("security.selinux"), value);
}

/* --- sparse files --- */

static int add_stretch(struct pax *pax, uint64_t offset, uint64_t len)
{
	array_add(&pax->stretches, (struct stretch){.offset = offset, .len = len});
	pax->has_stretches = true;
	return 0;
}

static int end_stretch(struct pax *pax, const char *value, size_t len)
{
	uint64_t number;

	if (!pax->sparse_offset.is_set || parse_count(value, len, &number) < 0)
		return bad(pax, "its list of holes is malformed");
	pax->sparse_offset.is_set = false;
	return add_stretch(pax, pax->sparse_offset.value, number);
}

/* "offset,length,offset,length" */
static int set_map(struct pax *pax, const char *value, size_t len)
{
	const char *end = value + len;
	uint64_t numbers[2];
	unsigned count = 0;

	array_reset(&pax->stretches);
	pax->has_stretches = true;
	while (value < end) {
		const char *comma = memchr(value, ',', (size_t)(end - value));
		const char *stop = comma ? comma : end;

		if (parse_count(value, (size_t)(stop - value), &numbers[count]) < 0)
			return bad(pax, "its list of holes is malformed");
		count = (count + 1) % 2;
		if (count == 0)
			add_stretch(pax, numbers[0], numbers[1]);
		value = comma ? comma + 1 : end;
	}
	return count == 0 ? 0 : bad(pax, "its list of holes is malformed");
}

/* --- records --- */

enum kind { TEXT, NUMBER, OWNER, TIME, MAP, STRETCH_END };

static const struct known {
	const char *key;
	enum kind kind;
	size_t at; /* in struct pax */
} known[] = {
	{"path", TEXT, offsetof(struct pax, path)},
	{"linkpath", TEXT, offsetof(struct pax, target)},
	{"size", NUMBER, offsetof(struct pax, size)},
	{"uid", OWNER, offsetof(struct pax, uid)},
	{"gid", OWNER, offsetof(struct pax, gid)},
	{"mtime", TIME, offsetof(struct pax, mtime)},
	{"atime", TIME, offsetof(struct pax, atime)},
	{"SCHILY.devmajor", NUMBER, offsetof(struct pax, major)},
	{"SCHILY.devminor", NUMBER, offsetof(struct pax, minor)},
	{"SUN.devmajor", NUMBER, offsetof(struct pax, major)},
	{"SUN.devminor", NUMBER, offsetof(struct pax, minor)},
	{"SCHILY.acl.access", TEXT, offsetof(struct pax, acl_access)},
	{"SCHILY.acl.default", TEXT, offsetof(struct pax, acl_default)},
	{"SCHILY.acl.ace", TEXT, offsetof(struct pax, acl_nfs4)},
	{"GNU.sparse.name", TEXT, offsetof(struct pax, sparse_name)},
	{"GNU.sparse.size", NUMBER, offsetof(struct pax, sparse_size)},
	{"GNU.sparse.realsize", NUMBER, offsetof(struct pax, sparse_size)},
	{"GNU.sparse.major", NUMBER, offsetof(struct pax, sparse_version)},
	{"GNU.sparse.offset", NUMBER, offsetof(struct pax, sparse_offset)},
	{"GNU.sparse.numbytes", STRETCH_END, 0},
	{"GNU.sparse.map", MAP, 0},
};

/* What they say is said elsewhere, too, or is nothing that a file of a dataset has. A point at the end: all that begin so. */
static const char *const ignored[] = {
	"comment", "charset", "hdrcharset", "uname", "gname", "ctime", "GNU.sparse.minor", "GNU.sparse.numblocks", "GNU.volume.", "LIBARCHIVE.creationtime",
	"LIBARCHIVE.symlinktype", "SCHILY.archtype", "SCHILY.dev", "SCHILY.dir", "SCHILY.filetype", "SCHILY.ino", "SCHILY.nlink", "SCHILY.offset",
	"SCHILY.realsize", "SCHILY.tarfiletype", "SCHILY.volhdr.",
};

static bool is_ignored(const char *key, size_t key_len)
{
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
		const size_t len = strlen(ignored[i]);

		if (ignored[i][len - 1] == '.' ? begins(key, key_len, ignored[i]) : is_key(key, key_len, ignored[i]))
			return true;
	}
	return false;
}

static const struct known *find_known(const char *key, size_t key_len)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (is_key(key, key_len, known[i].key))
			return &known[i];
	return NULL;
}

static int take_unknown(struct pax *pax, const char *key, size_t key_len)
{
	const size_t holes = strlen(HOLES_SUN);

	if (key_len > holes && memcmp(key + key_len - holes, HOLES_SUN, holes) == 0)
		pax->refusal = "its holes are told in the way of Solaris, which import does not read";
	else if (!is_ignored(key, key_len) && pax->unknown.count < PAX_UNKNOWN_MAX)
		array_add(&pax->unknown, xasprintf("%.*s", (int)MIN(key_len, 200), key));
	return 0;
}

struct record {
	const char *key, *value;
	size_t key_len, len;
};

/* The whole record's length, or -EBADMSG. */
static ssize_t read_record(const char *at, const char *end, struct record *ret_record)
{
	const char *space = memchr(at, ' ', (size_t)(end - at)), *equals;
	uint64_t whole;

	if (!space || parse_count(at, (size_t)(space - at), &whole) < 0 || whole > (uint64_t)(end - at) || whole <= (uint64_t)(space - at) + 1 ||
	    at[whole - 1] != '\n')
		return -EBADMSG;
	equals = memchr(space + 1, '=', (size_t)(at + whole - space - 1));
	if (!equals)
		return -EBADMSG;
	*ret_record = (struct record){.key = space + 1, .key_len = (size_t)(equals - space - 1), .value = equals + 1,
	                              .len = (size_t)(at + whole - 1 - equals - 1)};
	return (ssize_t)whole;
}

static int take_record(struct pax *pax, const struct record *record)
{
	const struct known *how = find_known(record->key, record->key_len);
	void *field = (uint8_t *)pax + (how ? how->at : 0);

	if (!how)
		return is_xattr(record->key, record->key_len) ? add_xattr(pax, record->key, record->key_len, record->value, record->len)
		                                              : take_unknown(pax, record->key, record->key_len);
	switch (how->kind) {
	case TEXT: set_text(field, record->value, record->len); return 0;
	case NUMBER: return set_number(pax, field, record->value, record->len);
	case OWNER: set_owner(pax, field, record->value, record->len); return 0;
	case TIME: set_time(pax, field, record->value, record->len); return 0;
	case MAP: return set_map(pax, record->value, record->len);
	case STRETCH_END: return end_stretch(pax, record->value, record->len);
	}
	return 0;
}

int pax_parse(struct pax *pax, const void *records, size_t len)
{
	const char *at = records, *end = len > 0 ? at + len : at; /* nothing may be NULL */
	struct record record;
	int r = 0;

	while (at < end && r == 0) {
		ssize_t whole = read_record(at, end, &record);

		if (whole < 0)
			return bad(pax, "a record of its pax header is malformed");
		r = take_record(pax, &record);
		at += whole;
	}
	return r;
}

int pax_keep_known(const void *records, size_t len, struct buf *out)
{
	const char *at = records, *end = len > 0 ? at + len : at;
	struct record record;

	while (at < end) {
		ssize_t whole = read_record(at, end, &record);

		if (whole < 0)
			return -EBADMSG;
		if (!is_ignored(record.key, record.key_len))
			buf_add(out, at, (size_t)whole);
		at += whole;
	}
	return 0;
}

void pax_clear(struct pax *pax)
{
	struct pax_text *texts[] = {&pax->path, &pax->target, &pax->acl_access, &pax->acl_default, &pax->acl_nfs4, &pax->sparse_name};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		buf_clear(&texts[i]->value);
	for (size_t i = 0; i < pax->xattrs.count; i++) {
		free(pax->xattrs.items[i].name);
		buf_clear(&pax->xattrs.items[i].value);
	}
	for (size_t i = 0; i < pax->unknown.count; i++)
		free(pax->unknown.items[i]);
	array_clear(&pax->unknown);
	array_clear(&pax->xattrs);
	array_clear(&pax->stretches);
	*pax = (struct pax){0};
}
