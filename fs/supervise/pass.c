#include "fs/supervise/pass.h"

#include <unistd.h>

#include "lib/base/fds.h"

_Static_assert(PASS_FDS_MAX == FDS_MAX, "all of them travel at once");

struct head {
	uint32_t what, number;
};

int pass_send(int socket, const struct pass *pass)
{
	const struct head head = {pass->what, pass->number};
	const ssize_t sent = fds_send(socket, &head, sizeof(head), pass->fds, pass->count, NULL, 0);

	return sent < 0 ? (int)sent : 0;
}

int pass_receive(int socket, struct pass *ret_pass)
{
	struct pass pass = {.fds = {-1, -1, -1}};
	struct head head;
	size_t count;
	const ssize_t got = fds_receive(socket, &head, sizeof(head), pass.fds, &count);

	if (got < 0)
		return (int)got;
	if (got != sizeof(head)) {
		while (count > 0)
			close(pass.fds[--count]);
		return 0;
	}
	pass.count = (uint32_t)count;
	pass.what = head.what;
	pass.number = head.number;
	*ret_pass = pass;
	return 1;
}
