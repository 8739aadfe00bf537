#include "lib/identity/node.h"

#include <errno.h>
#include <sys/stat.h>

#include "lib/identity/node_bytes.h"
#include "lib/tree/records/readers.h"

static int regular_node(struct node_source *source, const struct scan_inode *inode, const struct digest_record *old, uint64_t old_epoch,
			unsigned flags, struct digest *digest, struct digest_record *out)
{
	unsigned turn = readers_enter(source->scan.tree);
	int result = file_content_digest(source, inode, old, old_epoch, flags, digest, out);

	readers_leave(source->scan.tree, turn);
	if (result < 0)
		return result;
	node_add_regular(digest, inode->record.mode, inode->record.size, out->content);
	return 0;
}

static int compute(struct node_source *source, const struct scan_inode *inode, const struct digest_record *old, uint64_t old_epoch,
		   unsigned flags, struct digest_record *out)
{
	const struct inode_record *record = &inode->record;
	struct digest *digest = digest_new();
	int result = 0;

	if (S_ISREG(record->mode))
		result = regular_node(source, inode, old, old_epoch, flags, digest, out);
	else if (S_ISLNK(record->mode))
		node_add_symlink(digest, record->target, record->target_len);
	else
		node_add_special(digest, record->mode, record->rdev);
	if (result == 0)
		digest_final(digest, out->node);
	digest_free(digest);
	return result;
}

int node_compute(struct node_source *source, uint64_t ino, const struct digest_record *old, uint64_t old_epoch, unsigned flags,
		 struct node *ret_node)
{
	struct scan_inode inode;
	struct node node = {0};
	int result = scan_inode(&source->scan, ino, &inode);

	if (result < 0)
		return result;
	node.epoch = inode.epoch;
	node.mode = inode.record.mode;
	node.nlink = inode.record.nlink;
	if (S_ISDIR(node.mode))
		result = -EISDIR;
	else if (old && old_epoch == node.epoch)
		node.digest = *old;
	else
		result = compute(source, &inode, old, old_epoch, flags, &node.digest);
	scan_inode_clear(&inode);
	if (result == 0)
		*ret_node = node;
	return result;
}
