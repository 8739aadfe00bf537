#include "lib/base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78U /* its bits reversed */

static uint32_t table[256]; /* written once, by fill_table */

static void fill_table(void)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
		table[byte] = crc;
	}
}

static uint32_t by_table(uint32_t crc, const uint8_t *data, size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, fill_table);
	for (; len > 0; data++, len--)
		crc = (crc >> 8) ^ table[(crc ^ *data) & 0xff];
	return crc;
}

#ifdef __x86_64__
/* Ten times as fast, where the processor has the instruction. */
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *data, size_t len)
{
	uint64_t wide = crc, word;

	for (; len >= sizeof(word); data += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, data, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; len > 0; data++, len--)
		crc = __builtin_ia32_crc32qi(crc, *data);
	return crc;
}

static bool has_instruction(void)
{
	return __builtin_cpu_supports("sse4.2");
}
#else
static uint32_t by_instruction(uint32_t crc, const uint8_t *data, size_t len)
{
	return by_table(crc, data, len);
}

static bool has_instruction(void)
{
	return false;
}
#endif

uint32_t crc32c_add(uint32_t crc, const void *data, size_t len)
{
	crc = has_instruction() ? by_instruction(~crc, data, len) : by_table(~crc, data, len);
	return ~crc;
}
