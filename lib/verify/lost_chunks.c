#include "lib/verify/lost_chunks.h"

#include <string.h>

/* Keys are shortened in the index of a table: what is missing of one may be anything. */
static uint64_t id_of(const uint8_t *key, size_t len, uint8_t fill)
{
	uint8_t whole[sizeof(uint64_t)];

	memset(whole, fill, sizeof(whole));
	memcpy(whole, key, MIN(len, sizeof(whole)));
	struct reader reader = reader_over(whole, sizeof(whole));
	return read_be64(&reader);
}

void lost_chunks_add(struct line *chunks, const struct kv_damaged_table *table)
{
	for (size_t i = 0; i < table->range_count && kv_holds_chunks(table->family); i++) {
		const struct kv_key_range *range = &table->ranges[i];
		const uint64_t first = id_of(range->first, range->first_len, 0), last = id_of(range->last, range->last_len, UINT8_MAX);
		line_add(chunks, MIN(first, last), MAX(first, last));
	}
}
