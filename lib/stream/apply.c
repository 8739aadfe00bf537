#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/stream/applying.h"

/* As often as this a stream can go on that its receiver did not survive. */
#define SAVE_STEPS 20000
#define SAVE_BYTES (64ULL << 20)

/* --- where it can go on --- */

/* Takes the place of the one before. */
int applying_save(struct applying *applying)
{
	static const char *const names[] = {"checkpoint-a", "checkpoint-b"};
	char hidden[NAME_LEN_MAX + 1], token[STREAM_TOKEN_MAX];
	const struct snapshot_name now = {hidden, names[applying->saves % 2]};
	int r = applying_settle(applying);

	if (r == 0)
		r = receiving_name(applying->options->dataset, hidden, applying->err);
	if (r < 0)
		return r;
	position_to_token(&applying->position, token);
	AUTO_FREE char *note = xasprintf("%s %" PRIu64 " %" PRIu64 " %d", token, applying->open_label, applying->open_size, applying->is_complete);
	struct snapshot_info old = {0};
	if (snapshot_get(applying->store, hidden, now.name, &old) == 0)
		r = snapshot_destroy(applying->store, hidden, now.name, applying->err);
	snapshot_info_clear(&old);
	if (r == 0)
		r = snapshot_create(applying->store, &now, 1, note, SNAPSHOT_CHECKPOINT, applying->err);
	if (r == 0)
		r = fault_point("receive-saved");
	if (r < 0)
		return r;
	applying->saves++;
	applying->saved_step = applying->position.step;
	applying->saved_bytes = applying->result->bytes;
	return 0;
}

static int save_if_due(struct applying *applying)
{
	return applying->position.step - applying->saved_step >= SAVE_STEPS || applying->result->bytes - applying->saved_bytes >= SAVE_BYTES
	               ? applying_save(applying)
	               : 0;
}

/* --- frames --- */

static int apply_entry(struct applying *applying, enum stream_kind kind, const struct buf *body)
{
	struct stream_entry entry;
	int r = stream_entry_decode(kind, body->data, body->len, &entry);

	if (r < 0)
		return applying_bad(applying, "a frame of kind %u makes no sense", (unsigned)kind);
	if (entry.directory == STREAM_ROOT && strcmp(entry.name, STAGING) == 0)
		return applying_bad(applying, "\"%s\" cannot be in a dataset", STAGING);
	if (kind != STREAM_LEAVE && applying->open_label)
		return applying_bad(applying, "a file does not end");
	switch (kind) {
	case STREAM_OLD: r = applying_old(applying, &entry); break;
	case STREAM_NODE: r = applying_node(applying, &entry); break;
	case STREAM_NAME: r = applying_name(applying, &entry); break;
	case STREAM_META: r = applying_meta(applying, &entry); break;
	default: r = applying->open_label ? applying_leave(applying, &entry) : applying_left_directory(applying, &entry); break;
	}
	if (r < 0)
		return r;
	applying->position.step++;
	applying->position.offset = 0;
	return 0;
}

static int apply_data(struct applying *applying, const struct buf *body)
{
	struct stream_data data;
	int r = stream_data_decode(body->data, body->len, &data);

	if (r < 0)
		return applying_bad(applying, "a frame with content makes no sense");
	r = applying_data(applying, &data);
	if (r == 0)
		applying->position.offset = data.offset + data.plain_len;
	return r;
}

static int apply_space(struct applying *applying, const struct buf *body)
{
	struct stream_space space;
	int r = stream_space_decode(body->data, body->len, &space);

	if (r < 0)
		return applying_bad(applying, "a frame of a hole makes no sense");
	r = applying_space(applying, &space);
	if (r == 0)
		applying->position.offset = space.offset + space.length;
	return r;
}

static int check_end(struct applying *applying, const struct frames_in *frames)
{
	struct reader reader = reader_over(frames->body.data, frames->body.len);

	if (read_le64(&reader) != frames->frames - 1 || reader.bad || reader.left > 0 || !applying->is_complete)
		return applying_bad(applying, "it ends too early");
	return applying_settle(applying);
}

int applying_frames(struct applying *applying, struct frames_in *frames)
{
	enum stream_kind kind = STREAM_HEADER;
	int r = 0;

	while (r == 0) {
		applying->is_between = true;
		r = frames_in_next(frames, &kind);
		applying->is_between = r < 0;
		if (r == 0)
			r = fault_point("receive-frame");
		if (r == 0 && applying->is_complete && kind != STREAM_END)
			return applying_bad(applying, "something comes behind its end");
		if (r < 0)
			break;
		applying->result->frames++;
		switch (kind) {
		case STREAM_HEADER: r = applying_bad(applying, "it begins twice"); break;
		case STREAM_DATA: r = apply_data(applying, &frames->body); break;
		case STREAM_SPACE: r = apply_space(applying, &frames->body); break;
		case STREAM_END: return check_end(applying, frames);
		default: r = apply_entry(applying, kind, &frames->body); break;
		}
		if (r == 0)
			r = save_if_due(applying);
	}
	return r;
}
