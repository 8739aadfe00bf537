#include "lib/base/path.h"

#include <string.h>

#include "lib/base/buf.h"

char *path_clean(const char *path)
{
	struct buf clean = BUF_INIT;

	buf_reserve(&clean, strlen(path) + 1);
	for (const char *at = path; *at;) {
		size_t len = strcspn(at, "/");
		if (len > 0 && clean.len > 0)
			buf_add_u8(&clean, '/');
		buf_add(&clean, at, len);
		at += len + (at[len] == '/');
	}
	buf_add_u8(&clean, 0);
	return (char *)clean.data;
}

bool path_is_below(const char *path, const char *above)
{
	size_t len = strlen(above);

	return strncmp(path, above, len) == 0 && (len == 0 || path[len] == '\0' || path[len] == '/');
}
