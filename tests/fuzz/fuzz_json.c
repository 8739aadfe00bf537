/*
 * Fuzzes the reading of index files and trees as text: what is skipped is JSON, in the opinion of another reader, and all JSON is skipped. What is read as a
 * tree has nodes with names only, and each node that is written again is read as the same.
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/repository/json_scan.h"
#include "lib/repository/node.h"
#include "tests/fuzz/target.h"

/* What the other reader wants besides, and who scans does not look at. */
static bool is_only_stricter(const char *text, size_t len, const json_error_t *error)
{
	const enum json_error_code code = json_error_code(error);

	return code == json_error_invalid_utf8 || code == json_error_null_character || code == json_error_numeric_overflow ||
	       code == json_error_null_byte_in_key || memmem(text, len, "\\u", 2) != NULL;
}

static bool may_be_deep(const char *text, size_t len)
{
	size_t brackets = 0;

	for (size_t i = 0; i < len; i++)
		brackets += text[i] == '[' || text[i] == '{';
	return brackets > JSON_SCAN_DEPTH;
}

static int copy_node(void *arg, struct node *node)
{
	if (!node->name)
		abort();
	tree_add(arg, node);
	return 0;
}

static bool copy_tree(const char *json, size_t len, struct buf *out)
{
	buf_reset(out);
	tree_begin(out);
	if (tree_read(json, len, copy_node, out) < 0)
		return false;
	tree_end(out);
	return true;
}

static void read_tree(const char *text, size_t size)
{
	AUTO_BUF once = BUF_INIT, twice = BUF_INIT;

	if (!copy_tree(text, size, &once))
		return;
	if (!copy_tree((char *)once.data, once.len, &twice) || once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct json_scan scan = json_scan_over(text, size);
	json_error_t error;
	json_t *json = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	bool is_json;

	json_scan_skip(&scan);
	is_json = json_scan_end(&scan);
	if (is_json && !json && !is_only_stricter(text, size, &error))
		abort();
	/* Behind a number the other reader does not see a NUL. */
	if (!is_json && json && !may_be_deep(text, size) && !memchr(text, '\0', size))
		abort();
	json_decref(json);
	read_tree(text, size);
	return 0;
}
