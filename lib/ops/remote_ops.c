/* Remotes: repositories that several machines share. What they are called is known to the shell (fs/cli/remotes.h). */
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"
#include "lib/repository/objects_conditional.h"

#define ASKED 5
#define SKEW_KNOWN 1 /* a server tells whole seconds */

static double seconds_of(struct timespec time)
{
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* How long an answer takes: the least of some, for the first one makes a connection. */
static int measure(struct objects *objects, double *ret_ms, struct error *err)
{
	uint64_t best = UINT64_MAX, size;
	int r = 0;

	for (unsigned i = 0; i < ASKED && r == 0; i++) {
		const uint64_t began = clock_us();

		r = objects->place->size(objects, OBJECT_CONFIG, "", &size);
		best = MIN(best, clock_us() - began);
	}
	*ret_ms = (double)best / 1000;
	return r < 0 ? error_set(err, r, "the repository does not answer: %s", error_text(r)) : 0;
}

/* Seconds that its clock is ahead of ours, 0 where the difference is too small to be told. */
static int compare_clocks(struct objects *objects, double *ret_ahead)
{
	const double before = seconds_of(clock_now());
	struct timespec there;
	int r = objects->place->clock ? objects->place->clock(objects, &there) : -ENODATA;
	const double middle = (before + seconds_of(clock_now())) / 2;

	if (r < 0)
		return r;
	*ret_ahead = seconds_of(there) + 0.5 - middle;
	if (*ret_ahead > -SKEW_KNOWN && *ret_ahead < SKEW_KNOWN)
		*ret_ahead = 0;
	return 0;
}

static bool is_refusal(int code)
{
	return code == -EACCES || code == -EPERM || code == -EROFS;
}

/*
 * remote.test: {password, place?} -> {id, version, latency_ms, ahead: seconds that its clock is ahead, or null: it tells no time, writes: something
 * may be written, conditional: it keeps writers apart}
 */
static int test_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct repository *repository = NULL;
	bool conditional = false, writes = true, has_clock = false;
	double ms = 0, ahead = 0;
	int r = op_repository_open(context, args, &repository, err);

	if (r == 0)
		r = measure(repository->objects, &ms, err);
	if (r == 0) {
		has_clock = compare_clocks(repository->objects, &ahead) == 0;
		r = objects_try_conditional(repository->objects, &conditional);
		writes = !is_refusal(r);
		r = r == 0 || !writes ? 0 : error_set(err, r, "it could not be tried out whether the place keeps writers apart: %s", error_text(r));
	}
	if (r == 0)
		*ret_result = json_pack("{s:s, s:i, s:f, s:o, s:b, s:b}", "id", repository->id, "version", (int)repository->version, "latency_ms", ms,
		                        "ahead", has_clock ? json_real(ahead) : json_null(), "writes", writes, "conditional", conditional);
	repository_close(repository);
	return r;
}

const struct op remote_ops[] = {
	{"remote.test", "whether a repository answers, and what its place can do", OP_OWNER, NULL, test_op},
	{NULL},
};
