#include "fs/cli/say.h"

#include <stdarg.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/escape.h"

static void say_all(FILE *out, const char *format, va_list args)
{
	AUTO_FREE char *text = NULL;
	AUTO_BUF shown = BUF_INIT;

	if (vasprintf(&text, format, args) < 0)
		abort();
	for (const char *line = text; *line;) {
		const size_t len = strcspn(line, "\n");

		escape_add(&shown, line, len, ESCAPE_CONTROL);
		line += len;
		if (*line == '\n') {
			buf_add_u8(&shown, '\n');
			line++;
		}
	}
	(void)!fwrite(shown.data, 1, shown.len, out);
}

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_all(stdout, format, args);
	va_end(args);
}

void say_to(FILE *out, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_all(out, format, args);
	va_end(args);
}
