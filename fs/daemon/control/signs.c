#include "fs/daemon/control/signs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/clean.h"

/*
 * What who rests may use in a second, and how much more is a sign. Measured of a daemon that rests: 1 ms of all processors, 4 KiB written, 8 KiB
 * read. A thread that waits for others may tell its progress five times a second.
 */
struct measure {
	uint64_t rest, least;
};
static const struct measure thread_ns = {2000000, 2000000}, process_ns = {10000000, 10000000}, bytes = {32U << 10, 64U << 10};

static uint64_t used_ns(clockid_t clock)
{
	struct timespec used = {0};

	(void)clock_gettime(clock, &used);
	return (uint64_t)used.tv_sec * 1000000000U + (uint64_t)used.tv_nsec;
}

/* By this process, from and to whatever it was. False: it is not known. */
static bool read_and_written(uint64_t *ret_bytes)
{
	AUTO_CLOSE int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
	char text[512];
	const ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	uint64_t in, out;

	if (len <= 0)
		return false;
	text[len] = '\0';
	if (sscanf(text, "rchar: %" SCNu64 " wchar: %" SCNu64, &in, &out) != 2)
		return false;
	*ret_bytes = in + out;
	return true;
}

void signs_begin(struct signs *signs, uint64_t now_ms, uint64_t net_bytes)
{
	*signs = (struct signs){.clock = CLOCK_MONOTONIC, .looked_ms = now_ms, .net_bytes = net_bytes};
	/* without it, time itself is taken for work */
	(void)pthread_getcpuclockid(pthread_self(), &signs->clock);
	signs->thread.at = used_ns(signs->clock);
	signs->process.at = used_ns(CLOCK_PROCESS_CPUTIME_ID);
	(void)read_and_written(&signs->bytes.at);
}

/* Whether enough more was used than by who rests for so long. */
static bool has_worked(struct sign *sign, uint64_t at, uint64_t ms, const struct measure *measure)
{
	const uint64_t used = sign->more + at - sign->at, rest = measure->rest * ms / 1000;

	*sign = (struct sign){.at = at, .more = used > rest ? used - rest : 0};
	return sign->more >= measure->least;
}

bool signs_of_life(struct signs *signs, uint64_t now_ms, uint64_t net_bytes)
{
	const uint64_t ms = now_ms - signs->looked_ms;
	bool lives = net_bytes != signs->net_bytes;
	uint64_t moved;

	lives |= has_worked(&signs->thread, used_ns(signs->clock), ms, &thread_ns);
	lives |= has_worked(&signs->process, used_ns(CLOCK_PROCESS_CPUTIME_ID), ms, &process_ns);
	lives |= !read_and_written(&moved) || has_worked(&signs->bytes, moved, ms, &bytes);
	signs->looked_ms = now_ms;
	signs->net_bytes = net_bytes;
	if (lives)
		signs->thread.more = signs->process.more = signs->bytes.more = 0;
	return lives;
}
