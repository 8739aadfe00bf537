#include "fs/daemon/background/identify.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/identity/identity.h"

#define LOOK_EVERY_MS 500
#define RETRY_AFTER_MS 60000

struct identify {
	struct store *store;
	struct log *log;
	struct pacer_loop loop;
	pthread_t thread;
};

static bool is_cancelled(void *arg)
{
	return pacer_step(arg) < 0;
}

static void *identify_main(void *arg)
{
	struct identify *identify = arg;
	uint64_t wait_ms = LOOK_EVERY_MS;

	while (pacer_rest(&identify->loop, wait_ms)) {
		pacer_begin(&identify->loop);
		int result = identity_step(identify->store, is_cancelled, &identify->loop);
		pacer_end(&identify->loop);
		wait_ms = result > 0 ? 0 : LOOK_EVERY_MS;
		if (result < 0 && result != -ECANCELED) {
			log_line(identify->log, "warning", "identity", "text=\"the identity of a snapshot cannot be computed: %s\"", error_text(result));
			wait_ms = RETRY_AFTER_MS;
		}
	}
	return NULL;
}

int identify_start(struct store *store, struct pacer *pacer, struct log *log, struct identify **ret_identify)
{
	struct identify *identify = xcalloc(1, sizeof(*identify));
	int result;

	identify->store = store;
	identify->log = log;
	pacer_join(pacer, &identify->loop);
	result = -pthread_create(&identify->thread, NULL, identify_main, identify);
	if (result < 0) {
		pacer_leave(&identify->loop);
		free(identify);
		return result;
	}
	*ret_identify = identify;
	return 0;
}

void identify_free(struct identify *identify)
{
	if (!identify)
		return;
	pthread_join(identify->thread, NULL);
	pacer_leave(&identify->loop);
	free(identify);
}
