/* How long an answer is waited for, from a server that sends it piece by piece. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/repository/http.h"
#include "tests/unit/http_server.h"

#define PIECES_APART_US 100000
#define FOR_EVER 1000000

struct pieces {
	size_t piece, pieces; /* bytes of each */
};

static void answer(void *arg, int fd, const char *path)
{
	const struct pieces *pieces = arg;
	AUTO_FREE char *piece = xcalloc(1, pieces->piece);
	char head[128];

	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", pieces->piece * pieces->pieces);
	if (send(fd, head, strlen(head), MSG_NOSIGNAL) < 0)
		return;
	for (size_t i = 0; i < pieces->pieces && send(fd, piece, pieces->piece, MSG_NOSIGNAL) > 0; i++)
		clock_pause_us(PIECES_APART_US);
}

/* The result, and how much came. A request that has no end runs into the time that a test may take. */
static int ask(struct pieces pieces, uint64_t limit_ms, uint64_t patience_ms, size_t *ret_len)
{
	struct http_server server = {.answer = answer, .arg = &pieces};
	_Atomic uint64_t net_bytes = 0;
	struct http *http = http_new(&(struct http_options){.limit_ms = limit_ms, .net_bytes = &net_bytes});
	struct http_answer got;
	int r;

	http_server_start(&server);
	r = http_do(http, &(struct http_request){.method = "GET", .url = server.url, .patience_ms = patience_ms}, &got);
	*ret_len = got.body.len;
	assert_int_equal(atomic_load(&net_bytes), got.body.len);
	buf_clear(&got.body);
	http_free(http);
	http_server_stop(&server);
	return r;
}

static void test_answer_that_only_trickles_is_given_up(void **state)
{
	size_t len;

	assert_int_equal(ask((struct pieces){.piece = 1, .pieces = FOR_EVER}, 0, 1000, &len), -ETIMEDOUT);
	assert_true(len < HTTP_SLOW);
}

static void test_answer_that_comes_may_take_longer_than_patience(void **state)
{
	size_t len;

	assert_int_equal(ask((struct pieces){.piece = 4096, .pieces = 20}, 0, 1000, &len), 0);
	assert_int_equal(len, 20 * 4096);
}

static void test_limit_ends_an_answer_that_comes_as_well(void **state)
{
	size_t len;

	assert_int_equal(ask((struct pieces){.piece = 4096, .pieces = FOR_EVER}, 1000, 0, &len), -ETIMEDOUT);
	assert_true(len > 0);
	/* the longer patience of a request does not count then */
	assert_int_equal(ask((struct pieces){.piece = 4096, .pieces = FOR_EVER}, 1000, 1000000, &len), -ETIMEDOUT);
}

/* In the place of the C library's: what the program asks of its sockets. */
static atomic_uint quick_acknowledgements;

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if (level == IPPROTO_TCP && name == TCP_QUICKACK && *(const int *)value == 1)
		atomic_fetch_add(&quick_acknowledgements, 1);
	return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}

/* A server may wait for it before it sends the rest. */
static void test_header_is_acknowledged_at_once(void **state)
{
	size_t len;

	atomic_store(&quick_acknowledgements, 0);
	assert_int_equal(ask((struct pieces){.piece = 1, .pieces = 1}, 0, 1000, &len), 0);
	assert_int_equal(len, 1);
	assert_int_equal(atomic_load(&quick_acknowledgements), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer_that_only_trickles_is_given_up),
		cmocka_unit_test(test_answer_that_comes_may_take_longer_than_patience),
		cmocka_unit_test(test_header_is_acknowledged_at_once),
		cmocka_unit_test(test_limit_ends_an_answer_that_comes_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
