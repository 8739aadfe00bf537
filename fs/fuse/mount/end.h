/* The end of a mount's session. */
#ifndef CORPUSFS_FUSE_MOUNT_END_H
#define CORPUSFS_FUSE_MOUNT_END_H

/* For session_options.ended, with the mount: everything that it had accepted is committed, on a thread of its own, and then the group told. */
void mount_session_ended(void *mount);

#endif
