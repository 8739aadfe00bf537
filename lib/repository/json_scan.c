#include "lib/repository/json_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/buf.h"
#include "lib/base/utf8.h"

struct json_scan json_scan_over(const char *text, size_t len)
{
	return (struct json_scan){.at = text, .end = text + len};
}

static bool fail(struct json_scan *scan)
{
	scan->bad = true;
	return false;
}

/* The next character that is no white space; 0 at the end. */
static char next(struct json_scan *scan)
{
	while (!scan->bad && scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
		scan->at++;
	return scan->bad || scan->at == scan->end ? '\0' : *scan->at;
}

static bool take(struct json_scan *scan, char c)
{
	if (next(scan) != c)
		return fail(scan);
	scan->at++;
	return true;
}

bool json_scan_open(struct json_scan *scan, char bracket)
{
	scan->first = true;
	return take(scan, bracket);
}

/* Moves to the next thing in a bracket, if one comes. */
static bool advance(struct json_scan *scan, char closing)
{
	const char c = next(scan);

	if (c == closing) {
		scan->at++;
		scan->first = false; /* what it stands in has had this one */
		return false;
	}
	if (!scan->first && !take(scan, ','))
		return false;
	scan->first = false;
	return c != '\0' || fail(scan);
}

bool json_scan_key(struct json_scan *scan, struct json_text *ret_key)
{
	return advance(scan, '}') && json_scan_string(scan, ret_key) && take(scan, ':');
}

bool json_scan_item(struct json_scan *scan)
{
	return advance(scan, ']');
}

/* How long the escape is that stands at the backslash; 0: it is none. */
static size_t escape_length(const char *at, const char *end)
{
	if (end - at < 2 || !at[1] || !strchr("\"\\/bfnrtu", at[1]))
		return 0;
	if (at[1] != 'u')
		return 2;
	for (size_t i = 2; i < 6; i++)
		if (at + i >= end || !at[i] || !strchr("0123456789abcdefABCDEF", at[i]))
			return 0;
	return 6;
}

/* Behind the characters that stand for themselves in a string; eight at a time, most of which are such. */
static const char *skip_plain(const char *at, const char *end)
{
	const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
	uint64_t word, quotes, escapes;

	for (; end - at >= (ptrdiff_t)sizeof(word); at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		quotes = word ^ ones * '"';
		escapes = word ^ ones * '\\';
		/* A top bit for each byte that is 0, or less than a space; and maybe for others, which are looked at one by one. */
		if ((((quotes - ones) & ~quotes) | ((escapes - ones) & ~escapes) | ((word - ones * ' ') & ~word)) & tops)
			break;
	}
	while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= ' ')
		at++;
	return at;
}

bool json_scan_string(struct json_scan *scan, struct json_text *ret_text)
{
	struct json_text text = {0};

	if (!take(scan, '"'))
		return false;
	text.text = scan->at;
	while ((scan->at = skip_plain(scan->at, scan->end)) < scan->end && *scan->at != '"') {
		const size_t len = *scan->at == '\\' ? escape_length(scan->at, scan->end) : 0;

		if (len == 0)
			return fail(scan);
		text.has_escapes = true;
		scan->at += len;
	}
	if (scan->at == scan->end)
		return fail(scan);
	text.len = (size_t)(scan->at - text.text);
	scan->at++;
	*ret_text = text;
	return true;
}

bool json_scan_number(struct json_scan *scan, uint64_t *ret_number)
{
	uint64_t number = 0;
	const char c = next(scan), *begin = scan->at;

	if (c < '0' || c > '9')
		return fail(scan);
	for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++)
		if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, (uint64_t)(*scan->at - '0'), &number))
			return fail(scan);
	if (scan->at < scan->end && (*scan->at == '.' || *scan->at == 'e' || *scan->at == 'E'))
		return fail(scan);
	if (c == '0' && scan->at - begin > 1)
		return fail(scan);
	*ret_number = number;
	return true;
}

static bool take_word(struct json_scan *scan, const char *word)
{
	const size_t len = strlen(word);

	if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
		return false;
	scan->at += len;
	return true;
}

bool json_scan_null(struct json_scan *scan)
{
	return next(scan) == 'n' && take_word(scan, "null");
}

static bool take_one_of(struct json_scan *scan, const char *letters)
{
	if (scan->at == scan->end || !*scan->at || !strchr(letters, *scan->at))
		return false;
	scan->at++;
	return true;
}

static bool take_digits(struct json_scan *scan)
{
	const char *begin = scan->at;

	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
		scan->at++;
	return scan->at > begin;
}

/* -1.5e+3 */
static bool skip_number(struct json_scan *scan)
{
	(void)take_one_of(scan, "-");
	if (!take_one_of(scan, "0") && !take_digits(scan))
		return false;
	if (take_one_of(scan, ".") && !take_digits(scan))
		return false;
	if (!take_one_of(scan, "eE"))
		return true;
	(void)take_one_of(scan, "+-");
	return take_digits(scan);
}

/* What has no brackets. */
static void skip_simple(struct json_scan *scan)
{
	struct json_text text;

	if (next(scan) == '"')
		(void)json_scan_string(scan, &text);
	else if (!take_word(scan, "true") && !take_word(scan, "false") && !take_word(scan, "null") && !skip_number(scan))
		(void)fail(scan);
}

void json_scan_skip(struct json_scan *scan)
{
	char opening[JSON_SCAN_DEPTH]; /* the brackets that are open */
	struct json_text key;
	size_t depth = 0;

	do {
		const char c = next(scan);

		if (c != '{' && c != '[')
			skip_simple(scan);
		else if (depth == JSON_SCAN_DEPTH)
			(void)fail(scan);
		else if (json_scan_open(scan, c))
			opening[depth++] = c;
		/* to the next value, out of the brackets that have none any more */
		while (depth > 0 && !scan->bad && !(opening[depth - 1] == '{' ? json_scan_key(scan, &key) : json_scan_item(scan)))
			depth--;
	} while (depth > 0 && !scan->bad);
}

bool json_scan_end(struct json_scan *scan)
{
	return next(scan) == '\0' && !scan->bad && scan->at == scan->end;
}

bool json_text_is(const struct json_text *text, const char *other)
{
	return text->len == strlen(other) && memcmp(text->text, other, text->len) == 0;
}

/* With the quotes that stand around it. */
static int read_escapes(const struct json_text *text, char **ret_bytes)
{
	json_t *value = json_loadb(text->text - 1, text->len + 2, JSON_DECODE_ANY, NULL);

	if (!value)
		return -EBADMSG;
	*ret_bytes = xstrdup(json_string_value(value));
	json_decref(value);
	return 0;
}

int json_text_bytes(const struct json_text *text, char **ret_bytes)
{
	AUTO_FREE char *bytes = NULL;

	if (text->has_escapes)
		return read_escapes(text, ret_bytes);
	bytes = xmalloc(text->len + 1);
	memcpy(bytes, text->text, text->len);
	bytes[text->len] = '\0';
	if (!utf8_is_valid(bytes))
		return -EBADMSG;
	*ret_bytes = steal_ptr(bytes);
	return 0;
}
