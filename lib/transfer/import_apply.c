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

void archived_clear(struct archived *archived)
{
	trail_put(archived->member.trail);
	xattrs_clear(&archived->member.xattrs);
	free(archived->path);
	free(archived->from);
	free(archived->target);
	*archived = (struct archived){0};
}

void apply_flush(struct apply *apply)
{
	batch_flush(apply->batch);
}

/* --- where it goes --- */

static void tell(struct apply *apply, const struct archived *archived, int code, const char *why)
{
	if (why)
		member_problem(apply->import, &archived->member, code, why);
	else
		member_result(apply->import, &archived->member, code);
}

void apply_missed(struct apply *apply, const struct archived *archived)
{
	batch_note_missed(apply->batch, &archived->member, true);
}

/* Finds or makes the directory that the member is to stand in. False: the member cannot come in, and the user was told why. */
static bool find_place(struct apply *apply, struct archived *archived)
{
	struct member *member = &archived->member;
	const char *why;
	int r = places_find(apply->places, archived->path, (size_t)(archived->name - archived->path), true, &member->dir, &why);

	if (r < 0) {
		tell(apply, archived, r, why);
		return false;
	}
	member->dir_existed = member->dir < apply->import->first_new;
	if (*archived->path && !member_accept(apply->import, member)) {
		apply_missed(apply, archived);
		return false;
	}
	if (*archived->path)
		return true;
	/* The target itself has its name already. */
	member_own(apply->import, member);
	return true;
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
		apply->content = malloc(BIG_FILE);
	is_same = apply->content && inode_read(inode, 0, len, apply->content) == (ssize_t)len && memcmp(apply->content, data, len) == 0;
	inode_close(inode);
	return is_same;
}

/* What is a second name of another file is not the same: tar makes a file of its own. */
bool apply_is_there(struct apply *apply, const struct archived *archived, struct attr *ret_attr)
{
	struct attr attr;

	if (!member_is_there(apply->import, &archived->member, &attr) || attr.nlink > 1 ||
	    !has_same_attributes(apply, attr.ino, &archived->member.xattrs))
		return false;
	*ret_attr = attr;
	return true;
}

/* --- what it does --- */

/* In the batch, and for another member of a name that was missed before. */
static void make_way(struct apply *apply, const struct member *member)
{
	size_t number;

	if (batch_is_full(apply->batch) || batch_find(apply->batch, member->dir, member->name, &number))
		batch_flush(apply->batch);
	batch_note_missed(apply->batch, member, false);
}

static void put_file(struct apply *apply, struct archived *archived)
{
	struct member *member = &archived->member;
	struct attr attr;

	make_way(apply, member);
	if (apply_is_there(apply, archived, &attr) && has_same_content(apply, attr.ino, archived->data, S_ISREG(member->mode) ? member->size : 0))
		member_skipped(apply->import, &attr);
	else
		batch_add(apply->batch, member, archived->data, S_ISREG(member->mode) ? member->size : 0);
}

/* A directory stays one; anything else gives way. */
static void put_directory(struct apply *apply, struct archived *archived)
{
	struct import *import = apply->import;
	struct member *member = &archived->member;
	struct attr attr;
	uint64_t ino;
	int r = *archived->path ? places_lookup(apply->places, member->dir, member->name, &attr)
	                    : view_getattr(import->view, import->root, &attr);

	if (r == 0 && S_ISDIR(attr.mode)) {
		import_directory_attributes(import, member, attr.ino);
		import_directory_done(import, attr.ino, member);
		atomic_fetch_add(&import->transfer.directories, *archived->path != '\0');
		return;
	}
	if (r == 0)
		r = view_unlink(import->view, member->dir, member->name);
	if (r == 0)
		import_changed(import, member->dir, member->name, attr.ino);
	if (r < 0 && r != -ENOENT) {
		tell(apply, archived, r, NULL);
		return;
	}
	r = import_directory(import, member, &ino);
	if (r == 0)
		import_directory_done(import, ino, member);
	else if (r == -EEXIST)
		tell(apply, archived, r, NULL);
}

static int look_at_source(struct apply *apply, uint64_t dir, const char *name, struct attr *ret_attr, const char **ret_why)
{
	int r = places_lookup(apply->places, dir, name, ret_attr);

	if (r == 0 && batch_has_missed(apply->batch, dir, name))
		r = -ENOENT;
	*ret_why = r == -ENOENT ? NO_SOURCE : NULL;
	if (r == 0 && S_ISDIR(ret_attr->mode)) {
		*ret_why = "what it is a hard link of is a directory";
		r = -EPERM;
	}
	return r;
}

/* What it links to is looked at first: where that is missing, nothing is made. */
static void put_link(struct apply *apply, struct archived *archived)
{
	const char *slash = strrchr(archived->from, '/'), *name = slash ? slash + 1 : archived->from, *why = NULL;
	struct member *member = &archived->member;
	struct attr attr, there;
	uint64_t dir;
	size_t number;
	int r = places_find(apply->places, archived->from, (size_t)(name - archived->from), false, &dir, &why);

	if (r == -ENOENT && !why)
		why = NO_SOURCE;
	if (r == 0 && !batch_find(apply->batch, dir, name, &number))
		r = look_at_source(apply, dir, name, &attr, &why);
	if (r < 0) {
		tell(apply, archived, r, why);
		return;
	}
	if (!find_place(apply, archived))
		return;
	make_way(apply, member);
	if (batch_find(apply->batch, dir, name, &number)) {
		batch_add_link(apply->batch, member, number);
		return;
	}
	r = look_at_source(apply, dir, name, &attr, &why);
	/* Whether a directory is empty is only known when all is in it. */
	if (r == 0 && view_lookup(apply->import->view, member->dir, member->name, &there) == 0 && S_ISDIR(there.mode))
		batch_flush(apply->batch);
	if (r < 0)
		tell(apply, archived, r, why);
	else
		import_link(apply->import, member, attr.ino);
}

void apply_member(struct apply *apply, struct archived *archived)
{
	if (!import_may_add(apply->import))
		return;
	if (archived->from)
		put_link(apply, archived);
	else if (!find_place(apply, archived))
		return;
	else if (S_ISDIR(archived->member.mode))
		put_directory(apply, archived);
	else
		put_file(apply, archived);
}

bool apply_place(struct apply *apply, struct archived *archived)
{
	if (!import_may_add(apply->import) || !find_place(apply, archived))
		return false;
	batch_note_missed(apply->batch, &archived->member, false);
	return true;
}
