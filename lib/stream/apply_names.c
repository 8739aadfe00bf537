#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/stream/applying.h"
#include "lib/tree/files/acl.h"

#define LABEL_TEXT 24
#define STAGED_AT_ONCE 256

/* --- what waits for its new name --- */

static void label_text(uint64_t label, char out[LABEL_TEXT])
{
	(void)snprintf(out, LABEL_TEXT, "%" PRIx64, label);
}

/* The directory for it; with `make` it is made. -ENOENT */
static int find_staging(struct applying *applying, bool make, uint64_t *ret_ino)
{
	const struct create create = {.mode = S_IFDIR | 0700};
	struct attr attr;
	int r = view_lookup(applying->view, ROOT_INO, STAGING, &attr);

	if (r == -ENOENT && make)
		r = view_create(applying->view, ROOT_INO, STAGING, &create, &attr, NULL);
	if (r == 0)
		*ret_ino = attr.ino;
	return r;
}

struct staged {
	char text[LABEL_TEXT];
	uint8_t type;
};

struct staged_list {
	ARRAY_FIELDS(struct staged);
};

static int add_staged(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct staged_list *list = arg;
	struct staged *staged = array_new(list);

	(void)snprintf(staged->text, sizeof(staged->text), "%s", name);
	staged->type = type;
	return list->count == STAGED_AT_ONCE;
}

/* What got no new name goes. Directories lost what was in them before. */
static int end_staging(struct applying *applying)
{
	AUTO_ARRAY struct staged_list list = {0};
	char after[LABEL_TEXT] = "";
	uint64_t staging;
	int more = 1, r = find_staging(applying, false, &staging);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	while (more == 1 && r == 0) {
		array_reset(&list);
		more = view_list(applying->view, staging, after, add_staged, &list);
		for (size_t i = 0; i < list.count && r == 0; i++) {
			const char *name = list.items[i].text;

			r = list.items[i].type == DT_DIR ? view_rmdir(applying->view, staging, name) : view_unlink(applying->view, staging, name);
			memcpy(after, name, LABEL_TEXT);
		}
	}
	if (r == 0)
		r = MIN(more, 0);
	return r < 0 ? r : view_rmdir(applying->view, ROOT_INO, STAGING);
}

/* --- the base --- */

static int lose(struct applying *applying, uint64_t dir, const struct stream_entry *entry)
{
	char text[LABEL_TEXT];
	uint64_t staging;
	int r;

	if (entry->label == 0)
		return view_unlink(applying->view, dir, entry->name);
	label_text(entry->label, text);
	r = find_staging(applying, true, &staging);
	if (r == 0)
		r = view_rename(applying->view, dir, entry->name, staging, text, RENAME_NOREPLACE);
	/* It waits already, under another of its names. */
	return r == -EEXIST ? view_unlink(applying->view, dir, entry->name) : r;
}

int applying_old(struct applying *applying, const struct stream_entry *entry)
{
	struct attr attr;
	uint64_t dir, known;
	int r = applying_ino(applying, entry->directory, &dir);

	if (r < 0)
		return r;
	r = view_lookup(applying->view, dir, entry->name, &attr);
	if (r == 0 && entry->label) {
		r = receiving_get_label(applying->store, applying->hidden, entry->label, &known);
		if (r == 0 && known != attr.ino)
			return applying_bad(applying, "label %" PRIu64 " stands for two things", entry->label);
		r = r == -ENOENT ? applying_bind(applying, entry->label, attr.ino) : r;
		if (r < 0)
			return r;
	}
	if (r == 0 && (entry->flags & STREAM_OLD_LOST))
		r = lose(applying, dir, entry);
	return applying_result(applying, entry->name, r);
}

/* --- what this caller may --- */

static bool starts_with(const char *name, const char *start)
{
	return strncmp(name, start, strlen(start)) == 0 && name[strlen(start)] != '\0';
}

static bool is_acl(const char *name)
{
	return strcmp(name, ACL_ACCESS) == 0 || strcmp(name, ACL_DEFAULT) == 0;
}

static int check_xattr(struct applying *applying, const struct stream_entry *entry, const char *name, const uint8_t *value, size_t len)
{
	const uint32_t mode = entry->attributes.mode;
	size_t entries;

	if (is_acl(name)) {
		const bool fits = strcmp(name, ACL_ACCESS) == 0 ? !S_ISLNK(mode) : S_ISDIR(mode);

		return fits && acl_check(value, len, &entries) == 0 ? 0 : applying_bad(applying, "\"%s\" has an ACL that is none", entry->name);
	}
	/* Linux has them for files and directories only. */
	if (starts_with(name, "user.") && (S_ISREG(mode) || S_ISDIR(mode) || applying->options->uid == 0))
		return 0;
	if (!starts_with(name, "security.") && !starts_with(name, "trusted."))
		return applying_bad(applying, "\"%s\" has an attribute that Linux has not: %s", entry->name, name);
	return applying->options->uid == 0 ? 0
	                                   : error_set(applying->err, -EPERM, "\"%s\" has the attribute %s, which only root may set", entry->name, name);
}

static bool has_group(const struct receive_options *options, uint32_t gid)
{
	for (size_t i = 0; i < options->group_count; i++)
		if (options->groups[i] == gid)
			return true;
	return options->gid == gid;
}

static int check_may(struct applying *applying, const struct stream_entry *entry)
{
	const struct receive_options *options = applying->options;
	const struct stream_attributes *attributes = &entry->attributes;
	struct reader xattrs = attributes->xattrs;
	bool has_acl = false;
	int r = 0;

	for (uint32_t i = 0; i < attributes->xattr_count && r == 0; i++) {
		const char *name;
		const uint8_t *value;
		size_t len;

		stream_xattr_next(&xattrs, &name, &value, &len);
		r = check_xattr(applying, entry, name, value, len);
		has_acl |= is_acl(name);
	}
	applying->result->acls += has_acl;
	if (r < 0 || options->uid == 0)
		return r;
	if (attributes->uid != options->uid || !has_group(options, attributes->gid))
		r = error_set(applying->err, -EPERM, "\"%s\" belongs to user %u and group %u, which only root may make", entry->name, attributes->uid,
		              attributes->gid);
	else if (S_ISCHR(attributes->mode) || S_ISBLK(attributes->mode))
		r = error_set(applying->err, -EPERM, "\"%s\" is a device, which only root may make", entry->name);
	if (r < 0)
		error_hint(applying->err, "receive as root");
	return r;
}

/* --- new ones --- */

static int make_directory(struct applying *applying, uint64_t dir, const struct stream_entry *entry)
{
	const struct stream_attributes *attributes = &entry->attributes;
	AUTO_ARRAY struct xattr_list xattrs = {0};
	struct create create = {.mode = attributes->mode, .uid = attributes->uid, .gid = attributes->gid};
	struct attr attr;
	int r = applying_flush(applying);

	applying_xattrs(attributes, &xattrs);
	create.xattrs = xattrs.items;
	create.xattr_count = xattrs.count;
	if (r == 0)
		r = view_create(applying->view, dir, entry->name, &create, &attr, NULL);
	r = applying_result(applying, entry->name, r);
	return r < 0 ? r : applying_bind(applying, entry->label, attr.ino);
}

int applying_node(struct applying *applying, const struct stream_entry *entry)
{
	uint64_t dir;
	int r = check_may(applying, entry);

	if (r == 0)
		r = applying_ino(applying, entry->directory, &dir);
	if (r < 0)
		return r;
	if (S_ISDIR(entry->attributes.mode))
		return make_directory(applying, dir, entry);
	if ((entry->flags & STREAM_MORE) && !S_ISREG(entry->attributes.mode))
		return applying_bad(applying, "\"%s\" is no file and has content", entry->name);
	return applying_new_file(applying, dir, entry);
}

int applying_name(struct applying *applying, const struct stream_entry *entry)
{
	char text[LABEL_TEXT];
	struct attr attr;
	uint64_t dir, ino, staging = 0;
	int r = applying_flush(applying);

	if (r == 0)
		r = applying_ino(applying, entry->directory, &dir);
	if (r == 0)
		r = applying_ino(applying, entry->label, &ino);
	if (r < 0)
		return r;
	label_text(entry->label, text);
	r = find_staging(applying, false, &staging);
	if (r == 0)
		r = view_lookup(applying->view, staging, text, &attr);
	if (r == 0)
		r = view_rename(applying->view, staging, text, dir, entry->name, RENAME_NOREPLACE);
	else if (r == -ENOENT)
		r = view_link(applying->view, ino, dir, entry->name, &attr);
	return applying_result(applying, entry->name, r);
}

/* --- attributes --- */

static bool is_wanted(const struct xattr_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].name, name) == 0)
			return true;
	return false;
}

static int set_xattrs(struct applying *applying, uint64_t ino, const struct stream_attributes *attributes)
{
	AUTO_ARRAY struct xattr_list wanted = {0};
	AUTO_BUF names = BUF_INIT;
	int r = view_xattr_list(applying->view, ino, &names);

	applying_xattrs(attributes, &wanted);
	for (size_t at = 0; at < names.len && r == 0; at += strlen((char *)names.data + at) + 1)
		if (!is_wanted(&wanted, (char *)names.data + at))
			r = view_xattr_remove(applying->view, ino, (char *)names.data + at);
	for (size_t i = 0; i < wanted.count && r == 0; i++)
		r = view_xattr_set(applying->view, ino, wanted.items[i].name, wanted.items[i].value, wanted.items[i].len, 0);
	return r;
}

static int set_times(struct applying *applying, uint64_t ino, const struct stream_attributes *attributes)
{
	const struct setattr set = {.mask = SET_ATIME | SET_MTIME, .atime = attributes->atime, .mtime = attributes->mtime};
	struct attr attr;

	return view_setattr(applying->view, ino, &set, &attr);
}

static int set_attributes(struct applying *applying, uint64_t ino, const struct stream_attributes *attributes)
{
	struct setattr set = {.mask = SET_UID | SET_GID | SET_MODE, .mode = attributes->mode, .uid = attributes->uid,
	                      .gid = attributes->gid, .size = attributes->size};
	struct attr attr;
	int r = view_getattr(applying->view, ino, &attr);

	if (r < 0)
		return r;
	if ((attr.mode & S_IFMT) != (attributes->mode & S_IFMT))
		return applying_bad(applying, "something becomes what it cannot be");
	if (S_ISREG(attributes->mode) && attr.size != attributes->size)
		set.mask |= SET_SIZE;
	r = set_xattrs(applying, ino, attributes);
	return r < 0 ? r : view_setattr(applying->view, ino, &set, &attr);
}

int applying_meta(struct applying *applying, const struct stream_entry *entry)
{
	uint64_t ino;
	int r = check_may(applying, entry);

	if (r == 0)
		r = applying_flush(applying);
	if (r == 0)
		r = applying_ino(applying, entry->label, &ino);
	if (r == 0 && entry->label == STREAM_ROOT)
		r = applying_result(applying, STAGING, end_staging(applying));
	if (r < 0)
		return r;
	r = applying_result(applying, "attributes", set_attributes(applying, ino, &entry->attributes));
	if (r < 0)
		return r;
	applying->is_complete = entry->label == STREAM_ROOT;
	if (!(entry->flags & STREAM_MORE))
		return applying_result(applying, "times", set_times(applying, ino, &entry->attributes));
	if (!S_ISREG(entry->attributes.mode))
		return applying_bad(applying, "what is no file has content");
	return applying_open(applying, entry->label, ino, entry->attributes.size);
}

int applying_left_directory(struct applying *applying, const struct stream_entry *entry)
{
	uint64_t ino;
	int r = applying_flush(applying);

	if (r == 0)
		r = applying_ino(applying, entry->label, &ino);
	return r < 0 ? r : applying_result(applying, "a directory", set_times(applying, ino, &entry->attributes));
}
