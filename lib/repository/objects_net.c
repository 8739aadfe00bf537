#include "lib/repository/objects_net.h"

#include <errno.h>

const char *objects_folder(enum object_kind kind)
{
	static const char *const folders[OBJECT_KINDS] = {
		[OBJECT_CONFIG] = "", [OBJECT_KEY] = "keys", [OBJECT_SNAPSHOT] = "snapshots",
		[OBJECT_INDEX] = "index", [OBJECT_PACK] = "data", [OBJECT_LOCK] = "locks",
	};

	return folders[kind];
}

int objects_net_result(int result, const struct http_answer *answer)
{
	return result < 0 ? result : http_errno(answer->status);
}

int objects_net_problem(const char *url, int result, const struct http_answer *answer, const char *what, struct error *err)
{
	if (result < 0)
		return error_set(err, result, "%s cannot be reached: %s", url, answer->problem);
	result = http_errno(answer->status);
	if (!what)
		what = answer->status == 401 || answer->status == 403 ? "the server does not permit it" : "the server's answer is not understood";
	return error_set(err, result < 0 ? result : -EPROTO, "%s: %s (HTTP status %ld)", url, what, answer->status);
}
