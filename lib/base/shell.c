#include "lib/base/shell.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "lib/base/utf8.h"

static bool is_plain(const char *word)
{
	if (!*word || *word == '~')
		return false;
	for (const char *at = word; *at; at++)
		if (!isalnum((unsigned char)*at) && !strchr("_-./:@%+,=~", *at) && !((unsigned char)*at & 0x80))
			return false;
	return utf8_is_valid(word);
}

/* How many bytes may stand there as they are. */
static size_t character(const char *at)
{
	uint32_t found;
	size_t len = utf8_character(at, strlen(at), &found);

	return len > 0 && !utf8_is_control(found) ? len : 0;
}

static bool needs_escapes(const char *word)
{
	for (size_t len; *word; word += len) {
		len = character(word);
		if (len == 0)
			return true;
	}
	return false;
}

/* Octal: who prints a message escapes what looks like \xNN (escape.h). */
void shell_add(struct buf *out, const char *word)
{
	const bool has_escapes = needs_escapes(word);
	size_t len;

	if (is_plain(word) && !has_escapes) {
		buf_addf(out, "%s", word);
		return;
	}
	buf_addf(out, has_escapes ? "$'" : "'");
	for (; *word; word += MAX(len, 1U)) {
		len = character(word);
		if (len == 0)
			buf_addf(out, "\\%03o", (unsigned char)*word);
		else if (has_escapes && (*word == '\'' || *word == '\\'))
			buf_addf(out, "\\%c", *word);
		else if (*word == '\'')
			buf_addf(out, "'\\''");
		else
			buf_addf(out, "%.*s", (int)len, word);
	}
	buf_addf(out, "'");
}

static char *text_of(const char *format, va_list arguments)
{
	struct buf text = BUF_INIT;

	for (const char *at = format; *at; at++) {
		if (at[0] == '%') {
			assert(at[1] == 's');
			shell_add(&text, va_arg(arguments, const char *));
			at++;
		} else {
			buf_addf(&text, "%c", *at);
		}
	}
	buf_add_u8(&text, 0);
	return (char *)text.data;
}

char *shell_text(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *text = text_of(format, arguments);
	va_end(arguments);
	return text;
}

void error_hint_shell(struct error *error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	AUTO_FREE char *text = text_of(format, arguments);
	va_end(arguments);
	error_hint(error, "%s", text);
}
