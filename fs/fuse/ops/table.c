#include "fs/fuse/ops/table.h"

#include "fs/fuse/group/mount_group.h"
#include "fs/fuse/ops/ops.h"

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	const struct mount *mount = userdata;
	unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO | FUSE_CAP_ATOMIC_O_TRUNC |
	                FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_READDIRPLUS | FUSE_CAP_CACHE_SYMLINKS;

	/* Splicing pays only above the sizes that arrive here, and the gate needs requests in memory. */
	want |= mount->read_only ? FUSE_CAP_AUTO_INVAL_DATA : FUSE_CAP_EXPLICIT_INVAL_DATA;
	/* snapshots.c wants to know which mode a caller asked for */
	want |= FUSE_CAP_DONT_MASK;
	if (mount->options.acl)
		want |= FUSE_CAP_POSIX_ACL;
	conn->want = want & conn->capable;
	conn->max_write = SESSION_TRANSFER_MAX;
	conn->max_readahead = 16U << 20;
	/* Reads that wait at the gate count as background requests, and write-back must never wait for them. */
	conn->max_background = 1024;
	conn->congestion_threshold = 768;
	conn->time_gran = 1;
}

const struct fuse_lowlevel_ops mount_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
};
