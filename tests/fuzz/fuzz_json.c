/* Fuzzes the reading of index files and trees as text: what is skipped is JSON, in the opinion of another reader, and all JSON is skipped. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/repository/json_scan.h"
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
	if (!is_json && json && !may_be_deep(text, size))
		abort();
	json_decref(json);
	return 0;
}
