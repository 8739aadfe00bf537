#include "fs/fuse/session/node.h"

#include "lib/format/key.h"

#define VIEW_SHIFT 40
#define SNAPSHOTS_BIT (1ULL << 39)

struct node node_decode(uint64_t id, uint32_t root_view)
{
	if (id == NODE_MOUNT_ROOT && !root_view)
		return (struct node){.kind = NODE_DATASETS, .ino = ROOT_INO};
	if (id == NODE_MOUNT_ROOT)
		return (struct node){.kind = NODE_FILE, .view = root_view, .ino = ROOT_INO};
	return (struct node){.kind = id & SNAPSHOTS_BIT ? NODE_SNAPSHOTS : NODE_FILE,
	                     .view = (uint32_t)(id >> VIEW_SHIFT),
	                     .ino = id & INO_MAX};
}

static uint64_t encode(uint32_t view, uint64_t ino, bool snapshots)
{
	return ((uint64_t)view << VIEW_SHIFT) | (snapshots ? SNAPSHOTS_BIT : 0) | (ino & INO_MAX);
}

uint64_t node_encode(struct node node, uint32_t root_view)
{
	if (node.kind == NODE_DATASETS || (node.kind == NODE_FILE && node.ino == ROOT_INO && node.view == root_view))
		return NODE_MOUNT_ROOT;
	return encode(node.view, node.ino, node.kind == NODE_SNAPSHOTS);
}

static uint32_t reverse(uint32_t bits)
{
	uint32_t reversed = 0;

	for (int i = 0; i < 32; i++, bits >>= 1)
		reversed = reversed << 1 | (bits & 1);
	return reversed;
}

uint64_t node_number(uint32_t view, uint64_t ino, bool snapshots)
{
	return encode(view, ino, snapshots) ^ reverse(view);
}
