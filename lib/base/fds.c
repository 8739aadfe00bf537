#include "lib/base/fds.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

ssize_t fds_send(int socket, const void *data, size_t len, const int *fds, size_t count, const struct sockaddr *to, size_t to_len)
{
	union control control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof(int))}};
	struct iovec piece = {.iov_base = (void *)data, .iov_len = len};
	struct msghdr message = {.msg_name = (void *)to, .msg_namelen = (socklen_t)to_len, .msg_iov = &piece, .msg_iovlen = 1};
	ssize_t sent;

	if (count > FDS_MAX)
		return -EINVAL;
	if (count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	}
	do
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

/* The buffer has room for one more than we take, as its size is rounded up. */
static void take(const struct cmsghdr *part, int fds[FDS_MAX], size_t *count)
{
	const size_t found = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < found; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
		if (*count < FDS_MAX)
			fds[(*count)++] = fd;
		else
			close(fd);
	}
}

ssize_t fds_receive(int socket, void *data, size_t len, int ret_fds[FDS_MAX], size_t *ret_count)
{
	union control control;
	struct iovec piece = {.iov_base = data, .iov_len = len};
	struct msghdr message = {
		.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	ssize_t got;

	*ret_count = 0;
	do
		got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part))
		if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
			take(part, ret_fds, ret_count);
	return got;
}
