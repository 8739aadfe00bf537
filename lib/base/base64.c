#include "lib/base/base64.h"

#include <errno.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_add(struct buf *out, const void *data, size_t len)
{
	const uint8_t *at = data;

	buf_reserve(out, len / 3 * 4 + 4);
	for (; len > 0; at += MIN(len, 3U), len -= MIN(len, 3U)) {
		const uint32_t bits = (uint32_t)at[0] << 16 | (len > 1 ? (uint32_t)at[1] << 8 : 0) | (len > 2 ? at[2] : 0U);

		buf_add_u8(out, (uint8_t)digits[bits >> 18]);
		buf_add_u8(out, (uint8_t)digits[bits >> 12 & 63]);
		buf_add_u8(out, (uint8_t)(len > 1 ? digits[bits >> 6 & 63] : '='));
		buf_add_u8(out, (uint8_t)(len > 2 ? digits[bits & 63] : '='));
	}
}

int base64_decode(const char *text, size_t len, struct buf *out)
{
	uint32_t bits = 0;
	unsigned count = 0;

	while (len > 0 && text[len - 1] == '=')
		len--;
	for (size_t i = 0; i < len; i++) {
		const char *found = text[i] ? strchr(digits, text[i]) : NULL;

		if (!found)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(found - digits);
		count += 6;
		if (count >= 8) {
			count -= 8;
			buf_add_u8(out, (uint8_t)(bits >> count));
		}
	}
	return 0;
}
