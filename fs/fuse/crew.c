#include "fs/fuse/crew.h"

#define ENOUGH 2 /* so that whoever takes a request of a single client need not call anybody */
#define PATIENCE 64 /* returns: a thread that was needed a moment ago is soon needed again */

void crew_init(struct crew *crew)
{
	*crew = (struct crew){0};
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->called, NULL);
}

void crew_clear(struct crew *crew)
{
	pthread_cond_destroy(&crew->called);
	pthread_mutex_destroy(&crew->lock);
}

/* Caller holds the lock. Whoever calls counts the called one as waiting already. */
static void park(struct crew *crew)
{
	crew->parked++;
	while (!crew->calls && !crew->ended)
		pthread_cond_wait(&crew->called, &crew->lock);
	if (crew->calls) {
		crew->calls--;
	} else {
		crew->parked--;
		crew->waiting++;
	}
}

void crew_return(struct crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	if (crew->waiting < ENOUGH || ++crew->plenty < PATIENCE || crew->ended)
		crew->waiting++;
	else
		park(crew);
	pthread_mutex_unlock(&crew->lock);
}

void crew_take(struct crew *crew)
{
	bool call = false;

	pthread_mutex_lock(&crew->lock);
	if (--crew->waiting == 0) {
		crew->plenty = 0;
		call = crew->parked > 0;
	}
	if (call) {
		crew->parked--;
		crew->waiting++;
		crew->calls++;
	}
	pthread_mutex_unlock(&crew->lock);
	if (call)
		pthread_cond_signal(&crew->called);
}

void crew_end(struct crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	crew->ended = true;
	pthread_cond_broadcast(&crew->called);
	pthread_mutex_unlock(&crew->lock);
}
