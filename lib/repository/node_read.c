/*
 * Reads a tree node by node, without building anything of its JSON: numbers take all of 64 bits, as inodes and devices do, and the time goes into
 * what a node has, not into what its text is made of.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/base64.h"
#include "lib/repository/go_mode.h"
#include "lib/repository/go_text.h"
#include "lib/repository/json_scan.h"
#include "lib/repository/node.h"

void node_clear(struct node *node)
{
	for (size_t i = 0; i < node->xattrs.count; i++) {
		free(node->xattrs.items[i].name);
		free(node->xattrs.items[i].value);
	}
	array_clear(&node->xattrs);
	array_clear(&node->content);
	free(node->name);
	free(node->target);
	*node = (struct node){0};
}

struct blob_id node_body(const struct node *node)
{
	const uint64_t numbers[] = {node->mode & S_IFMT, node->size, node->rdev};
	AUTO_BUF body = BUF_INIT;

	buf_add(&body, numbers, sizeof(numbers));
	buf_add(&body, node->content.items, node->content.count * sizeof(*node->content.items));
	if (node->target)
		buf_add(&body, node->target, strlen(node->target));
	return blob_id_of(body.data, body.len);
}

/* In the order in which restic writes them. */
enum field {
	NAME, TYPE, MODE, MTIME, ATIME, CTIME, UID, GID, INODE, DEVICE_ID, SIZE, LINKS, TARGET, TARGET_RAW, XATTRS, DEVICE, CONTENT, SUBTREE, FIELDS,
};

static const char *const keys[FIELDS] = {
	[NAME] = "name", [TYPE] = "type", [MODE] = "mode", [MTIME] = "mtime", [ATIME] = "atime", [CTIME] = "ctime", [UID] = "uid", [GID] = "gid",
	[INODE] = "inode", [DEVICE_ID] = "device_id", [SIZE] = "size", [LINKS] = "links", [TARGET] = "linktarget", [TARGET_RAW] = "linktarget_raw",
	[XATTRS] = "extended_attributes", [DEVICE] = "device", [CONTENT] = "content", [SUBTREE] = "subtree",
};

/* Where a node's key stands in this order; FIELDS: it is none of these. `from` is where it most likely does. */
static enum field field_of(const struct json_text *key, enum field from)
{
	for (unsigned i = 0; i < FIELDS; i++) {
		const enum field field = (from + i) % FIELDS;

		if (json_text_is(key, keys[field]))
			return field;
	}
	return FIELDS;
}

/* What stands for nothing is null, or left out. */
static bool read_number(struct json_scan *scan, uint64_t *number)
{
	return json_scan_null(scan) || json_scan_number(scan, number);
}

static bool read_number32(struct json_scan *scan, uint32_t *number)
{
	uint64_t wide = *number;

	if (!read_number(scan, &wide) || wide > UINT32_MAX)
		return false;
	*number = (uint32_t)wide;
	return true;
}

/* The string's bytes in place of those that are there. */
static bool read_string(struct json_scan *scan, char **string)
{
	struct json_text text;
	char *bytes;

	if (json_scan_null(scan))
		return true;
	if (!json_scan_string(scan, &text) || json_text_bytes(&text, &bytes) < 0)
		return false;
	free(*string);
	*string = bytes;
	return true;
}

static bool read_time(struct json_scan *scan, struct timespec *time)
{
	AUTO_FREE char *text = NULL;

	return read_string(scan, &text) && (!text || go_time_parse(text, time) == 0);
}

static bool read_base64(struct json_scan *scan, struct buf *out)
{
	AUTO_FREE char *text = NULL;

	return read_string(scan, &text) && (!text || base64_decode(text, strlen(text), out) == 0);
}

static bool read_xattr(struct json_scan *scan, struct node *node)
{
	AUTO_FREE char *name = NULL;
	AUTO_BUF value = BUF_INIT;
	struct json_text key;
	bool good = json_scan_open(scan, '{');

	while (good && json_scan_key(scan, &key)) {
		if (json_text_is(&key, "name"))
			good = read_string(scan, &name);
		else if (json_text_is(&key, "value"))
			good = read_base64(scan, &value);
		else
			json_scan_skip(scan);
	}
	if (!good || scan->bad || !name)
		return false;
	buf_reserve(&value, 1);
	array_add(&node->xattrs, (struct node_xattr){.name = steal_ptr(name), .len = value.len, .value = value.data});
	value = BUF_INIT;
	return true;
}

static bool read_id(struct json_scan *scan, struct blob_id *id)
{
	struct json_text text;

	return json_scan_string(scan, &text) && blob_id_parse_text(text.text, text.len, id) == 0;
}

static bool read_content(struct json_scan *scan, struct node *node)
{
	struct blob_id id;

	if (!read_id(scan, &id))
		return false;
	array_add(&node->content, id);
	return true;
}

static bool read_list(struct json_scan *scan, struct node *node, bool (*read_item)(struct json_scan *scan, struct node *node))
{
	bool good = true;

	if (json_scan_null(scan))
		return true;
	if (!json_scan_open(scan, '['))
		return false;
	while (good && json_scan_item(scan))
		good = read_item(scan, node);
	return good;
}

static bool read_subtree(struct json_scan *scan, struct node *node)
{
	if (json_scan_null(scan))
		return true;
	node->has_subtree = read_id(scan, &node->subtree);
	return node->has_subtree;
}

/* What says together what one thing of the node is. */
struct parts {
	char *name, *type; /* as Go writes it; owned, as all here */
	uint32_t mode;
	struct buf raw_target;
};

static bool read_field(struct json_scan *scan, enum field field, struct node *node, struct parts *parts)
{
	switch (field) {
	case NAME: return read_string(scan, &parts->name);
	case TYPE: return read_string(scan, &parts->type);
	case MODE: return read_number32(scan, &parts->mode);
	case MTIME: return read_time(scan, &node->mtime);
	case ATIME: return read_time(scan, &node->atime);
	case CTIME: return read_time(scan, &node->ctime);
	case UID: return read_number32(scan, &node->uid);
	case GID: return read_number32(scan, &node->gid);
	case INODE: return read_number(scan, &node->inode);
	case DEVICE_ID: return read_number(scan, &node->device_id);
	case SIZE: return read_number(scan, &node->size);
	case LINKS: return read_number(scan, &node->links);
	case TARGET: return read_string(scan, &node->target);
	case TARGET_RAW: return read_base64(scan, &parts->raw_target);
	case XATTRS: return read_list(scan, node, read_xattr);
	case DEVICE: return read_number(scan, &node->rdev);
	case CONTENT: return read_list(scan, node, read_content);
	case SUBTREE: return read_subtree(scan, node);
	case FIELDS: json_scan_skip(scan);
	}
	return !scan->bad;
}

static int put_together(struct parts *parts, struct node *node)
{
	if (!parts->name || !parts->type || go_unquote(parts->name, &node->name) < 0)
		return -EBADMSG;
	node->mode = go_mode_to_st(parts->mode, parts->type);
	if (parts->raw_target.len > 0) {
		buf_add_u8(&parts->raw_target, 0);
		free(node->target);
		node->target = (char *)steal_ptr(parts->raw_target.data);
	}
	return 0;
}

static int read_node(struct json_scan *scan, struct node *node)
{
	struct parts parts = {.raw_target = BUF_INIT};
	bool good = json_scan_open(scan, '{');
	enum field next = NAME, field;
	uint32_t seen = 0;
	struct json_text key;
	int r = -EBADMSG;

	while (good && json_scan_key(scan, &key)) {
		field = field_of(&key, next);
		good = read_field(scan, field, node, &parts) && (field == FIELDS || !(seen >> field & 1));
		if (field != FIELDS) {
			seen |= 1U << field;
			next = field + 1;
		}
	}
	if (good && !scan->bad)
		r = put_together(&parts, node);
	free(parts.name);
	free(parts.type);
	buf_clear(&parts.raw_target);
	return r;
}

static int read_nodes(struct json_scan *scan, tree_fn each, void *arg)
{
	int r = 0;

	if (json_scan_null(scan))
		return 0;
	if (!json_scan_open(scan, '['))
		return -EBADMSG;
	while (r == 0 && json_scan_item(scan)) {
		struct node node = {0};

		r = read_node(scan, &node);
		if (r == 0)
			r = each(arg, &node);
		node_clear(&node);
	}
	return r;
}

int tree_read(const char *json, size_t len, tree_fn each, void *arg)
{
	struct json_scan scan = json_scan_over(json, len);
	bool has_nodes = false;
	struct json_text key;
	int r = json_scan_open(&scan, '{') ? 0 : -EBADMSG;

	while (r == 0 && json_scan_key(&scan, &key)) {
		if (!json_text_is(&key, "nodes"))
			json_scan_skip(&scan);
		else
			r = has_nodes ? -EBADMSG : read_nodes(&scan, each, arg);
		has_nodes = has_nodes || json_text_is(&key, "nodes");
	}
	return r != 0 || (has_nodes && json_scan_end(&scan)) ? r : -EBADMSG;
}
