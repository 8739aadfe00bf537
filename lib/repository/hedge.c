#include "lib/repository/hedge.h"

#include "lib/base/clean.h"

void hedge_init(struct hedge *hedge)
{
	*hedge = (struct hedge){0};
	pthread_mutex_init(&hedge->lock, NULL);
}

void hedge_clear(struct hedge *hedge)
{
	pthread_mutex_destroy(&hedge->lock);
}

/* The lock is held. In milliseconds, to a factor of two. */
static uint64_t late_after(const struct hedge *hedge)
{
	uint64_t seen = 0;
	unsigned i = 0;

	if (hedge->answers < HEDGE_KNOWN)
		return HEDGE_UNKNOWN_MS;
	while (i < HEDGE_TIMES - 1 && (seen += hedge->by_time[i]) * 100 < hedge->answers * 95)
		i++;
	return MAX((uint64_t)HEDGE_LEAST_MS, 2ULL << i);
}

uint64_t hedge_begin(struct hedge *hedge)
{
	uint64_t ms;

	pthread_mutex_lock(&hedge->lock);
	hedge->requests++;
	ms = late_after(hedge);
	pthread_mutex_unlock(&hedge->lock);
	return ms;
}

void hedge_answered(struct hedge *hedge, uint64_t ms)
{
	const unsigned time = ms ? 64 - (unsigned)__builtin_clzll(ms) : 0;

	pthread_mutex_lock(&hedge->lock);
	hedge->answers++;
	hedge->by_time[MIN(time, HEDGE_TIMES - 1U)]++;
	pthread_mutex_unlock(&hedge->lock);
}

bool hedge_may(struct hedge *hedge)
{
	bool may;

	pthread_mutex_lock(&hedge->lock);
	may = hedge->again < HEDGE_FIRST + hedge->requests / HEDGE_SHARE;
	hedge->again += may;
	pthread_mutex_unlock(&hedge->lock);
	return may;
}
