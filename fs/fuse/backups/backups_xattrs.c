#include "fs/fuse/backups/backups_xattrs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/repository/go_text.h"

#define STATUS "user.corpusfs.status"
#define BRING "user.corpusfs.bring."
#define PIN "user.corpusfs.pin"
#define UNPIN "user.corpusfs.unpin"
#define UNPIN_ALL "user.corpusfs.unpin.all"
#define MISSING "user.corpusfs.pin.missing"
#define PINNED "user.corpusfs.pinned."

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

static void add_text(struct buf *out, const char *key, const char *text)
{
	buf_addf(out, ", \"%s\": ", key);
	go_json_string(out, text);
}

static void add_followed(const struct browse_followed *followed, struct buf *out)
{
	add_number(out, "version", followed->number);
	add_text(out, "version_name", followed->name);
	add_number(out, "newest", followed->newest);
	add_number(out, "newest_asked", (uint64_t)followed->asked);
	if (followed->problem)
		add_text(out, "follow_problem", followed->problem);
}

static void add_status(const struct browse_state *state, struct buf *out)
{
	if (state->followed.follows)
		add_followed(&state->followed, out);
	add_number(out, "fetches", state->fetched.fetches);
	add_number(out, "fetch_failures", state->fetched.failures);
	add_number(out, "sent_again", state->fetched.sent_again);
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
		add_number(out, "pinned_bytes", state->disk.pinned);
		add_number(out, "pinned_missing", state->disk.pinned_missing);
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

static int pinned(struct browse *browse, const char *number, struct buf *ret_value)
{
	struct pins pins = {0};
	char *end, backup[BLOB_ID_TEXT];
	const unsigned long at = strtoul(number, &end, 10);
	int r = -ENODATA;

	browse_pins(browse, &pins);
	if (*number >= '0' && *number <= '9' && *end == '\0' && at < pins.count) {
		const struct pin *pin = &pins.items[at];

		blob_id_text(&pin->backup, backup);
		buf_addf(ret_value, "%llu %llu %llu %s %s", (unsigned long long)pin->since, (unsigned long long)pin->files, (unsigned long long)pin->bytes,
		         backup, pin->path);
		r = 0;
	}
	pins_clear(&pins);
	return r;
}

static bool pins(const char *name)
{
	return strcmp(name, PIN) == 0 || strcmp(name, UNPIN) == 0 || strcmp(name, UNPIN_ALL) == 0 || strcmp(name, MISSING) == 0;
}

static int missing(struct browse *browse, uint64_t id, struct buf *ret_value)
{
	uint64_t bytes;
	const int r = browse_pin_missing(browse, id, &bytes);

	if (r == 0)
		buf_addf(ret_value, "%llu", (unsigned long long)bytes);
	return r;
}

static int pin(struct browse *browse, uint64_t id, const char *name, struct buf *ret_value)
{
	int r;

	if (strcmp(name, MISSING) == 0)
		return missing(browse, id, ret_value);
	if (strcmp(name, PIN) == 0)
		r = browse_pin(browse, id);
	else
		r = strcmp(name, UNPIN) == 0 ? browse_unpin(browse, id) : browse_unpin_all(browse);
	if (r == 0)
		buf_addf(ret_value, "done");
	return r;
}

bool backups_xattr_brings(const char *name)
{
	return strncmp(name, BRING, strlen(BRING)) == 0 || pins(name);
}

int backups_xattr(struct browse *browse, uint64_t id, const char *name, bool is_owner, bool may_wait, struct buf *ret_value)
{
	struct browse_state state;

	if (pins(name) && !is_owner)
		return -EPERM;
	if (pins(name))
		return may_wait ? pin(browse, id, name, ret_value) : -EAGAIN;
	if (strncmp(name, PINNED, strlen(PINNED)) == 0)
		return pinned(browse, name + strlen(PINNED), ret_value);
	if (backups_xattr_brings(name))
		return may_wait ? bring(browse, id, name + strlen(BRING), ret_value) : -EAGAIN;
	if (strcmp(name, STATUS) != 0)
		return -ENODATA;
	state = browse_state(browse);
	add_status(&state, ret_value);
	browse_state_clear(&state);
	return 0;
}
