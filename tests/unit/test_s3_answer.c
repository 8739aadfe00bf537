/* What S3 answers: a page of a listing is whole, or says where it goes on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/repository/s3_answer.h"

#define ROW "<Contents><Key>r/keys/a</Key><Size>7</Size></Contents>"

static int count_key(void *arg, const char *key, uint64_t size)
{
	assert_string_equal(key, "r/keys/a");
	assert_int_equal(size, 7);
	++*(size_t *)arg;
	return 0;
}

/* What is read of it, with the number of its keys. */
static int read_page(const char *xml, size_t keys, const char *next)
{
	size_t count = 0;
	struct s3_page page = {.each = count_key, .arg = &count};
	int r = s3_read_page(xml, strlen(xml), &page);

	assert_int_equal(count, keys);
	assert_string_equal(page.next, next);
	return r;
}

static void test_the_last_page_has_no_next_one(void **state)
{
	assert_int_equal(read_page("<ListBucketResult><IsTruncated>false</IsTruncated>" ROW ROW "</ListBucketResult>", 2, ""), 0);
	assert_int_equal(read_page("<ListBucketResult>" ROW "</ListBucketResult>", 1, ""), 0);
}

static void test_a_page_that_goes_on_says_where(void **state)
{
	const char *xml = "<ListBucketResult>" ROW "<IsTruncated>true</IsTruncated><NextContinuationToken>there</NextContinuationToken></ListBucketResult>";

	assert_int_equal(read_page(xml, 1, "there"), 0);
}

static void test_a_page_that_goes_on_and_does_not_say_where_is_not_the_last(void **state)
{
	assert_int_equal(read_page("<ListBucketResult><IsTruncated>true</IsTruncated>" ROW "</ListBucketResult>", 1, ""), -EPROTO);
	assert_int_equal(read_page("<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>" ROW
	                           "</ListBucketResult>", 1, ""), -EPROTO);
}

static void test_what_is_no_listing_is_not_an_empty_one(void **state)
{
	assert_int_equal(read_page("<html><body>It works!</body></html>", 0, ""), -EPROTO);
	assert_int_equal(read_page("<Error><Code>SlowDown</Code></Error>", 0, ""), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_last_page_has_no_next_one),
		cmocka_unit_test(test_a_page_that_goes_on_says_where),
		cmocka_unit_test(test_a_page_that_goes_on_and_does_not_say_where_is_not_the_last),
		cmocka_unit_test(test_what_is_no_listing_is_not_an_empty_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
