#include "lib/tree/files/acl.h"

#include <errno.h>

#define ACL_VERSION 2
#define HEADER_LEN 4
#define ENTRY_LEN 8
#define ID_NONE UINT32_MAX
#define PERMISSIONS 07U

enum tag { USER_OBJ = 0x01, USER = 0x02, GROUP_OBJ = 0x04, GROUP = 0x08, MASK = 0x10, OTHER = 0x20 };

struct entry {
	uint16_t tag, permissions;
	uint32_t id;
};

static struct entry entry_at(const uint8_t *acl, size_t number)
{
	struct reader reader = reader_over(acl + HEADER_LEN + number * ENTRY_LEN, ENTRY_LEN);

	return (struct entry){.tag = read_le16(&reader), .permissions = read_le16(&reader), .id = read_le32(&reader)};
}

static void set_permissions(uint8_t *acl, size_t number, uint32_t permissions)
{
	uint8_t *entry = acl + HEADER_LEN + number * ENTRY_LEN;

	entry[2] = permissions & PERMISSIONS;
	entry[3] = 0;
}

/* Entries come in this order; a mask is needed when there are named users or groups. */
static bool may_follow(unsigned before, const struct entry *entry)
{
	switch (entry->tag) {
	case USER_OBJ: return before == 0;
	case USER: return (before == USER_OBJ || before == USER) && entry->id != ID_NONE;
	case GROUP_OBJ: return before == USER_OBJ || before == USER;
	case GROUP: return (before == GROUP_OBJ || before == GROUP) && entry->id != ID_NONE;
	case MASK: return before == GROUP_OBJ || before == GROUP;
	case OTHER: return before == GROUP_OBJ || before == GROUP || before == MASK;
	default: return false;
	}
}

int acl_check(const void *acl, size_t len, size_t *ret_entries)
{
	struct reader header = reader_over(acl, len);
	uint32_t version = read_le32(&header);
	bool has_names = false;
	unsigned before = 0;

	if (header.bad || version != ACL_VERSION || header.left % ENTRY_LEN != 0)
		return -EINVAL;

	size_t count = header.left / ENTRY_LEN;

	for (size_t i = 0; i < count; i++) {
		struct entry entry = entry_at(acl, i);
		if ((entry.permissions & ~PERMISSIONS) != 0 || !may_follow(before, &entry))
			return -EINVAL;
		if (entry.tag == OTHER && has_names && before != MASK)
			return -EINVAL;
		has_names = has_names || entry.tag == USER || entry.tag == GROUP;
		before = entry.tag;
	}
	if (count > 0 && before != OTHER)
		return -EINVAL;
	*ret_entries = count;
	return 0;
}

static bool has_mask(const uint8_t *acl, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (entry_at(acl, i).tag == MASK)
			return true;
	}
	return false;
}

/* How far the entry's permissions lie to the left in a mode, or -1 if it has no part in it: with a mask, the group's bits are the mask. */
static int mode_shift(const struct entry *entry, bool masked)
{
	switch (entry->tag) {
	case USER_OBJ: return 6;
	case GROUP_OBJ: return masked ? -1 : 3;
	case MASK: return 3;
	case OTHER: return 0;
	default: return -1;
	}
}

int acl_to_mode(const void *acl, size_t len, uint32_t mode, uint32_t *ret_mode, bool *ret_equivalent)
{
	size_t count;
	bool equivalent = true;
	int r = acl_check(acl, len, &count);

	if (r < 0)
		return r;

	bool masked = has_mask(acl, count);

	for (size_t i = 0; i < count; i++) {
		struct entry entry = entry_at(acl, i);
		int shift = mode_shift(&entry, masked);
		if (shift >= 0)
			mode = (mode & ~(PERMISSIONS << shift)) | (uint32_t)entry.permissions << shift;
		equivalent = equivalent && (entry.tag == USER_OBJ || entry.tag == GROUP_OBJ || entry.tag == OTHER);
	}
	*ret_mode = mode;
	*ret_equivalent = equivalent;
	return 0;
}

int acl_chmod(struct buf *acl, uint32_t mode)
{
	size_t count;
	int r = acl_check(acl->data, acl->len, &count);

	if (r < 0)
		return r;

	bool masked = has_mask(acl->data, count);

	for (size_t i = 0; i < count; i++) {
		struct entry entry = entry_at(acl->data, i);
		int shift = mode_shift(&entry, masked);
		if (shift >= 0)
			set_permissions(acl->data, i, mode >> shift);
	}
	return 0;
}

int acl_inherit(const void *default_acl, size_t len, uint32_t mode, uint32_t *ret_mode, struct buf *ret_access)
{
	size_t count;
	bool equivalent = true;
	AUTO_BUF access = BUF_INIT;
	int r = acl_check(default_acl, len, &count);

	if (r < 0)
		return r;
	buf_add(&access, default_acl, len);

	bool masked = has_mask(access.data, count);

	for (size_t i = 0; i < count; i++) {
		struct entry entry = entry_at(access.data, i);
		int shift = mode_shift(&entry, masked);
		if (shift >= 0) {
			uint32_t permissions = entry.permissions & (mode >> shift);
			set_permissions(access.data, i, permissions);
			mode = (mode & ~(PERMISSIONS << shift)) | permissions << shift;
		}
		equivalent = equivalent && (entry.tag == USER_OBJ || entry.tag == GROUP_OBJ || entry.tag == OTHER);
	}
	buf_reset(ret_access);
	if (!equivalent)
		buf_add(ret_access, access.data, access.len);
	*ret_mode = mode;
	return 0;
}
