#include "lib/transfer/tar_in.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/base/array.h"
#include "lib/transfer/tar_header.h"
#include "lib/transfer/tar_pax.h"

#define EXTRA_MAX (64U << 20) /* bytes of all pax headers of one member, and of each long name */
#define GLOBALS_MAX (128U << 10) /* bytes of the records of all global pax headers, which each member after them means, too */
#define ID_NONE 65534         /* an owner that does not fit; Linux shows such owners so, too */
#define SPARSE_MAX (1U << 22) /* stretches of one file */

struct tar_in {
	struct unpack *source;
	uint8_t block[TAR_BLOCK];
	uint64_t block_at, at; /* bytes into the archive: of the block, and so far */
	struct buf globals;    /* records of all global pax headers */
	struct buf records, long_name, long_target; /* of the next member */
	struct buf path, target;
	struct pax pax;
	ARRAY(struct archive_xattr) xattrs; /* points into pax */
	struct stretches stretches;         /* of a sparse file */

	/* The member's data. */
	bool is_sparse;
	size_t stretch;      /* that is being read */
	uint64_t stretch_at; /* in it */
	uint64_t left;       /* in the archive, without padding */
	uint64_t data_at;    /* of a file without holes: where in it */
	unsigned padding;
	bool has_end;
	char problem[ERROR_TEXT_MAX];
};

struct tar_in *tar_in_new(struct unpack *source)
{
	struct tar_in *tar = xcalloc(1, sizeof(*tar));

	tar->source = source;
	return tar;
}

void tar_in_free(struct tar_in *tar)
{
	if (!tar)
		return;
	buf_clear(&tar->globals);
	buf_clear(&tar->records);
	buf_clear(&tar->long_name);
	buf_clear(&tar->long_target);
	buf_clear(&tar->path);
	buf_clear(&tar->target);
	pax_clear(&tar->pax);
	array_clear(&tar->xattrs);
	array_clear(&tar->stretches);
	free(tar);
}

const char *tar_in_problem(const struct tar_in *tar)
{
	return tar->problem;
}

bool tar_in_has_end(const struct tar_in *tar)
{
	return tar->has_end;
}

static int damaged(struct tar_in *tar, const char *text)
{
	snprintf(tar->problem, sizeof(tar->problem), "%s", text);
	return -EBADMSG;
}

/* --- bytes --- */

static int source_failed(struct tar_in *tar, int code)
{
	return code == -EBADMSG ? damaged(tar, unpack_problem(tar->source)) : code;
}

/* 1, or 0 at the end of the archive. */
static int read_block(struct tar_in *tar)
{
	size_t got;
	int r = unpack_copy(tar->source, tar->block, TAR_BLOCK, &got);

	if (r < 0)
		return source_failed(tar, r);
	tar->block_at = tar->at;
	tar->at += got;
	if (got > 0 && got < TAR_BLOCK)
		return damaged(tar, "it ends early");
	return got > 0;
}

static unsigned padding_of(uint64_t size)
{
	return (unsigned)(-size % TAR_BLOCK);
}

static int skip(struct tar_in *tar, uint64_t len)
{
	int r = unpack_skip(tar->source, len);

	tar->at += len;
	return r < 0 ? source_failed(tar, r) : 0;
}

/* All of a member's data, as what describes the next one. */
static int read_extra(struct tar_in *tar, uint64_t size, struct buf *extra)
{
	size_t got;
	int r;

	if (size > EXTRA_MAX - MIN(EXTRA_MAX, extra->len))
		return damaged(tar, "what describes a member is too long");
	buf_reserve(extra, size + 1);
	r = unpack_copy(tar->source, extra->data + extra->len, size, &got);
	if (r < 0)
		return source_failed(tar, r);
	if (got < size)
		return damaged(tar, "it ends early");
	extra->len += size;
	extra->data[extra->len] = '\0';
	tar->at += size;
	return skip(tar, padding_of(size));
}

/* What no member needs is not kept: of archives that were put together, each brings a comment of its own. */
static int read_globals(struct tar_in *tar, uint64_t size)
{
	AUTO_BUF records = BUF_INIT;
	int r = read_extra(tar, size, &records);

	if (r < 0)
		return r;
	if (pax_keep_known(records.data, records.len, &tar->globals) < 0)
		return damaged(tar, "a record of a global pax header is malformed");
	return tar->globals.len <= GLOBALS_MAX ? 0 : damaged(tar, "what its global pax headers say of all members is too long");
}

/* --- sparse files --- */

static int add_stretch(struct tar_in *tar, uint64_t offset, uint64_t len)
{
	if (tar->stretches.count == SPARSE_MAX)
		return damaged(tar, "a file in it has too many holes");
	array_add(&tar->stretches, (struct stretch){.offset = offset, .len = len});
	return 0;
}

static int read_old_stretches(struct tar_in *tar)
{
	bool is_header = true;
	int r;

	for (;;) {
		uint64_t offset, len;
		unsigned number = 0;

		while ((r = tar_sparse_at(tar->block, is_header, number++, &offset, &len)) == 1)
			if (add_stretch(tar, offset, len) < 0)
				return -EBADMSG;
		if (r < 0)
			return damaged(tar, "the list of a file's holes is damaged");
		if (!tar_sparse_goes_on(tar->block, is_header))
			return 0;
		r = read_block(tar);
		if (r <= 0)
			return r < 0 ? r : damaged(tar, "it ends early");
		is_header = false;
	}
}

/* A line with a number, of the list in front of the data. */
static int read_line(struct tar_in *tar, size_t *at, uint64_t *ret_number)
{
	uint64_t number = 0;
	size_t digits = 0;

	for (;; digits++) {
		if (*at == TAR_BLOCK) {
			int r = tar->left < TAR_BLOCK ? damaged(tar, "the list of a file's holes is damaged") : read_block(tar);
			if (r <= 0)
				return r < 0 ? r : damaged(tar, "it ends early");
			tar->left -= TAR_BLOCK;
			*at = 0;
		}
		uint8_t digit = tar->block[(*at)++];
		if (digit == '\n' && digits > 0)
			break;
		if (digit < '0' || digit > '9' || digits > 18)
			return damaged(tar, "the list of a file's holes is damaged");
		number = number * 10 + (uint64_t)(digit - '0');
	}
	*ret_number = number;
	return 0;
}

static int read_listed_stretches(struct tar_in *tar)
{
	uint64_t count, offset = 0, len = 0;
	size_t at = TAR_BLOCK;
	int r = read_line(tar, &at, &count);

	for (uint64_t i = 0; i < count && r == 0; i++) {
		r = read_line(tar, &at, &offset);
		if (r == 0)
			r = read_line(tar, &at, &len);
		if (r == 0)
			r = add_stretch(tar, offset, len);
	}
	return r;
}

/* They ascend, lie in the file, and hold as many bytes as there are. */
static int check_stretches(struct tar_in *tar, uint64_t size)
{
	uint64_t end = 0, sum = 0;

	for (size_t i = 0; i < tar->stretches.count; i++) {
		const struct stretch *stretch = &tar->stretches.items[i];

		if (stretch->offset < end || stretch->offset > size || stretch->len > size - stretch->offset)
			return damaged(tar, "the list of a file's holes is damaged");
		end = stretch->offset + stretch->len;
		sum += stretch->len;
	}
	return sum == tar->left ? 0 : damaged(tar, "the list of a file's holes is damaged");
}

static int take_sparse(struct tar_in *tar, const struct tar_header *header, struct archive_member *member)
{
	const struct pax *pax = &tar->pax;
	int r = 0;

	array_reset(&tar->stretches);
	tar->is_sparse = true;
	if (header->type == TAR_GNU_SPARSE) {
		if (tar_sparse_size(tar->block, &member->size) < 0)
			return damaged(tar, "the list of a file's holes is damaged");
		r = read_old_stretches(tar);
	} else if (pax->sparse_version.is_set && pax->sparse_version.value == 1) {
		r = read_listed_stretches(tar);
	} else if (pax->has_stretches) {
		array_append(&tar->stretches, pax->stretches.items, pax->stretches.count);
	} else {
		tar->is_sparse = false;
	}
	if (r == 0 && tar->is_sparse && header->type != TAR_GNU_SPARSE)
		member->size = pax->sparse_size.is_set ? pax->sparse_size.value : tar->left;
	if (r == 0 && tar->is_sparse)
		r = check_stretches(tar, member->size);
	member->has_holes = tar->is_sparse;
	return r;
}

/* --- members --- */

static bool has_data(uint8_t type)
{
	return !(type >= TAR_LINK && type <= TAR_FIFO);
}

static uint32_t type_of(const struct tar_header *header, const char *path)
{
	size_t len = strlen(path);

	switch (header->type) {
	case TAR_SYMLINK: return S_IFLNK;
	case TAR_CHARACTER: return S_IFCHR;
	case TAR_BLOCK_DEVICE: return S_IFBLK;
	case TAR_DIRECTORY:
	case TAR_GNU_DIRECTORY: return S_IFDIR;
	case TAR_FIFO: return S_IFIFO;
	case TAR_GNU_SPARSE:
	case TAR_LINK: return S_IFREG;
	/* Older tars know a directory by its slash. */
	default: return len > 0 && path[len - 1] == '/' ? S_IFDIR : S_IFREG;
	}
}

static bool has_known_type(const struct tar_header *header)
{
	static const uint8_t others[] = {TAR_OLD_FILE, TAR_CONTIGUOUS, TAR_GNU_DIRECTORY, TAR_GNU_SPARSE, TAR_GNU_CONTINUED};

	return (header->type >= TAR_FILE && header->type <= TAR_FIFO) || memchr(others, header->type, sizeof(others));
}

static uint32_t id_of(const struct pax_number *told, uint64_t in_header)
{
	uint64_t id = told->is_set ? told->value : in_header;

	return id < UINT32_MAX ? (uint32_t)id : ID_NONE;
}

/* A name with a NUL in it is none. */
static const char *text_of(struct archive_found *found, const struct pax_text *text)
{
	if (strlen((const char *)text->value.data) != text->value.len)
		found->problem = "its name cannot be read";
	return (const char *)text->value.data;
}

static void take_names(struct tar_in *tar, const struct tar_header *header, struct archive_found *found)
{
	const struct pax *pax = &tar->pax;
	const char *target;

	tar_header_name(tar->block, &tar->path);
	tar_header_target(tar->block, &tar->target);
	found->member.path = tar->long_name.len > 0 ? (const char *)tar->long_name.data : (const char *)tar->path.data;
	target = tar->long_target.len > 0 ? (const char *)tar->long_target.data : (const char *)tar->target.data;
	if (pax->path.is_set)
		found->member.path = text_of(found, &pax->path);
	if (pax->sparse_name.is_set)
		found->member.path = text_of(found, &pax->sparse_name);
	if (pax->target.is_set)
		target = text_of(found, &pax->target);
	if (header->type == TAR_LINK)
		found->member.hardlink = target;
	if (header->type == TAR_SYMLINK)
		found->member.target = target;
}

static void take_attributes(struct tar_in *tar, const struct tar_header *header, struct archive_member *member)
{
	const struct pax *pax = &tar->pax;
	uint64_t major_number = pax->major.is_set ? pax->major.value : header->major,
		 minor_number = pax->minor.is_set ? pax->minor.value : header->minor;

	member->mode = header->mode | type_of(header, member->path);
	member->uid = id_of(&pax->uid, header->uid);
	member->gid = id_of(&pax->gid, header->gid);
	if (S_ISCHR(member->mode) || S_ISBLK(member->mode))
		member->rdev = makedev((unsigned)major_number, (unsigned)minor_number);
	member->has_mtime = true;
	member->mtime = pax->mtime.is_set ? pax->mtime.value : (struct timespec){.tv_sec = header->mtime};
	member->has_atime = pax->atime.is_set || header->atime != 0;
	member->atime = pax->atime.is_set ? pax->atime.value : (struct timespec){.tv_sec = header->atime};
}

static void take_extras(struct tar_in *tar, const struct tar_header *header, struct archive_found *found)
{
	const struct pax *pax = &tar->pax;

	array_reset(&tar->xattrs);
	for (size_t i = 0; i < pax->xattrs.count; i++)
		array_add(&tar->xattrs, (struct archive_xattr){.name = pax->xattrs.items[i].name, .value = pax->xattrs.items[i].value.data,
		                                               .len = pax->xattrs.items[i].value.len});
	found->xattrs = tar->xattrs.items;
	found->xattr_count = tar->xattrs.count;
	found->acl_access = pax->acl_access.is_set ? (const char *)pax->acl_access.value.data : NULL;
	found->acl_default = pax->acl_default.is_set ? (const char *)pax->acl_default.value.data : NULL;
	found->has_nfs4_acl = pax->acl_nfs4.is_set;
	found->unknown = (const char *const *)pax->unknown.items;
	found->unknown_count = pax->unknown.count;
	found->warning = pax->warning ? pax->warning : has_known_type(header) ? NULL : "its type is not known: its data comes in as a file";
	if (pax->refusal)
		found->problem = pax->refusal;
}

static int take_member(struct tar_in *tar, const struct tar_header *header, struct archive_found *found)
{
	struct archive_member *member = &found->member;
	int r;

	pax_clear(&tar->pax);
	r = pax_parse(&tar->pax, tar->globals.data, tar->globals.len);
	if (r == 0)
		r = pax_parse(&tar->pax, tar->records.data, tar->records.len);
	if (r < 0)
		return damaged(tar, tar->pax.problem);
	*found = (struct archive_found){0};
	take_names(tar, header, found);
	take_attributes(tar, header, member);
	take_extras(tar, header, found);
	if (header->type == TAR_GNU_CONTINUED)
		found->problem = "it began on another volume";
	tar->is_sparse = false;
	tar->data_at = tar->stretch_at = 0;
	tar->stretch = 0;
	tar->left = !has_data(header->type) ? 0 : tar->pax.size.is_set ? tar->pax.size.value : header->size;
	tar->padding = padding_of(tar->left);
	member->size = tar->left;
	member->has_size = true;
	r = S_ISREG(member->mode) && !member->hardlink ? take_sparse(tar, header, member) : 0;
	buf_reset(&tar->records);
	buf_reset(&tar->long_name);
	buf_reset(&tar->long_target);
	return r < 0 ? r : 1;
}

/* 1: it was one of those that describe others. */
static int take_description(struct tar_in *tar, const struct tar_header *header)
{
	int r;

	switch (header->type) {
	case TAR_PAX:
	case TAR_PAX_SUN: r = read_extra(tar, header->size, &tar->records); break;
	case TAR_PAX_GLOBAL: r = read_globals(tar, header->size); break;
	case TAR_GNU_LONG_NAME:
		buf_reset(&tar->long_name);
		r = read_extra(tar, header->size, &tar->long_name);
		break;
	case TAR_GNU_LONG_LINK:
		buf_reset(&tar->long_target);
		r = read_extra(tar, header->size, &tar->long_target);
		break;
	case TAR_GNU_LABEL: r = skip(tar, header->size + padding_of(header->size)); break;
	default: return 0;
	}
	return r < 0 ? r : 1;
}

/* Two blocks of zeros are the end; one alone may be a hole that a broken copy has left. */
static int take_end(struct tar_in *tar)
{
	int r = read_block(tar);

	if (r == 1 && !tar_is_zeros(tar->block))
		return damaged(tar, "a block of zeros stands where a member should begin");
	tar->has_end = r >= 0;
	return MIN(r, 0);
}

int tar_in_next(struct tar_in *tar, struct archive_found *ret_found)
{
	int r = skip(tar, tar->left + tar->padding);

	tar->left = tar->padding = 0;
	for (;;) {
		struct tar_header header;

		if (r >= 0)
			r = read_block(tar);
		if (r == 0 && (tar->records.len > 0 || tar->long_name.len > 0))
			return damaged(tar, "it ends early");
		if (r <= 0)
			return r;
		if (tar_is_zeros(tar->block))
			return take_end(tar);
		if (!tar_is_header(tar->block) || tar_header_decode(tar->block, &header) < 0) {
			snprintf(tar->problem, sizeof(tar->problem), "the header at byte %llu is damaged", (unsigned long long)tar->block_at);
			return -EBADMSG;
		}
		r = take_description(tar, &header);
		if (r == 0)
			return take_member(tar, &header, ret_found);
	}
}

int tar_in_data(struct tar_in *tar, const void **ret_data, size_t *ret_len, uint64_t *ret_offset)
{
	uint64_t most = tar->left, offset = tar->data_at;
	int r;

	if (tar->is_sparse) {
		while (tar->stretch < tar->stretches.count && tar->stretch_at == tar->stretches.items[tar->stretch].len) {
			tar->stretch++;
			tar->stretch_at = 0;
		}
		if (tar->stretch == tar->stretches.count)
			return 0;
		offset = tar->stretches.items[tar->stretch].offset + tar->stretch_at;
		most = tar->stretches.items[tar->stretch].len - tar->stretch_at;
	}
	if (most == 0)
		return 0;
	r = unpack_some(tar->source, most, ret_data, ret_len);
	if (r <= 0)
		return r < 0 ? source_failed(tar, r) : damaged(tar, "it ends early");
	tar->at += *ret_len;
	tar->left -= *ret_len;
	tar->data_at += *ret_len;
	tar->stretch_at += *ret_len;
	*ret_offset = offset;
	return 1;
}
