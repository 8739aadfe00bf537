#include "lib/base/utf8.h"

#include <string.h>

/* 0: no character begins with the byte. */
static size_t length_by(uint8_t first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc2)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

size_t utf8_character(const char *text, size_t len, uint32_t *ret_character)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *at = (const uint8_t *)text;
	size_t bytes = length_by(at[0]);
	uint32_t character = bytes == 1 ? at[0] : at[0] & (0x7fU >> bytes);

	if (bytes == 0 || bytes > len)
		return 0;
	for (size_t i = 1; i < bytes; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | (at[i] & 0x3fU);
	}
	if (character < least[bytes] || character > 0x10ffff || (character >= 0xd800 && character < 0xe000))
		return 0;
	*ret_character = character;
	return bytes;
}

bool utf8_is_valid(const char *text)
{
	size_t left = strlen(text), bytes;
	uint32_t character;

	for (; left > 0; text += bytes, left -= bytes) {
		bytes = utf8_character(text, left, &character);
		if (bytes == 0)
			return false;
	}
	return true;
}

bool utf8_is_control(uint32_t character)
{
	return character < 0x20 || (character >= 0x7f && character < 0xa0);
}
