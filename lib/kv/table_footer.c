#include "lib/kv/table_footer.h"

#include <errno.h>

#define MAGIC 0x88e241b785f4cff7ULL
#define VERSION 5
#define CHECKSUM_XXH3 4
#define END_LEN 12 /* version and magic */

void table_footer_add(struct buf *out, const struct table_footer *footer)
{
	const size_t end = out->len + TABLE_FOOTER - END_LEN;

	buf_add_u8(out, CHECKSUM_XXH3);
	block_handle_add(out, &footer->metaindex);
	block_handle_add(out, &footer->index);
	while (out->len < end)
		buf_add_u8(out, 0);
	buf_add_le32(out, VERSION);
	buf_add_le64(out, MAGIC);
}

int table_footer_read(const uint8_t bytes[TABLE_FOOTER], struct table_footer *ret_footer)
{
	struct reader reader = reader_over(bytes, TABLE_FOOTER), end = reader_over(bytes + TABLE_FOOTER - END_LEN, END_LEN);
	const uint8_t checksum = read_u8(&reader);
	const uint32_t version = read_le32(&end);
	const uint64_t magic = read_le64(&end);

	/* one flipped bit is damage, anything else is another format */
	if (magic == MAGIC && checksum != CHECKSUM_XXH3 && version != VERSION)
		return -ENOTSUP;
	return magic == MAGIC && checksum == CHECKSUM_XXH3 && version == VERSION && block_handle_read(&reader, &ret_footer->metaindex) == 0 &&
	       block_handle_read(&reader, &ret_footer->index) == 0;
}
