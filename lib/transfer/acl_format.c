#include "lib/transfer/acl_format.h"

#include <errno.h>

#include "lib/tree/files/acl.h"

enum tag { USER_OWNER = 0x01, USER = 0x02, GROUP_OWNER = 0x04, GROUP = 0x08, MASK = 0x10, OTHER = 0x20 };

struct entry {
	uint16_t tag, rights;
	uint32_t id;
};

static struct entry next_entry(struct reader *reader)
{
	struct entry entry = {.tag = read_le16(reader)};

	entry.rights = read_le16(reader);
	entry.id = read_le32(reader);
	return entry;
}

static void add_entry(struct buf *text, const struct entry *entry)
{
	switch (entry->tag) {
	case USER_OWNER: buf_addf(text, "user::"); break;
	case USER: buf_addf(text, "user:%u:", entry->id); break;
	case GROUP_OWNER: buf_addf(text, "group::"); break;
	case GROUP: buf_addf(text, "group:%u:", entry->id); break;
	case MASK: buf_addf(text, "mask::"); break;
	default: buf_addf(text, "other::");
	}
	buf_addf(text, "%c%c%c", entry->rights & 4 ? 'r' : '-', entry->rights & 2 ? 'w' : '-', entry->rights & 1 ? 'x' : '-');
}

int acl_format(const void *acl, size_t len, struct buf *text)
{
	struct reader reader = reader_over(acl, len);
	size_t entries;
	int r = acl_check(acl, len, &entries);

	if (r < 0 || entries == 0)
		return -EINVAL;
	(void)read_le32(&reader);
	for (size_t i = 0; i < entries; i++) {
		const struct entry entry = next_entry(&reader);

		if (i > 0)
			buf_addf(text, ",");
		add_entry(text, &entry);
	}
	return 0;
}

uint32_t acl_mode_without(const void *acl, size_t len, uint32_t mode)
{
	struct reader reader = reader_over(acl, len);
	uint32_t group = 7, mask = 7;
	size_t entries;

	if (acl_check(acl, len, &entries) < 0 || entries == 0)
		return mode;
	(void)read_le32(&reader);
	for (size_t i = 0; i < entries; i++) {
		const struct entry entry = next_entry(&reader);

		if (entry.tag == GROUP_OWNER)
			group = entry.rights;
		else if (entry.tag == MASK)
			mask = entry.rights;
	}
	return mode & ~((7U & ~(group & mask)) << 3);
}

