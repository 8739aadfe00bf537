/* Remotes: repositories that several machines share. What they are called is known to the shell (fs/cli/remotes.h). */
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"
#include "lib/repository/objects_conditional.h"
#include "lib/repository/objects_etcd.h"

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

/* What the place can do by itself. */
static int test_place(struct objects *objects, bool *ret_writes, bool *ret_conditional, struct error *err)
{
	int r = objects_try_conditional(objects, ret_conditional);

	*ret_writes = !is_refusal(r);
	return r == 0 || is_refusal(r) ? 0 : error_set(err, r, "it could not be tried out whether the place keeps writers apart: %s", error_text(r));
}

/* Etcd, where heads are in it: {members, answering, latency_ms, writes}. */
static int test_etcd(struct objects *objects, json_t **ret_etcd, struct error *err)
{
	struct etcd_state state;
	int r = objects_etcd_look(objects, &state, err), writes;

	if (r < 0)
		return r;
	writes = objects->place->keeps_apart(objects);
	if (writes < 0 && !is_refusal(writes))
		return objects_failed(objects, writes, "nothing can be published", err);
	*ret_etcd = json_pack("{s:i, s:i, s:f, s:b}", "members", (int)state.members, "answering", (int)state.answering, "latency_ms", state.latency_ms, "writes",
	                      writes == 0);
	return 0;
}

/*
 * remote.test: {password, place?} -> {id, version, latency_ms, ahead: seconds that its clock is ahead, or null: it tells no time, writes: something
 * may be written, conditional: it keeps writers apart by itself, leases: a writer's lease can be had, etcd?: {members, answering, latency_ms, writes:
 * heads may be put}}
 */
static int test_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct repository *repository = NULL;
	struct objects *place = NULL;
	json_t *etcd = NULL;
	bool conditional = false, writes = true, has_clock = false;
	double ms = 0, ahead = 0;
	int r = op_repository_open(context, args, &repository, err);

	if (r == 0)
		r = measure(repository->objects, &ms, err);
	if (r == 0) {
		has_clock = compare_clocks(repository->objects, &ahead) == 0;
		place = objects_etcd_place(repository->objects);
		r = test_place(place ? place : repository->objects, &writes, &conditional, err);
	}
	if (r == 0 && place)
		r = test_etcd(repository->objects, &etcd, err);
	if (r == 0)
		*ret_result = json_pack("{s:s, s:i, s:f, s:o, s:b, s:b, s:b, s:o*}", "id", repository->id, "version", (int)repository->version, "latency_ms", ms,
		                        "ahead", has_clock ? json_real(ahead) : json_null(), "writes", writes, "conditional", conditional, "leases",
		                        writes && json_is_true(json_object_get(etcd, "writes")), "etcd", etcd);
	repository_close(repository);
	return r;
}

const struct op remote_ops[] = {
	{"remote.test", "whether a repository answers, and what its place can do", OP_OWNER, NULL, test_op},
	{NULL},
};
