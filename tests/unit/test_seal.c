/* Sealing: against the published vectors, and against whoever changes a bit. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/repository/seal.h"

/* RFC 7914, section 12: N 1024, r 8, p 16. */
static void test_scrypt_gives_the_published_key(void **state)
{
	static const uint8_t wanted[64] = {
		0xfd, 0xba, 0xbe, 0x1c, 0x9d, 0x34, 0x72, 0x00, 0x78, 0x56, 0xe7, 0x19, 0x0d, 0x01, 0xe9, 0xfe, 0x7c, 0x6a, 0xd7, 0xcb, 0xc8, 0x23,
		0x78, 0x30, 0xe7, 0x73, 0x76, 0x63, 0x4b, 0x37, 0x31, 0x62, 0x2e, 0xaf, 0x30, 0xd9, 0x2e, 0x22, 0xa3, 0x88, 0x6f, 0xf1, 0x09, 0x27,
		0x9d, 0x98, 0x30, 0xda, 0xc7, 0x27, 0xaf, 0xb9, 0x4a, 0x83, 0xee, 0x6d, 0x83, 0x60, 0xcb, 0xdf, 0xa2, 0xcc, 0x06, 0x40,
	};
	const struct seal_costs costs = {.n = 1024, .r = 8, .p = 16};
	struct seal_key key;

	assert_int_equal(seal_key_from_password("password", &costs, (const uint8_t *)"NaCl", 4, &key), 0);
	assert_memory_equal(key.encrypt, wanted, 32);
	assert_memory_equal(key.mac_k, wanted + 32, 16);
	assert_memory_equal(key.mac_r, wanted + 48, 16);
}

static void test_costs_that_nobody_chose_are_refused(void **state)
{
	static const struct seal_costs bad[] = {{0, 8, 1}, {3, 8, 1}, {1024, 0, 1}, {1024, 8, 0}, {1ULL << 40, 8, 1}, {1024, 1U << 30, 1},
	                                          {1024, 8, 65}, {1024, 65, 1}, {1U << 20, 1, 1}};
	struct seal_key key;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(seal_key_from_password("x", &bad[i], (const uint8_t *)"y", 1, &key), -EINVAL);
}

static void test_every_changed_bit_is_noticed(void **state)
{
	struct seal_key key;
	struct seal *seal;
	uint8_t sealed[100 + SEAL_EXTRA], plain[100], back[100];

	seal_random(&key, sizeof(key));
	seal_random(plain, sizeof(plain));
	seal = seal_new(&key);
	seal_close(seal, plain, sizeof(plain), sealed);
	assert_int_equal(seal_open(seal, sealed, sizeof(sealed), back), 0);
	assert_memory_equal(plain, back, sizeof(plain));
	for (size_t bit = 0; bit < sizeof(sealed) * 8; bit++) {
		sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_equal(seal_open(seal, sealed, sizeof(sealed), back), -EBADMSG);
		sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	assert_int_equal(seal_open(seal, sealed, SEAL_EXTRA - 1, back), -EBADMSG);
	seal_free(seal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scrypt_gives_the_published_key),
		cmocka_unit_test(test_costs_that_nobody_chose_are_refused),
		cmocka_unit_test(test_every_changed_bit_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
