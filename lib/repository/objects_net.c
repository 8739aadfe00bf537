#include "lib/repository/objects_net.h"

#include <errno.h>

int objects_net_result(int result, const struct http_answer *answer)
{
	return result < 0 ? result : http_errno(answer->status);
}

int objects_net_size(int result, struct http_answer *answer, uint64_t *ret_size)
{
	result = objects_net_result(result, answer);
	buf_clear(&answer->body);
	if (result == 0 && answer->content_length < 0)
		return -EIO;
	*ret_size = result == 0 ? (uint64_t)answer->content_length : 0;
	return result;
}

int objects_net_clock(int result, struct http_answer *answer, struct timespec *ret_now)
{
	buf_clear(&answer->body);
	if (result == 0 && answer->date == 0)
		return -ENODATA;
	*ret_now = (struct timespec){.tv_sec = result == 0 ? (time_t)answer->date : 0};
	return result;
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
