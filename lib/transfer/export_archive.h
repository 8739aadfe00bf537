/* Exports to an archive: one thread, members in the order of names, each directory before what is in it. */
#ifndef CORPUSFS_TRANSFER_EXPORT_ARCHIVE_H
#define CORPUSFS_TRANSFER_EXPORT_ARCHIVE_H

#include "lib/transfer/export_parts.h"

WARN_UNUSED int export_archive(struct export *export, struct error *err);

#endif
