#include "lib/base/clock.h"

#include <stdio.h>

#define OUT_LEN 32

struct timespec clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now;
}

static struct timespec monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now;
}

uint64_t clock_ms(void)
{
	struct timespec now = monotonic();

	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_us(void)
{
	struct timespec now = monotonic();

	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_boot_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void clock_pause_us(uint64_t us)
{
	const struct timespec pause = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000 * 1000)};

	nanosleep(&pause, NULL);
}

struct timespec clock_after_ms(uint64_t ms)
{
	struct timespec when = monotonic();

	when.tv_sec += (time_t)(ms / 1000);
	when.tv_nsec += (long)(ms % 1000) * 1000000;
	if (when.tv_nsec >= 1000000000) {
		when.tv_nsec -= 1000000000;
		when.tv_sec++;
	}
	return when;
}

void clock_format(int64_t seconds, char *out)
{
	time_t time = (time_t)seconds;
	struct tm tm;

	/* Years that do not fit in the buffer come from damaged or foreign records only. Then the number is printed. */
	if (!gmtime_r(&time, &tm) || strftime(out, OUT_LEN, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(out, OUT_LEN, "@%lld", (long long)seconds);
}
