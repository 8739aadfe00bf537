/*
 * The tree of a view becomes trees of a repository. One thread walks the view and lists each directory's names; others make blobs of files. A
 * directory's tree is written by whoever is done last with what is in it:
 *
 *   a directory's `pending` counts the walk, while it is in there, each file that is not done, and each directory below that is not written;
 *   who brings it to zero writes the tree, sets its id in the parent's list, and counts the parent down.
 *
 * So nobody waits for anybody, and a node is written by one thread only: the walk makes it, a maker fills it in, and the last one reads it.
 */
#ifndef CORPUSFS_BACKUP_BACKUP_TREE_H
#define CORPUSFS_BACKUP_BACKUP_TREE_H

#include "lib/backup/backup_base.h"

struct backup_tree {
	struct transfer *transfer;
	struct store *store;
	struct view *view;
	struct repository *repository;
	struct repository_writer *writer;
	struct backup_base *base;
	struct entry_list *exact, *large;
	struct entry_list *left_out; /* paths of problems */
	bool fills_holes; /* with zeros, however many that are */
	const char *place; /* what messages call the repository */
	bool notes_contents; /* of files that are read, for the identity */
	struct node *top;  /* out: the node of the dataset's root, without a name; the caller's to clear */
};

/*
 * What could not be read is a problem (transfer.h), and is left out: the next backup looks for it, whatever it takes over. What could not be written is
 * the transfer's failure.
 */
void backup_tree_run(struct backup_tree *tree);

#endif
