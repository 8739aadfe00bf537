#include "lib/verify/scrub_state.h"

#include <errno.h>

#include "lib/store/catalog_records.h"

#define STATE_NAME "scrub"

static void add_counts(struct buf *out, const struct scrub_counts *counts)
{
	buf_add_le64(out, counts->chunks);
	buf_add_le64(out, counts->bytes);
	buf_add_le64(out, counts->damaged);
}

static struct scrub_counts read_counts(struct reader *reader)
{
	struct scrub_counts counts;

	counts.chunks = read_le64(reader);
	counts.bytes = read_le64(reader);
	counts.damaged = read_le64(reader);
	return counts;
}

int scrub_state_get(struct store *store, struct scrub_state *ret_state)
{
	struct small_key key = catalog_key_name('J', STATE_NAME);
	AUTO_BUF value = BUF_INIT;
	struct scrub_state state = {0};
	int result = catalog_record_get(store_kv(store), &key, &value);

	if (result < 0 && result != -ENOENT && result != -EBADMSG)
		return result;
	if (result == 0) {
		struct reader reader = reader_over(value.data, value.len);
		const uint8_t version = read_u8(&reader), phase = read_u8(&reader);

		state.next = read_le64(&reader);
		state.begun = (int64_t)read_le64(&reader);
		state.counts = read_counts(&reader);
		state.last_end = (int64_t)read_le64(&reader);
		state.last = read_counts(&reader);
		state.every = read_le64(&reader);
		if (reader.bad || version != FORMAT_VERSION || phase >= SCRUB_PHASES)
			state = (struct scrub_state){0};
		else
			state.phase = (enum scrub_phase)phase;
	}
	*ret_state = state;
	return 0;
}

int scrub_state_put(struct store *store, const struct scrub_state *state)
{
	struct small_key key = catalog_key_name('J', STATE_NAME);
	struct kv_batch *batch = kv_batch_new();
	AUTO_BUF value = BUF_INIT;
	int result;

	buf_add_u8(&value, FORMAT_VERSION);
	buf_add_u8(&value, (uint8_t)state->phase);
	buf_add_le64(&value, state->next);
	buf_add_le64(&value, (uint64_t)state->begun);
	add_counts(&value, &state->counts);
	buf_add_le64(&value, (uint64_t)state->last_end);
	add_counts(&value, &state->last);
	buf_add_le64(&value, state->every);
	catalog_record_put(batch, &key, value.data, value.len);
	result = kv_write(store_kv(store), batch, 0);
	kv_batch_free(batch);
	return result;
}
