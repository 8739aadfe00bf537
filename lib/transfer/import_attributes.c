/*
 * Which extended attributes come in. An import gives a file what its caller could have given it himself, and what a Linux filesystem lists:
 * attributes of other names would make `rsync -aX` from the mount fail, and an ACL that is none would make a directory unusable.
 *
 *   user.*                      of files and directories, as Linux has it
 *   security.*, trusted.*       of root
 *   system.posix_acl_*          where they are valid
 *   other system.*              show what the source's filesystem knows, not what the file has: never
 *   anything else               never
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "lib/transfer/acl_parse.h"
#include "lib/transfer/import_parts.h"
#include "lib/tree/files/acl.h"

#define LEFT_OUT_MAX 500 /* that are told by their names */
#define OTHERS "(and others)"
#define CAPABILITY "security.capability"
#define CAPABILITY_LEN_2 20 /* of version 2 and of version 3, which Linux takes */
#define CAPABILITY_LEN_3 24

struct left_out {
	UT_hash_handle hh;
	char *first; /* the first file that had it */
	const char *why;
	bool is_note; /* it is as it should be */
	uint64_t count;
	char name[];
};

void xattrs_clear(struct xattrs *xattrs)
{
	for (size_t i = 0; i < xattrs->count; i++) {
		free((char *)xattrs->items[i].name);
		free((void *)xattrs->items[i].value);
	}
	array_clear(xattrs);
}

/* --- what is left out --- */

static void leave_out(struct import *import, const struct member *member, const char *name, const char *why, bool is_note)
{
	size_t size;
	struct left_out *left_out;

	pthread_mutex_lock(&import->lock);
	if (HASH_COUNT(import->left_out) >= LEFT_OUT_MAX)
		name = OTHERS;
	size = strlen(name) + 1;
	HASH_FIND(hh, import->left_out, name, size, left_out);
	if (!left_out) {
		left_out = xcalloc(1, sizeof(*left_out) + size);
		memcpy(left_out->name, name, size);
		left_out->first = trail_text(member->trail, member->name);
		left_out->why = why;
		left_out->is_note = is_note;
		HASH_ADD(hh, import->left_out, name[0], size, left_out);
	}
	left_out->count++;
	pthread_mutex_unlock(&import->lock);
}

void member_leave_out(struct import *import, const struct member *member, const char *name, const char *why)
{
	leave_out(import, member, name, why, false);
}

void member_note_left_out(struct import *import, const struct member *member, const char *name, const char *why)
{
	leave_out(import, member, name, why, true);
}

static int by_name(const struct left_out *a, const struct left_out *b)
{
	return strcmp(a->name, b->name);
}

void import_tell_left_out(struct import *import)
{
	struct left_out *left_out, *next;

	HASH_SORT(import->left_out, by_name);
	HASH_ITER(hh, import->left_out, left_out, next) {
		AUTO_FREE char *others = left_out->count > 1 ? xasprintf(", here and %llu times more", (unsigned long long)left_out->count - 1)
		                                             : xstrdup("");
		AUTO_FREE char *text = xasprintf("attribute %s was left out%s: %s", left_out->name, others, left_out->why);

		if (left_out->is_note)
			transfer_note(&import->transfer, "%s: %s", left_out->first[0] ? left_out->first : ".", text);
		else
			transfer_problem(&import->transfer, "", left_out->first, -EOPNOTSUPP, text);
		HASH_DEL(import->left_out, left_out);
		free(left_out->first);
		free(left_out);
	}
}

/* --- ACLs --- */

static void put(struct member *member, const char *name, const void *value, size_t len)
{
	struct xattr_init *there = NULL;
	void *copy = xmalloc(len + 1);

	/* An empty value may have no address. */
	if (len > 0)
		memcpy(copy, value, len);
	for (size_t i = 0; i < member->xattrs.count; i++)
		if (strcmp(member->xattrs.items[i].name, name) == 0)
			there = &member->xattrs.items[i];
	if (there) {
		free((void *)there->value);
		there->value = copy;
		there->len = len;
	} else {
		array_add(&member->xattrs, (struct xattr_init){.name = xstrdup(name), .value = copy, .len = len});
	}
}

static void take_back(struct member *member, const char *name)
{
	for (size_t i = 0; i < member->xattrs.count; i++) {
		struct xattr_init *item = &member->xattrs.items[i];

		if (strcmp(item->name, name) != 0)
			continue;
		free((char *)item->name);
		free((void *)item->value);
		array_remove(&member->xattrs, i, 1);
		return;
	}
}

/* As setxattr(2) has it: the mode follows the access ACL, and one that says no more than the mode is not kept. */
static const char *add_acl(struct member *member, const char *name, const void *acl, size_t len)
{
	bool is_access = strcmp(name, ACL_ACCESS) == 0, is_equivalent = false;
	uint32_t mode;
	size_t entries;

	if (S_ISLNK(member->mode))
		return "a symbolic link has no ACL";
	if (!is_access && !S_ISDIR(member->mode))
		return "only a directory has a default ACL";
	if (acl_check(acl, len, &entries) < 0)
		return "it is no valid ACL";
	if (entries == 0)
		return NULL;
	if (is_access && acl_to_mode(acl, len, member->mode, &mode, &is_equivalent) == 0)
		member->mode = mode;
	if (is_equivalent)
		take_back(member, name);
	else
		put(member, name, acl, len);
	return NULL;
}

void member_count_acl(struct import *import, const struct member *member)
{
	for (size_t i = 0; i < member->xattrs.count; i++) {
		const char *name = member->xattrs.items[i].name;

		if (strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0) {
			atomic_fetch_add(&import->transfer.acls, 1);
			return;
		}
	}
}

void member_add_acl(struct import *import, struct member *member, const char *name, const char *text)
{
	const char *why = NULL, *unknown = NULL;
	AUTO_BUF acl = BUF_INIT;

	if (!import->acl_names)
		import->acl_names = acl_names_new();
	if (acl_parse(import->acl_names, text, &acl, &unknown) < 0)
		why = "it is no valid ACL";
	else
		why = add_acl(member, name, acl.data, acl.len);
	if (why)
		leave_out(import, member, name, why, false);
	if (!why && unknown) {
		AUTO_FREE char *entry = xasprintf("%s of %s", name, unknown);
		leave_out(import, member, entry, "nobody has this name here", false);
	}
}

/* --- all --- */

static bool is_valid_capability(const uint8_t *value, size_t len)
{
	return (len == CAPABILITY_LEN_2 && value[3] == 2) || (len == CAPABILITY_LEN_3 && value[3] == 3);
}

static bool starts_with(const char *name, const char *start)
{
	return strncmp(name, start, strlen(start)) == 0 && name[strlen(start)] != '\0';
}

/* NULL: it may come in. */
static const char *why_not(struct import *import, const struct member *member, const char *name, const void *value, size_t len,
			   bool *ret_is_note)
{
	bool is_root = impersonate_is_root(&import->transfer.caller);

	*ret_is_note = false;
	if (strlen(name) > NAME_LEN_MAX)
		return "its name is too long";
	if (len > XATTR_VALUE_MAX)
		return "its value is too large";
	if (starts_with(name, "user."))
		return S_ISREG(member->mode) || S_ISDIR(member->mode) ? NULL : "Linux has these for files and directories only";
	*ret_is_note = true;
	if (starts_with(name, "system."))
		return "it belongs to the filesystem that the source was on";
	if ((starts_with(name, "security.") || starts_with(name, "trusted.")) && !is_root)
		return "only root may set it";
	*ret_is_note = false;
	if (strcmp(name, CAPABILITY) == 0 && (!S_ISREG(member->mode) || !is_valid_capability(value, len)))
		return "it is no valid capability";
	return starts_with(name, "security.") || starts_with(name, "trusted.") ? NULL : "Linux has no attributes of such names";
}

void member_add_xattr(struct import *import, struct member *member, const char *name, const void *value, size_t len)
{
	bool is_acl = strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0, is_note = false;
	const char *why = is_acl ? add_acl(member, name, value, len) : why_not(import, member, name, value, len, &is_note);

	if (why)
		leave_out(import, member, name, why, is_note);
	else if (!is_acl)
		put(member, name, value, len);
}
