/*
 * The names of an open directory, and the memory that the names of all open directories take together.
 *
 * They are shown in the order of the inode numbers: that is the order in which files were made, so whoever reads them as listed reads the store
 * in its own order. A directory whose names do not fit into one page is shown in parts: those names whose hashes begin with the same bits, again
 * in that order, then those of the next bits. Each part is a page, and takes one pass over the directory to fill. Which part a name is in depends
 * on nothing but the name. So a name that stays is shown exactly once, whatever comes, goes and is replaced meanwhile, and who makes names while
 * listing comes to an end. (One that was shown, and is replaced before the rest of its page is read, comes again if the page was dropped.)
 *
 * A cookie says where a name stands, so a listing goes on at the right place after its page was dropped, in another handle, or after a restart:
 *
 *   depth 3 bits | part `depth` bits | inode number 40 bits | of the name's hash, 20 - `depth` bits
 *
 *   name_page_begin(page, cookie)          0: of the whole directory, or of its first part if that does not fit
 *   name_page_add(page, entry, name)       for every name, in any order
 *   name_page_end(page)
 *   for (i = name_page_find(page, cookie); i < page->list.count; i++) ...
 *   name_page_next(page)                   true: there is another part, which is begun: add all again, end, and show all of it
 *
 * All pages share a budget. Who needs more takes the page that was not read for longest. Only pages that were read a moment ago are spared, and
 * then the new one is smaller. Exceptions: a small page (NAME_PAGE_LEAST) always has its names; so has a part that was begun before in
 * another division than would be chosen now, since names would be missed; and a part of NAME_PAGE_DEPTH_MAX bits is not divided.
 *
 * Locks: page->lock is the caller's to take around all calls but name_page_init and name_page_clear; whoever needs memory only tries it.
 */
#ifndef CORPUSFS_FUSE_GROUP_NAME_PAGE_H
#define CORPUSFS_FUSE_GROUP_NAME_PAGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"

#define NAME_PAGE_MOST (48U << 20)    /* bytes of a page: a million names of usual length; of a small one, and of all together */
#define NAME_PAGE_LEAST (64U << 10)
#define NAME_PAGES_BUDGET (64U << 20)
#define NAME_PAGES_LEAST (4U << 20) /* where there is next to no memory (lib/base/memory_limit.h) */
#define NAME_PAGE_DEPTH_MAX 7
#define NAME_PAGES_RECENT_MS 2000

struct name_page;

struct name_pages {
	uint64_t budget, most; /* bytes; of a page */
	pthread_mutex_t lock;  /* guards all below, and what a page says it does */
	uint64_t bytes;
	struct name_page *oldest; /* those that have names, by when they were read last */
};

enum name_kind {
	NAME_DOT,     /* "." and "..", which come first, in the order of their places */
	NAME_VIRTUAL, /* no entry of a view */
	NAME_FILE,    /* place: the inode number */
};

struct name_entry {
	uint64_t place;  /* what names are ordered by, below 2^40 */
	uint64_t number; /* st_ino; of a NAME_FILE not set */
	enum name_kind kind;
	uint8_t type; /* DT_* */
};

struct name_item {
	uint64_t cookie;
	uint64_t number; /* as above; of a NAME_FILE its inode number */
	uint64_t name : 48; /* offset in names */
	uint64_t kind : 8, type : 8;
};

struct name_page {
	struct name_pages *pages;
	pthread_mutex_t lock; /* guards what follows */
	bool is_loaded;
	bool may_divide;     /* nothing of this part was shown in this division */
	unsigned depth, part;
	ARRAY(struct name_item) list; /* by cookie, after name_page_end */
	struct buf names;

	/* pages->lock */
	uint64_t charged; /* bytes of the budget */
	uint64_t read_ms;
	bool is_listed;
	struct name_page *prev, *next;
};

void name_pages_init(struct name_pages *pages, uint64_t budget, uint64_t most);
void name_pages_clear(struct name_pages *pages); /* no page is left */
uint64_t name_pages_bytes(struct name_pages *pages);

void name_page_init(struct name_page *page, struct name_pages *pages);
void name_page_clear(struct name_page *page);

bool name_page_has(struct name_page *page, uint64_t cookie); /* what follows the cookie is in it, or in the next part; notes that it is read */
void name_page_begin(struct name_page *page, uint64_t cookie);
bool name_page_next(struct name_page *page);
void name_page_add(struct name_page *page, const struct name_entry *entry, const char *name);
void name_page_end(struct name_page *page);
void name_page_drop(struct name_page *page); /* its memory is given back; it can be begun again */

size_t name_page_find(const struct name_page *page, uint64_t cookie); /* index of the first item behind it, which is in the page; 0: the first */

static inline const char *name_page_name(const struct name_page *page, const struct name_item *item)
{
	return (const char *)page->names.data + item->name;
}

#endif
