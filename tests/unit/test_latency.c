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
#define AWAKE_MAX 3 /* microseconds */

/* What the kernel grants all who ask, in microseconds. */
static int32_t granted(void)
{
	int32_t value = -1;
	const int fd = open("/dev/cpu_dma_latency", O_RDONLY);

	assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	close(fd);
	return value;
}

static bool is_awake(struct latency *latency)
{
	return latency_is_held(latency) && granted() <= AWAKE_MAX;
}

/* Requests keep coming until it is held and the kernel grants it; without them it soon is over. */
static bool wakes(struct latency *latency)
{
	const uint64_t end = clock_ms() + PATIENCE_MS;

	while (!is_awake(latency)) {
		if (clock_ms() > end)
			return false;
		latency_note(latency);
		usleep(100);
	}
	return true;
}

static bool sleeps(struct latency *latency)
{
	const uint64_t end = clock_ms() + PATIENCE_MS;

	while (latency_is_held(latency)) {
		if (clock_ms() > end)
			return false;
		usleep(100);
	}
	return true;
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
		assert_true(wakes(latency));
		assert_true(sleeps(latency));
	}
	assert_true(wakes(latency));
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
