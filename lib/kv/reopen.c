#include "lib/kv/reopen.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/kv/inside.h"
#include "lib/kv/native.h"

#define TRY_MS 500 /* for so long a moment is looked for in which nobody is inside */
#define PAUSE_MS 1000 /* between two tries */

unsigned kv_opened(struct kv *kv)
{
	return atomic_load(&kv->opened);
}

/* Caller holds reopen_lock. What the log has becomes tables, which are on disk when this has succeeded. */
static bool reopen(struct kv *kv)
{
	if (clock_ms() < kv->reopen_after_ms)
		return false;
	if (!kv_shut_out(kv, TRY_MS)) {
		kv->reopen_after_ms = clock_ms() + PAUSE_MS;
		return false;
	}
	native_close(kv);
	native_reopens(kv);
	char *message = native_open(kv, false);
	kv_let_in(kv);
	if (message) {
		kv->reopen_after_ms = clock_ms() + PAUSE_MS;
		(void)kv_result(kv, message);
		return false;
	}
	atomic_store(&kv->stopped_by_damage, false);
	atomic_fetch_add(&kv->opened, 1);
	/* another manifest is current; what was promised of the old log lies in tables, and older promises do no harm (synced.h, S2) */
	int ignored = kv_keep_known(kv);
	(void)ignored;
	return true;
}

bool kv_reopened(struct kv *kv, int result, unsigned opened)
{
	/* -EIO: it could not be opened the last time */
	if ((result != -EBADMSG && result != -EIO) || kv->read_only)
		return false;
	pthread_mutex_lock(&kv->reopen_lock);
	bool done = atomic_load(&kv->opened) != opened;
	if (!done && atomic_load(&kv->stopped_by_damage) && !atomic_load(&kv->log_suspect) && kv_admit(kv, true) == 0)
		done = reopen(kv);
	pthread_mutex_unlock(&kv->reopen_lock);
	return done;
}
