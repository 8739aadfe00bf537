#include "lib/verify/head_records.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "lib/base/spill.h"
#include "lib/tree/records/version.h"

#define MEMORY (16U << 20) /* of each of the two maps */

struct gathering {
	struct head_inode inode; /* ino 0: none yet */
	struct spill *inodes;    /* inode -> struct head_inode */
	struct spill *names;     /* inode, directory, name -> type */
};

static int end_inode(struct gathering *gathering)
{
	AUTO_BUF key = BUF_INIT;

	if (gathering->inode.ino == 0)
		return 0;
	buf_add_be64(&key, gathering->inode.ino);
	return spill_put(gathering->inodes, key.data, key.len, &gathering->inode, sizeof(gathering->inode));
}

/* What cannot be understood counts as not there. */
static int take_record(struct gathering *gathering, const struct tree_key_parts *parts, const uint8_t *value, size_t len)
{
	struct head_inode *inode = &gathering->inode;
	AUTO_BUF key = BUF_INIT;
	struct inode_record record;
	struct extent_record extent;
	struct entry_record entry;

	if (parts->kind == KEY_INODE && inode_record_decode(value, len, &record) == 0) {
		inode->has_record = true;
		inode->mode = record.mode;
		inode->nlink = record.nlink;
		inode->parent = record.parent;
	} else if (parts->kind == KEY_EXTENT && extent_record_decode(value, len, &extent) == 0) {
		inode->extents++;
		inode->extents_end = MAX(inode->extents_end, parts->offset + extent.length);
	} else if (parts->kind == KEY_ENTRY && entry_record_decode(value, len, &entry) == 0) {
		inode->entries++;
		inode->subdirectories += entry.type == DT_DIR;
		buf_add_be64(&key, entry.ino);
		buf_add_be64(&key, parts->ino);
		buf_add(&key, parts->name, parts->name_len);
		return spill_put(gathering->names, key.data, key.len, &entry.type, sizeof(entry.type));
	}
	return 0;
}

static int gather(struct gathering *gathering, struct store *store, uint32_t family, const struct line *line)
{
	struct tree_key first = tree_prefix_family(family), end = tree_prefix_end(first);
	struct version_iter *iter = version_iter_new(store_kv(store), line, &first, &end, KV_ITER_SCAN);
	int result = 0;

	while (result == 0 && version_iter_next(iter)) {
		const struct tree_key_parts *parts = version_iter_parts(iter);
		size_t len;
		const uint8_t *value = version_iter_value(iter, &len);
		if (parts->ino != gathering->inode.ino) {
			result = end_inode(gathering);
			gathering->inode = (struct head_inode){.ino = parts->ino};
		}
		if (result == 0)
			result = take_record(gathering, parts, value, len);
	}
	if (result == 0)
		result = version_iter_status(iter);
	version_iter_free(iter);
	return result == 0 ? end_inode(gathering) : result;
}

/* Both in the order of inodes; `item` is the first name that is not dealt with. */
struct joining {
	struct spill_iter *inodes, *names;
	struct spill_item item;
	int more;
};

static int take_names(struct joining *joining, uint64_t ino, struct head_names *ret_names)
{
	struct head_names names = {0};

	while (joining->more > 0 && spill_number(joining->item.key) <= ino) {
		if (spill_number(joining->item.key) == ino) {
			names.count++;
			names.directory = spill_number(joining->item.key + sizeof(uint64_t));
			names.type = joining->item.value[0];
		}
		joining->more = spill_iter_next(joining->names, &joining->item);
	}
	*ret_names = names;
	return MIN(joining->more, 0);
}

static int join(struct gathering *gathering, head_inode_fn each, void *arg)
{
	struct joining joining = {0};
	struct spill_item item;
	int result = spill_iter_new(gathering->inodes, &joining.inodes), more = 0;

	if (result == 0)
		result = spill_iter_new(gathering->names, &joining.names);
	if (result == 0)
		joining.more = spill_iter_next(joining.names, &joining.item);
	while (result == 0 && (more = spill_iter_next(joining.inodes, &item)) > 0) {
		struct head_inode inode;
		struct head_names names;
		memcpy(&inode, item.value, sizeof(inode));
		result = take_names(&joining, inode.ino, &names);
		if (result == 0)
			result = each(arg, &inode, &names);
	}
	spill_iter_free(joining.inodes);
	spill_iter_free(joining.names);
	return result == 0 ? MIN(more, 0) : result;
}

int head_records_each(struct store *store, uint32_t family, const struct line *line, head_inode_fn each, void *arg)
{
	struct gathering gathering = {.inodes = spill_new(MEMORY), .names = spill_new(MEMORY)};
	int result = gather(&gathering, store, family, line);

	if (result == 0)
		result = join(&gathering, each, arg);
	spill_free(gathering.inodes);
	spill_free(gathering.names);
	return result;
}
