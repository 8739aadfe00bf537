#include "lib/repository/hedge.h"

#include "lib/base/clean.h"

void hedge_init(struct hedge *hedge)
{
	*hedge = (struct hedge){.credit = HEDGE_SAVED * HEDGE_SHARE};
	pthread_mutex_init(&hedge->lock, NULL);
}

void hedge_clear(struct hedge *hedge)
{
	pthread_mutex_destroy(&hedge->lock);
}

/* The lock is held. To a factor of two. */
static uint64_t late_ms(const struct hedge *hedge)
{
	uint64_t seen = 0;
	unsigned i = 0;

	if (hedge->answers < HEDGE_KNOWN)
		return HEDGE_UNKNOWN_MS;
	while (i < HEDGE_TIMES - 1 && (seen += hedge->by_time[i]) * 100 < hedge->answers * 95)
		i++;
	return MAX((uint64_t)HEDGE_LEAST_MS, 2ULL << i);
}

uint64_t hedge_late_ms(struct hedge *hedge)
{
	uint64_t ms;

	pthread_mutex_lock(&hedge->lock);
	ms = late_ms(hedge);
	pthread_mutex_unlock(&hedge->lock);
	return ms;
}

/* The lock is held. */
static void forget_half(struct hedge *hedge)
{
	hedge->answers = 0;
	for (unsigned i = 0; i < HEDGE_TIMES; i++)
		hedge->answers += hedge->by_time[i] /= 2;
}

void hedge_answered(struct hedge *hedge, uint64_t ms)
{
	const unsigned time = ms ? 64 - (unsigned)__builtin_clzll(ms) : 0;

	pthread_mutex_lock(&hedge->lock);
	hedge->credit = MIN(hedge->credit + 1, (uint64_t)HEDGE_SAVED * HEDGE_SHARE);
	hedge->by_time[MIN(time, HEDGE_TIMES - 1U)]++;
	if (++hedge->answers == HEDGE_RECENT)
		forget_half(hedge);
	pthread_mutex_unlock(&hedge->lock);
}

bool hedge_may(struct hedge *hedge)
{
	bool may;

	pthread_mutex_lock(&hedge->lock);
	may = hedge->credit >= HEDGE_SHARE;
	hedge->credit -= may ? HEDGE_SHARE : 0;
	hedge->again += may;
	pthread_mutex_unlock(&hedge->lock);
	return may;
}

uint64_t hedge_count(struct hedge *hedge)
{
	uint64_t again;

	pthread_mutex_lock(&hedge->lock);
	again = hedge->again;
	pthread_mutex_unlock(&hedge->lock);
	return again;
}
