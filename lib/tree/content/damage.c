#include "lib/tree/content/damage.h"

#include "lib/tree/inodes/extent_cache.h"

void damage_tell(struct inode *inode, uint64_t offset, size_t len)
{
	struct tree *tree = inode->view->tree;
	struct extent_list list = {0};
	bool is_inline, is_told;
	int result;

	if (!tree->options.damaged)
		return;
	mutex_take(&inode->lock);
	is_inline = inode->record.is_inline;
	is_told = inode->damage_told;
	inode->damage_told = is_told || is_inline;
	result = is_inline ? -ENOENT : extent_cache_load(inode, offset, offset + len, &list);
	mutex_give(&inode->lock);
	/* the content of a small file stands in a record, of which the list of damage knows nothing */
	if (is_inline && !is_told)
		tree->options.damaged(tree->options.damaged_arg, inode->view, inode->ino, 0, CHUNK_NONE);
	for (size_t i = 0; i < list.count && result == 0; i++) {
		const struct extent *extent = &list.items[i];
		if (extent->record.chunk != CHUNK_NONE && chunks_verify(tree->chunks, extent->record.chunk) < 0 &&
		    chunks_tell_damage(tree->chunks, extent->record.chunk))
			tree->options.damaged(tree->options.damaged_arg, inode->view, inode->ino, extent->offset, extent->record.chunk);
	}
	array_clear(&list);
}
