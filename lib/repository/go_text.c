#include "lib/repository/go_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/utf8.h"

void go_quote(struct buf *out, const char *bytes)
{
	static const char named[] = "\a\b\t\n\v\f\r", letters[] = "abtnvfr";
	const size_t len = strlen(bytes);
	uint32_t rune;

	for (size_t at = 0; at < len;) {
		const size_t run = utf8_character(bytes + at, len - at, &rune);
		const unsigned char c = (unsigned char)bytes[at];
		const char *name = strchr(named, c);

		if (run > 1) {
			buf_add(out, bytes + at, run);
			at += run;
			continue;
		}
		if (run == 0)
			buf_addf(out, "\\x%02x", c);
		else if (name && *name)
			buf_addf(out, "\\%c", letters[name - named]);
		else if (c < ' ' || c == 0x7f)
			buf_addf(out, "\\x%02x", c);
		else if (c == '"' || c == '\\')
			buf_addf(out, "\\%c", c);
		else
			buf_add_u8(out, c);
		at++;
	}
	buf_addf(out, "%s", "");
}

static int hex_digits(const char *text, unsigned count, uint32_t *ret_value)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < count; i++) {
		const char c = text[i];
		uint32_t digit;

		if (c >= '0' && c <= '9')
			digit = (uint32_t)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			digit = (uint32_t)((c | 32) - 'a' + 10);
		else
			return -EBADMSG;
		value = value << 4 | digit;
	}
	*ret_value = value;
	return 0;
}

static void add_rune(struct buf *out, uint32_t rune)
{
	if (rune < 0x80) {
		buf_add_u8(out, (uint8_t)rune);
	} else if (rune < 0x800) {
		buf_add_u8(out, (uint8_t)(0xc0 | rune >> 6));
		buf_add_u8(out, (uint8_t)(0x80 | (rune & 0x3f)));
	} else if (rune < 0x10000) {
		buf_add_u8(out, (uint8_t)(0xe0 | rune >> 12));
		buf_add_u8(out, (uint8_t)(0x80 | (rune >> 6 & 0x3f)));
		buf_add_u8(out, (uint8_t)(0x80 | (rune & 0x3f)));
	} else {
		buf_add_u8(out, (uint8_t)(0xf0 | rune >> 18));
		buf_add_u8(out, (uint8_t)(0x80 | (rune >> 12 & 0x3f)));
		buf_add_u8(out, (uint8_t)(0x80 | (rune >> 6 & 0x3f)));
		buf_add_u8(out, (uint8_t)(0x80 | (rune & 0x3f)));
	}
}

/* One escape behind its backslash; moves on. */
static int unquote_escape(const char **text, struct buf *out)
{
	static const char letters[] = "abtnvfr\\'\"", values[] = "\a\b\t\n\v\f\r\\'\"";
	const char kind = *(*text)++;
	const char *letter = kind ? strchr(letters, kind) : NULL;
	const unsigned digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
	uint32_t value;

	if (letter) {
		buf_add_u8(out, (uint8_t)values[letter - letters]);
		return 0;
	}
	if (digits == 0 || hex_digits(*text, digits, &value) < 0 || value == 0 || value > 0x10ffff)
		return -EBADMSG;
	*text += digits;
	if (digits == 2)
		buf_add_u8(out, (uint8_t)value);
	else
		add_rune(out, value);
	return 0;
}

int go_unquote(const char *text, char **ret_bytes)
{
	AUTO_BUF out = BUF_INIT;

	while (*text) {
		if (*text != '\\') {
			buf_add_u8(&out, (uint8_t)*text++);
			continue;
		}
		text++;
		if (unquote_escape(&text, &out) < 0)
			return -EBADMSG;
	}
	buf_add_u8(&out, 0);
	*ret_bytes = (char *)steal_ptr(out.data);
	return 0;
}

void go_json_string(struct buf *out, const char *text)
{
	const size_t len = strlen(text);
	uint32_t rune;

	buf_add_u8(out, '"');
	for (size_t at = 0; at < len;) {
		const size_t run = utf8_character(text + at, len - at, &rune);
		const unsigned char c = (unsigned char)text[at];

		if (run == 0)
			buf_add(out, "\\ufffd", 6);
		else if (rune == 0x2028 || rune == 0x2029)
			buf_addf(out, "\\u%04x", rune);
		else if (run > 1)
			buf_add(out, text + at, run);
		else if (c == '"' || c == '\\')
			buf_addf(out, "\\%c", c);
		else if (c == '\n' || c == '\r' || c == '\t')
			buf_addf(out, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
		else if (c < ' ' || c == '<' || c == '>' || c == '&')
			buf_addf(out, "\\u%04x", c);
		else
			buf_add_u8(out, c);
		at += MAX(run, 1U);
	}
	buf_add_u8(out, '"');
}

/* --- times --- */

void go_time_text(struct timespec time, char out[GO_TIME_TEXT])
{
	struct tm tm;
	size_t len;

	if (time.tv_sec < GO_TIME_FIRST)
		time = (struct timespec){.tv_sec = GO_TIME_FIRST};
	if (time.tv_sec > GO_TIME_LAST)
		time = (struct timespec){.tv_sec = GO_TIME_LAST, .tv_nsec = 999999999};
	(void)gmtime_r(&time.tv_sec, &tm);
	len = (size_t)snprintf(out, GO_TIME_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
	                       tm.tm_min, tm.tm_sec);
	if (time.tv_nsec > 0) {
		len += (size_t)snprintf(out + len, GO_TIME_TEXT - len, ".%09ld", time.tv_nsec);
		while (out[len - 1] == '0')
			len--;
	}
	out[len++] = 'Z';
	out[len] = '\0';
}

static const char *parse_fraction(const char *text, long *ret_ns)
{
	long unit = 100000000, ns = 0;

	if (*text != '.')
		return text;
	for (text++; *text >= '0' && *text <= '9'; text++, unit /= 10)
		ns += (*text - '0') * unit;
	*ret_ns = ns;
	return text;
}

int go_time_parse(const char *text, struct timespec *ret_time)
{
	struct tm tm = {0};
	int used = 0, hours, minutes;
	long ns = 0, offset = 0;

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) != 6)
		return -EBADMSG;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	text = parse_fraction(text + used, &ns);
	if (*text == '+' || *text == '-') {
		if (sscanf(text + 1, "%2d:%2d", &hours, &minutes) != 2)
			return -EBADMSG;
		offset = (hours * 60L + minutes) * 60 * (*text == '-' ? -1 : 1);
	} else if (strcmp(text, "Z") != 0) {
		return -EBADMSG;
	}
	*ret_time = (struct timespec){.tv_sec = timegm(&tm) - offset, .tv_nsec = ns};
	return 0;
}
