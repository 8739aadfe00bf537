#include "lib/kv/inside.h"

#include <unistd.h>

#include "lib/base/clock.h"

#define MAKE_WAY_MS 50
#define STEP_US 200
#define CLOSED (1U << 31) /* in kv->inside, whose other bits count */

static void wait_until_open(struct kv *kv)
{
	pthread_mutex_lock(&kv->inside_lock);
	while (atomic_load(&kv->inside) & CLOSED)
		pthread_cond_wait(&kv->let_in, &kv->inside_lock);
	pthread_mutex_unlock(&kv->inside_lock);
}

/* Whoever comes from outside makes way. One who is inside already comes here, too, and is not to wait for himself: so nobody waits for long. */
static void make_way(struct kv *kv)
{
	const struct timespec until = clock_after_ms(MAKE_WAY_MS);
	int result = 0;

	pthread_mutex_lock(&kv->inside_lock);
	while (atomic_load(&kv->wanted) && result == 0)
		result = pthread_cond_clockwait(&kv->let_in, &kv->inside_lock, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&kv->inside_lock);
}

bool kv_enter(struct kv *kv)
{
	if (atomic_load_explicit(&kv->wanted, memory_order_relaxed))
		make_way(kv);
	while (atomic_fetch_add(&kv->inside, 1) & CLOSED) {
		atomic_fetch_sub(&kv->inside, 1);
		wait_until_open(kv);
	}
	if (kv->db)
		return true;
	kv_leave(kv);
	return false;
}

void kv_leave(struct kv *kv)
{
	atomic_fetch_sub(&kv->inside, 1);
}

static void let_in(struct kv *kv, unsigned closed)
{
	pthread_mutex_lock(&kv->inside_lock);
	atomic_store(&kv->wanted, false);
	atomic_fetch_and(&kv->inside, ~closed);
	pthread_cond_broadcast(&kv->let_in);
	pthread_mutex_unlock(&kv->inside_lock);
}

bool kv_shut_out(struct kv *kv, unsigned ms)
{
	const uint64_t until = clock_ms() + ms;
	unsigned nobody = 0;

	atomic_store(&kv->wanted, true);
	while (!atomic_compare_exchange_strong(&kv->inside, &nobody, CLOSED)) {
		if (clock_ms() > until) {
			let_in(kv, 0);
			return false;
		}
		nobody = 0;
		usleep(STEP_US);
	}
	return true;
}

void kv_let_in(struct kv *kv)
{
	let_in(kv, CLOSED);
}
