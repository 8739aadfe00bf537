/* How long an answer is waited for, from a server that sends it piece by piece. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/repository/http.h"

#define PIECES_APART_US 100000
#define FOR_EVER 1000000

struct server {
	size_t piece, pieces; /* bytes of each */
	int listener;
	char url[64];
	pthread_t thread;
};

static bool read_request(int fd)
{
	char text[4096] = "";
	size_t len = 0;

	while (!strstr(text, "\r\n\r\n")) {
		const ssize_t got = recv(fd, text + len, sizeof(text) - 1 - len, 0);

		if (got <= 0)
			return false;
		len += (size_t)got;
	}
	return true;
}

static void answer(const struct server *server, int fd)
{
	AUTO_FREE char *piece = xcalloc(1, server->piece);
	char head[128];

	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", server->piece * server->pieces);
	if (send(fd, head, strlen(head), MSG_NOSIGNAL) < 0)
		return;
	for (size_t i = 0; i < server->pieces && send(fd, piece, server->piece, MSG_NOSIGNAL) > 0; i++)
		clock_pause_us(PIECES_APART_US);
}

static void *serve(void *arg)
{
	const struct server *server = arg;

	for (int fd; (fd = accept(server->listener, NULL, NULL)) >= 0; close(fd))
		if (read_request(fd))
			answer(server, fd);
	return NULL;
}

static void server_start(struct server *server)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(server->listener, 8), 0);
	assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &len), 0);
	snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u/", ntohs(address.sin_port));
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct server *server)
{
	shutdown(server->listener, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->listener);
}

/* The result, and how much came. A request that has no end runs into the time that a test may take. */
static int ask(struct server server, uint64_t limit_ms, uint64_t patience_ms, size_t *ret_len)
{
	_Atomic uint64_t net_bytes = 0;
	struct http *http = http_new(&(struct http_options){.limit_ms = limit_ms, .net_bytes = &net_bytes});
	struct http_answer got;
	int r;

	server_start(&server);
	r = http_do(http, &(struct http_request){.method = "GET", .url = server.url, .patience_ms = patience_ms}, &got);
	*ret_len = got.body.len;
	assert_int_equal(atomic_load(&net_bytes), got.body.len);
	buf_clear(&got.body);
	http_free(http);
	server_stop(&server);
	return r;
}

static void test_answer_that_only_trickles_is_given_up(void **state)
{
	size_t len;

	assert_int_equal(ask((struct server){.piece = 1, .pieces = FOR_EVER}, 0, 1000, &len), -ETIMEDOUT);
	assert_true(len < HTTP_SLOW);
}

static void test_answer_that_comes_may_take_longer_than_patience(void **state)
{
	size_t len;

	assert_int_equal(ask((struct server){.piece = 4096, .pieces = 20}, 0, 1000, &len), 0);
	assert_int_equal(len, 20 * 4096);
}

static void test_limit_ends_an_answer_that_comes_as_well(void **state)
{
	size_t len;

	assert_int_equal(ask((struct server){.piece = 4096, .pieces = FOR_EVER}, 1000, 0, &len), -ETIMEDOUT);
	assert_true(len > 0);
	/* the longer patience of a request does not count then */
	assert_int_equal(ask((struct server){.piece = 4096, .pieces = FOR_EVER}, 1000, 1000000, &len), -ETIMEDOUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer_that_only_trickles_is_given_up),
		cmocka_unit_test(test_answer_that_comes_may_take_longer_than_patience),
		cmocka_unit_test(test_limit_ends_an_answer_that_comes_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
