#include "fs/fuse/notify/lost_changes.h"

#include "fs/supervise/untold.h"
#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/store/datasets.h"

struct head {
	uint32_t view;
	uint64_t end; /* above its inodes */
};

struct lost_changes {
	struct store *store;
	const struct untold *untold;
	ARRAY(struct head) heads;
	size_t head; /* where it goes on */
	uint64_t ino;
};

/* Where the family's record cannot be read, the head cannot be opened, so nobody would be answered from it. */
static int add_head(void *arg, const struct dataset_info *info)
{
	struct lost_changes *lost = arg;
	struct head head = {.view = info->view};

	if (!family_ino_end(store_tree(lost->store), info->family, &head.end))
		array_add(&lost->heads, head);
	return 0;
}

struct lost_changes *lost_changes_new(struct store *store, const struct untold *untold)
{
	struct lost_changes *lost = xcalloc(1, sizeof(*lost));

	*lost = (struct lost_changes){.store = store, .untold = untold, .ino = ROOT_INO};
	(void)!dataset_list(store, add_head, lost);
	return lost;
}

void lost_changes_free(struct lost_changes *lost)
{
	if (!lost)
		return;
	array_clear(&lost->heads);
	free(lost);
}

bool lost_changes_next(struct lost_changes *lost, struct lost_inode *ret_inode)
{
	for (; lost->head < lost->heads.count; lost->head++, lost->ino = ROOT_INO) {
		const struct head *head = &lost->heads.items[lost->head];
		const uint64_t ino = untold_next_lost(lost->untold, head->view, lost->ino, head->end);

		if (ino < head->end) {
			*ret_inode = (struct lost_inode){.view = head->view, .ino = ino};
			lost->ino = ino + 1;
			return true;
		}
	}
	return false;
}
