#include "lib/identity/node.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/tree/records/readers.h"

static void add_u32(struct digest *digest, uint32_t value)
{
	const uint8_t bytes[] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};

	digest_update(digest, bytes, sizeof(bytes));
}

static void add_u64(struct digest *digest, uint64_t value)
{
	add_u32(digest, (uint32_t)value);
	add_u32(digest, (uint32_t)(value >> 32));
}

static void begin(struct digest *digest, const char *tag, uint32_t mode)
{
	digest_update(digest, tag, strlen(tag) + 1);
	add_u32(digest, mode & (S_IFMT | 07777));
}

void node_begin_directory(struct digest *digest, uint32_t mode)
{
	begin(digest, "corpusfs-dir", mode);
}

void node_add_entry(struct digest *digest, const char *name, size_t len, const uint8_t node[NODE_LEN])
{
	add_u32(digest, (uint32_t)len);
	digest_update(digest, name, len);
	digest_update(digest, node, NODE_LEN);
}

static int regular_node(struct node_source *source, const struct scan_inode *inode, const struct digest_record *old, uint64_t old_epoch,
			unsigned flags, struct digest *digest, struct digest_record *out)
{
	unsigned turn = readers_enter(source->scan.tree);
	int result = file_content_digest(source, inode, old, old_epoch, flags, digest, out);

	readers_leave(source->scan.tree, turn);
	if (result < 0)
		return result;
	begin(digest, "corpusfs-file", inode->record.mode);
	add_u64(digest, inode->record.size);
	digest_update(digest, out->content, NODE_LEN);
	return 0;
}

static void symlink_node(const struct inode_record *record, struct digest *digest)
{
	begin(digest, "corpusfs-symlink", S_IFLNK | 0777);
	add_u64(digest, record->target_len);
	digest_update(digest, record->target, record->target_len);
}

static void special_node(const struct inode_record *record, struct digest *digest)
{
	begin(digest, "corpusfs-special", record->mode);
	if (S_ISCHR(record->mode) || S_ISBLK(record->mode)) {
		add_u32(digest, major((dev_t)record->rdev));
		add_u32(digest, minor((dev_t)record->rdev));
	} else {
		add_u64(digest, 0);
	}
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
		symlink_node(record, digest);
	else
		special_node(record, digest);
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
