#include "lib/repository/blob_id.h"

#include <errno.h>

#include "lib/chunk/digest.h"

struct blob_id blob_id_of(const void *data, size_t len)
{
	struct digest *digest = digest_new();
	struct blob_id id;

	digest_once(digest, data, len, id.bytes);
	digest_free(digest);
	return id;
}

void blob_id_text(const struct blob_id *id, char out[BLOB_ID_TEXT])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < BLOB_ID_LEN; i++) {
		out[2 * i] = digits[id->bytes[i] >> 4];
		out[2 * i + 1] = digits[id->bytes[i] & 15];
	}
	out[BLOB_ID_TEXT - 1] = '\0';
}

/* What a digit stands for, plus one; 0: it is none. An index has millions of them, and no processor foresees which comes next. */
static const uint8_t digits_of[256] = {['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
                                       ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16};

int blob_id_parse(const char *text, struct blob_id *ret_id)
{
	return blob_id_parse_text(text, strlen(text), ret_id);
}

int blob_id_parse_text(const char *text, size_t len, struct blob_id *ret_id)
{
	struct blob_id id;

	if (len != BLOB_ID_TEXT - 1)
		return -EINVAL;
	for (size_t i = 0; i < BLOB_ID_LEN; i++) {
		const unsigned high = digits_of[(uint8_t)text[2 * i]], low = digits_of[(uint8_t)text[2 * i + 1]];

		if (high == 0 || low == 0)
			return -EINVAL;
		id.bytes[i] = (uint8_t)((high - 1) << 4 | (low - 1));
	}
	*ret_id = id;
	return 0;
}
