#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/supervise/supervisor.h"

int supervisor_page_new(struct supervisor_page **ret_page, int *ret_fd)
{
	int fd = memfd_create("corpusfs-supervisor", MFD_CLOEXEC);
	struct supervisor_page *page;

	if (fd < 0 || ftruncate(fd, sizeof(*page)) < 0)
		return -errno;
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED) {
		close(fd);
		return -ENOMEM;
	}
	/* all that the supervisor uses is there from the start; older kernels (before Linux 5.14) bring it when it is used */
	(void)!madvise(page, offsetof(struct supervisor_page, untold), MADV_POPULATE_WRITE);
	page->magic = SUPERVISOR_MAGIC;
	page->heritage = SUPERVISOR_HERITAGE;
	page->lock_fd = page->journal_fd = -1;
	*ret_page = page;
	*ret_fd = fd;
	return 0;
}
