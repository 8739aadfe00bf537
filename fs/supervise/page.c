#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/supervise/supervisor.h"

int supervisor_page_new(struct supervisor_page **ret_page, int *ret_fd)
{
	int fd = memfd_create("corpusfs-supervisor", MFD_CLOEXEC);
	struct supervisor_page *page;

	if (fd < 0 || ftruncate(fd, sizeof(*page)) < 0)
		return -errno;
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (page == MAP_FAILED) {
		close(fd);
		return -ENOMEM;
	}
	page->magic = SUPERVISOR_MAGIC;
	page->heritage = SUPERVISOR_HERITAGE;
	page->lock_fd = page->journal_fd = -1;
	*ret_page = page;
	*ret_fd = fd;
	return 0;
}
