#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "fs/fuse/session/latency.h"
#include "lib/base/clock.h"

#define PATIENCE_MS 20000

/* Until it is so, or patience ends; `noting`: requests keep coming. */
static bool becomes(struct latency *latency, bool held, bool noting)
{
	const uint64_t end = clock_ms() + PATIENCE_MS;

	while (latency_is_held(latency) != held && clock_ms() < end) {
		if (noting)
			latency_note(latency);
		usleep(100);
	}
	return latency_is_held(latency) == held;
}

/* What the kernel grants all who ask, in microseconds. */
static int32_t granted(void)
{
	int32_t value = -1;
	const int fd = open("/dev/cpu_dma_latency", O_RDONLY);

	assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	close(fd);
	return value;
}

static void test_a_burst_keeps_processors_awake_until_it_is_over(void **state)
{
	struct latency *latency = latency_new();

	if (!latency)
		skip(); /* needs a kernel with the device, and root */
	for (unsigned i = 0; i < 5; i++)
		latency_note(latency);
	assert_false(latency_is_held(latency));
	for (unsigned round = 0; round < 3; round++) {
		assert_true(becomes(latency, true, true));
		assert_in_range(granted(), 0, 3);
		assert_true(becomes(latency, false, false));
	}
	assert_true(becomes(latency, true, true));
	latency_free(latency); /* while it is held */
}

static void test_without_the_device_nothing_happens(void **state)
{
	latency_note(NULL);
	assert_false(latency_is_held(NULL));
	latency_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_burst_keeps_processors_awake_until_it_is_over),
		cmocka_unit_test(test_without_the_device_nothing_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
