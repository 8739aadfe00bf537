#include "fs/daemon/process/behind.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define BACKLOG 16

/* The first byte of an abstract name is 0. */
static socklen_t name_socket(unsigned minor, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
	                   (size_t)snprintf(ret_address->sun_path + 1, sizeof(ret_address->sun_path) - 1, "corpusfs-mount-%u", minor));
}

int behind_listen(unsigned minor)
{
	struct sockaddr_un address;
	const socklen_t len = name_socket(minor, &address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r = fd < 0 ? -errno : 0;

	if (r == 0 && (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, BACKLOG) < 0))
		r = -errno;
	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

int behind_connect(unsigned minor, uid_t mounted_by, pid_t *ret_pid)
{
	struct sockaddr_un address;
	const socklen_t len = name_socket(minor, &address);
	/* It is not waited for room among those who wait. */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r = fd < 0 ? -errno : 0;
	struct ucred who = {0};
	socklen_t who_len = sizeof(who);

	if (r == 0 && (connect(fd, (struct sockaddr *)&address, len) < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &who_len) < 0))
		r = -errno;
	else if (r == 0 && who.uid != mounted_by)
		r = -EPERM;
	if (r < 0 && fd >= 0)
		close(fd);
	if (r == 0)
		*ret_pid = who.pid;
	return r < 0 ? r : fd;
}

bool behind_wait(int fd, int ms)
{
	const uint64_t until = clock_ms() + (uint64_t)ms;
	int r;

	do
		r = poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, (int)(until - MIN(clock_ms(), until)));
	while (r < 0 && errno == EINTR);
	return r == 1;
}
