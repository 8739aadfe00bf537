/* Which libfuse this program runs with. Any thread. */
#ifndef CORPUSFS_FUSE_SESSION_LIBFUSE_H
#define CORPUSFS_FUSE_SESSION_LIBFUSE_H

const char *fuse_library_version(void);

#endif
