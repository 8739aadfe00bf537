#include "lib/ops/json.h"

#include <errno.h>
#include <string.h>

#include "lib/base/escape.h"

#define ERRNO_LAST 133 /* EHWPOISON */

json_t *json_from_bytes(const char *bytes)
{
	AUTO_FREE char *text = bytes ? escape_text(bytes, ESCAPE_BYTES) : NULL;

	return text ? json_string(text) : NULL;
}

char *json_to_bytes(const json_t *text)
{
	AUTO_BUF bytes = BUF_INIT;

	if (!json_is_string(text))
		return NULL;
	unescape_add(&bytes, json_string_value(text), json_string_length(text));
	return strlen((char *)bytes.data) == bytes.len ? (char *)steal_ptr(bytes.data) : NULL;
}

static json_t *string_to_bytes(const json_t *text)
{
	AUTO_BUF bytes = BUF_INIT;

	unescape_add(&bytes, json_string_value(text), json_string_length(text));
	return json_stringn_nocheck((const char *)bytes.data, bytes.len);
}

static json_t *string_from_bytes(const json_t *text)
{
	return json_from_bytes(json_string_value(text));
}

/* Recursion: jansson's parser lets no more than 2,048 levels in. */
static json_t *deep_copy(const json_t *value, json_t *(*copy_string)(const json_t *text))
{
	json_t *member, *copy;
	const char *key;
	size_t i;

	if (json_is_string(value))
		return copy_string(value);
	if (json_is_array(value)) {
		copy = json_array();
		json_array_foreach (value, i, member)
			json_array_append_new(copy, deep_copy(member, copy_string));
		return copy;
	}
	if (json_is_object(value)) {
		copy = json_object();
		json_object_foreach ((json_t *)value, key, member)
			json_object_set_new_nocheck(copy, key, deep_copy(member, copy_string));
		return copy;
	}
	return json_deep_copy(value);
}

json_t *json_deep_to_bytes(const json_t *value)
{
	return deep_copy(value, string_to_bytes);
}

json_t *json_deep_from_bytes(const json_t *value)
{
	return deep_copy(value, string_from_bytes);
}

json_t *json_from_error(const struct error *err)
{
	const char *name = strerrorname_np(-err->code);

	return json_pack("{s:s, s:o, s:o}", "code", name ? name : "EIO", "text", json_from_bytes(err->text), "hint", json_from_bytes(err->hint));
}

int json_to_error(const json_t *object, struct error *err)
{
	const char *name = json_string_value(json_object_get(object, "code"));
	AUTO_FREE char *text = json_to_bytes(json_object_get(object, "text")), *hint = json_to_bytes(json_object_get(object, "hint"));
	int code = -EIO;

	for (int number = 1; name && number <= ERRNO_LAST; number++) {
		const char *known = strerrorname_np(number);
		if (known && strcmp(known, name) == 0)
			code = -number;
	}
	error_set(err, code, "%s", text ? text : "the answer is not understood");
	if (hint && *hint)
		error_hint(err, "%s", hint);
	return code;
}
