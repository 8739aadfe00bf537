/* Who writes to a repository, as key files, locks and snapshot files name him. Any thread. */
#ifndef CORPUSFS_REPOSITORY_ORIGIN_H
#define CORPUSFS_REPOSITORY_ORIGIN_H

#define ORIGIN_TEXT 256

struct origin {
	char host[ORIGIN_TEXT], user[ORIGIN_TEXT]; /* "": it has no name */
};

struct origin origin_of_process(void);

#endif
