/* Sends what it is given to the control socket's reader, cut into pieces; errors are read as a client reads them, and answered. */
#include <string.h>
#include <sys/socket.h>

#include "fs/daemon/control/message.h"
#include "tests/fuzz/target.h"

#define MOST (64U << 10) /* goes into a socket's buffer */

static void look(const json_t *message)
{
	struct error err = {0};

	if (message_to_error(message, &err) < 0)
		json_decref(message_from_error(&err));
	char *text = json_dumps(message, JSON_COMPACT);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message_reader reader = {.limit = 4096, .takes_descriptors = true, .passed = -1};
	json_t *message;
	int pair[2];

	if (size > MOST || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	reader.fd = pair[0];
	if (size > 0 && send(pair[1], data, size, MSG_DONTWAIT) < 0)
		size = 0;
	close(pair[1]);
	while (message_receive(&reader, &message) > 0) {
		look(message);
		json_decref(message);
	}
	message_reader_clear(&reader);
	close(pair[0]);
	return 0;
}
