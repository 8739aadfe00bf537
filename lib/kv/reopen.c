#include "lib/kv/reopen.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/kv/inside.h"
#include "lib/kv/native.h"

#define TRY_MS 500 /* for so long a moment is looked for in which nobody is inside */
#define PAUSE_MS 1000 /* between two tries */
#define LONG_PAUSE_MS 5000 /* after one for which all others had to wait */

unsigned kv_opened(struct kv *kv)
{
	return atomic_load(&kv->opened);
}

/* RO1; asked when nobody is inside, for one who was may have noted more. */
static bool is_stopped_by_damage(struct kv *kv)
{
	return atomic_load(&kv->stopped_by_damage) && !atomic_load(&kv->log_suspect);
}

/* kv_admit() would enter. */
static bool is_ours(struct kv *kv)
{
	return !kv->check || kv->check(kv->check_arg, true) == 0;
}

static bool may_be_closed(struct kv *kv)
{
	struct error ignored = {0};

	return is_stopped_by_damage(kv) && is_ours(kv) && ballast_admit_open(kv->ballast, &ignored) == 0 && (!kv->db || native_would_come_back(kv));
}

/* Nobody is inside. What the log has becomes tables, which are on disk when this has succeeded. */
static bool open_anew(struct kv *kv, char **ret_message)
{
	if (!may_be_closed(kv))
		return false;
	native_close(kv);
	native_reopens(kv);
	/* Closing has waited for RocksDB's threads, perhaps for long. */
	if (!is_ours(kv))
		return false;
	*ret_message = native_open(kv, false);
	return !*ret_message;
}

/* Caller holds reopen_lock. */
static bool reopen(struct kv *kv)
{
	char *message = NULL;

	if (clock_ms() < kv->reopen_after_ms)
		return false;
	if (!kv_shut_out(kv, TRY_MS)) {
		kv->reopen_after_ms = clock_ms() + PAUSE_MS;
		return false;
	}
	const bool done = open_anew(kv, &message);
	kv_let_in(kv);
	if (!done) {
		kv->reopen_after_ms = clock_ms() + LONG_PAUSE_MS;
		(void)kv_result(kv, message);
		return false;
	}
	ballast_opened(kv->ballast);
	atomic_store(&kv->was_full, false);
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
	if (!done && is_stopped_by_damage(kv) && kv_admit(kv, true) == 0)
		done = reopen(kv);
	pthread_mutex_unlock(&kv->reopen_lock);
	return done;
}

void kv_go_on(struct kv *kv)
{
	const unsigned opened = kv_opened(kv);
	const bool ignored = atomic_load(&kv->stopped_by_damage) && kv_reopened(kv, -EBADMSG, opened);

	(void)ignored;
}
