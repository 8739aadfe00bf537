#include "fs/fuse/freeze/lost.h"

#include <uthash.h>

#include "lib/base/buf.h"

struct lost_file {
	uint64_t node;
	int error;
	bool snapshot_told;
	UT_hash_handle hh;
};

void lost_init(struct lost *lost)
{
	*lost = (struct lost){0};
	pthread_mutex_init(&lost->lock, NULL);
}

void lost_keep(struct lost *lost, _Atomic int *kept)
{
	const int error = atomic_load(kept);

	lost->kept = kept;
	/* of which files, the log says */
	if (error)
		(void)lost_note(lost, NODE_MOUNT_ROOT, error);
}

static void drop(struct lost *lost, struct lost_file *file)
{
	HASH_DEL(lost->by_node, file);
	free(file);
}

void lost_clear(struct lost *lost)
{
	struct lost_file *file, *next;

	HASH_ITER (hh, lost->by_node, file, next)
		drop(lost, file);
	pthread_mutex_destroy(&lost->lock);
}

bool lost_note(struct lost *lost, uint64_t node, int error)
{
	struct lost_file *file;
	bool is_new;

	pthread_mutex_lock(&lost->lock);
	HASH_FIND(hh, lost->by_node, &node, sizeof(node), file);
	is_new = !file;
	if (!file) {
		file = xcalloc(1, sizeof(*file));
		file->node = node;
		file->error = error;
		HASH_ADD(hh, lost->by_node, node, sizeof(file->node), file);
	}
	file->snapshot_told = false;
	if (lost->kept)
		atomic_store(lost->kept, error);
	pthread_mutex_unlock(&lost->lock);
	return is_new;
}

void lost_tell(struct lost *lost, enum lost_asker asker, uint32_t view, const struct node_root *root, struct lost_told *told)
{
	struct lost_file *file, *next;

	pthread_mutex_lock(&lost->lock);
	HASH_ITER (hh, lost->by_node, file, next) {
		const struct node noted = node_decode(file->node, root); /* view 0: any, of the mount of a whole store */

		if ((view && noted.view && noted.view != view) || (asker == LOST_SNAPSHOT && file->snapshot_told))
			continue;
		if (!told->error)
			*told = (struct lost_told){.error = file->error, .file = noted};
		if (asker == LOST_SNAPSHOT)
			file->snapshot_told = true;
		else if (asker == LOST_SYNC)
			drop(lost, file);
	}
	if (lost->kept && !lost->by_node)
		atomic_store(lost->kept, 0);
	pthread_mutex_unlock(&lost->lock);
}
