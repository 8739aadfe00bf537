#include "lib/transfer/tar_pax.h"

#include <errno.h>
#include <string.h>

#include "lib/base/base64.h"

#define NS_DIGITS 9
#define NS_PER_S 1000000000L
#define XATTR_PREFIX "SCHILY.xattr."
#define XATTR_PREFIX_LIBARCHIVE "LIBARCHIVE.xattr."

/* --- values --- */

static int bad(struct pax *pax, const char *text)
{
	pax->problem = text;
	return -EBADMSG;
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

/* Takes over the name and the value. */
static void set_xattr(struct pax *pax, char *name, struct buf value)
{
	for (size_t i = 0; i < pax->xattrs.count; i++) {
		struct pax_xattr *xattr = &pax->xattrs.items[i];

		if (strcmp(xattr->name, name) == 0) {
			free(name);
			buf_clear(&xattr->value);
			xattr->value = value;
			return;
		}
	}
	array_add(&pax->xattrs, (struct pax_xattr){.name = name, .value = value});
}

static int add_xattr(struct pax *pax, const char *key, size_t key_len, const char *text, size_t len)
{
	const size_t plain = strlen(XATTR_PREFIX), libarchive = strlen(XATTR_PREFIX_LIBARCHIVE);
	struct buf value = BUF_INIT;

	if (key_len > plain && memcmp(key, XATTR_PREFIX, plain) == 0) {
		buf_add(&value, text, len);
		set_xattr(pax, decode_name(key + plain, key_len - plain, false), value);
	} else if (key_len > libarchive && memcmp(key, XATTR_PREFIX_LIBARCHIVE, libarchive) == 0) {
		if (base64_decode(text, len, &value) < 0) {
			buf_clear(&value);
			return bad(pax, "the value of an extended attribute is not base64");
		}
		set_xattr(pax, decode_name(key + libarchive, key_len - libarchive, true), value);
	}
	return 0;
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

static int take_record(struct pax *pax, const char *key, size_t key_len, const char *value, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		void *field = (uint8_t *)pax + known[i].at;

		if (strlen(known[i].key) != key_len || memcmp(known[i].key, key, key_len) != 0)
			continue;
		switch (known[i].kind) {
		case TEXT: set_text(field, value, len); return 0;
		case NUMBER: return set_number(pax, field, value, len);
		case OWNER: set_owner(pax, field, value, len); return 0;
		case TIME: set_time(pax, field, value, len); return 0;
		case MAP: return set_map(pax, value, len);
		case STRETCH_END: return end_stretch(pax, value, len);
		}
	}
	return add_xattr(pax, key, key_len, value, len);
}

int pax_parse(struct pax *pax, const void *records, size_t len)
{
	const char *at = records, *end = len > 0 ? at + len : at; /* nothing may be NULL */
	int r = 0;

	while (at < end && r == 0) {
		const char *space = memchr(at, ' ', (size_t)(end - at)), *equals;
		uint64_t whole;

		if (!space || parse_count(at, (size_t)(space - at), &whole) < 0 || whole > (uint64_t)(end - at) ||
		    whole <= (uint64_t)(space - at) + 1 || at[whole - 1] != '\n')
			return bad(pax, "a record of its pax header is malformed");
		equals = memchr(space + 1, '=', (size_t)(at + whole - space - 1));
		if (!equals)
			return bad(pax, "a record of its pax header is malformed");
		r = take_record(pax, space + 1, (size_t)(equals - space - 1), equals + 1, (size_t)(at + whole - 1 - equals - 1));
		at += whole;
	}
	return r;
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
	array_clear(&pax->xattrs);
	array_clear(&pax->stretches);
	*pax = (struct pax){0};
}
