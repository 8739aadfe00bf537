#include "fs/fuse/session/adapt.h"

#include <string.h>

#include "fs/fuse/session/session.h"

bool adapt_init(uint64_t offered, uint32_t flags2, struct iovec *iov, int count)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	struct fuse_init_out *init;

	if (count < 2 || out->error || iov[1].iov_len < sizeof(*init))
		return false;
	init = iov[1].iov_base;
	init->flags |= offered & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT);
	if (flags2) {
		init->flags |= FUSE_INIT_EXT;
		init->flags2 |= flags2;
	}
	return init->flags & FUSE_HANDLE_KILLPRIV_V2;
}

/* {size, flags, setxattr_flags, padding} name value -> {size, flags} name value */
static size_t shorten_setxattr(uint64_t offered, struct fuse_in_header *in, size_t len)
{
	struct fuse_setxattr_in *arg = (struct fuse_setxattr_in *)(in + 1);
	const size_t full = sizeof(*in) + sizeof(*arg), cut = sizeof(*arg) - FUSE_COMPAT_SETXATTR_IN_SIZE;

	if (!(offered & FUSE_SETXATTR_EXT) || len < full)
		return len;
	if (arg->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID)
		arg->flags |= SESSION_XATTR_KILL_SGID;
	memmove((uint8_t *)in + full - cut, (uint8_t *)in + full, len - full);
	in->len -= cut;
	return len - cut;
}

size_t adapt_request(uint64_t offered, struct fuse_in_header *in, size_t len)
{
	void *arg = in + 1;

	if (in->opcode == FUSE_WRITE) {
		((struct fuse_write_in *)arg)->lock_owner = ((struct fuse_write_in *)arg)->write_flags;
	} else if (in->opcode == FUSE_OPEN) {
		struct fuse_open_in *open = arg;

		open->flags &= ~(uint32_t)SESSION_OPEN_KILL_PRIV;
		if (open->open_flags & FUSE_OPEN_KILL_SUIDGID)
			open->flags |= SESSION_OPEN_KILL_PRIV;
	} else if (in->opcode == FUSE_SETXATTR) {
		return shorten_setxattr(offered, in, len);
	} else if (in->opcode == FUSE_TMPFILE) {
		in->opcode = FUSE_CREATE;
	}
	return len;
}

bool adapt_is_marked(uint32_t opcode)
{
	static const uint32_t marked[] = {FUSE_SYMLINK, FUSE_MKNOD,   FUSE_MKDIR,    FUSE_UNLINK,      FUSE_RMDIR,  FUSE_RENAME,
	                                  FUSE_RENAME2, FUSE_LINK,    FUSE_CREATE,   FUSE_TMPFILE,     FUSE_SETXATTR, FUSE_REMOVEXATTR};

	for (size_t i = 0; i < ARRAY_SIZE(marked); i++)
		if (marked[i] == opcode)
			return true;
	return false;
}
