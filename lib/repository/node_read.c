/*
 * Reads a tree node by node: what stands around the nodes is always the same, so that each node is parsed by itself. A tree that is formed
 * otherwise, but is a tree, is parsed as a whole.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "lib/base/base64.h"
#include "lib/repository/go_mode.h"
#include "lib/repository/go_text.h"
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

static uint64_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	/* Numbers above 2^63 do not fit jansson's integers, and come as reals. */
	if (json_is_real(value)) {
		double real = json_real_value(value);
		return real > 0 && real < 18446744073709551616.0 ? (uint64_t)real : 0;
	}
	return (uint64_t)json_integer_value(value);
}

static int time_of(const json_t *object, const char *key, struct timespec *ret_time)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? go_time_parse(text, ret_time) : 0;
}

static int read_base64(const json_t *value, struct buf *out)
{
	const char *text = json_string_value(value);

	return text ? base64_decode(text, strlen(text), out) : 0;
}

static int read_xattrs(const json_t *object, struct node *node)
{
	const json_t *list = json_object_get(object, "extended_attributes"), *entry;
	size_t i;

	json_array_foreach(list, i, entry) {
		const char *name = json_string_value(json_object_get(entry, "name"));
		AUTO_BUF value = BUF_INIT;

		if (!name || read_base64(json_object_get(entry, "value"), &value) < 0)
			return -EBADMSG;
		buf_reserve(&value, 1);
		array_add(&node->xattrs, (struct node_xattr){.name = xstrdup(name), .len = value.len, .value = value.data});
		value = BUF_INIT;
	}
	return 0;
}

static int read_content(const json_t *object, struct node *node)
{
	const json_t *list = json_object_get(object, "content"), *entry;
	size_t i;

	array_reserve(&node->content, json_array_size(list));
	json_array_foreach(list, i, entry) {
		const char *text = json_string_value(entry);
		struct blob_id id;

		if (!text || blob_id_parse(text, &id) < 0)
			return -EBADMSG;
		array_add(&node->content, id);
	}
	return 0;
}

static int read_target(const json_t *object, struct node *node)
{
	const char *target = json_string_value(json_object_get(object, "linktarget"));
	AUTO_BUF raw = BUF_INIT;

	if (read_base64(json_object_get(object, "linktarget_raw"), &raw) < 0)
		return -EBADMSG;
	if (raw.len > 0) {
		buf_add_u8(&raw, 0);
		node->target = (char *)steal_ptr(raw.data);
	} else if (target) {
		node->target = xstrdup(target);
	}
	return 0;
}

static int read_node(const json_t *object, struct node *node)
{
	const char *name = json_string_value(json_object_get(object, "name")), *type = json_string_value(json_object_get(object, "type"));
	const char *subtree = json_string_value(json_object_get(object, "subtree"));

	if (!name || !type || go_unquote(name, &node->name) < 0)
		return -EBADMSG;
	node->mode = go_mode_to_st((uint32_t)number(object, "mode"), type);
	node->uid = (uint32_t)number(object, "uid");
	node->gid = (uint32_t)number(object, "gid");
	node->inode = number(object, "inode");
	node->device_id = number(object, "device_id");
	node->size = number(object, "size");
	node->links = number(object, "links");
	node->rdev = number(object, "device");
	if (time_of(object, "mtime", &node->mtime) < 0 || time_of(object, "atime", &node->atime) < 0 ||
	    time_of(object, "ctime", &node->ctime) < 0)
		return -EBADMSG;
	if (subtree) {
		if (blob_id_parse(subtree, &node->subtree) < 0)
			return -EBADMSG;
		node->has_subtree = true;
	}
	if (read_target(object, node) < 0 || read_xattrs(object, node) < 0 || read_content(object, node) < 0)
		return -EBADMSG;
	return 0;
}

static int give(const json_t *object, tree_fn each, void *arg)
{
	struct node node = {0};
	int r = json_is_object(object) ? read_node(object, &node) : -EBADMSG;

	if (r == 0)
		r = each(arg, &node);
	node_clear(&node);
	return r;
}

static int read_whole(const char *json, size_t len, tree_fn each, void *arg)
{
	json_t *tree = json_loadb(json, len, 0, NULL), *list = json_object_get(tree, "nodes"), *entry;
	int r = json_is_array(list) || json_is_null(list) ? 0 : -EBADMSG;
	size_t i;

	json_array_foreach(list, i, entry) {
		if (r != 0)
			break;
		r = give(entry, each, arg);
	}
	json_decref(tree);
	return r;
}

int tree_read(const char *json, size_t len, tree_fn each, void *arg)
{
	static const char begin[] = "{\"nodes\":[";
	const char *at = json + sizeof(begin) - 1, *end = json + len;
	int r = 0;

	if (len < sizeof(begin) || memcmp(json, begin, sizeof(begin) - 1) != 0 || *at != '{')
		return read_whole(json, len, each, arg);
	while (r == 0) {
		json_error_t error;
		json_t *object = json_loadb(at, (size_t)(end - at), JSON_DISABLE_EOF_CHECK, &error);

		if (!object)
			return -EBADMSG;
		at += error.position;
		r = give(object, each, arg);
		json_decref(object);
		if (r != 0 || at == end || *at != ',')
			break;
		at++;
	}
	/* Then come "]}" and white space. */
	if (r == 0 && (end - at < 2 || memcmp(at, "]}", 2) != 0))
		return -EBADMSG;
	return r;
}
