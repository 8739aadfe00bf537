/* What the client of etcd makes of answers, of those that are lost, and of members that do not answer. The server here says what it was told to say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/repository/etcd.h"

#define REQUEST_MAX 8192
#define ASKED_MAX 8
#define DROP "" /* the request is read, and the connection closed */
#define OK "200 {\"header\":{\"revision\":\"2\"}"
#define FAILED OK ",\"responses\":[{\"response_range\":{\"header\":{},\"kvs\":[{\"key\":\"aw==\",\"value\":\"%s\"}],\"count\":\"1\"}}]}"
#define REFUSED(status, code, message) status " {\"error\":\"" message "\",\"code\":" code ",\"message\":\"" message "\"}"
#define TOKEN(text) OK ",\"token\":\"" text "\"}"
#define TOKEN_OLD REFUSED("401", "16", "etcdserver: invalid auth token")
#define PATIENCE_MS 10000
#define IMPATIENCE_MS 300
#define ANSWER_MAX (64U << 20) /* as etcd.c has it */

struct server {
	const char *const *answers; /* each "STATUS BODY"; ends with NULL */
	int listener;
	unsigned asked;
	char requests[ASKED_MAX][REQUEST_MAX];
	char member[32];
	pthread_t thread;
	size_t sent; /* by serve_without_end */
};

static void read_request(int fd, char request[REQUEST_MAX])
{
	size_t len = 0, wanted = 0;

	for (const char *body; !(body = strstr(request, "\r\n\r\n")) || len < wanted;) {
		const ssize_t got = recv(fd, request + len, REQUEST_MAX - 1 - len, 0);

		if (got <= 0)
			return;
		request[len += (size_t)got] = '\0';
		body = strstr(request, "\r\n\r\n");
		if (body && strcasestr(request, "content-length:"))
			wanted = (size_t)(body + 4 - request) + strtoul(strcasestr(request, "content-length:") + 15, NULL, 10);
	}
}

static void *serve(void *arg)
{
	struct server *server = arg;
	char text[REQUEST_MAX];

	for (int fd; server->answers[server->asked] && (fd = accept(server->listener, NULL, NULL)) >= 0; close(fd)) {
		const char *answer = server->answers[server->asked];

		read_request(fd, server->requests[server->asked++]);
		if (!*answer)
			continue;
		snprintf(text, sizeof(text), "HTTP/1.1 %.3s Said\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", answer, strlen(answer + 4), answer + 4);
		assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	}
	return NULL;
}

/* Somebody has the port, and nobody listens on it. */
static int take_port(char member[32])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	snprintf(member, 32, "127.0.0.1:%u", ntohs(address.sin_port));
	return fd;
}

static void server_start(struct server *server, const char *const *answers)
{
	*server = (struct server){.answers = answers};
	server->listener = take_port(server->member);
	assert_int_equal(listen(server->listener, 8), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

/* All that it was to say was asked for. */
static void server_stop(struct server *server)
{
	shutdown(server->listener, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->listener);
	assert_null(server->answers[server->asked]);
}

static struct etcd *open_members(const char *members, const char *user, uint64_t patience_ms)
{
	const struct etcd_options options = {.members = members, .user = user, .password = user ? "secret" : NULL, .patience_ms = patience_ms};
	struct error err = {0};
	struct etcd *etcd = NULL;

	assert_int_equal(etcd_open(&options, &etcd, &err), 0);
	return etcd;
}

static int get(const char *const *answers, const char *user, struct server *server, struct buf *value, struct error *err)
{
	struct etcd *etcd;
	int r;

	server_start(server, answers);
	etcd = open_members(server->member, user, PATIENCE_MS);
	r = etcd_get(etcd, "k", value, err);
	etcd_close(etcd);
	server_stop(server);
	return r;
}

static void test_what_etcd_leaves_out_is_empty(void **state)
{
	static const char *const none[] = {OK "}", NULL}, *const empty[] = {OK ",\"kvs\":[{\"key\":\"aw==\"}],\"count\":\"1\"}", NULL};
	AUTO_BUF value = BUF_INIT;
	struct error err = {0};
	struct server server;

	buf_addf(&value, "from before");
	assert_int_equal(get(none, NULL, &server, &value, &err), -ENOENT);
	assert_int_equal(get(empty, NULL, &server, &value, &err), 0);
	assert_int_equal(value.len, 0);
	assert_non_null(strstr(server.requests[0], "POST /v3/kv/range"));
	assert_non_null(strstr(server.requests[0], "\"key\":\"aw==\""));
}

/* Of the value "mine"; ret_there is a text. */
static int replace(const char *const *answers, bool *ret_lost, struct buf *ret_there)
{
	AUTO_BUF value = BUF_INIT;
	struct error err = {0};
	struct server server;
	struct etcd *etcd;
	int r;

	buf_addf(&value, "mine");
	server_start(&server, answers);
	etcd = open_members(server.member, NULL, PATIENCE_MS);
	r = etcd_replace(etcd, &(struct etcd_replacement){.key = "k", .value = &value}, ret_there, ret_lost, &err);
	etcd_close(etcd);
	server_stop(&server);
	buf_add_u8(ret_there, 0);
	return r;
}

static int count_key(void *arg, const char *key, const struct buf *value)
{
	(*(unsigned *)arg)++;
	return 0;
}

/* What was not asked for is no answer. */
static void test_list_has_what_begins_so(void **state)
{
	static const struct {
		const char *answers[3];
		int result;
		unsigned count;
	} cases[] = {
		{{OK ",\"kvs\":[{\"key\":\"ay9h\"},{\"key\":\"ay9i\"}]}"}, 0, 2},
		{{OK "}"}, 0, 0},
		{{OK ",\"kvs\":[{\"key\":\"ay9h\"},{\"key\":\"aw==\"}]}"}, -EREMOTEIO, 1},
		{{OK ",\"kvs\":[{}]}"}, -EREMOTEIO, 0},
		{{OK ",\"kvs\":[{\"key\":\"ay9h\"}],\"more\":true,\"count\":\"2\"}", OK ",\"kvs\":[{\"key\":\"ay9i\"}],\"count\":\"1\"}"}, 0, 2},
		{{OK ",\"kvs\":[{\"key\":\"ay9h\"}],\"more\":true}", OK ",\"kvs\":[{\"key\":\"ay9h\"}]}"}, -EREMOTEIO, 1},
		{{OK ",\"more\":true}"}, -EREMOTEIO, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct server server;
		struct error err = {0};
		struct etcd *etcd;
		unsigned count = 0;

		server_start(&server, cases[i].answers);
		etcd = open_members(server.member, NULL, PATIENCE_MS);
		assert_int_equal(etcd_list(etcd, "k/", count_key, &count, &err), cases[i].result);
		assert_int_equal(count, cases[i].count);
		etcd_close(etcd);
		server_stop(&server);
		assert_non_null(strstr(server.requests[0], "\"key\":\"ay8=\""));
		if (server.asked == 2) /* from what comes after the last one */
			assert_non_null(strstr(server.requests[1], "\"key\":\"ay9hAA==\""));
	}
}

static void test_member_that_may_be_behind_is_not_believed_that_there_is_none(void **state)
{
	static const char *const answers[] = {OK "}", OK ",\"kvs\":[{\"value\":\"eA==\"}]}", NULL};
	struct etcd_options options = {.patience_ms = PATIENCE_MS, .stale_ok = true};
	AUTO_BUF value = BUF_INIT;
	struct error err = {0};
	struct server server;
	struct etcd *etcd;

	server_start(&server, answers);
	options.members = server.member;
	assert_int_equal(etcd_open(&options, &etcd, &err), 0);
	assert_int_equal(etcd_get(etcd, "k", &value, &err), 0);
	assert_non_null(strstr(server.requests[0], "\"serializable\":true"));
	assert_non_null(strstr(server.requests[1], "\"serializable\":false"));
	etcd_close(etcd);
	server_stop(&server);
}

static const char done[] = OK ",\"succeeded\":true,\"responses\":[{\"response_put\":{\"header\":{\"revision\":\"2\"}}}]}";
static char mine_is_there[REQUEST_MAX], other_is_there[REQUEST_MAX];

static void test_comparison_that_failed_says_what_is_there(void **state)
{
	const char *const others[] = {other_is_there, NULL}, *const well[] = {done, NULL};
	AUTO_BUF there = BUF_INIT;
	bool lost = true;

	assert_int_equal(replace(others, &lost, &there), -EEXIST);
	assert_string_equal((char *)there.data, "other");
	assert_false(lost);
	assert_int_equal(replace(well, &lost, &there), 0);
	assert_false(lost);
}

static void test_answer_that_was_lost_is_found_out(void **state)
{
	const char *const came[] = {DROP, mine_is_there, NULL}, *const did_not[] = {DROP, done, NULL}, *const overtaken[] = {DROP, other_is_there, NULL};
	AUTO_BUF there = BUF_INIT;
	bool lost;

	assert_int_equal(replace(came, &lost, &there), 0);
	assert_int_equal(replace(did_not, &lost, &there), 0);
	assert_int_equal(replace(overtaken, &lost, &there), -EEXIST);
	assert_true(lost);
}

/* Answers one question, leaves its connection open, reads the next one, on whichever connection it comes, and is gone. */
static void *serve_and_go(void *arg)
{
	static const char answer[] = "HTTP/1.1 200 Said\r\nContent-Length: 27\r\n\r\n{\"header\":{\"revision\":\"2\"}}";
	struct server *server = arg;
	const int first = accept(server->listener, NULL, NULL);
	struct pollfd fds[2] = {{.fd = server->listener, .events = POLLIN}, {.fd = first, .events = POLLIN}};
	int next;
	char byte;

	read_request(first, server->requests[0]);
	assert_int_equal(send(first, answer, strlen(answer), MSG_NOSIGNAL), strlen(answer));
	assert_true(poll(fds, 2, -1) > 0);
	next = recv(first, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1 ? first : accept(server->listener, NULL, NULL);
	read_request(next, server->requests[1]);
	shutdown(server->listener, SHUT_RDWR);
	close(next);
	if (next != first)
		close(first);
	return NULL;
}

/* Who listens no more has said nothing: but it had come before. */
static void test_question_is_not_sent_again_behind_our_back(void **state)
{
	AUTO_BUF value = BUF_INIT, there = BUF_INIT;
	struct server server = {0};
	struct error err = {0};
	struct etcd *etcd;
	bool lost = false;

	server.listener = take_port(server.member);
	assert_int_equal(listen(server.listener, 8), 0);
	assert_int_equal(pthread_create(&server.thread, NULL, serve_and_go, &server), 0);
	etcd = open_members(server.member, NULL, IMPATIENCE_MS);
	assert_int_equal(etcd_get(etcd, "k", &value, &err), -ENOENT);
	buf_addf(&value, "mine");
	assert_int_equal(etcd_replace(etcd, &(struct etcd_replacement){.key = "k", .value = &value}, &there, &lost, &err), -EREMOTEIO);
	assert_true(lost);
	assert_non_null(strstr(server.requests[1], "kv/txn"));
	etcd_close(etcd);
	pthread_join(server.thread, NULL);
	close(server.listener);
}

static void test_answer_that_is_not_understood_may_have_been_yes(void **state)
{
	static const char *const page[] = {"200 <html>", NULL}, *const half[] = {OK "}", NULL};
	static const char *const no[] = {REFUSED("403", "7", "etcdserver: permission denied"), NULL};
	AUTO_BUF there = BUF_INIT;
	bool lost = false;

	assert_int_equal(replace(page, &lost, &there), -EREMOTEIO);
	assert_true(lost);
	assert_int_equal(replace(half, &lost, &there), -EREMOTEIO);
	assert_true(lost);
	assert_int_equal(replace(no, &lost, &there), -EACCES);
	assert_false(lost);
}

static void *serve_without_end(void *arg)
{
	static const char begin[] = "HTTP/1.1 200 Said\r\n\r\n{\"header\":[";
	static char more[1 << 16];
	struct server *server = arg;
	const int fd = accept(server->listener, NULL, NULL);

	memset(more, '[', sizeof(more));
	read_request(fd, server->requests[0]);
	assert_int_equal(send(fd, begin, strlen(begin), MSG_NOSIGNAL), strlen(begin));
	for (ssize_t sent; (sent = send(fd, more, sizeof(more), MSG_NOSIGNAL)) > 0;)
		server->sent += (size_t)sent;
	close(fd);
	return NULL;
}

static void test_answer_without_end_takes_little_memory(void **state)
{
	AUTO_BUF value = BUF_INIT;
	struct server server = {0};
	struct error err = {0};
	struct etcd *etcd;

	server.listener = take_port(server.member);
	assert_int_equal(listen(server.listener, 8), 0);
	assert_int_equal(pthread_create(&server.thread, NULL, serve_without_end, &server), 0);
	etcd = open_members(server.member, NULL, 1000);
	assert_int_equal(etcd_get(etcd, "k", &value, &err), -EREMOTEIO);
	pthread_join(server.thread, NULL);
	assert_true(server.sent < 2 * (size_t)ANSWER_MAX);
	etcd_close(etcd);
	close(server.listener);
}

static void test_busy_member_is_asked_again(void **state)
{
	static const char *const busy[] = {REFUSED("503", "14", "etcdserver: request timed out"), REFUSED("504", "4", "context deadline exceeded"),
	                                   OK ",\"kvs\":[{\"value\":\"eA==\"}]}", NULL};
	AUTO_BUF value = BUF_INIT;
	struct error err = {0};
	struct server server;

	assert_int_equal(get(busy, NULL, &server, &value, &err), 0);
	assert_int_equal(value.len, 1);
}

/* Those before it are dead, or listen and are silent: then the patience of a whole question may be lost with one. */
static void test_next_member_is_asked(void **state)
{
	static const char *const answers[] = {OK "}", OK "}", NULL};

	for (unsigned silent = 0; silent < 2; silent++) {
		AUTO_BUF value = BUF_INIT;
		struct error err = {0};
		char dead[32], members[256];
		int port = take_port(dead), r;
		unsigned answered = 0, in_vain = 0;
		struct server server;
		struct etcd *etcd;

		assert_true(!silent || listen(port, 8) == 0);
		server_start(&server, answers);
		snprintf(members, sizeof(members), "%s,%s,%s,%s,http://%s", dead, dead, dead, dead, server.member);
		etcd = open_members(members, NULL, silent ? IMPATIENCE_MS : PATIENCE_MS);
		for (; answered < 2 && in_vain <= 4 * silent; *(r == -ENOENT ? &answered : &in_vain) += 1)
			r = etcd_get(etcd, "k", &value, &err);
		assert_int_equal(answered, 2);
		etcd_close(etcd);
		server_stop(&server);
		close(port);
	}
}

static void test_nobody_answers(void **state)
{
	AUTO_BUF value = BUF_INIT, there = BUF_INIT;
	struct error err = {0};
	char dead[32];
	int port = take_port(dead);
	struct etcd *etcd = open_members(dead, NULL, IMPATIENCE_MS);
	bool lost = true;

	assert_int_equal(etcd_get(etcd, "k", &value, &err), -EREMOTEIO);
	assert_non_null(strstr(err.text, dead));
	assert_int_equal(etcd_replace(etcd, &(struct etcd_replacement){.key = "k", .value = &value}, &there, &lost, &err), -EREMOTEIO);
	assert_false(lost);
	etcd_close(etcd);
	close(port);
}

static void test_token_that_ended_is_renewed(void **state)
{
	static const char *const answers[] = {TOKEN("first"), TOKEN_OLD, TOKEN("second"), OK ",\"kvs\":[{\"value\":\"eA==\"}]}", NULL};
	AUTO_BUF value = BUF_INIT;
	struct error err = {0};
	struct server server;

	assert_int_equal(get(answers, "who", &server, &value, &err), 0);
	assert_non_null(strstr(server.requests[0], "/v3/auth/authenticate"));
	assert_non_null(strstr(server.requests[1], "Authorization: first"));
	assert_null(strstr(server.requests[2], "Authorization"));
	assert_non_null(strstr(server.requests[3], "Authorization: second"));
	assert_null(strstr(server.requests[3], "secret"));
}

static void test_refusals_say_what_is_wrong(void **state)
{
	static const struct {
		const char *user, *answers[5];
		int result;
		const char *said;
	} cases[] = {
		{NULL, {REFUSED("400", "3", "etcdserver: user name is empty")}, -EACCES, "--etcd-credentials-file"},
		{"who", {REFUSED("400", "3", "etcdserver: authentication failed, invalid user ID or password")}, -EACCES, "no user \"who\""},
		{"who", {TOKEN("t"), REFUSED("403", "7", "etcdserver: permission denied")}, -EACCES, "corpusfs/"},
		{"who", {TOKEN("t"), TOKEN_OLD, TOKEN("t"), TOKEN_OLD}, -EACCES, "\"who\""},
		{"who", {REFUSED("412", "9", "etcdserver: authentication is not enabled")}, -EACCES, "no users"},
		{NULL, {REFUSED("400", "3", "etcdserver: too strange")}, -EREMOTEIO, "too strange"},
		{NULL, {"404 <html>"}, -EREMOTEIO, "no etcd"},
		{NULL, {"200 <html>"}, -EREMOTEIO, "no etcd"},
		{NULL, {OK ",\"kvs\":[{\"value\":\"*\"}]}"}, -EREMOTEIO, "not understood"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_BUF value = BUF_INIT;
		struct error err = {0};
		struct server server;

		assert_int_equal(get(cases[i].answers, cases[i].user, &server, &value, &err), cases[i].result);
		assert_int_equal(err.code, cases[i].result);
		assert_non_null(strstr(err.text, cases[i].said));
		assert_null(strstr(err.text, "secret"));
	}
}

/* Who asks for 15 seconds altogether must not rest for most of them. */
static void test_pauses_grow_for_some_rounds_only(void **state)
{
	uint64_t most[2] = {0};

	for (unsigned i = 0; i < 2000; i++) {
		const uint64_t pauses[2] = {etcd_pause_ms(1), etcd_pause_ms(3 + i % 30)};

		for (size_t j = 0; j < ARRAY_SIZE(most); j++)
			most[j] = MAX(most[j], pauses[j]);
	}
	assert_true(most[0] < 250);
	assert_in_range(most[1], 400, 999);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_etcd_leaves_out_is_empty),
		cmocka_unit_test(test_list_has_what_begins_so),
		cmocka_unit_test(test_member_that_may_be_behind_is_not_believed_that_there_is_none),
		cmocka_unit_test(test_comparison_that_failed_says_what_is_there),
		cmocka_unit_test(test_answer_that_was_lost_is_found_out),
		cmocka_unit_test(test_question_is_not_sent_again_behind_our_back),
		cmocka_unit_test(test_answer_that_is_not_understood_may_have_been_yes),
		cmocka_unit_test(test_answer_without_end_takes_little_memory),
		cmocka_unit_test(test_busy_member_is_asked_again),
		cmocka_unit_test(test_next_member_is_asked),
		cmocka_unit_test(test_nobody_answers),
		cmocka_unit_test(test_token_that_ended_is_renewed),
		cmocka_unit_test(test_refusals_say_what_is_wrong),
		cmocka_unit_test(test_pauses_grow_for_some_rounds_only),
	};

	snprintf(mine_is_there, sizeof(mine_is_there), FAILED, "bWluZQ==");
	snprintf(other_is_there, sizeof(other_is_there), FAILED, "b3RoZXI=");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
