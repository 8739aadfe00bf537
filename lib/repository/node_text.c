#include "lib/repository/node_text.h"

#include <errno.h>

#include "lib/repository/go_text.h"

static bool read_subtree(struct json_scan *scan, struct node_text *node)
{
	struct json_text text;

	if (json_scan_null(scan))
		return true;
	node->has_subtree = json_scan_string(scan, &text) && blob_id_parse_text(text.text, text.len, &node->subtree) == 0;
	return node->has_subtree;
}

static bool read_node(struct json_scan *scan, struct node_text *node)
{
	bool good = json_scan_open(scan, '{');
	struct json_text key;

	node->text = scan->at - 1;
	while (good && json_scan_key(scan, &key)) {
		if (json_text_is(&key, "name"))
			good = json_scan_string(scan, &node->name);
		else if (json_text_is(&key, "type"))
			good = json_scan_string(scan, &node->type);
		else if (json_text_is(&key, "inode"))
			good = json_scan_number(scan, &node->inode);
		else if (json_text_is(&key, "subtree"))
			good = read_subtree(scan, node);
		else
			json_scan_skip(scan);
	}
	node->len = (size_t)(scan->at - node->text);
	return good && !scan->bad && node->name.text;
}

int node_texts_each(const char *json, size_t len, node_text_fn each, void *arg)
{
	struct json_scan scan = json_scan_over(json, len);
	struct json_text key;
	int r = 0;

	if (!json_scan_open(&scan, '{') || !json_scan_key(&scan, &key) || !json_text_is(&key, "nodes"))
		return -EBADMSG;
	if (!json_scan_null(&scan) && json_scan_open(&scan, '[')) {
		while (r == 0 && json_scan_item(&scan)) {
			struct node_text node = {0};

			r = read_node(&scan, &node) ? each(arg, &node) : -EBADMSG;
		}
	}
	if (r != 0)
		return r;
	return !json_scan_key(&scan, &key) && json_scan_end(&scan) ? 0 : -EBADMSG;
}

static int add_text(void *arg, const struct node_text *node)
{
	struct node_texts *texts = arg;

	array_add(texts, *node);
	return 0;
}

int node_texts_read(const char *json, size_t len, struct node_texts *texts)
{
	return node_texts_each(json, len, add_text, texts);
}

int json_text_name(const struct json_text *name, char **ret_name)
{
	AUTO_FREE char *text = NULL;
	int r = json_text_bytes(name, &text);

	return r == 0 ? go_unquote(text, ret_name) : r;
}

int node_text_compare(const struct node_text *text, const char *name)
{
	AUTO_FREE char *bytes = NULL;
	int r;

	if (text->name.has_escapes)
		return json_text_name(&text->name, &bytes) < 0 ? -1 : strcmp(bytes, name);
	r = strncmp(text->name.text, name, text->name.len);
	return r == 0 && name[text->name.len] ? -1 : r;
}
