#include "lib/base/escape.h"

#include <string.h>

#include "lib/base/utf8.h"

#define ESCAPE_LEN 4 /* \xNN */

static int digit_of(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool is_escape(const unsigned char *at, size_t left)
{
	return left >= ESCAPE_LEN && at[0] == '\\' && at[1] == 'x' && digit_of(at[2]) >= 0 && digit_of(at[3]) >= 0;
}

void escape_add(struct buf *out, const char *bytes, size_t len, unsigned flags)
{
	const unsigned char *at = (const unsigned char *)bytes, *end = at + len;

	buf_reserve(out, len + 1);
	while (at < end) {
		uint32_t character = 0;
		size_t step = utf8_character((const char *)at, (size_t)(end - at), &character);
		bool escaped = step == 0 ? (flags & ESCAPE_BYTES) != 0
		                         : ((flags & ESCAPE_CONTROL) && utf8_is_control(character)) ||
		                                   ((flags & ESCAPE_BYTES) && is_escape(at, (size_t)(end - at)));
		step = MAX(step, 1U);
		for (size_t i = 0; i < step && escaped; i++)
			buf_addf(out, "\\x%02x", at[i]);
		if (!escaped)
			buf_add(out, at, step);
		at += step;
	}
	buf_addf(out, "%s", "");
}

char *escape_text(const char *bytes, unsigned flags)
{
	struct buf out = BUF_INIT;

	escape_add(&out, bytes, strlen(bytes), flags);
	return (char *)out.data;
}

void unescape_add(struct buf *out, const char *text, size_t len)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + len;

	buf_reserve(out, len + 1);
	while (at < end) {
		bool escaped = is_escape(at, (size_t)(end - at));
		buf_add_u8(out, escaped ? (uint8_t)(digit_of(at[2]) << 4 | digit_of(at[3])) : *at);
		at += escaped ? ESCAPE_LEN : 1;
	}
	buf_addf(out, "%s", "");
}
