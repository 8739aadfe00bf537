#include "lib/stream/frames_in.h"

#include <errno.h>
#include <string.h>

void frames_in_begin(struct frames_in *frames, int fd, stream_stop_fn stopped, void *arg)
{
	*frames = (struct frames_in){.in = stream_in_new(fd, stopped, arg), .seed = STREAM_SEED};
}

void frames_in_clear(struct frames_in *frames)
{
	stream_in_free(frames->in);
	buf_clear(&frames->body);
	*frames = (struct frames_in){0};
}

bool frames_in_has_more(struct frames_in *frames)
{
	return stream_in_has_more(frames->in);
}

int frames_in_bad(struct frames_in *frames)
{
	frames->is_damaged = true;
	return -EBADMSG;
}

/* Adds to the buffer as the bytes come: what only claims to be long takes no memory. */
static int read_bytes_to(struct frames_in *frames, struct buf *out, size_t len)
{
	while (len > 0) {
		const uint8_t *data;
		size_t there;
		int r = stream_in_next(frames->in, &data, &there);

		if (r <= 0)
			return r < 0 ? r : -ENODATA;
		there = MIN(there, len);
		buf_add(out, data, there);
		stream_in_take(frames->in, there);
		len -= there;
	}
	return 0;
}

int frames_in_magic(struct frames_in *frames)
{
	AUTO_BUF magic = BUF_INIT;
	int r = read_bytes_to(frames, &magic, STREAM_MAGIC_LEN);

	if (r == -ENODATA && magic.len > 0)
		return frames_in_bad(frames);
	return r == 0 && memcmp(magic.data, STREAM_MAGIC, STREAM_MAGIC_LEN) != 0 ? frames_in_bad(frames) : r;
}

int frames_in_next(struct frames_in *frames, enum stream_kind *ret_kind)
{
	AUTO_BUF header = BUF_INIT;
	AUTO_BUF tail = BUF_INIT;
	uint32_t len = 0;
	int r = read_bytes_to(frames, &header, STREAM_FRAME_HEADER);

	buf_reset(&frames->body);
	if (r == 0)
		r = stream_frame_decode(header.data, ret_kind, &len);
	if (r == 0)
		r = read_bytes_to(frames, &frames->body, len);
	if (r == 0)
		r = read_bytes_to(frames, &tail, STREAM_FRAME_TAIL);
	if (r < 0)
		return r == -EBADMSG ? frames_in_bad(frames) : r;
	const struct stream_piece pieces[] = {{header.data, header.len}, {frames->body.data, frames->body.len}};
	const uint64_t checksum = stream_checksum(frames->seed, pieces, 2);
	struct reader reader = reader_over(tail.data, tail.len);

	if (read_le64(&reader) != checksum)
		return frames_in_bad(frames);
	frames->seed = checksum;
	frames->frames++;
	return 0;
}
