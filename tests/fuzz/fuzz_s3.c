/* Fuzzes what a server of S3 may answer: pages of a listing, and errors. */
#include <string.h>

#include "lib/repository/s3_answer.h"
#include "tests/fuzz/target.h"

static int each(void *arg, const char *key, uint64_t size)
{
	(void)size;
	*(size_t *)arg += strlen(key);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char code[S3_TEXT_MAX], message[S3_TEXT_MAX];
	size_t sum = 0;
	struct s3_page page = {.each = each, .arg = &sum};
	int ignored = s3_read_page(data, size, &page);

	(void)ignored;
	s3_read_error(data, size, code, message);
	return 0;
}
