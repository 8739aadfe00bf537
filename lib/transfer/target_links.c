#include "lib/transfer/target_links.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "lib/base/file.h"
#include "lib/transfer/target_write.h"

#define NAME ".corpusfs-links"

struct linked {
	uint64_t ino;
	uint32_t left;  /* names that were not met yet */
	unsigned users; /* threads that make a name of it, or wait for the first one */
	bool is_done;   /* the first name was made, or could not be */
	int result;     /* of that */
	int no_link;    /* why it is not at hand */
	UT_hash_handle hh;
};

/* --- the directory for links --- */

void target_links_init(struct target_links *links, struct target_dirs *dirs, int top_fd)
{
	struct attr attr;

	*links = (struct target_links){.dirs = dirs, .top_fd = top_fd, .name = xstrdup(NAME), .fd = -1};
	pthread_mutex_init(&links->lock, NULL);
	pthread_cond_init(&links->done, NULL);
	for (unsigned i = 1; view_lookup(dirs->export->view, dirs->export->top.ino, links->name, &attr) == 0; i++) {
		free(links->name);
		links->name = xasprintf(NAME "-%u", i);
	}
}

bool target_links_is_name(const struct target_links *links, const char *name)
{
	return strcmp(links->name, name) == 0;
}

static int open_links(struct target_links *links)
{
	int fd;

	if (mkdirat(links->top_fd, links->name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(links->top_fd, links->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* What an export that was killed has left is removed by the next one, which makes the directory or finds it. */
static void empty(int fd)
{
	DIR *stream = file_entries(fd);
	const char *name;

	while (stream && file_next_entry(stream, &name) > 0)
		(void)!unlinkat(fd, name, 0);
	if (stream)
		closedir(stream);
}

/* -errno: there is none, and there are no links. */
static int links_fd(struct target_links *links)
{
	const struct impersonate *caller = &links->dirs->export->transfer.caller;
	int r;

	pthread_mutex_lock(&links->lock);
	if (links->fd < 0 && links->failed == 0) {
		impersonate_begin(caller);
		links->fd = open_links(links);
		if (links->fd >= 0)
			empty(links->fd);
		else
			links->failed = links->fd;
		impersonate_end(caller);
	}
	r = links->failed < 0 ? links->failed : links->fd;
	pthread_mutex_unlock(&links->lock);
	return r;
}

void target_links_clear(struct target_links *links)
{
	const struct impersonate *caller = &links->dirs->export->transfer.caller;
	struct linked *linked, *next;

	impersonate_begin(caller);
	if (links->fd < 0 && ((struct target_dir *)held_dirs_top(&links->dirs->dirs))->existed)
		links->fd = openat(links->top_fd, links->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (links->fd >= 0) {
		empty(links->fd);
		close(links->fd);
		(void)!unlinkat(links->top_fd, links->name, AT_REMOVEDIR);
	}
	impersonate_end(caller);
	HASH_ITER(hh, links->all, linked, next) {
		HASH_DEL(links->all, linked);
		free(linked);
	}
	free(links->name);
	pthread_cond_destroy(&links->done);
	pthread_mutex_destroy(&links->lock);
}

/* --- making links --- */

static void hand_name(char out[24], uint64_t ino)
{
	snprintf(out, 24, "%llu", (unsigned long long)ino);
}

/* The name is there already, from an export that was stopped: it must be of this file, or becomes so. */
static int link_over(struct target_links *links, const char *hand, struct target_dir *dir, const char *name, const char *temporary)
{
	struct stat wanted, has;
	int r;

	if (fstatat(links->fd, hand, &wanted, AT_SYMLINK_NOFOLLOW) < 0 || fstatat(dir->held.fd, name, &has, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (wanted.st_dev == has.st_dev && wanted.st_ino == has.st_ino)
		return 0;
	if (linkat(links->fd, hand, dir->held.fd, temporary, 0) < 0)
		return -errno;
	r = target_rename(dir, temporary, name);
	if (r < 0)
		(void)!unlinkat(dir->held.fd, temporary, 0);
	return r;
}

static int make_link(struct target_links *links, struct target_dir *dir, const char *name, uint64_t ino)
{
	const struct impersonate *caller = &links->dirs->export->transfer.caller;
	char hand[24], temporary[TARGET_TEMPORARY_MAX];
	int r;

	hand_name(hand, ino);
	if (dir->existed)
		target_temporary(links->dirs, dir, ino, temporary);
	impersonate_begin(caller);
	r = linkat(links->fd, hand, dir->held.fd, name, 0) < 0 ? -errno : 0;
	if (r == -EEXIST && dir->existed)
		r = link_over(links, hand, dir, name, temporary);
	impersonate_end(caller);
	return r;
}

static bool takes_no_links(int code)
{
	return code == -EPERM || code == -EMLINK || code == -EXDEV || code == -EOPNOTSUPP || code == -ENOSYS || code == -EACCES;
}

static void give_name(struct target_links *links, const struct linked *linked, struct target_dir *dir, const char *name,
		      const struct attr *attr, target_links_fn make, void *arg)
{
	struct transfer *transfer = &links->dirs->export->transfer;
	int r = linked->no_link;

	if (linked->result < 0) {
		target_dir_problem(links->dirs, dir, name, -ENOENT, "the file that it is a hard link of is missing");
		return;
	}
	if (r == 0)
		r = make_link(links, dir, name, attr->ino);
	if (r == 0)
		atomic_fetch_add(&transfer->links, 1);
	else if (!takes_no_links(r))
		target_dir_problem(links->dirs, dir, name, r, NULL);
	else if (make(arg, dir, name, attr) == 0)
		target_dir_problem(links->dirs, dir, name, r, "written as a file of its own, no hard link: the target refused it");
}

/* The first name is made, and is put at hand for the others. */
static void begin_file(struct target_links *links, struct linked *linked, struct target_dir *dir, const char *name, const struct attr *attr,
		       target_links_fn make, void *arg)
{
	const struct impersonate *caller = &links->dirs->export->transfer.caller;
	int r = make(arg, dir, name, attr), fd = r == 0 ? links_fd(links) : -1, no_link = 0;
	char hand[24];

	if (r == 0 && fd >= 0) {
		hand_name(hand, attr->ino);
		impersonate_begin(caller);
		no_link = linkat(dir->held.fd, name, fd, hand, 0) < 0 ? -errno : 0;
		impersonate_end(caller);
	} else if (r == 0) {
		no_link = fd;
	}
	pthread_mutex_lock(&links->lock);
	linked->result = r;
	linked->no_link = no_link;
	linked->is_done = true;
	pthread_cond_broadcast(&links->done);
	pthread_mutex_unlock(&links->lock);
}

/* Forgets the file when its last name was met and made. */
static void put_linked(struct target_links *links, struct linked *linked)
{
	const struct impersonate *caller = &links->dirs->export->transfer.caller;
	bool is_last;
	char hand[24];

	pthread_mutex_lock(&links->lock);
	is_last = --linked->users == 0 && linked->left == 0;
	if (is_last)
		HASH_DEL(links->all, linked);
	pthread_mutex_unlock(&links->lock);
	if (!is_last)
		return;
	if (linked->result == 0 && linked->no_link == 0) {
		hand_name(hand, linked->ino);
		impersonate_begin(caller);
		(void)!unlinkat(links->fd, hand, 0);
		impersonate_end(caller);
	}
	free(linked);
}

/* The file, in use by the caller, when its first name was made; or the caller is to make that. */
static struct linked *find(struct target_links *links, const struct attr *attr, bool *ret_first)
{
	struct linked *linked;

	pthread_mutex_lock(&links->lock);
	HASH_FIND(hh, links->all, &attr->ino, sizeof(attr->ino), linked);
	*ret_first = !linked;
	if (!linked) {
		linked = xcalloc(1, sizeof(*linked));
		*linked = (struct linked){.ino = attr->ino, .left = attr->nlink};
		HASH_ADD(hh, links->all, ino, sizeof(linked->ino), linked);
	}
	/* In a head, a file may win names meanwhile. */
	linked->left -= linked->left > 0;
	linked->users++;
	while (!*ret_first && !linked->is_done)
		pthread_cond_wait(&links->done, &links->lock);
	pthread_mutex_unlock(&links->lock);
	return linked;
}

void target_links_meet(struct target_links *links, struct target_dir *dir, const char *name, const struct attr *attr, target_links_fn make,
		       void *arg)
{
	bool is_first;
	struct linked *linked = find(links, attr, &is_first);

	if (is_first)
		begin_file(links, linked, dir, name, attr, make, arg);
	else
		give_name(links, linked, dir, name, attr, make, arg);
	put_linked(links, linked);
}
