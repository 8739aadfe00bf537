#include "lib/transfer/target_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

static bool is_in_user_space(int dir)
{
	struct statfs st;

	return fstatfs(dir, &st) == 0 && st.f_type == FUSE_SUPER_MAGIC;
}

/* Without a descriptor of its own it cannot be synced at the end: then one by one. */
bool target_sync_meet(struct target_sync *sync, int dir)
{
	struct target_disk disk = {.fd = -1};
	struct stat st;

	if (fstat(dir, &st) < 0)
		return true;
	for (size_t i = 0; i < sync->disks.count; i++)
		if (sync->disks.items[i].dev == st.st_dev)
			return sync->disks.items[i].by_file;
	disk.dev = st.st_dev;
	disk.by_file = is_in_user_space(dir);
	if (!disk.by_file) {
		disk.fd = fcntl(dir, F_DUPFD_CLOEXEC, 3);
		disk.by_file = disk.fd < 0;
	}
	array_add(&sync->disks, disk);
	return disk.by_file;
}

int target_sync_all(struct target_sync *sync)
{
	int r = 0;

	for (size_t i = 0; i < sync->disks.count && r == 0; i++)
		if (!sync->disks.items[i].by_file && syncfs(sync->disks.items[i].fd) < 0)
			r = -errno;
	return r;
}

void target_sync_clear(struct target_sync *sync)
{
	for (size_t i = 0; i < sync->disks.count; i++)
		if (sync->disks.items[i].fd >= 0)
			close(sync->disks.items[i].fd);
	array_clear(&sync->disks);
}
