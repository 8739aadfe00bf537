#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <semaphore.h>
#include <stdatomic.h>

#include "fs/fuse/session/parking.h"

#define THREADS 4
#define QUICK 500

/* Requests are posts of a semaphore. */
struct office {
	struct parking parking;
	sem_t requests, begun, answers, release;
	atomic_bool hold; /* a request is not answered before it is released */
	atomic_bool end;
	atomic_uint taken[THREADS];
};

struct worker {
	struct office *office;
	unsigned number;
};

static void *work(void *arg)
{
	struct worker *worker = arg;
	struct office *office = worker->office;

	parking_return(&office->parking);
	for (;;) {
		sem_wait(&office->requests);
		if (office->end)
			break;
		parking_take(&office->parking);
		atomic_fetch_add(&office->taken[worker->number], 1);
		if (office->hold) {
			sem_post(&office->begun);
			sem_wait(&office->release);
		}
		sem_post(&office->answers);
		parking_return(&office->parking);
	}
	parking_end(&office->parking);
	return NULL;
}

static unsigned who_took(struct office *office)
{
	unsigned count = 0;

	for (unsigned i = 0; i < THREADS; i++)
		count += atomic_exchange(&office->taken[i], 0) > 0;
	return count;
}

/* Whoever answered is back among the waiting, or parked. */
static void wait_until_all_returned(struct office *office)
{
	for (bool returned = false; !returned;) {
		pthread_mutex_lock(&office->parking.lock);
		returned = office->parking.waiting + office->parking.parked == THREADS;
		pthread_mutex_unlock(&office->parking.lock);
	}
}

static void requests_one_by_one(struct office *office, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		wait_until_all_returned(office);
		sem_post(&office->requests);
		sem_wait(&office->answers);
	}
}

/* As many as there are threads are worked on at once, although most were parked. */
static void requests_at_once(struct office *office)
{
	office->hold = true;
	for (unsigned i = 0; i < THREADS; i++)
		sem_post(&office->requests);
	for (unsigned i = 0; i < THREADS; i++)
		sem_wait(&office->begun);
	assert_int_equal(who_took(office), THREADS);
	office->hold = false;
	for (unsigned i = 0; i < THREADS; i++)
		sem_post(&office->release);
	for (unsigned i = 0; i < THREADS; i++)
		sem_wait(&office->answers);
}

static void threads_are_parked_and_called(void **state)
{
	struct office office = {.hold = false};
	struct worker workers[THREADS];
	pthread_t threads[THREADS];

	parking_init(&office.parking);
	sem_init(&office.requests, 0, 0);
	sem_init(&office.begun, 0, 0);
	sem_init(&office.answers, 0, 0);
	sem_init(&office.release, 0, 0);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.office = &office, .number = i};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (unsigned round = 0; round < 20; round++) {
		requests_at_once(&office);
		requests_one_by_one(&office, QUICK);
		who_took(&office);
		requests_one_by_one(&office, QUICK);
		assert_true(who_took(&office) <= 2);
		assert_int_equal(office.parking.parked, 2);
	}
	office.end = true;
	for (unsigned i = 0; i < THREADS; i++)
		sem_post(&office.requests);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	parking_clear(&office.parking);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(threads_are_parked_and_called)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
