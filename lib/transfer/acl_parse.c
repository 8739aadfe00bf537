#include "lib/transfer/acl_parse.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <uthash.h>

#include "lib/base/array.h"
#include "lib/tree/files/acl.h"

#define ACL_VERSION 2
#define ID_NONE UINT32_MAX
#define FIELDS_MAX 4
#define LOOKUP_ROOM (64U << 10)

/* Their values are their order and what Linux writes. */
enum tag { NO_TAG, USER_OBJ = 0x01, USER = 0x02, GROUP_OBJ = 0x04, GROUP = 0x08, MASK = 0x10, OTHER = 0x20 };

struct entry {
	enum tag tag;
	uint32_t rights, id;
};

struct entries {
	ARRAY_FIELDS(struct entry);
};

struct known {
	uint32_t id; /* ID_NONE: nobody has the name */
	UT_hash_handle hh;
	bool is_group;
	char name[]; /* "u" or "g" before it */
};

struct acl_names {
	struct known *known;
	char *unknown;
};

struct acl_names *acl_names_new(void)
{
	return xcalloc(1, sizeof(struct acl_names));
}

void acl_names_free(struct acl_names *names)
{
	struct known *known, *next;

	if (!names)
		return;
	HASH_ITER(hh, names->known, known, next) {
		HASH_DEL(names->known, known);
		free(known);
	}
	free(names->unknown);
	free(names);
}

/* --- names --- */

static uint32_t look_up(bool is_group, const char *name)
{
	AUTO_FREE char *room = xmalloc(LOOKUP_ROOM);
	struct passwd user, *found_user = NULL;
	struct group group, *found_group = NULL;

	if (is_group)
		return getgrnam_r(name, &group, room, LOOKUP_ROOM, &found_group) == 0 && found_group ? group.gr_gid : ID_NONE;
	return getpwnam_r(name, &user, room, LOOKUP_ROOM, &found_user) == 0 && found_user ? user.pw_uid : ID_NONE;
}

static uint32_t id_of_name(struct acl_names *names, bool is_group, const char *name)
{
	AUTO_FREE char *key = xasprintf("%c%s", is_group ? 'g' : 'u', name);
	size_t size = strlen(key) + 1;
	struct known *known;

	HASH_FIND(hh, names->known, key, size, known);
	if (!known) {
		known = xcalloc(1, sizeof(*known) + size);
		known->id = look_up(is_group, name);
		memcpy(known->name, key, size);
		HASH_ADD(hh, names->known, name[0], size, known);
	}
	return known->id;
}

static uint32_t number(const char *text)
{
	uint64_t value = 0;

	if (!*text)
		return ID_NONE;
	for (; *text >= '0' && *text <= '9' && value < ID_NONE; text++)
		value = value * 10 + (uint64_t)(*text - '0');
	return *text || value >= ID_NONE ? ID_NONE : (uint32_t)value;
}

/* As tar does: a name first, then a number; star's number where there is no such name. */
static uint32_t id_of(struct acl_names *names, bool is_group, const char *name, const char *star)
{
	uint32_t id = id_of_name(names, is_group, name);

	if (id == ID_NONE)
		id = number(name);
	return id == ID_NONE ? number(star) : id;
}

/* --- entries --- */

static int parse_rights(const char *text, uint32_t *ret_rights)
{
	uint32_t rights = 0;

	for (; *text; text++) {
		if (*text == 'r')
			rights |= 4;
		else if (*text == 'w')
			rights |= 2;
		else if (*text == 'x')
			rights |= 1;
		else if (*text != '-')
			return -EINVAL;
	}
	*ret_rights = rights;
	return 0;
}

static bool is_tag(const char *text, const char *name)
{
	return strcmp(text, name) == 0 || (text[0] == name[0] && text[1] == '\0');
}

static enum tag tag_of(const char *text, bool has_name)
{
	if (is_tag(text, "user"))
		return has_name ? USER : USER_OBJ;
	if (is_tag(text, "group"))
		return has_name ? GROUP : GROUP_OBJ;
	if (is_tag(text, "mask"))
		return MASK;
	return is_tag(text, "other") ? OTHER : NO_TAG;
}

static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	len = strlen(text);
	while (len > 0 && strchr(" \t", text[len - 1]))
		text[--len] = '\0';
	return text;
}

static int parse_entry(struct acl_names *names, char *text, struct entries *entries)
{
	const char *fields[FIELDS_MAX] = {"", "", "", ""};
	char *rest = text, *field;
	struct entry entry = {.id = ID_NONE};
	size_t count = 0;

	while ((field = strsep(&rest, ":"))) {
		if (count == FIELDS_MAX)
			return -EINVAL;
		fields[count++] = trim(field);
	}
	/* "mask:rw-" is written, too. */
	if (count == 2 && (is_tag(fields[0], "mask") || is_tag(fields[0], "other"))) {
		fields[2] = fields[1];
		fields[1] = "";
		count = 3;
	}
	if (count < 3 || parse_rights(fields[2], &entry.rights) < 0)
		return -EINVAL;
	entry.tag = tag_of(fields[0], fields[1][0] != '\0');
	if (entry.tag == NO_TAG || ((entry.tag == MASK || entry.tag == OTHER) && fields[1][0]))
		return -EINVAL;
	if (entry.tag == USER || entry.tag == GROUP) {
		entry.id = id_of(names, entry.tag == GROUP, fields[1], fields[3]);
		if (entry.id == ID_NONE) {
			free(names->unknown);
			names->unknown = xstrdup(fields[1]);
			return 0;
		}
	}
	array_add(entries, entry);
	return 0;
}

static int in_order(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;

	if (a->tag != b->tag)
		return a->tag < b->tag ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

int acl_parse(struct acl_names *names, const char *text, struct buf *acl, const char **ret_unknown)
{
	AUTO_FREE char *copy = xstrdup(text);
	AUTO_ARRAY struct entries entries = {0};
	char *rest = copy, *entry;
	size_t count;
	int r = 0;

	free(names->unknown);
	names->unknown = NULL;
	while (r == 0 && (entry = strsep(&rest, ",\n"))) {
		entry[strcspn(entry, "#")] = '\0';
		entry = trim(entry);
		if (*entry)
			r = parse_entry(names, entry, &entries);
	}
	if (r < 0 || entries.count == 0)
		return -EINVAL;
	qsort(entries.items, entries.count, sizeof(*entries.items), in_order);
	buf_reset(acl);
	buf_add_le32(acl, ACL_VERSION);
	for (size_t i = 0; i < entries.count; i++) {
		buf_add_le16(acl, (uint16_t)entries.items[i].tag);
		buf_add_le16(acl, (uint16_t)entries.items[i].rights);
		buf_add_le32(acl, entries.items[i].id);
	}
	*ret_unknown = names->unknown;
	return acl_check(acl->data, acl->len, &count);
}
