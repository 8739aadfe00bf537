/* Exports to a directory: one thread walks the view and makes the directories, the others write files into them. */
#ifndef CORPUSFS_TRANSFER_EXPORT_TREE_H
#define CORPUSFS_TRANSFER_EXPORT_TREE_H

#include "lib/transfer/export_parts.h"

WARN_UNUSED int export_tree(struct export *export, struct error *err);

#endif
