#include "lib/repository/http.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/repository/hedge.h"
#include "lib/repository/transfers.h"

#define SPARE 32
#define LOOK_MS 1000
#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS 8000

struct http {
	struct http_options options; /* whose texts are these: */
	char *user, *password, *sign, *certificates, *client;
	pthread_mutex_t lock; /* guards the idle ones */
	struct transfers *spare[SPARE];
	size_t count;
	struct hedge hedge;
};

struct http *http_new(const struct http_options *options)
{
	struct http *http = xcalloc(1, sizeof(*http));

	pthread_mutex_init(&http->lock, NULL);
	hedge_init(&http->hedge);
	http->options = *options;
	http->options.user = http->user = xstrdup_or_null(options->user);
	http->options.password = http->password = xstrdup_or_null(options->password);
	http->options.sign = http->sign = xstrdup_or_null(options->sign);
	http->options.certificates = http->certificates = xstrdup_or_null(options->certificates);
	http->options.client = http->client = xstrdup_or_null(options->client);
	return http;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	while (http->count > 0)
		transfers_free(http->spare[--http->count]);
	hedge_clear(&http->hedge);
	pthread_mutex_destroy(&http->lock);
	free(http->user);
	free_secret(http->password);
	free(http->sign);
	free(http->certificates);
	free_secret(http->client);
	free(http);
}

static struct transfers *take(struct http *http)
{
	struct transfers *transfers = NULL;

	pthread_mutex_lock(&http->lock);
	if (http->count > 0)
		transfers = http->spare[--http->count];
	pthread_mutex_unlock(&http->lock);
	return transfers ? transfers : transfers_new();
}

static void give(struct http *http, struct transfers *transfers)
{
	const bool is_whole = transfers_end(transfers);

	pthread_mutex_lock(&http->lock);
	if (is_whole && http->count < SPARE)
		http->spare[http->count++] = steal_ptr(transfers);
	pthread_mutex_unlock(&http->lock);
	transfers_free(transfers);
}

/* --- one try, and a second one beside it --- */

struct attempt {
	const struct http_request *request;
	uint64_t until_ms;
	uint64_t pause_ms; /* from the end of the first one to the next attempt */
	uint64_t ended_ms; /* when the first one has ended */
	void *second_out;  /* where the second one's range comes; NULL: there is none */
};

static bool may_pass(int result, long status)
{
	if (result == 0)
		return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 507);
	return result == -ETIMEDOUT || result == -ECONNREFUSED || result == -EHOSTUNREACH || result == -EIO;
}

static bool is_good(const struct transfer *transfer)
{
	return transfer->ended_ms && transfer->result == 0 && transfer->status / 100 == 2;
}

static bool is_under_way(const struct transfer *transfer)
{
	return transfer->began_ms && !transfer->ended_ms;
}

/*
 * When a second one that is left alone is given up: after the pause, if who asks is patient for so long. As long as something comes of it, it is worth more
 * than another attempt.
 */
static uint64_t second_until(const struct attempt *attempt, const struct transfer *first, const struct transfer *second)
{
	const uint64_t until = MAX(first->ended_ms, second->moved_ms) + attempt->pause_ms;

	return second->first_ms ? until : MIN(until, attempt->until_ms);
}

/*
 * Nothing more is waited for. The first that is good counts. What fails of the second one hides nothing of the first; where the first fails and would be
 * tried again, the second has the time of the pause.
 */
static bool is_over(const struct attempt *attempt, const struct transfer *first, const struct transfer *second, uint64_t now)
{
	if (is_good(first) || is_good(second))
		return true;
	if (!first->ended_ms)
		return false;
	return !is_under_way(second) || !may_pass(first->result, first->status) || now >= second_until(attempt, first, second);
}

/* Only what changes nothing, and whose place in memory is not too much. */
static bool can_be_sent_again(const struct http_request *request)
{
	return strcmp(request->method, "GET") == 0 && request->range_len > 0 && request->range_len <= HEDGE_BYTES_MAX;
}

/* If one may be sent, and there is memory for what comes. */
static void begin_second(struct http *http, struct attempt *attempt, struct transfers *transfers)
{
	void *out = fault_point("http-second-before-memory") < 0 ? NULL : malloc(attempt->request->range_len);

	if (!out || !hedge_may(&http->hedge)) {
		free(out);
		return;
	}
	attempt->second_out = out;
	transfers_begin(transfers, 1, &(struct transfers_order){.options = &http->options, .request = attempt->request, .out = out,
	                                                        .until_ms = attempt->until_ms});
}

/* A second one is begun when nothing came of the first for long (hedge.h). */
static void run(struct http *http, struct attempt *attempt, struct transfers *transfers)
{
	const struct transfer *first = transfers_get(transfers, 0), *second = transfers_get(transfers, 1);
	const uint64_t late_ms = hedge_late_ms(&http->hedge);
	bool is_alone = can_be_sent_again(attempt->request); /* as yet */

	for (;;) {
		/* What came before is taken before anything counts as late: this process itself may have been late. */
		const uint64_t now = clock_ms();
		uint64_t until = now + LOOK_MS;

		transfers_run(transfers);
		if (is_over(attempt, first, second, now))
			return;
		if (is_alone && now >= first->moved_ms + late_ms) {
			is_alone = false;
			begin_second(http, attempt, transfers);
			continue;
		}
		if (is_alone)
			until = MIN(until, first->moved_ms + late_ms);
		else if (first->ended_ms)
			until = MIN(until, second_until(attempt, first, second));
		transfers_wait(transfers, until - now);
	}
}

static int try_once(struct http *http, struct attempt *attempt, struct http_answer *answer)
{
	struct transfers *transfers = take(http);
	const struct transfer *first = transfers_get(transfers, 0), *second = transfers_get(transfers, 1);
	size_t best;
	int r;

	transfers_begin(transfers, 0, &(struct transfers_order){.options = &http->options, .request = attempt->request, .out = attempt->request->out,
	                                                        .until_ms = attempt->until_ms});
	run(http, attempt, transfers);
	best = is_good(second) && !is_good(first);
	if (best == 1)
		memcpy(attempt->request->out, attempt->second_out, attempt->request->range_len);
	/* One that was cut off before anything came would have taken longer still. */
	if (first->first_ms || best == 1)
		hedge_answered(&http->hedge, (first->first_ms ? first->first_ms : clock_ms()) - first->began_ms);
	r = transfers_get(transfers, best)->result;
	transfers_answer(transfers, best, answer);
	attempt->ended_ms = first->ended_ms;
	give(http, transfers);
	free(attempt->second_out);
	attempt->second_out = NULL;
	return r;
}

/* --- one after another --- */

uint64_t http_pause_ms(unsigned tries)
{
	const uint64_t most = MIN((uint64_t)PAUSE_FIRST_MS << MIN(tries, 16U), (uint64_t)PAUSE_MAX_MS);
	uint32_t chance = 0;

	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) < 0)
		chance = (uint32_t)clock_ms();
	return most * chance >> 32;
}

static void wait_until(uint64_t ms)
{
	const uint64_t now = clock_ms();

	if (now < ms)
		clock_pause_us((ms - now) * 1000);
}

static uint64_t patience_of(const struct http *http, const struct http_request *request)
{
	const uint64_t patience = request->patience_ms ? request->patience_ms : http->options.limit_ms ? http->options.limit_ms : HTTP_PATIENCE_MS;

	return http->options.limit_ms ? MIN(patience, http->options.limit_ms) : patience;
}

int http_do(struct http *http, const struct http_request *request, struct http_answer *ret_answer)
{
	struct attempt attempt = {.request = request, .until_ms = clock_ms() + patience_of(http, request)};
	struct http_answer answer = {.content_length = -1};
	int r;

	do {
		attempt.pause_ms = http_pause_ms(++answer.tries);
		r = try_once(http, &attempt, &answer);
		if (request->once || !may_pass(r, answer.status))
			break;
		wait_until(MIN(attempt.ended_ms + attempt.pause_ms, attempt.until_ms));
	} while (clock_ms() < attempt.until_ms);
	*ret_answer = answer;
	return r == -ERANGE ? -EIO : r; /* another range than was asked for will not become the right one */
}

uint64_t http_sent_again(struct http *http)
{
	return hedge_count(&http->hedge);
}

int http_errno(long status)
{
	switch (status) {
	case 404: return -ENOENT;
	case 401:
	case 403: return -EACCES;
	case 409:
	case 412: return -EEXIST;
	case 507: return -ENOSPC;
	default: return status / 100 == 2 ? 0 : -EIO;
	}
}
