#include "fs/supervise/pass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct head {
	uint32_t what, number;
};

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(PASS_FDS_MAX * sizeof(int))];
};

int pass_send(int socket, const struct pass *pass)
{
	struct head head = {pass->what, pass->number};
	union control control = {.bytes = {0}};
	struct iovec iov = {.iov_base = &head, .iov_len = sizeof(head)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	if (pass->count > 0) {
		struct cmsghdr *part = &control.align;

		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(pass->count * sizeof(int));
		part->cmsg_level = SOL_SOCKET;
		part->cmsg_type = SCM_RIGHTS;
		part->cmsg_len = CMSG_LEN(pass->count * sizeof(int));
		memcpy(CMSG_DATA(part), pass->fds, pass->count * sizeof(int));
	}
	do
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* The buffer has room for one more than we take, as its size is rounded up. */
static void take_fds(const struct cmsghdr *part, struct pass *pass)
{
	const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
		if (pass->count < PASS_FDS_MAX)
			pass->fds[pass->count++] = fd;
		else
			close(fd);
	}
}

int pass_receive(int socket, struct pass *ret_pass)
{
	struct head head;
	union control control;
	struct iovec iov = {.iov_base = &head, .iov_len = sizeof(head)};
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	struct pass pass = {.fds = {-1, -1, -1}};
	ssize_t got;

	do
		got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		take_fds(part, &pass);
	}
	if (got != sizeof(head))
		return 0;
	pass.what = head.what;
	pass.number = head.number;
	*ret_pass = pass;
	return 1;
}
