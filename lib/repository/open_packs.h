/*
 * Packs of a directory that are kept open, for who reads many blobs of few packs. At most OPEN_PACKS; the one that was not used for longest gives way.
 *
 *   open_packs_take -> reading the descriptor -> open_packs_give
 *
 * Threads: any. A pack never changes, so what is open is what its name says, also when somebody has removed it meanwhile.
 */
#ifndef CORPUSFS_REPOSITORY_OPEN_PACKS_H
#define CORPUSFS_REPOSITORY_OPEN_PACKS_H

#include "lib/base/clean.h"

#define OPEN_PACKS 32

struct open_packs;

struct open_packs *open_packs_new(void);
void open_packs_free(struct open_packs *packs); /* all were given back; NULL is fine */

/* The descriptor of the pack, or `open`'s -errno. */
WARN_UNUSED int open_packs_take(struct open_packs *packs, const char *name, int (*open)(void *arg, const char *name), void *arg);
void open_packs_give(struct open_packs *packs, int fd);
/* It is going to be removed: nobody is given it any more without its being opened again. */
void open_packs_forget(struct open_packs *packs, const char *name);

#endif
