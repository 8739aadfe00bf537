/*
 * Reads what it is given as a stream: as it is, frame by frame; and, after a first byte that is the kind of a frame, as the body of one. What is
 * accepted must encode to the same bytes.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/stream/frames_in.h"
#include "tests/fuzz/target.h"
#include "tests/unit/stream_again.h"

static bool never(void *arg, uint64_t position, uint64_t size)
{
	return false;
}

static round_trip *const kinds[] = {
	[STREAM_HEADER] = stream_header_again, [STREAM_OLD] = stream_old_again,     [STREAM_NODE] = stream_node_again,
	[STREAM_NAME] = stream_name_again,     [STREAM_META] = stream_meta_again,   [STREAM_DATA] = stream_data_again,
	[STREAM_SPACE] = stream_space_again,   [STREAM_LEAVE] = stream_leave_again,
};

static void read_body(unsigned kind, const uint8_t *data, size_t len)
{
	AUTO_BUF again = BUF_INIT;

	if (kind >= ARRAY_SIZE(kinds) || !kinds[kind] || kinds[kind](data, len, &again) < 0)
		return;
	if (again.len != len || (len > 0 && memcmp(again.data, data, len) != 0))
		abort();
}

static void read_stream(const uint8_t *data, size_t size)
{
	AUTO_CLOSE int fd = memfd_create("stream", MFD_CLOEXEC);
	struct frames_in frames;
	enum stream_kind kind;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0)
		return;
	frames_in_begin(&frames, fd, never, NULL);
	if (frames_in_magic(&frames) == 0)
		while (frames_in_next(&frames, &kind) == 0)
			read_body(kind, frames.body.data, frames.body.len);
	frames_in_clear(&frames);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy of the exact size lets the sanitizer see a read of one byte too many. */
	AUTO_FREE uint8_t *copy = xmalloc(size);

	if (size == 0)
		return 0;
	memcpy(copy, data, size);
	read_stream(copy, size);
	read_body(copy[0], copy + 1, size - 1);
	return 0;
}
