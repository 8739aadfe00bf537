#include "lib/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *error, int code, const char *format, ...)
{
	va_list args;

	if (!error)
		return code;
	error->code = code;
	error->hint[0] = '\0';
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return code;
}

void error_hint(struct error *error, const char *format, ...)
{
	va_list args;

	if (!error)
		return;
	va_start(args, format);
	vsnprintf(error->hint, sizeof(error->hint), format, args);
	va_end(args);
}

/* -EBADMSG is the library's word for damage; the system's words for it say something else. */
const char *error_text(int code)
{
	return code == -EBADMSG ? "what is stored there is damaged" : strerror(code < 0 ? -code : code);
}

int error_default(struct error *error, int code, const char *format, ...)
{
	char what[ERROR_TEXT_MAX / 2];
	va_list args;

	if (!error || error->code)
		return code;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return error_set(error, code, "%s: %s", what, error_text(code));
}
