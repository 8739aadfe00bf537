#include "fs/fuse/session/parking.h"

#define ENOUGH 2 /* so that whoever takes a request of a single client need not call anybody */
#define PATIENCE 64 /* returns: a thread that was needed a moment ago is soon needed again */

void parking_init(struct parking *parking)
{
	*parking = (struct parking){0};
	pthread_mutex_init(&parking->lock, NULL);
	pthread_cond_init(&parking->called, NULL);
}

void parking_clear(struct parking *parking)
{
	pthread_cond_destroy(&parking->called);
	pthread_mutex_destroy(&parking->lock);
}

/* Caller holds the lock. Whoever calls counts the called one as waiting already. */
static void park(struct parking *parking)
{
	parking->parked++;
	while (!parking->calls && !parking->ended)
		pthread_cond_wait(&parking->called, &parking->lock);
	if (parking->calls) {
		parking->calls--;
	} else {
		parking->parked--;
		parking->waiting++;
	}
}

void parking_return(struct parking *parking)
{
	pthread_mutex_lock(&parking->lock);
	if (parking->waiting < ENOUGH || ++parking->plenty < PATIENCE || parking->ended)
		parking->waiting++;
	else
		park(parking);
	pthread_mutex_unlock(&parking->lock);
}

void parking_take(struct parking *parking)
{
	bool call = false;

	pthread_mutex_lock(&parking->lock);
	if (--parking->waiting == 0) {
		parking->plenty = 0;
		call = parking->parked > 0;
	}
	if (call) {
		parking->parked--;
		parking->waiting++;
		parking->calls++;
	}
	pthread_mutex_unlock(&parking->lock);
	if (call)
		pthread_cond_signal(&parking->called);
}

void parking_end(struct parking *parking)
{
	pthread_mutex_lock(&parking->lock);
	parking->ended = true;
	pthread_cond_broadcast(&parking->called);
	pthread_mutex_unlock(&parking->lock);
}
