#include "lib/stream/frames_out.h"

#include <string.h>

int frames_out_begin(struct frames_out *frames, int fd, bool (*stopped)(void *arg), void *arg)
{
	*frames = (struct frames_out){.out = stream_out_new(fd, stopped, arg), .seed = STREAM_SEED};
	return stream_out_put(frames->out, STREAM_MAGIC, STREAM_MAGIC_LEN);
}

void frames_out_clear(struct frames_out *frames)
{
	stream_out_free(frames->out);
	buf_clear(&frames->body);
	*frames = (struct frames_out){0};
}

int frames_out_put(struct frames_out *frames, enum stream_kind kind, const void *tail, size_t tail_len)
{
	uint8_t header[STREAM_FRAME_HEADER];
	AUTO_BUF checksum = BUF_INIT;
	struct stream_piece pieces[] = {{header, sizeof(header)}, {frames->body.data, frames->body.len}, {tail, tail_len}};
	int r = 0;

	stream_frame_encode(kind, (uint32_t)(frames->body.len + tail_len), header);
	frames->seed = stream_checksum(frames->seed, pieces, 3);
	frames->frames++;
	for (size_t i = 0; i < 3 && r == 0; i++)
		if (pieces[i].len > 0)
			r = stream_out_put(frames->out, pieces[i].data, pieces[i].len);
	buf_add_le64(&checksum, frames->seed);
	if (r == 0)
		r = stream_out_put(frames->out, checksum.data, checksum.len);
	buf_reset(&frames->body);
	return r;
}

int frames_out_end(struct frames_out *frames)
{
	int r;

	buf_reset(&frames->body);
	buf_add_le64(&frames->body, frames->frames);
	r = frames_out_put(frames, STREAM_END, NULL, 0);
	return r < 0 ? r : stream_out_flush(frames->out);
}
