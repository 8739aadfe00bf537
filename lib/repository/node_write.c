#include <string.h>
#include <sys/stat.h>

#include "lib/base/base64.h"
#include "lib/base/utf8.h"
#include "lib/repository/go_mode.h"
#include "lib/repository/go_text.h"
#include "lib/repository/node.h"

/* With the comma that the first one has not. */
static void add_key(struct buf *out, const char *key)
{
	buf_addf(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",", key);
}

static void add_number(struct buf *out, const char *key, uint64_t value, bool also_zero)
{
	if (value == 0 && !also_zero)
		return;
	add_key(out, key);
	buf_addf(out, "%llu", (unsigned long long)value);
}

static void add_text(struct buf *out, const char *key, const char *text)
{
	add_key(out, key);
	go_json_string(out, text);
}

static void add_base64(struct buf *out, const char *key, const void *data, size_t len)
{
	add_key(out, key);
	buf_add_u8(out, '"');
	base64_add(out, data, len);
	buf_add_u8(out, '"');
}

static void add_time(struct buf *out, const char *key, struct timespec time)
{
	char text[GO_TIME_TEXT];

	go_time_text(time, text);
	add_text(out, key, text);
}

static void add_xattrs(struct buf *out, const struct node *node)
{
	bool has_some = false;

	for (size_t i = 0; i < node->xattrs.count; i++) {
		const struct node_xattr *xattr = &node->xattrs.items[i];

		if (!utf8_is_valid(xattr->name))
			continue;
		if (!has_some)
			add_key(out, "extended_attributes");
		buf_addf(out, "%s{", has_some ? "," : "[");
		add_text(out, "name", xattr->name);
		add_base64(out, "value", xattr->value, xattr->len);
		buf_add_u8(out, '}');
		has_some = true;
	}
	if (has_some)
		buf_add_u8(out, ']');
}

static void add_content(struct buf *out, const struct node *node)
{
	char text[BLOB_ID_TEXT];

	add_key(out, "content");
	if (!S_ISREG(node->mode)) {
		buf_add(out, "null", 4);
		return;
	}
	buf_add_u8(out, '[');
	for (size_t i = 0; i < node->content.count; i++) {
		blob_id_text(&node->content.items[i], text);
		buf_addf(out, "%s\"%s\"", i == 0 ? "" : ",", text);
	}
	buf_add_u8(out, ']');
}

static void add_target(struct buf *out, const char *target)
{
	add_text(out, "linktarget", target);
	if (!utf8_is_valid(target))
		add_base64(out, "linktarget_raw", target, strlen(target));
}

void tree_begin(struct buf *out)
{
	buf_addf(out, "{\"nodes\":[");
}

void tree_add(struct buf *out, const struct node *node)
{
	AUTO_BUF name = BUF_INIT;
	char text[BLOB_ID_TEXT];

	if (out->data[out->len - 1] != '[')
		buf_add_u8(out, ',');
	if (node->as_is) {
		buf_add(out, node->as_is, node->as_is_len);
		return;
	}
	buf_add_u8(out, '{');
	go_quote(&name, node->name);
	add_text(out, "name", (char *)name.data);
	add_text(out, "type", go_type_of(node->mode));
	add_number(out, "mode", go_mode_of(node->mode), false);
	add_time(out, "mtime", node->mtime);
	add_time(out, "atime", node->atime);
	add_time(out, "ctime", node->ctime);
	add_number(out, "uid", node->uid, true);
	add_number(out, "gid", node->gid, true);
	add_number(out, "inode", node->inode, false);
	add_number(out, "device_id", node->device_id, false);
	add_number(out, "size", node->size, false);
	add_number(out, "links", node->links, false);
	if (node->target)
		add_target(out, node->target);
	add_xattrs(out, node);
	add_number(out, "device", node->rdev, false);
	add_content(out, node);
	if (node->has_subtree) {
		blob_id_text(&node->subtree, text);
		add_text(out, "subtree", text);
	}
	buf_add_u8(out, '}');
}

void tree_end(struct buf *out)
{
	buf_addf(out, "]}\n");
}
