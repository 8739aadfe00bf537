/*
 * Sets the clock of a program that knows nothing of it: a library for LD_PRELOAD. It is $CORPUSFS_CLOCK seconds ahead of the machine's, or behind.
 * The clocks that only go forward stay as they are.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	const char *ahead = getenv("CORPUSFS_CLOCK");
	const int r = (int)syscall(SYS_clock_gettime, clock, ret_now);

	if (r == 0 && ahead && clock == CLOCK_REALTIME)
		ret_now->tv_sec += strtol(ahead, NULL, 10);
	return r;
}
