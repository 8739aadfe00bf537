#include "lib/base/utf8.h"

#include <stdint.h>

/* Bytes that follow a first byte; -1: it is none. */
static int following(uint8_t first)
{
	if (first < 0x80)
		return 0;
	if (first >= 0xc2 && first <= 0xdf)
		return 1;
	if (first >= 0xe0 && first <= 0xef)
		return 2;
	return first >= 0xf0 && first <= 0xf4 ? 3 : -1;
}

/* What shortest forms, surrogates and the last character leave of the second byte's range. */
static bool fits(uint8_t first, uint8_t second)
{
	switch (first) {
	case 0xe0: return second >= 0xa0;
	case 0xed: return second <= 0x9f;
	case 0xf0: return second >= 0x90;
	case 0xf4: return second <= 0x8f;
	default: return true;
	}
}

bool utf8_is_valid(const char *text)
{
	const uint8_t *at = (const uint8_t *)text;

	while (*at) {
		const uint8_t first = *at++;
		int more = following(first);

		if (more < 0 || (more > 0 && !fits(first, *at)))
			return false;
		for (; more > 0; more--, at++)
			if ((*at & 0xc0) != 0x80)
				return false;
	}
	return true;
}
