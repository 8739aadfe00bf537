#include "fs/fuse/backups/backups_xattrs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STATUS "user.corpusfs.status"
#define BRING "user.corpusfs.bring."

/* How long, in milliseconds, so many of a hundred took at most; to a factor of two. */
static double time_of(const struct blob_source_counts *counts, unsigned percent)
{
	uint64_t seen = 0;
	size_t i = 0;

	while (i < BLOB_SOURCE_TIMES - 1 && (seen += counts->by_time[i]) * 100 < counts->fetches * percent)
		i++;
	return counts->fetches == 0 ? 0 : (double)(1ULL << i) / 1000;
}

static void add_number(struct buf *out, const char *key, uint64_t number)
{
	buf_addf(out, "%s\"%s\": %llu", out->len == 0 ? "{" : ", ", key, (unsigned long long)number);
}

static void add_time(struct buf *out, const struct blob_source_counts *counts, unsigned percent)
{
	buf_addf(out, ", \"fetch_ms_%u\": %.3f", percent, time_of(counts, percent));
}

static void add_status(const struct browse_state *state, struct buf *out)
{
	add_number(out, "fetches", state->fetched.fetches);
	add_number(out, "fetch_failures", state->fetched.failures);
	add_number(out, "fetched_blobs", state->fetched.blobs);
	add_number(out, "fetched_bytes", state->fetched.bytes);
	add_time(out, &state->fetched, 50);
	add_time(out, &state->fetched, 90);
	add_time(out, &state->fetched, 99);
	add_number(out, "read_bytes", state->read_bytes);
	add_number(out, "memory_bytes", state->memory_bytes);
	if (state->has_disk) {
		add_number(out, "cache_hits", state->disk.hits);
		add_number(out, "cache_hit_bytes", state->disk.hit_bytes);
		add_number(out, "cache_bytes", state->disk.bytes);
		add_number(out, "cache_limit", state->disk.limit);
		add_number(out, "cache_blobs", state->disk.blobs);
		add_number(out, "cache_evicted", state->disk.evicted);
		add_number(out, "cache_damaged", state->disk.damaged);
		buf_addf(out, ", \"cache_stopped\": %s", state->disk.failed ? "true" : "false");
	}
	buf_addf(out, "}");
}

static int bring(struct browse *browse, uint64_t id, const char *numbers, struct buf *ret_value)
{
	struct browse_step step = {.id = id};
	struct browse_brought brought;
	unsigned long long position, offset;
	char end;
	int r;

	if (sscanf(numbers, "%llu.%llu%c", &position, &offset, &end) != 2)
		return -EINVAL;
	step.position = position;
	step.offset = offset;
	r = browse_bring(browse, &step, &brought);
	if (r < 0)
		return r;
	if (step.at_end)
		buf_addf(ret_value, "end");
	else
		buf_addf(ret_value, "%llu.%llu", (unsigned long long)step.position, (unsigned long long)step.offset);
	buf_addf(ret_value, " %llu %llu %llu", (unsigned long long)brought.files, (unsigned long long)brought.bytes, (unsigned long long)brought.failed);
	return 0;
}

bool backups_xattr_brings(const char *name)
{
	return strncmp(name, BRING, strlen(BRING)) == 0;
}

int backups_xattr(struct browse *browse, uint64_t id, const char *name, bool may_wait, struct buf *ret_value)
{
	struct browse_state state;

	if (backups_xattr_brings(name))
		return may_wait ? bring(browse, id, name + strlen(BRING), ret_value) : -EAGAIN;
	if (strcmp(name, STATUS) != 0)
		return -ENODATA;
	state = browse_state(browse);
	add_status(&state, ret_value);
	return 0;
}
