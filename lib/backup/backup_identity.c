#include "lib/backup/backup_identity.h"

#include <errno.h>

#include "lib/base/clock.h"

#define TELL_EVERY_MS 200

static void compute(struct backup_identity *identity, bool (*is_cancelled)(void *arg))
{
	uint8_t bytes[IDENTITY_LEN];
	int r = identity_compute(identity->store, identity->view, is_cancelled, identity, bytes);

	if (r == 0)
		identity_to_text(bytes, identity->text);
	else if (r != -EIO && r != -ECANCELED)
		transfer_fail(identity->transfer, r, "%s@%s: its identity cannot be computed: %s", identity->dataset, identity->snapshot, error_text(r));
}

static bool is_stopped(void *arg)
{
	struct backup_identity *identity = arg;

	return atomic_load(&identity->is_given_up) || transfer_stopped(identity->transfer);
}

static bool tell_and_look(void *arg)
{
	struct backup_identity *identity = arg;

	transfer_tell(identity->transfer, "identity");
	return is_stopped(identity);
}

static void *thread_main(void *arg)
{
	struct backup_identity *identity = arg;

	impersonate_prepare(&identity->transfer->caller);
	compute(identity, is_stopped);
	pthread_mutex_lock(&identity->lock);
	identity->has_ended = true;
	pthread_cond_signal(&identity->changed);
	pthread_mutex_unlock(&identity->lock);
	return NULL;
}

void backup_identity_init(struct backup_identity *identity)
{
	pthread_mutex_init(&identity->lock, NULL);
	pthread_cond_init(&identity->changed, NULL);
}

void backup_identity_begin(struct backup_identity *identity)
{
	if (!identity->has_thread)
		identity->has_thread = pthread_create(&identity->thread, NULL, thread_main, identity) == 0;
}

static void wait_for_thread(struct backup_identity *identity)
{
	pthread_mutex_lock(&identity->lock);
	while (!identity->has_ended) {
		const struct timespec until = clock_after_ms(TELL_EVERY_MS);

		if (pthread_cond_clockwait(&identity->changed, &identity->lock, CLOCK_MONOTONIC, &until) == 0)
			continue;
		pthread_mutex_unlock(&identity->lock);
		transfer_tell(identity->transfer, "identity");
		pthread_mutex_lock(&identity->lock);
	}
	pthread_mutex_unlock(&identity->lock);
	pthread_join(identity->thread, NULL);
	identity->has_thread = false;
}

void backup_identity_end(struct backup_identity *identity)
{
	if (identity->has_thread)
		wait_for_thread(identity);
	else if (!transfer_stopped(identity->transfer))
		compute(identity, tell_and_look);
}

void backup_identity_clear(struct backup_identity *identity)
{
	atomic_store(&identity->is_given_up, true);
	if (identity->has_thread)
		wait_for_thread(identity);
	pthread_cond_destroy(&identity->changed);
	pthread_mutex_destroy(&identity->lock);
}
