#include "lib/tree/records/hold.h"

#include <assert.h>

void hold_init(struct hold *hold)
{
	*hold = (struct hold){0};
	mutex_init(&hold->lock, LOCK_HOLD);
	pthread_cond_init(&hold->changed, NULL);
}

void hold_clear(struct hold *hold)
{
	assert(hold->writers == 0 && hold->holders == 0);
	pthread_cond_destroy(&hold->changed);
	mutex_clear(&hold->lock);
}

void hold_enter(struct hold *hold)
{
	mutex_take(&hold->lock);
	while (hold->holders > 0)
		mutex_wait(&hold->lock, &hold->changed);
	hold->writers++;
	mutex_give(&hold->lock);
}

void hold_leave(struct hold *hold)
{
	mutex_take(&hold->lock);
	assert(hold->writers > 0);
	if (--hold->writers == 0 && hold->holders > 0)
		pthread_cond_broadcast(&hold->changed);
	mutex_give(&hold->lock);
}

void hold_begin(struct hold *hold)
{
	mutex_take(&hold->lock);
	hold->holders++;
	while (hold->writers > 0)
		mutex_wait(&hold->lock, &hold->changed);
	mutex_give(&hold->lock);
}

void hold_end(struct hold *hold)
{
	mutex_take(&hold->lock);
	assert(hold->holders > 0);
	if (--hold->holders == 0)
		pthread_cond_broadcast(&hold->changed);
	mutex_give(&hold->lock);
}
