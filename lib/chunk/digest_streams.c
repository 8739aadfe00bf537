#include "lib/chunk/digest_streams.h"

#include <string.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"

struct part {
	const uint8_t *data;
	size_t len;
};

/* Whole pieces can be hashed before the message ends; what is less is held until more comes. */
struct stream {
	uint8_t *out; /* NULL: it has come there */
	bool has_ended;
	size_t part, end; /* its parts that are not hashed: [part, end) of all */
	struct digest_begun begun;
	uint8_t held[DIGEST_PIECE];
	size_t held_len;
	struct digest_job job;
};

struct digest_streams {
	struct digest *digest; /* in turn: of the one that is under way */
	bool in_turn; /* one after another */
	ARRAY(struct stream) streams; /* the last one may be under way */
	ARRAY(struct part) parts;
	bool is_under_way;
	ARRAY(struct digest_job *) jobs;
};

struct digest_streams *digest_streams_new(void)
{
	struct digest_streams *streams = xcalloc(1, sizeof(*streams));

	streams->digest = digest_new();
	streams->in_turn = !digest_takes_pieces(streams->digest);
	return streams;
}

void digest_streams_use_one(struct digest_streams *streams)
{
	streams->in_turn = true;
}

void digest_streams_free(struct digest_streams *streams)
{
	if (!streams)
		return;
	digest_free(streams->digest);
	array_clear(&streams->streams);
	array_clear(&streams->parts);
	array_clear(&streams->jobs);
	free(streams);
}

void digest_streams_begin(struct digest_streams *streams, uint8_t out[DIGEST_LEN])
{
	array_add(&streams->streams, (struct stream){.out = out, .part = streams->parts.count, .end = streams->parts.count});
	streams->is_under_way = true;
}

void digest_streams_add(struct digest_streams *streams, const void *data, size_t len)
{
	if (len == 0)
		return;
	array_add(&streams->parts, (struct part){data, len});
	array_last(&streams->streams)->end++;
}

void digest_streams_end(struct digest_streams *streams)
{
	array_last(&streams->streams)->has_ended = true;
	streams->is_under_way = false;
}

/* --- one message after another --- */

static void run_in_turn(struct digest_streams *streams)
{
	for (size_t i = 0; i < streams->streams.count; i++) {
		struct stream *stream = &streams->streams.items[i];

		for (; stream->part < stream->end; stream->part++)
			digest_update(streams->digest, streams->parts.items[stream->part].data, streams->parts.items[stream->part].len);
		if (stream->has_ended && stream->out)
			digest_final(streams->digest, steal_ptr(stream->out));
	}
}

void digest_streams_drop(struct digest_streams *streams)
{
	uint8_t unused[DIGEST_LEN];

	if (!streams->is_under_way)
		return;
	if (streams->in_turn) {
		run_in_turn(streams); /* of the others, so that its own bytes are the last ones of the context */
		digest_final(streams->digest, unused);
	}
	streams->parts.count = array_last(&streams->streams)->part;
	streams->streams.count--;
	streams->is_under_way = false;
}

/* --- side by side --- */

/* Takes from its parts, until a piece is held or nothing is left. */
static void hold(struct stream *stream, struct part *parts)
{
	while (stream->held_len < DIGEST_PIECE && stream->part < stream->end) {
		struct part *part = &parts[stream->part];
		const size_t len = MIN(part->len, DIGEST_PIECE - stream->held_len);

		memcpy(stream->held + stream->held_len, part->data, len);
		stream->held_len += len;
		part->data += len;
		part->len -= len;
		if (part->len == 0)
			stream->part++;
	}
}

/* What comes next of the message, in one place. False: nothing can be hashed now. */
static bool next_job(struct stream *stream, struct part *parts)
{
	struct part *part = stream->part < stream->end ? &parts[stream->part] : NULL;
	bool is_last;

	if (!stream->out)
		return false;
	stream->job = (struct digest_job){.begun = &stream->begun};
	if (part && stream->held_len == 0 && part->len >= DIGEST_PIECE) {
		is_last = stream->has_ended && stream->part + 1 == stream->end;
		stream->job.data = part->data;
		stream->job.len = is_last ? part->len : part->len - part->len % DIGEST_PIECE;
		part->data += stream->job.len;
		part->len -= stream->job.len;
		if (part->len == 0)
			stream->part++;
	} else {
		hold(stream, parts);
		is_last = stream->has_ended && stream->part == stream->end;
		if (stream->held_len < DIGEST_PIECE && !is_last)
			return false;
		stream->job.data = stream->held;
		stream->job.len = stream->held_len;
		stream->held_len = 0;
	}
	if (is_last) {
		stream->job.sha256 = stream->out;
		stream->out = NULL;
	}
	return true;
}

static void run_side_by_side(struct digest_streams *streams)
{
	do {
		array_reset(&streams->jobs);
		for (size_t i = 0; i < streams->streams.count; i++)
			if (next_job(&streams->streams.items[i], streams->parts.items))
				array_add(&streams->jobs, &streams->streams.items[i].job);
		digest_many(streams->digest, streams->jobs.items, streams->jobs.count);
	} while (streams->jobs.count > 0);
}

void digest_streams_run(struct digest_streams *streams)
{
	if (streams->in_turn)
		run_in_turn(streams);
	else
		run_side_by_side(streams);
	if (streams->is_under_way) {
		streams->streams.items[0] = *array_last(&streams->streams);
		streams->streams.items[0].part = streams->streams.items[0].end = 0;
	}
	streams->streams.count = streams->is_under_way;
	array_reset(&streams->parts);
}
