#include "lib/transfer/import_apply.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/transfer/import_place.h"

#define NO_SOURCE "the file that it is a hard link of is missing"

struct apply {
	struct import *import;
	struct batch *batch;
	struct places *places;
	uint8_t *content; /* of a file that is there; made when first needed */
};

struct apply *apply_new(struct import *import)
{
	struct apply *apply = xcalloc(1, sizeof(*apply));

	apply->import = import;
	apply->batch = batch_new(import);
	apply->places = places_new(import, apply->batch);
	return apply;
}

void apply_free(struct apply *apply)
{
	places_free(apply->places);
	batch_free(apply->batch);
	free(apply->content);
	free(apply);
}

void told_clear(struct told *told)
{
	trail_put(told->member.trail);
	xattrs_clear(&told->member.xattrs);
	free(told->path);
	free(told->from);
	free(told->target);
	*told = (struct told){0};
}

void apply_flush(struct apply *apply)
{
	batch_flush(apply->batch);
}

/* --- where it goes --- */

static void tell(struct apply *apply, const struct told *told, int code, const char *why)
{
	if (why)
		member_problem(apply->import, &told->member, code, why);
	else
		member_result(apply->import, &told->member, code);
}

/* The directory that the member is to stand in, made if needed. False: the problem was told. */
static bool find_place(struct apply *apply, struct told *told)
{
	struct member *member = &told->member;
	const char *why;
	int r = places_find(apply->places, told->path, (size_t)(told->name - told->path), true, &member->dir, &why);

	if (r < 0)
		tell(apply, told, r, why);
	member->dir_existed = r == 0 && member->dir < apply->import->first_new;
	return r == 0 && (!*told->path || member_accept(apply->import, member));
}

/* --- what is there --- */

/* The attributes are those of the member and no others. */
static bool has_same_attributes(struct apply *apply, uint64_t ino, const struct xattrs *xattrs)
{
	struct view *view = apply->import->view;
	AUTO_BUF names = BUF_INIT;
	size_t count = 0;

	if (view_xattr_list(view, ino, &names) < 0)
		return false;
	for (size_t at = 0; at < names.len; at += strlen((char *)names.data + at) + 1)
		count++;
	if (count != xattrs->count)
		return false;
	for (size_t i = 0; i < xattrs->count; i++)
		if (!member_has_xattr(apply->import, ino, &xattrs->items[i]))
			return false;
	return true;
}

static bool has_same_content(struct apply *apply, uint64_t ino, const void *data, size_t len)
{
	struct inode *inode;
	bool is_same;

	if (len == 0)
		return true;
	if (inode_open(apply->import->view, ino, &inode) < 0)
		return false;
	if (!apply->content)
		apply->content = xmalloc(BIG_FILE);
	is_same = inode_read(inode, 0, len, apply->content) == (ssize_t)len && memcmp(apply->content, data, len) == 0;
	inode_close(inode);
	return is_same;
}

/* What is a second name of another file is not the same: tar makes a file of its own. */
bool apply_is_there(struct apply *apply, const struct told *told, struct attr *ret_attr)
{
	struct attr attr;

	if (!member_is_there(apply->import, &told->member, &attr) || attr.nlink > 1 ||
	    !has_same_attributes(apply, attr.ino, &told->member.xattrs))
		return false;
	*ret_attr = attr;
	return true;
}

/* --- what it does --- */

static void put_file(struct apply *apply, struct told *told)
{
	struct member *member = &told->member;
	struct attr attr;
	size_t number;

	if (batch_is_full(apply->batch) || batch_find(apply->batch, member->dir, member->name, &number))
		batch_flush(apply->batch);
	if (apply_is_there(apply, told, &attr) && has_same_content(apply, attr.ino, told->data, S_ISREG(member->mode) ? member->size : 0))
		member_skipped(apply->import, &attr);
	else
		batch_add(apply->batch, member, told->data, S_ISREG(member->mode) ? member->size : 0);
}

/* A directory stays one; anything else gives way. */
static void put_directory(struct apply *apply, struct told *told)
{
	struct import *import = apply->import;
	struct member *member = &told->member;
	struct attr attr;
	uint64_t ino;
	int r = *told->path ? places_lookup(apply->places, member->dir, member->name, &attr)
	                    : view_getattr(import->view, import->root, &attr);

	if (r == 0 && S_ISDIR(attr.mode)) {
		import_directory_attributes(import, member, attr.ino);
		import_directory_done(import, attr.ino, member);
		atomic_fetch_add(&import->transfer.directories, *told->path != '\0');
		return;
	}
	if (r == 0)
		r = view_unlink(import->view, member->dir, member->name);
	if (r == 0)
		import_changed(import, member->dir, member->name, attr.ino);
	if (r < 0 && r != -ENOENT) {
		tell(apply, told, r, NULL);
		return;
	}
	r = import_directory(import, member, &ino);
	if (r == 0)
		import_directory_done(import, ino, member);
	else if (r == -EEXIST)
		tell(apply, told, r, NULL);
}

static int look_at_source(struct apply *apply, uint64_t dir, const char *name, struct attr *ret_attr, const char **ret_why)
{
	int r = places_lookup(apply->places, dir, name, ret_attr);

	*ret_why = r == -ENOENT ? NO_SOURCE : NULL;
	if (r == 0 && S_ISDIR(ret_attr->mode)) {
		*ret_why = "what it is a hard link of is a directory";
		r = -EPERM;
	}
	return r;
}

/* What it links to is looked at first: where that is missing, nothing is made. */
static void put_link(struct apply *apply, struct told *told)
{
	const char *slash = strrchr(told->from, '/'), *name = slash ? slash + 1 : told->from, *why = NULL;
	struct member *member = &told->member;
	struct attr attr, there;
	uint64_t dir;
	size_t number;
	int r = places_find(apply->places, told->from, (size_t)(name - told->from), false, &dir, &why);

	if (r == -ENOENT && !why)
		why = NO_SOURCE;
	if (r == 0 && !batch_find(apply->batch, dir, name, &number))
		r = look_at_source(apply, dir, name, &attr, &why);
	if (r < 0) {
		tell(apply, told, r, why);
		return;
	}
	if (!find_place(apply, told))
		return;
	if (batch_is_full(apply->batch) || batch_find(apply->batch, member->dir, member->name, &number))
		batch_flush(apply->batch);
	if (batch_find(apply->batch, dir, name, &number)) {
		batch_add_link(apply->batch, member, number);
		return;
	}
	r = look_at_source(apply, dir, name, &attr, &why);
	/* Whether a directory is empty is only known when all is in it. */
	if (r == 0 && view_lookup(apply->import->view, member->dir, member->name, &there) == 0 && S_ISDIR(there.mode))
		batch_flush(apply->batch);
	if (r < 0)
		tell(apply, told, r, why);
	else
		import_link(apply->import, member, attr.ino);
}

void apply_member(struct apply *apply, struct told *told)
{
	if (!import_may_add(apply->import))
		return;
	if (told->from)
		put_link(apply, told);
	else if (!find_place(apply, told))
		return;
	else if (S_ISDIR(told->member.mode))
		put_directory(apply, told);
	else
		put_file(apply, told);
}

bool apply_place(struct apply *apply, struct told *told)
{
	return import_may_add(apply->import) && find_place(apply, told);
}
