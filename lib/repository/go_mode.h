/* Modes as Go has them (os.FileMode): the type and set-id bits stand elsewhere than in st_mode. Pure; any thread. */
#ifndef CORPUSFS_REPOSITORY_GO_MODE_H
#define CORPUSFS_REPOSITORY_GO_MODE_H

#include <stdint.h>

uint32_t go_mode_of(uint32_t st_mode);
/* Without a type when neither the text nor the mode says one that we know. */
uint32_t go_mode_to_st(uint32_t go_mode, const char *type);
const char *go_type_of(uint32_t st_mode); /* "file", "dir", "symlink", "dev", "chardev", "fifo", "socket" */

#endif
