/* Time, in the two clocks we use: wall time for what users see, monotonic time for waiting and measuring. Any thread. */
#ifndef CORPUSFS_BASE_CLOCK_H
#define CORPUSFS_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

struct timespec clock_now(void);   /* CLOCK_REALTIME (not the coarse one: times grow between two operations) */
uint64_t clock_ms(void);           /* CLOCK_MONOTONIC in milliseconds */
uint64_t clock_us(void);           /* CLOCK_MONOTONIC in microseconds */
uint64_t clock_boot_ms(void);      /* CLOCK_BOOTTIME in milliseconds: it goes on while the machine sleeps, as the clocks of others do */
void clock_pause_us(uint64_t us);  /* sleeps; a signal may end it early */
struct timespec clock_after_ms(uint64_t ms); /* absolute CLOCK_MONOTONIC time for pthread_cond_clockwait-style waits */

/* "2026-11-21T08:57:00Z" for the seconds given; `out` has at least 32 bytes. */
void clock_format(int64_t seconds, char *out);

#endif
