#include "lib/transfer/archive_path.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/format/key.h"

char *archive_path_plain(const char *path, bool is_link_target, const char **ret_why, bool *ret_is_cut)
{
	char *plain = xmalloc(strlen(path) + 1), *out = plain;
	const char *at = path + strspn(path, "/");

	*ret_why = !*path ? "its name is empty" : NULL;
	*ret_is_cut = at > path;
	while (*at && !*ret_why) {
		size_t len = strcspn(at, "/");

		if (len == 2 && memcmp(at, "..", 2) == 0) {
			*ret_why = is_link_target ? NULL : "its name leads up (..)";
			out = plain;
		} else if (len > NAME_LEN_MAX) {
			*ret_why = "its name is too long";
		} else if (!(len == 1 && *at == '.')) {
			if (out > plain)
				*out++ = '/';
			memcpy(out, at, len);
			out += len;
		}
		at += len;
		at += strspn(at, "/");
	}
	*out = '\0';
	if (*ret_why) {
		free(plain);
		return NULL;
	}
	return plain;
}
