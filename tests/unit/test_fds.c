#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/fds.h"

static int setup(void **state)
{
	static int ends[2];

	*state = ends;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int teardown(void **state)
{
	int *ends = *state;

	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	return 0;
}

static void test_descriptors_come_in_their_order_and_are_the_same_files(void **state)
{
	int *ends = *state, pipes[2], got[FDS_MAX];
	size_t count;
	char text[8];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(fds_send(ends[0], "two", 3, pipes, 2, NULL, 0), 3);
	assert_int_equal(fds_receive(ends[1], text, sizeof(text), got, &count), 3);
	assert_memory_equal(text, "two", 3);
	assert_int_equal(count, 2);
	assert_int_equal(fcntl(got[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(got[1], "x", 1), 1);
	assert_int_equal(read(pipes[0], text, 1), 1);
	for (int i = 0; i < 2; i++) {
		close(pipes[i]);
		close(got[i]);
	}
}

static void test_there_may_be_none_and_not_too_many(void **state)
{
	int *ends = *state, got[FDS_MAX], many[FDS_MAX + 1] = {0};
	size_t count;
	char text[8];

	assert_int_equal(fds_send(ends[0], "none", 4, NULL, 0, NULL, 0), 4);
	assert_int_equal(fds_receive(ends[1], text, sizeof(text), got, &count), 4);
	assert_int_equal(count, 0);
	assert_int_equal(fds_send(ends[0], "many", 4, many, FDS_MAX + 1, NULL, 0), -EINVAL);
}

/* One more than is taken fits into the message. */
static void test_those_that_are_too_many_are_closed(void **state)
{
	int *ends = *state, pipes[2], got[FDS_MAX];
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE((FDS_MAX + 1) * sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN((FDS_MAX + 1) * sizeof(int))}};
	struct iovec piece = {.iov_base = (char[]){"x"}, .iov_len = 1};
	const struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	size_t count;
	char text[8];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	for (size_t i = 0; i < FDS_MAX + 1; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &pipes[1], sizeof(int));
	assert_int_equal(sendmsg(ends[0], &message, 0), 1);
	close(pipes[1]);
	assert_int_equal(fds_receive(ends[1], text, sizeof(text), got, &count), 1);
	assert_int_equal(count, FDS_MAX);
	for (size_t i = 0; i < count; i++)
		close(got[i]);
	assert_int_equal(read(pipes[0], text, 1), 0); /* nobody has it open */
	close(pipes[0]);
}

static void test_an_end_that_has_gone_is_told(void **state)
{
	int *ends = *state, got[FDS_MAX];
	size_t count;
	char text[8];

	close(ends[0]);
	ends[0] = -1;
	assert_int_equal(fds_receive(ends[1], text, sizeof(text), got, &count), 0);
	assert_int_equal(fds_send(ends[1], "x", 1, NULL, 0, NULL, 0), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_descriptors_come_in_their_order_and_are_the_same_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_there_may_be_none_and_not_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_those_that_are_too_many_are_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_end_that_has_gone_is_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
