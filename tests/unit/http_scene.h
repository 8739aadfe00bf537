/*
 * A request of a range, a server that answers it and what is asked beside it as the test's steps say, and what else decides: the library fails, the clock
 * stands still, chance is none, a name is looked up for long. For one file: it takes the place of functions of the C library and of libcurl.
 *
 *   begin(&scene, steps, count, limit_ms) -> ask_range(&scene, name) ... -> end(&scene)
 */
#ifndef CORPUSFS_TEST_HTTP_SCENE_H
#define CORPUSFS_TEST_HTTP_SCENE_H

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "lib/base/clock.h"
#include "lib/repository/hedge.h"
#include "lib/repository/http.h"
#include "tests/unit/fault_wait.h"
#include "tests/unit/http_server.h"

#define BYTES 1000
#define WAIT_MS 20000 /* nobody waits so long but in vain */
#define LATE_MS 500   /* more than it takes until an answer is late */
#define NO_MEMORY "http-second-before-memory"
#define FOR_EVER 1000 /* requests */
#define HELD_NAME "held.test"

/* --- what the test lets fail --- */

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))
#define FAILED 3 /* CURLM_OUT_OF_MEMORY */

int curl_multi_add_handle(void *multi, void *easy);
int curl_multi_perform(void *multi, int *running);
int curl_multi_poll(void *multi, void *more, unsigned count, int ms, int *ret);

enum failing { NOTHING, ADDING_SECOND, PERFORMING, PERFORMING_LAST, POLLING };
static _Atomic enum failing failing;
static atomic_uint adds, failures, polls, rests; /* rests: of the thread that asks */
static pthread_t asking;
static atomic_int chance = -1; /* what each byte at random is; -1: it is one */

int curl_multi_add_handle(void *multi, void *easy)
{
	if (failing == ADDING_SECOND && atomic_fetch_add(&adds, 1) == 1) {
		failures++;
		return FAILED;
	}
	return REAL("curl_multi_add_handle", int (*)(void *, void *))(multi, easy);
}

int curl_multi_perform(void *multi, int *running)
{
	int code;

	if (failing == PERFORMING) {
		failures++;
		return FAILED;
	}
	code = REAL("curl_multi_perform", int (*)(void *, int *))(multi, running);
	if (failing != PERFORMING_LAST || *running > 0)
		return code;
	failures++;
	return FAILED;
}

int curl_multi_poll(void *multi, void *more, unsigned count, int ms, int *ret)
{
	polls++;
	if (failing != POLLING)
		return REAL("curl_multi_poll", int (*)(void *, void *, unsigned, int, int *))(multi, more, count, ms, ret);
	failures++;
	return FAILED;
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
	rests += failing == POLLING && pthread_equal(pthread_self(), asking);
	return REAL("nanosleep", int (*)(const struct timespec *, struct timespec *))(time, left);
}

ssize_t getrandom(void *out, size_t len, unsigned flags)
{
	if (chance < 0)
		return REAL("getrandom", ssize_t (*)(void *, size_t, unsigned))(out, len, flags);
	memset(out, chance, len);
	return (ssize_t)len;
}

/* --- the clock, and names --- */

static atomic_ullong stands_ns; /* the clock of waiting and measuring stands still there; 0: it goes */
static atomic_uint lookups, lookups_ended;
static atomic_bool lookup_may_end, lookup_in_vain;

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	const int r = (int)syscall(SYS_clock_gettime, clock, ret_now);
	const unsigned long long stands = stands_ns;

	if (clock == CLOCK_MONOTONIC && stands)
		*ret_now = (struct timespec){.tv_sec = (time_t)(stands / 1000000000), .tv_nsec = (long)(stands % 1000000000)};
	return r;
}

static void stop_clock(void)
{
	stands_ns = clock_us() * 1000;
}

/* The first look-up of the held name lasts until it may end. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **ret_addresses)
{
	const bool is_held = name && strcmp(name, HELD_NAME) == 0;
	const uint64_t until = clock_ms() + WAIT_MS;
	int r;

	if (is_held && atomic_fetch_add(&lookups, 1) == 0) {
		while (!lookup_may_end && clock_ms() < until)
			clock_pause_us(100);
		lookup_in_vain = !lookup_may_end;
	}
	r = REAL("getaddrinfo", int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))(
		is_held ? "127.0.0.1" : name, service, hints, ret_addresses);
	lookups_ended += is_held;
	return r;
}

/* --- the server --- */

/* The answer to a request. */
struct step {
	long status;
	unsigned asked;    /* it is sent when so many requests have come */
	unsigned ended;    /* and of so many the connections were closed by who asked */
	unsigned failures; /* and the library has failed so often */
	bool polled;       /* and who asks has begun to wait since the last answer before */
	bool no_memory;    /* and there was none for a second one */
	bool late;         /* and it is late */
	bool stops_clock;  /* and with it the clock stands still */
};

struct scene {
	struct http_server server;
	struct http *http;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	const struct step *steps;
	unsigned count, asked, ended;
	unsigned polls; /* before the last answer */
	bool in_vain;
	atomic_bool stops;
	/* of who asks */
	uint8_t out[BYTES];
	struct http_answer answer;
};

/* What no condition tells of. */
static void await(const struct scene *scene, const struct step *step, unsigned polls_before)
{
	const uint64_t until = clock_ms() + WAIT_MS;

	while (!scene->stops && (failures < step->failures || (step->polled && polls == polls_before)) && clock_ms() < until)
		clock_pause_us(100);
	if (step->no_memory)
		fault_wait(NO_MEMORY);
	if (step->late)
		clock_pause_us(LATE_MS * 1000);
	if (step->stops_clock)
		stop_clock();
}

/* The number of the request, from 1 on, when its answer is due. */
static unsigned take_turn(struct scene *scene, struct step *ret_step)
{
	const struct timespec until = clock_after_ms(WAIT_MS);
	struct step step = {.status = 206};
	unsigned number, polls_before;

	pthread_mutex_lock(&scene->lock);
	number = ++scene->asked;
	if (number <= scene->count)
		step = scene->steps[number - 1];
	pthread_cond_broadcast(&scene->changed);
	while (!scene->stops && (scene->asked < step.asked || scene->ended < step.ended))
		if (pthread_cond_clockwait(&scene->changed, &scene->lock, CLOCK_MONOTONIC, &until) != 0) {
			scene->in_vain = true;
			break;
		}
	polls_before = scene->polls;
	pthread_mutex_unlock(&scene->lock);
	await(scene, &step, polls_before);
	pthread_mutex_lock(&scene->lock);
	scene->polls = polls;
	pthread_mutex_unlock(&scene->lock);
	*ret_step = step;
	return number;
}

/* Of bytes that are all `number`. */
static void send_answer(int fd, long status, unsigned number)
{
	char head[128];
	uint8_t body[BYTES];

	memset(body, (int)number, sizeof(body));
	snprintf(head, sizeof(head), "HTTP/1.1 %ld Answer\r\nConnection: close\r\nContent-Length: %u\r\n\r\n", status, BYTES);
	if (send(fd, head, strlen(head), MSG_NOSIGNAL | MSG_MORE) > 0)
		(void)!send(fd, body, sizeof(body), MSG_NOSIGNAL);
}

static void answer(void *arg, int fd, const char *path)
{
	const struct timeval wait = {.tv_sec = WAIT_MS / 1000};
	struct scene *scene = arg;
	struct step step;
	unsigned number;
	ssize_t more;
	char byte;

	if (strcmp(path, "/quick") == 0) {
		send_answer(fd, 206, 0);
		return;
	}
	number = take_turn(scene, &step);
	send_answer(fd, step.status, number);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	more = recv(fd, &byte, 1, 0);
	pthread_mutex_lock(&scene->lock);
	scene->in_vain |= more < 0 && errno == EAGAIN;
	scene->ended++;
	pthread_cond_broadcast(&scene->changed);
	pthread_mutex_unlock(&scene->lock);
}

static int ask(struct scene *scene, const char *name, struct http_request request)
{
	AUTO_FREE char *url = xasprintf("%s%s", scene->server.url, name);

	request.url = url;
	request.method = request.method ? request.method : "GET";
	buf_clear(&scene->answer.body);
	return http_do(scene->http, &request, &scene->answer);
}

static int ask_range(struct scene *scene, const char *name)
{
	return ask(scene, name, (struct http_request){.range_len = BYTES, .out = scene->out});
}

/* How long answers take is known already: not long. */
static void begin(struct scene *scene, const struct step *steps, unsigned count, uint64_t limit_ms)
{
	*scene = (struct scene){.server = {.answer = answer, .arg = scene}, .steps = steps, .count = count,
	                        .http = http_new(&(struct http_options){.limit_ms = limit_ms})};
	pthread_mutex_init(&scene->lock, NULL);
	pthread_cond_init(&scene->changed, NULL);
	asking = pthread_self();
	adds = failures = rests = 0;
	http_server_start(&scene->server);
	for (unsigned i = 0; i < HEDGE_KNOWN; i++)
		assert_int_equal(ask_range(scene, "quick"), 0);
}

/* The server ends before the connections that are kept do: one that was cut off must have been closed. */
static void end(struct scene *scene)
{
	failing = NOTHING;
	chance = -1;
	stands_ns = 0;
	pthread_mutex_lock(&scene->lock);
	scene->stops = true;
	pthread_cond_broadcast(&scene->changed);
	pthread_mutex_unlock(&scene->lock);
	http_server_stop(&scene->server);
	assert_false(scene->in_vain);
	http_free(scene->http);
	buf_clear(&scene->answer.body);
	pthread_cond_destroy(&scene->changed);
	pthread_mutex_destroy(&scene->lock);
}

static void check_came(const struct scene *scene, unsigned number)
{
	assert_int_equal(scene->answer.status, 206);
	for (size_t i = 0; i < BYTES; i++)
		assert_int_equal(scene->out[i], number);
}

#endif
