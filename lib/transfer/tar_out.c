/*
 *   offset size                   offset size                          offset size
 *        0  100  name                124   12  size of the data           257    8  "ustar", NUL, "00"
 *      100    8  mode                136   12  mtime                      329    8  major number of a device
 *      108    8  uid                 148    8  checksum                   337    8  minor
 *      116    8  gid                 156    1  type                       345  155  what stands before the name and a '/'
 *                                    157  100  target of a link
 *
 * Numbers are octal digits, then a NUL. What does not fit stands in records in front of the header: "LENGTH KEY=VALUE\n".
 */
#include "lib/transfer/tar_out.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/base/buf.h"
#include "lib/base/utf8.h"
#include "lib/transfer/acl_format.h"
#include "lib/tree/files/acl.h"

#define BLOCK 512U
#define NAME_FIELD 100U
#define PREFIX_FIELD 155U
#define OCTAL_7 07777777ULL     /* the largest number of a field of 8 bytes */
#define OCTAL_11 077777777777ULL /* of 12 bytes */
#define ZEROS (64U << 10)

struct tar_out {
	struct pack *pack;
	struct buf records, map;
	uint64_t left; /* bytes of the member's data still to come */
	unsigned padding;
	bool is_sparse;
	uint8_t *zeros;
};

struct tar_out *tar_out_new(struct pack *pack)
{
	struct tar_out *tar = xcalloc(1, sizeof(*tar));

	tar->pack = pack;
	tar->zeros = xcalloc(1, ZEROS);
	return tar;
}

void tar_out_free(struct tar_out *tar)
{
	if (!tar)
		return;
	buf_clear(&tar->records);
	buf_clear(&tar->map);
	free(tar->zeros);
	free(tar);
}

/* --- records --- */

static unsigned digits_of(uint64_t number)
{
	unsigned digits = 1;

	while (number >= 10) {
		number /= 10;
		digits++;
	}
	return digits;
}

/* The length counts its own digits, too. */
static void add_record(struct tar_out *tar, const char *key, const void *value, size_t len)
{
	size_t rest = strlen(key) + len + 3, total = rest + digits_of(rest);

	if (digits_of(total) > digits_of(rest))
		total = rest + digits_of(total);
	buf_addf(&tar->records, "%zu %s=", total, key);
	buf_add(&tar->records, value, len);
	buf_add_u8(&tar->records, '\n');
}

static void add_text(struct tar_out *tar, const char *key, const char *text)
{
	add_record(tar, key, text, strlen(text));
}

/* Names are UTF-8 unless it is said that they are just bytes, which has to come first. */
static void add_charset(struct tar_out *tar, const char *path, const char *target)
{
	if (!utf8_is_valid(path) || (target && !utf8_is_valid(target)))
		add_text(tar, "hdrcharset", "BINARY");
}

static void add_number(struct tar_out *tar, const char *key, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	add_text(tar, key, text);
}

/* Seconds before 1970 count backwards, and so do their fractions: -1.75 s is {-2, 250000000}. */
static void add_time(struct tar_out *tar, const char *key, struct timespec time)
{
	const bool is_before = time.tv_sec < 0;
	unsigned long long seconds = is_before ? 0 - (unsigned long long)time.tv_sec : (unsigned long long)time.tv_sec;
	long nanoseconds = time.tv_nsec;
	char text[40];
	int len;

	if (is_before && nanoseconds > 0) {
		seconds--;
		nanoseconds = 1000000000L - nanoseconds;
	}
	len = snprintf(text, sizeof(text), "%s%llu.%09ld", is_before ? "-" : "", seconds, nanoseconds);
	while (text[len - 1] == '0')
		len--;
	add_record(tar, key, text, (size_t)(text[len - 1] == '.' ? len - 1 : len));
}

/* The end of a key is its first '='. GNU tar writes "%3D" for it in a name, and "%25" for the '%' of what looks so already. */
static void add_xattr(struct tar_out *tar, const struct archive_xattr *xattr)
{
	const bool is_plain = !strchr(xattr->name, '=') && !strstr(xattr->name, "%3D") && !strstr(xattr->name, "%25");
	AUTO_BUF key = BUF_INIT;

	buf_addf(&key, "SCHILY.xattr.");
	for (const char *at = xattr->name; *at; at++) {
		if (!is_plain && (*at == '=' || *at == '%'))
			buf_addf(&key, "%%%s", *at == '=' ? "3D" : "25");
		else
			buf_add_u8(&key, (uint8_t)*at);
	}
	buf_add_u8(&key, 0);
	add_record(tar, (const char *)key.data, xattr->value, xattr->len);
}

/* Both ways in which readers look for an ACL: as text, and as the attribute that Linux has. */
static void add_xattrs(struct tar_out *tar, const struct archive_extra *extra)
{
	for (size_t i = 0; i < extra->xattr_count; i++) {
		const struct archive_xattr *xattr = &extra->xattrs[i];
		const char *key = strcmp(xattr->name, ACL_ACCESS) == 0    ? "SCHILY.acl.access"
		                  : strcmp(xattr->name, ACL_DEFAULT) == 0 ? "SCHILY.acl.default"
		                                                          : NULL;
		AUTO_BUF text = BUF_INIT;

		if (key && acl_format(xattr->value, xattr->len, &text) == 0)
			add_record(tar, key, text.data, text.len);
		add_xattr(tar, xattr);
	}
}

/* --- blocks --- */

static int put_padding(struct tar_out *tar, unsigned len)
{
	return pack_put(tar->pack, tar->zeros, len);
}

static unsigned padding_of(uint64_t len)
{
	return (unsigned)((BLOCK - len % BLOCK) % BLOCK);
}

static void put_octal(uint8_t *field, size_t size, uint64_t number)
{
	for (size_t i = size - 1; i-- > 0;) {
		field[i] = (uint8_t)('0' + (number & 7));
		number >>= 3;
	}
}

static void put_text(uint8_t *field, size_t size, const char *text, size_t len)
{
	memcpy(field, text, MIN(len, size));
}

/* Fits name into the two fields for it, or as much as there is room for; returns whether all of it did. */
static bool put_name(uint8_t *block, const char *name, bool is_dir)
{
	size_t len = strlen(name), all = len + is_dir, cut;
	AUTO_FREE char *whole = NULL;

	if (all <= NAME_FIELD) {
		put_text(block, NAME_FIELD, name, len);
		if (is_dir)
			block[len] = '/';
		return true;
	}
	if (all > NAME_FIELD + 1 + PREFIX_FIELD) {
		put_text(block, NAME_FIELD, name, len);
		return false;
	}
	whole = xasprintf("%s%s", name, is_dir ? "/" : "");
	for (cut = all - NAME_FIELD - 1; cut < all - 1 && (whole[cut] != '/' || cut == 0); cut++)
		;
	if (cut >= all - 1 || cut > PREFIX_FIELD) {
		put_text(block, NAME_FIELD, name, len);
		return false;
	}
	put_text(block + 345, PREFIX_FIELD, whole, cut);
	put_text(block, NAME_FIELD, whole + cut + 1, all - cut - 1);
	return true;
}

static int put_block(struct tar_out *tar, uint8_t *block)
{
	unsigned sum = 0;

	memcpy(block + 257, "ustar\00000", 8);
	memset(block + 148, ' ', 8);
	for (unsigned i = 0; i < BLOCK; i++)
		sum += block[i];
	put_octal(block + 148, 7, sum);
	block[154] = 0;
	return pack_put(tar->pack, block, BLOCK);
}

static int put_records(struct tar_out *tar)
{
	uint8_t block[BLOCK] = {0};
	int r;

	if (tar->records.len == 0)
		return 0;
	put_text(block, NAME_FIELD, "PaxHeader", strlen("PaxHeader"));
	put_octal(block + 100, 8, 0644);
	put_octal(block + 108, 8, 0);
	put_octal(block + 116, 8, 0);
	put_octal(block + 124, 12, tar->records.len);
	put_octal(block + 136, 12, 0);
	block[156] = 'x';
	r = put_block(tar, block);
	if (r == 0)
		r = pack_put(tar->pack, tar->records.data, tar->records.len);
	return r < 0 ? r : put_padding(tar, padding_of(tar->records.len));
}

/* --- members --- */

static bool is_ascii(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text >= 0x80)
			return false;
	return true;
}

static char type_of(const struct archive_member *member)
{
	if (member->hardlink)
		return '1';
	switch (member->mode & S_IFMT) {
	case S_IFDIR: return '5';
	case S_IFLNK: return '2';
	case S_IFCHR: return '3';
	case S_IFBLK: return '4';
	case S_IFIFO: return '6';
	default: return '0';
	}
}

/* A number in its field if it fits; else 0 there, and a record. */
static void put_number(struct tar_out *tar, uint8_t *field, size_t size, const char *key, uint64_t number)
{
	const bool fits = number <= (size == 8 ? OCTAL_7 : OCTAL_11);

	put_octal(field, size, fits ? number : 0);
	if (!fits)
		add_number(tar, key, number);
}

static void put_owner_and_device(struct tar_out *tar, uint8_t *block, const struct archive_member *member)
{
	const bool is_device = S_ISCHR(member->mode) || S_ISBLK(member->mode);

	put_octal(block + 100, 8, member->mode & 07777);
	put_number(tar, block + 108, 8, "uid", member->uid);
	put_number(tar, block + 116, 8, "gid", member->gid);
	put_number(tar, block + 329, 8, "SCHILY.devmajor", is_device ? major(member->rdev) : 0);
	put_number(tar, block + 337, 8, "SCHILY.devminor", is_device ? minor(member->rdev) : 0);
}

/* Whole seconds stand in the header. A time of reading that is not the time of change needs a record in any case. */
static void put_times(struct tar_out *tar, uint8_t *block, const struct archive_member *member)
{
	const struct timespec mtime = member->mtime, atime = member->atime;
	const bool is_whole = mtime.tv_nsec == 0 && mtime.tv_sec >= 0 && (uint64_t)mtime.tv_sec <= OCTAL_11;

	put_octal(block + 136, 12, mtime.tv_sec < 0 ? 0 : MIN((uint64_t)mtime.tv_sec, OCTAL_11));
	if (!is_whole)
		add_time(tar, "mtime", mtime);
	if (atime.tv_sec != mtime.tv_sec || atime.tv_nsec != mtime.tv_nsec || !is_whole)
		add_time(tar, "atime", atime);
}

/* In front of a sparse file's data stands how many stretches it has, and where each begins and how long it is. */
static uint64_t make_map(struct tar_out *tar, const struct archive_member *member, const struct archive_extra *extra)
{
	uint64_t data = 0, end = 0;

	for (size_t i = 0; i < extra->data_count; i++) {
		buf_addf(&tar->map, "%llu\n%llu\n", (unsigned long long)extra->data[i].offset, (unsigned long long)extra->data[i].len);
		data += extra->data[i].len;
		end = extra->data[i].offset + extra->data[i].len;
	}
	if (end < member->size)
		buf_addf(&tar->map, "%llu\n0\n", (unsigned long long)member->size);
	return data;
}

static void put_sparse(struct tar_out *tar, uint8_t *block, const struct archive_member *member, const struct archive_extra *extra)
{
	size_t count = extra->data_count;
	uint64_t end = count ? extra->data[count - 1].offset + extra->data[count - 1].len : 0;

	buf_reset(&tar->map);
	buf_addf(&tar->map, "%zu\n", count + (end < member->size));
	tar->left = make_map(tar, member, extra);
	while (tar->map.len % BLOCK)
		buf_add_u8(&tar->map, 0);
	tar->is_sparse = true;
	add_number(tar, "GNU.sparse.major", 1);
	add_number(tar, "GNU.sparse.minor", 0);
	add_text(tar, "GNU.sparse.name", member->path);
	add_number(tar, "GNU.sparse.realsize", member->size);
	put_name(block, "GNUSparseFile.0", false);
	put_number(tar, block + 124, 12, "size", tar->map.len + tar->left);
}

static void put_names(struct tar_out *tar, uint8_t *block, const struct archive_member *member)
{
	const char *target = member->hardlink ? member->hardlink : member->target;
	const bool is_dir = S_ISDIR(member->mode) && !member->hardlink;

	if (!put_name(block, member->path, is_dir) || !is_ascii(member->path)) {
		AUTO_FREE char *whole = is_dir ? xasprintf("%s/", member->path) : NULL;
		add_text(tar, "path", whole ? whole : member->path);
	}
	if (!target)
		return;
	put_text(block + 157, NAME_FIELD, target, strlen(target));
	if (strlen(target) > NAME_FIELD || !is_ascii(target))
		add_text(tar, "linkpath", target);
}

int tar_out_member(struct tar_out *tar, const struct archive_member *member, const struct archive_extra *extra)
{
	const bool has_data = S_ISREG(member->mode) && !member->hardlink;
	uint8_t block[BLOCK] = {0};
	int r;

	buf_reset(&tar->records);
	add_charset(tar, member->path, member->hardlink ? member->hardlink : member->target);
	tar->is_sparse = false;
	tar->left = has_data ? member->size : 0;
	block[156] = (uint8_t)type_of(member);
	put_owner_and_device(tar, block, member);
	put_times(tar, block, member);
	add_xattrs(tar, extra);
	if (has_data && extra->has_holes) {
		put_sparse(tar, block, member, extra);
	} else {
		put_names(tar, block, member);
		put_number(tar, block + 124, 12, "size", tar->left);
	}
	tar->padding = padding_of(tar->left);
	r = put_records(tar);
	if (r == 0)
		r = put_block(tar, block);
	return r == 0 && tar->is_sparse ? pack_put(tar->pack, tar->map.data, tar->map.len) : r;
}

int tar_out_data(struct tar_out *tar, const void *data, size_t len)
{
	int r;

	if (len > tar->left)
		return -EIO; /* more than was promised */
	r = pack_put(tar->pack, data, len);
	tar->left -= len;
	return r == 0 && tar->left == 0 ? put_padding(tar, tar->padding) : r;
}

int tar_out_hole(struct tar_out *tar, uint64_t len)
{
	int r = 0;

	while (r == 0 && len > 0 && !tar->is_sparse) {
		size_t part = MIN(len, ZEROS);

		r = tar_out_data(tar, tar->zeros, part);
		len -= part;
	}
	return r;
}

int tar_out_end(struct tar_out *tar)
{
	int r = tar->left == 0 ? put_padding(tar, 2 * BLOCK) : -EIO;

	return r < 0 ? r : pack_end(tar->pack);
}
