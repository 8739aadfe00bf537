#include "lib/repository/json_scan.h"

#include <string.h>

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

bool json_scan_string(struct json_scan *scan, struct json_text *ret_text)
{
	struct json_text text = {0};

	if (!take(scan, '"'))
		return false;
	text.text = scan->at;
	while (scan->at < scan->end && *scan->at != '"') {
		const bool escapes = *scan->at == '\\';

		if ((unsigned char)*scan->at < ' ' || (escapes && scan->end - scan->at < 2))
			return fail(scan);
		text.has_escapes |= escapes;
		scan->at += escapes ? 2 : 1;
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
	const char c = next(scan);

	if (c < '0' || c > '9')
		return fail(scan);
	for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++)
		if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, (uint64_t)(*scan->at - '0'), &number))
			return fail(scan);
	if (scan->at < scan->end && (*scan->at == '.' || *scan->at == 'e' || *scan->at == 'E'))
		return fail(scan);
	*ret_number = number;
	return true;
}

bool json_scan_null(struct json_scan *scan)
{
	if (next(scan) != 'n' || scan->end - scan->at < 4 || memcmp(scan->at, "null", 4) != 0)
		return false;
	scan->at += 4;
	return true;
}

/* true, false, null, or a number. */
static void skip_word(struct json_scan *scan)
{
	const char *begin = scan->at;

	while (scan->at < scan->end && *scan->at && strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *scan->at))
		scan->at++;
	if (scan->at == begin)
		(void)fail(scan);
}

void json_scan_skip(struct json_scan *scan)
{
	char closing[JSON_SCAN_DEPTH];
	struct json_text text;
	size_t depth = 0;

	do {
		const char c = next(scan);

		if (c == '"') {
			(void)json_scan_string(scan, &text);
		} else if (c == '{' || c == '[') {
			if (depth == JSON_SCAN_DEPTH) {
				(void)fail(scan);
				return;
			}
			closing[depth++] = c == '{' ? '}' : ']';
			scan->at++;
		} else if (depth > 0 && (c == '}' || c == ']')) {
			if (closing[--depth] != c)
				(void)fail(scan);
			scan->at++;
		} else if (depth > 0 && (c == ',' || c == ':')) {
			scan->at++;
		} else {
			skip_word(scan);
		}
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
