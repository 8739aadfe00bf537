/* A request that is sent a second time beside the first: which answer counts, that both end, and what fails of the library meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/random.h>
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

/* --- which answer counts --- */

static void first_good_answer_counts_and_the_other_is_cut_off(void **state)
{
	const struct step steps[] = {{.status = 206, .asked = FOR_EVER}, {.status = 206}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	assert_int_equal(ask_range(&scene, "late"), 0);
	check_came(&scene, 2);
	assert_int_equal(scene.answer.tries, 1);
	assert_int_equal(http_sent_again(scene.http), 1);
	end(&scene);
	assert_int_equal(scene.asked, 2);
	assert_int_equal(scene.ended, 2);
}

static void failure_of_the_second_hides_nothing(void **state)
{
	static const long statuses[] = {503, 404};
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		const struct step steps[] = {{.status = 206, .asked = 2, .ended = 1}, {.status = statuses[i]}};

		begin(&scene, steps, ARRAY_SIZE(steps), 0);
		assert_int_equal(ask_range(&scene, "late"), 0);
		check_came(&scene, 1);
		assert_int_equal(scene.answer.tries, 1);
		end(&scene);
	}
}

/* Pauses are as short as they may be: the second has no time, and its answer would come only after that to another attempt. */
static void failure_of_the_first_is_tried_again_while_the_second_does_not_answer(void **state)
{
	static const long statuses[] = {503, 500, 429};
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		const struct step steps[] = {{.status = statuses[i], .asked = 2}, {.status = 206, .asked = 3}, {.status = 206}};

		begin(&scene, steps, ARRAY_SIZE(steps), 0);
		chance = 0;
		assert_int_equal(ask_range(&scene, "late"), 0);
		assert_int_equal(scene.answer.tries, 2);
		assert_true(scene.out[0] >= 3);
		end(&scene);
	}
}

/* The pause is as long as it may be, 0.2 s: enough for the answer of the second, which comes after that of the first, if not always on a busy machine. */
static void second_has_the_time_of_the_pause_when_the_first_fails(void **state)
{
	const struct step steps[] = {{.status = 503, .asked = 2}, {.status = 206, .ended = 1, .polled = true}};
	struct scene scene;
	unsigned came = 0;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		begin(&scene, steps, ARRAY_SIZE(steps), 0);
		chance = 0xff;
		assert_int_equal(ask_range(&scene, "late"), 0);
		came += scene.answer.tries == 1 && scene.out[0] == 2;
		end(&scene);
	}
	assert_true(came >= 3);
}

/* The second would answer as soon as it is waited for. */
static void answer_that_is_final_is_not_held_up_by_the_second(void **state)
{
	const struct step steps[] = {{.status = 404, .asked = 2}, {.status = 206, .ended = 1, .polled = true}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	chance = 0xff;
	assert_int_equal(ask_range(&scene, "late"), 0);
	assert_int_equal(scene.answer.status, 404);
	assert_int_equal(scene.answer.body.len, BYTES);
	end(&scene);
	assert_int_equal(scene.ended, 2);
}

static void limit_ends_both(void **state)
{
	const struct step steps[] = {{.status = 206, .asked = FOR_EVER}, {.status = 206, .asked = FOR_EVER}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 2000);
	assert_int_equal(ask_range(&scene, "late"), -ETIMEDOUT);
	end(&scene);
	assert_true(scene.asked >= 2);
	assert_int_equal(scene.ended, scene.asked);
}

/* --- what is not sent a second time --- */

static void only_a_range_that_is_not_long_is_sent_a_second_time(void **state)
{
	const struct step steps[] = {{.status = 206, .late = true}};
	const size_t too_long = HEDGE_BYTES_MAX + 1;
	AUTO_FREE uint8_t *out = xmalloc(too_long);
	const struct http_request requests[] = {{.method = "GET"}, {.method = "DELETE"}, {.method = "POST", .data = ""},
	                                        {.method = "GET", .range_len = too_long, .out = out}};
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		begin(&scene, steps, ARRAY_SIZE(steps), 0);
		/* what is too long for us is more than the server sends */
		assert_int_equal(ask(&scene, "late", requests[i]), requests[i].range_len ? -EIO : 0);
		assert_int_equal(http_sent_again(scene.http), 0);
		end(&scene);
		assert_int_equal(scene.asked, 1);
	}
}

/* --- what fails --- */

static void without_memory_there_is_no_second(void **state)
{
	const struct step steps[] = {{.status = 206, .no_memory = true}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	assert_int_equal(ask_range(&scene, "late"), 0);
	check_came(&scene, 1);
	assert_int_equal(http_sent_again(scene.http), 0);
	end(&scene);
	assert_int_equal(scene.asked, 1);
}

static void second_that_cannot_begin_changes_nothing(void **state)
{
	const struct step steps[] = {{.status = 206, .failures = 1}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	failing = ADDING_SECOND;
	assert_int_equal(ask_range(&scene, "late"), 0);
	check_came(&scene, 1);
	assert_int_equal(failures, 1);
	end(&scene);
	assert_int_equal(scene.asked, 1);
}

static void library_that_can_go_no_further_is_given_up(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, NULL, 0, 0);
	failing = PERFORMING;
	assert_int_equal(ask(&scene, "late", (struct http_request){.range_len = BYTES, .out = scene.out, .patience_ms = 300}), -EIO);
	assert_true(failures > 0 && *scene.answer.problem);
	failing = NOTHING;
	assert_int_equal(ask_range(&scene, "quick"), 0);
	end(&scene);
}

static void answer_that_has_come_counts_when_the_library_fails(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, NULL, 0, 0);
	failing = PERFORMING_LAST;
	assert_int_equal(ask_range(&scene, "late"), 0);
	assert_true(failures > 0);
	check_came(&scene, 1);
	assert_int_equal(scene.answer.tries, 1);
	failing = NOTHING;
	assert_int_equal(ask_range(&scene, "quick"), 0);
	end(&scene);
}

static void library_that_cannot_wait_is_not_asked_at_once_again(void **state)
{
	const struct step steps[] = {{.status = 206, .failures = 3}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	failing = POLLING;
	assert_int_equal(ask_range(&scene, "late"), 0);
	assert_int_equal(scene.answer.status, 206);
	assert_true(failures >= 3);
	assert_int_equal(rests, failures);
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_memory_there_is_no_second), /* the first, which comes to the fault point */
		cmocka_unit_test(first_good_answer_counts_and_the_other_is_cut_off),
		cmocka_unit_test(failure_of_the_second_hides_nothing),
		cmocka_unit_test(failure_of_the_first_is_tried_again_while_the_second_does_not_answer),
		cmocka_unit_test(second_has_the_time_of_the_pause_when_the_first_fails),
		cmocka_unit_test(answer_that_is_final_is_not_held_up_by_the_second),
		cmocka_unit_test(limit_ends_both),
		cmocka_unit_test(only_a_range_that_is_not_long_is_sent_a_second_time),
		cmocka_unit_test(second_that_cannot_begin_changes_nothing),
		cmocka_unit_test(library_that_can_go_no_further_is_given_up),
		cmocka_unit_test(answer_that_has_come_counts_when_the_library_fails),
		cmocka_unit_test(library_that_cannot_wait_is_not_asked_at_once_again),
	};

	setenv("CORPUSFS_FAULT", NO_MEMORY ":enomem", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
