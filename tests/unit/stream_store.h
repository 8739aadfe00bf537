/* For the tests of streams: two stores, streams as bytes in memory, and trees compared with all that a stream carries. */
#ifndef CORPUSFS_TESTS_STREAM_STORE_H
#define CORPUSFS_TESTS_STREAM_STORE_H

#include <sys/mman.h>
#include <unistd.h>

#include "lib/identity/identity.h"
#include "lib/store/receiving.h"
#include "lib/stream/receive.h"
#include "lib/stream/send.h"
#include "tests/unit/diff_store.h"

static UNUSED bool never(void *arg)
{
	return false;
}

/* --- streams --- */

static UNUSED void read_all_of(int fd, struct buf *out)
{
	const off_t size = lseek(fd, 0, SEEK_END);

	buf_reserve(out, (size_t)size);
	assert_int_equal(pread(fd, out->data, (size_t)size, 0), size);
	out->len = (size_t)size;
}

/* `from` may be NULL. */
static UNUSED void make_stream_at(struct store *store, const char *snapshot_name, const char *from, const struct stream_position *at, struct buf *out)
{
	AUTO_CLOSE int fd = memfd_create("stream", MFD_CLOEXEC);
	const struct send_options options = {.dataset = "d", .snapshot = snapshot_name, .from = from, .step = at ? at->step : 0,
	                                     .offset = at ? at->offset : 0, .fd = fd, .stopped = never};
	struct send_result result;
	struct error err = {0};
	int r = send_run(store, &options, &result, &err);

	if (r < 0)
		print_error("send: %s\n", err.text);
	assert_int_equal(r, 0);
	read_all_of(fd, out);
}

static UNUSED void make_stream(struct store *store, const char *snapshot_name, const char *from, struct buf *out)
{
	make_stream_at(store, snapshot_name, from, NULL, out);
}

static UNUSED int receive_as(struct store *store, uid_t uid, const char *dataset, const void *data, size_t len, struct error *err)
{
	AUTO_CLOSE int fd = memfd_create("stream", MFD_CLOEXEC);
	const struct receive_options options = {.dataset = dataset, .fd = fd, .uid = uid, .gid = uid, .stopped = never};
	struct receive_result result;

	if (len > 0)
		assert_int_equal(pwrite(fd, data, len, 0), len);
	*err = (struct error){0};
	return receive_run(store, &options, &result, err);
}

static UNUSED void receive_all(struct store *store, const char *dataset, const struct buf *stream)
{
	struct error err;
	int r = receive_as(store, 0, dataset, stream->data, stream->len, &err);

	if (r < 0)
		print_error("receive: %s; %s\n", err.text, err.hint);
	assert_int_equal(r, 0);
}

/* Where frames begin, behind the magic; the last one is the end. */
struct boundaries {
	ARRAY_FIELDS(size_t);
};

static UNUSED struct boundaries find_frames(const struct buf *stream)
{
	struct boundaries found = {0};
	size_t at = STREAM_MAGIC_LEN;

	while (at < stream->len) {
		enum stream_kind kind;
		uint32_t len;

		assert_int_equal(stream_frame_decode(stream->data + at, &kind, &len), 0);
		array_add(&found, at);
		at += STREAM_FRAME_HEADER + len + STREAM_FRAME_TAIL;
	}
	array_add(&found, at);
	assert_int_equal(at, stream->len);
	return found;
}

/* --- trees --- */

static UNUSED struct view *view_called(struct store *store, const char *name)
{
	struct view *view;
	struct error err;

	assert_int_equal(store_view_by_name(store, name, &view, &err), 0);
	return view;
}

static UNUSED int by_path(const void *a, const void *b)
{
	return strcmp(((const struct object *)a)->path, ((const struct object *)b)->path);
}

/* Which name of the same inode comes first. */
static UNUSED int first_name(const struct tree_list *list, int i)
{
	for (int k = 0; k < i; k++)
		if (list->objects[k].attr.ino == list->objects[i].attr.ino)
			return k;
	return i;
}

static UNUSED bool same_times(const struct attr *a, const struct attr *b)
{
	return memcmp(&a->mtime, &b->mtime, sizeof(a->mtime)) == 0 && memcmp(&a->atime, &b->atime, sizeof(a->atime)) == 0;
}

/* Holes are where they were, to the byte. */
static UNUSED void same_holes(struct view *a, uint64_t ino_a, struct view *b, uint64_t ino_b, uint64_t size)
{
	struct inode *in_a, *in_b;

	assert_int_equal(inode_open(a, ino_a, &in_a), 0);
	assert_int_equal(inode_open(b, ino_b, &in_b), 0);
	for (uint64_t at = 0; at < size;) {
		uint64_t data_a = size, data_b = size, hole_a = size, hole_b = size;
		const int r_a = inode_seek(in_a, at, SEEK_DATA, &data_a), r_b = inode_seek(in_b, at, SEEK_DATA, &data_b);

		assert_int_equal(r_a, r_b);
		assert_int_equal(data_a, data_b);
		if (r_a < 0)
			break;
		assert_int_equal(inode_seek(in_a, data_a, SEEK_HOLE, &hole_a), 0);
		assert_int_equal(inode_seek(in_b, data_b, SEEK_HOLE, &hole_b), 0);
		assert_int_equal(hole_a, hole_b);
		at = hole_a;
	}
	inode_close(in_a);
	inode_close(in_b);
}

static UNUSED void compare_trees(struct view *view_a, struct view *view_b)
{
	struct tree_list a, b;

	read_tree(&a, view_a);
	read_tree(&b, view_b);
	qsort(a.objects, (size_t)a.count, sizeof(*a.objects), by_path);
	qsort(b.objects, (size_t)b.count, sizeof(*b.objects), by_path);
	assert_int_equal(a.count, b.count);
	for (int i = 0; i < a.count; i++) {
		const struct object *in_a = &a.objects[i], *in_b = &b.objects[i];

		assert_string_equal(in_a->path, in_b->path);
		if (in_a->attr.mode != in_b->attr.mode || in_a->attr.uid != in_b->attr.uid || in_a->attr.gid != in_b->attr.gid ||
		    in_a->attr.nlink != in_b->attr.nlink || in_a->attr.size != in_b->attr.size || in_a->attr.rdev != in_b->attr.rdev ||
		    !same_times(&in_a->attr, &in_b->attr))
			fail_msg("the attributes of \"%s\" differ: mode %o %o, owner %u:%u %u:%u, links %u %u, size %lu %lu, times %ld.%ld %ld.%ld",
			         in_a->path, in_a->attr.mode, in_b->attr.mode, in_a->attr.uid, in_a->attr.gid, in_b->attr.uid, in_b->attr.gid,
			         in_a->attr.nlink, in_b->attr.nlink, in_a->attr.size, in_b->attr.size, in_a->attr.mtime.tv_sec, in_a->attr.mtime.tv_nsec,
			         in_b->attr.mtime.tv_sec, in_b->attr.mtime.tv_nsec);
		assert_int_equal(bytes_compare(in_a->xattrs.data, in_a->xattrs.len, in_b->xattrs.data, in_b->xattrs.len), 0);
		if (bytes_compare(in_a->content.data, in_a->content.len, in_b->content.data, in_b->content.len) != 0)
			fail_msg("the content of \"%s\" differs", in_a->path);
		assert_int_equal(first_name(&a, i), first_name(&b, i));
		if (S_ISREG(in_a->attr.mode))
			same_holes(view_a, in_a->attr.ino, view_b, in_b->attr.ino, in_a->attr.size);
	}
	clear_tree(&a);
	clear_tree(&b);
}

/* Of views called the same in both stores, or otherwise. */
static UNUSED void compare(struct store *store_a, const char *name_a, struct store *store_b, const char *name_b)
{
	struct view *a = view_called(store_a, name_a), *b = view_called(store_b, name_b);
	uint8_t identity_a[IDENTITY_LEN], identity_b[IDENTITY_LEN];

	compare_trees(a, b);
	assert_int_equal(identity_compute(store_a, a, NULL, NULL, identity_a), 0);
	assert_int_equal(identity_compute(store_b, b, NULL, NULL, identity_b), 0);
	assert_memory_equal(identity_a, identity_b, IDENTITY_LEN);
	store_view_put(store_a, a);
	store_view_put(store_b, b);
}

static UNUSED bool unfinished(struct store *store, const char *dataset)
{
	struct stream_position position;

	return receive_position(store, dataset, &position) == 0;
}

static UNUSED bool has_dataset(struct store *store, const char *name)
{
	struct dataset_info info;

	return dataset_get(store, name, &info) == 0;
}

#endif
