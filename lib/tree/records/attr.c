#include "lib/tree/records/attr.h"

struct attr attr_of_record(uint64_t ino, const struct inode_record *record)
{
	return (struct attr){
		.ino = ino,
		.mode = record->mode,
		.uid = record->uid,
		.gid = record->gid,
		.nlink = record->nlink,
		.size = record->size,
		.allocated = record->allocated,
		.rdev = record->rdev,
		.atime = record->atime,
		.mtime = record->mtime,
		.ctime = record->ctime,
		.btime = record->btime,
	};
}
