#include "lib/history/diff_compare.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

bool diff_cancelled(const struct diff_sides *sides)
{
	return sides->options->cancelled && sides->options->cancelled(sides->options->arg);
}

struct content_pair diff_contents(const struct diff_sides *sides, const struct scan_inode *a, const struct scan_inode *b)
{
	return (struct content_pair){
		.chunks = sides->chunks,
		.a = &sides->a,
		.b = &sides->b,
		.file_a = a,
		.file_b = b,
		.cancelled = sides->options->cancelled,
		.arg = sides->options->arg,
	};
}

int diff_is_in(const struct diff_sides *sides, bool in_b, uint64_t ino)
{
	struct scan_inode inode;
	int result = sides->one_family ? scan_named_inode(in_b ? &sides->b : &sides->a, ino, &inode) : -ENOENT;

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	scan_inode_clear(&inode);
	return 1;
}

int diff_load_both(const struct diff_sides *sides, uint64_t ino_a, uint64_t ino_b, struct scan_inode *a, struct scan_inode *b)
{
	int result = scan_named_inode(&sides->a, ino_a, a);

	if (result < 0)
		return result;
	result = scan_named_inode(&sides->b, ino_b, b);
	if (result < 0)
		scan_inode_clear(a);
	return result;
}

static int compare_content(const struct diff_sides *sides, const struct scan_inode *a, const struct scan_inode *b, bool *ret_differs)
{
	const struct content_pair pair = diff_contents(sides, a, b);
	const struct inode_record *in_a = &a->record, *in_b = &b->record;

	if (S_ISREG(in_a->mode))
		return content_differs(&pair, NULL, ret_differs);
	if (S_ISLNK(in_a->mode))
		*ret_differs = in_a->target_len != in_b->target_len || memcmp(in_a->target, in_b->target, in_a->target_len) != 0;
	else
		*ret_differs = !S_ISDIR(in_a->mode) && in_a->rdev != in_b->rdev;
	return 0;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* A directory's time follows its entries: with these it is no difference of its own. */
static int compare_metadata(const struct diff_sides *sides, const struct scan_inode *a, const struct scan_inode *b, bool entries_differ,
			    bool *ret_differs)
{
	const struct inode_record *in_a = &a->record, *in_b = &b->record;
	AUTO_BUF xattrs_a = BUF_INIT, xattrs_b = BUF_INIT;
	int result;

	if (in_a->mode != in_b->mode || in_a->uid != in_b->uid || in_a->gid != in_b->gid ||
	    (!entries_differ && !same_time(in_a->mtime, in_b->mtime))) {
		*ret_differs = true;
		return 0;
	}
	result = scan_xattrs(&sides->a, a->ino, &xattrs_a);
	if (result == 0)
		result = scan_xattrs(&sides->b, b->ino, &xattrs_b);
	if (result == 0)
		*ret_differs = xattrs_a.len != xattrs_b.len || (xattrs_a.len > 0 && memcmp(xattrs_a.data, xattrs_b.data, xattrs_a.len) != 0);
	return result;
}

int diff_compare(const struct diff_sides *sides, const struct scan_inode *a, const struct scan_inode *b, bool entries_differ,
		 struct diff_verdict *ret_verdict)
{
	struct diff_verdict verdict = {0};
	int result;

	if (sides->by_touched && a->ino == b->ino && a->epoch == b->epoch) {
		*ret_verdict = verdict;
		return 0;
	}
	result = compare_content(sides, a, b, &verdict.content);
	if (result == 0)
		result = compare_metadata(sides, a, b, entries_differ, &verdict.metadata);
	if (result == 0)
		*ret_verdict = verdict;
	return result;
}
