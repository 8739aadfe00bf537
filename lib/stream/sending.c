#include "lib/stream/sending.h"

#include <errno.h>
#include <sys/stat.h>

bool sending_stopped(const struct sending *sending)
{
	return sending->options->stopped(sending->options->arg);
}

int sending_entry(struct sending *sending, const struct stream_entry *entry)
{
	if (sending->step++ < sending->options->step)
		return 0;
	stream_entry_encode(entry, &sending->frames.body);
	/* No receiver takes more. */
	if (sending->frames.body.len > STREAM_BODY_MAX) {
		buf_reset(&sending->frames.body);
		return error_set(sending->err, -E2BIG, "\"%s\" has more than %u MiB of extended attributes", entry->name ? entry->name : "a file",
		                 STREAM_BODY_MAX >> 20);
	}
	return frames_out_put(&sending->frames, entry->kind, NULL, 0);
}

/* From what scan_xattrs gives. */
static int pack_xattrs(struct sending *sending, uint64_t ino, uint32_t *ret_count)
{
	int r;

	buf_reset(&sending->packed);
	buf_reset(&sending->xattrs);
	*ret_count = 0;
	r = scan_xattrs(&sending->b, ino, &sending->packed);
	if (r < 0)
		return r;
	struct reader reader = reader_over(sending->packed.data, sending->packed.len);
	while (reader.left > 0 && !reader.bad) {
		const uint64_t len = read_le64(&reader), name_len = read_le64(&reader);
		const uint8_t *name = read_bytes(&reader, (size_t)name_len), *value = read_bytes(&reader, (size_t)len);

		/* The first byte is the version of the record. */
		if (reader.bad || len == 0 || value[0] != FORMAT_VERSION)
			return -EIO;
		AUTO_FREE char *text = xasprintf("%.*s", (int)name_len, (const char *)name);
		stream_xattr_encode(text, value + 1, (size_t)len - 1, &sending->xattrs);
		++*ret_count;
	}
	return 0;
}

int sending_attributes(struct sending *sending, const struct scan_inode *inode, struct stream_attributes *ret_attributes)
{
	const struct inode_record *record = &inode->record;
	struct stream_attributes attributes = {.mode = record->mode, .uid = record->uid, .gid = record->gid, .atime = record->atime, .mtime = record->mtime,
	                                       .target = ""};
	int r;

	/* What the receiver has needs no more than to be counted. */
	if (sending->step < sending->options->step) {
		*ret_attributes = attributes;
		return 0;
	}
	if (S_ISREG(record->mode))
		attributes.size = record->size;
	if (S_ISCHR(record->mode) || S_ISBLK(record->mode))
		attributes.rdev = record->rdev;
	r = pack_xattrs(sending, inode->ino, &attributes.xattr_count);
	if (S_ISLNK(record->mode)) {
		buf_reset(&sending->plain);
		buf_add(&sending->plain, record->target, record->target_len);
		buf_add_u8(&sending->plain, 0);
		attributes.target = (const char *)sending->plain.data;
	}
	attributes.xattrs = reader_over(sending->xattrs.data, sending->xattrs.len);
	*ret_attributes = attributes;
	return r;
}

int sending_has(const struct scan *scan, uint64_t ino)
{
	struct scan_inode inode;
	int r = scan_named_inode(scan, ino, &inode);

	if (r == 0)
		scan_inode_clear(&inode);
	return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}
