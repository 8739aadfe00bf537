#include "lib/tree/records/hold.h"

#include <assert.h>

void hold_init(struct hold *hold)
{
	*hold = (struct hold){0};
	pthread_mutex_init(&hold->lock, NULL);
	pthread_cond_init(&hold->changed, NULL);
}

void hold_clear(struct hold *hold)
{
	assert(hold->writers == 0 && hold->holders == 0);
	pthread_cond_destroy(&hold->changed);
	pthread_mutex_destroy(&hold->lock);
}

void hold_enter(struct hold *hold)
{
	pthread_mutex_lock(&hold->lock);
	while (hold->holders > 0)
		pthread_cond_wait(&hold->changed, &hold->lock);
	hold->writers++;
	pthread_mutex_unlock(&hold->lock);
}

void hold_leave(struct hold *hold)
{
	pthread_mutex_lock(&hold->lock);
	assert(hold->writers > 0);
	if (--hold->writers == 0 && hold->holders > 0)
		pthread_cond_broadcast(&hold->changed);
	pthread_mutex_unlock(&hold->lock);
}

void hold_begin(struct hold *hold)
{
	pthread_mutex_lock(&hold->lock);
	hold->holders++;
	while (hold->writers > 0)
		pthread_cond_wait(&hold->changed, &hold->lock);
	pthread_mutex_unlock(&hold->lock);
}

void hold_end(struct hold *hold)
{
	pthread_mutex_lock(&hold->lock);
	assert(hold->holders > 0);
	if (--hold->holders == 0)
		pthread_cond_broadcast(&hold->changed);
	pthread_mutex_unlock(&hold->lock);
}
