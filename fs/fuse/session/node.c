#include "fs/fuse/session/node.h"

#include "lib/format/key.h"

#define VIEW_SHIFT 40
#define SNAPSHOTS_BIT (1ULL << 39)

uint32_t node_root_view(const struct node_root *root)
{
	return root->snapshot ? root->snapshot : head_views_get(root->heads, root->dataset);
}

bool node_is_root_of_head(uint64_t id, const struct node_root *root)
{
	return id == NODE_MOUNT_ROOT ? root->dataset != 0 : (id & ~INO_MAX) == 0;
}

struct node node_decode(uint64_t id, const struct node_root *root)
{
	struct node node = {.kind = id & SNAPSHOTS_BIT ? NODE_SNAPSHOTS : NODE_FILE, .view = (uint32_t)(id >> VIEW_SHIFT), .ino = id & INO_MAX};
	const uint64_t dataset = node.ino - 1;

	if (id == NODE_MOUNT_ROOT && !root->dataset && !root->snapshot)
		return (struct node){.kind = NODE_DATASETS, .ino = ROOT_INO};
	if (node.view)
		return node;
	if (id == NODE_MOUNT_ROOT)
		node.view = node_root_view(root);
	else
		node.view = dataset <= UINT32_MAX ? head_views_get(root->heads, (uint32_t)dataset) : 0;
	node.ino = ROOT_INO;
	return node;
}

static uint64_t encode(uint32_t view, uint64_t ino, bool snapshots)
{
	return ((uint64_t)view << VIEW_SHIFT) | (snapshots ? SNAPSHOTS_BIT : 0) | (ino & INO_MAX);
}

uint64_t node_encode_in_view(struct node node)
{
	return encode(node.view, node.ino, node.kind == NODE_SNAPSHOTS);
}

uint64_t node_encode_missing(uint32_t view, uint64_t ino)
{
	return encode(view, ino, true);
}

bool node_is_missing(struct node node)
{
	return node.kind == NODE_SNAPSHOTS && node.ino != ROOT_INO;
}

uint64_t node_encode(struct node node, const struct node_root *root)
{
	const uint32_t dataset = node.ino == ROOT_INO ? head_views_dataset(root->heads, node.view) : 0;
	const bool is_root = node.ino == ROOT_INO && (dataset ? dataset == root->dataset : node.view == root->snapshot);

	if (node.kind == NODE_DATASETS || (node.kind == NODE_FILE && is_root))
		return NODE_MOUNT_ROOT;
	return dataset ? encode(0, dataset + 1ULL, node.kind == NODE_SNAPSHOTS) : node_encode_in_view(node);
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
