#include "lib/store/catalog.h"
#include "lib/tree/content/tree.h"

void store_memory(struct store *store, struct memory_part ret_parts[STORE_MEMORY_PARTS])
{
	struct memory_part content = {.name = "content"};
	struct kv_memory kv;
	struct tree_usage usage;

	kv_memory(store->kv, &kv);
	chunks_memory(store->chunks, &content.bytes, &content.budget);
	tree_usage(store->tree, &usage);

	const struct memory_part parts[STORE_MEMORY_PARTS] = {
		{"metadata", kv.cache, kv.cache_budget},
		content,
		{"changes", kv.memtables, kv.memtables_budget},
		{"write_buffer", usage.buffer_bytes, usage.buffer_budget},
		{"inodes", usage.inode_bytes, usage.inode_budget},
		{"tables", kv.tables, 0},
	};

	memcpy(ret_parts, parts, sizeof(parts));
}
