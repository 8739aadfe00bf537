#include "fs/cli/waiting.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/cli/interrupt.h"
#include "lib/base/clock.h"

#define PATIENCE_S 600
#define TELL_MS 30000 /* then it is told for the first time, and again after twice as long */
#define LET_GO_MS 30000      /* for an operation that is to end to do so */
#define LET_GO_DEAD_MS 10000 /* the same of one that gives no sign of life */

/* Over a line of progress, which is drawn anew when there is something to tell. */
static void tell(const struct waiting *waiting, const struct client_silence *silence)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[Kcorpusfs: waiting for the daemon of %s (process %d), which has not answered for %u s; Ctrl-C to stop\n",
			waiting->store, (int)silence->daemon, (unsigned)(silence->quiet_ms / 1000));
}

static bool does_not_let_go(const struct waiting *waiting, const struct client_silence *silence)
{
	const uint64_t since_ms = clock_ms() - waiting->asked_to_end_ms;

	return since_ms > LET_GO_MS || MIN(since_ms, silence->dead_ms) > LET_GO_DEAD_MS;
}

static int told_to_end(const struct client_silence *silence, struct error *err)
{
	error_set(err, -ETIMEDOUT, "the daemon, process %d, was asked to stop this and has not answered: it may still do it", (int)silence->daemon);
	error_hint(err, "corpusfs umount --force ends it in any case");
	return -ETIMEDOUT;
}

static int look(void *arg, const struct client_silence *silence, struct error *err)
{
	struct waiting *waiting = arg;

	if (interrupt_came() && waiting->asked_to_end_ms == 0)
		waiting->asked_to_end_ms = clock_ms();
	if (waiting->asked_to_end_ms && does_not_let_go(waiting, silence))
		return told_to_end(silence, err);
	if (waiting->patience_ms && silence->dead_ms > waiting->patience_ms)
		return error_set(err, -ETIMEDOUT, "the daemon, process %d, has given no sign of life for %u s: it may still do this", (int)silence->daemon,
				 (unsigned)(silence->dead_ms / 1000));
	if (silence->quiet_ms >= waiting->tell_ms) {
		tell(waiting, silence);
		waiting->tell_ms = 2 * silence->quiet_ms;
	}
	return 0;
}

void waiting_begin(struct waiting *waiting, const char *store, struct client *client)
{
	const char *text = getenv("CORPUSFS_PATIENCE");
	char *end = NULL;
	const unsigned long seconds = text ? strtoul(text, &end, 10) : PATIENCE_S;
	const uint64_t patience_ms = (end && (end == text || *end) ? PATIENCE_S : (uint64_t)MIN(seconds, 1000000UL)) * 1000;

	*waiting = (struct waiting){.store = store, .patience_ms = patience_ms, .tell_ms = patience_ms ? MIN(patience_ms / 2, (uint64_t)TELL_MS) : TELL_MS};
	client_on_silence(client, look, waiting);
}
