#include "lib/backup/backup_node.h"

#include <sys/stat.h>

void backup_node_fill(struct node *node, const struct attr *attr)
{
	node->mode = attr->mode;
	node->uid = attr->uid;
	node->gid = attr->gid;
	node->inode = attr->ino;
	node->device_id = 1;
	node->links = S_ISDIR(attr->mode) ? 0 : attr->nlink;
	node->size = S_ISREG(attr->mode) ? attr->size : 0;
	node->rdev = S_ISBLK(attr->mode) || S_ISCHR(attr->mode) ? attr->rdev : 0;
	node->mtime = attr->mtime;
	node->atime = attr->atime;
	node->ctime = attr->ctime;
}

int backup_node_load_xattrs(struct view *view, uint64_t ino, struct node *node)
{
	AUTO_BUF list = BUF_INIT;
	int r = view_xattr_list(view, ino, &list);

	for (size_t at = 0; r == 0 && at < list.len; at += strlen((char *)list.data + at) + 1) {
		const char *name = (const char *)list.data + at;
		AUTO_BUF value = BUF_INIT;

		r = view_xattr_get(view, ino, name, &value);
		if (r < 0)
			break;
		buf_reserve(&value, 1);
		array_add(&node->xattrs, (struct node_xattr){.name = xstrdup(name), .value = value.data, .len = value.len});
		value = BUF_INIT;
	}
	return r;
}

int backup_node_load_target(struct view *view, uint64_t ino, struct node *node)
{
	AUTO_BUF target = BUF_INIT;
	int r = view_readlink(view, ino, &target);

	if (r == 0)
		node->target = (char *)steal_ptr(target.data);
	return r;
}
