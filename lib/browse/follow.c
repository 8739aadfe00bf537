#include "lib/browse/follow.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "lib/backup/heads.h"
#include "lib/base/clock.h"
#include "lib/repository/objects_etcd.h"

#define ASK_ETCD_MS 2000
#define ASK_MS 5000
#define LIMIT_MS 2000 /* of one request */

struct follow {
	struct follow_options options;
	struct repository *repository; /* by a way of its own; NULL: it could not be opened yet */
	uint64_t number;               /* of the version that is looked at */
	char *name;
	bool told; /* that something is wrong */
	pthread_t thread;
	pthread_mutex_t lock; /* guards `ends` */
	pthread_cond_t called;
	bool ends;
};

/* False: it ends. */
static bool wait_turn(struct follow *follow, uint64_t ms)
{
	const struct timespec until = clock_after_ms(ms);
	bool goes_on;

	pthread_mutex_lock(&follow->lock);
	while (!follow->ends && pthread_cond_clockwait(&follow->called, &follow->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	goes_on = !follow->ends;
	pthread_mutex_unlock(&follow->lock);
	return goes_on;
}

static int open_repository(struct follow *follow, struct error *err)
{
	const struct browsing *browsing = follow->options.browsing;
	struct objects *objects;
	int r;

	if (follow->repository)
		return 0;
	r = browsing_open_place(browsing, LIMIT_MS, &objects, err);
	if (r == 0)
		follow->repository = browse_repository_by(browsing->browse, objects);
	return r;
}

/* Whoever mounts later while the place is away shows this version, if there are copies of it. */
static void keep_copy(struct follow *follow, const struct head *head)
{
	AUTO_BUF ignored = BUF_INIT;

	if (follow->options.browsing->with_copies)
		(void)!objects_get_whole(follow->options.browsing->with_copies, OBJECT_HEAD, head->object, HEAD_MAX, &ignored);
}

static int move(struct follow *follow, const struct head *head, struct error *err)
{
	struct object_names index_files = {0};
	struct browse_moving moving = {.backup = head->backup, .index_files = &index_files, .drop = follow->options.drop, .arg = follow->options.arg};
	int r = repository_list(follow->repository, OBJECT_INDEX, &index_files, err);

	if (r == 0)
		r = browse_move(follow->options.browsing->browse, &moving, err);
	array_clear(&index_files);
	if (r < 0)
		return r;
	follow->number = head->number;
	free(follow->name);
	follow->name = xstrdup(head->name);
	keep_copy(follow, head);
	follow->options.moved(follow->options.arg, head->number, head->name);
	return 0;
}

/* What is wrong is told once, until all is well again; why, by the state. */
static void tell(struct follow *follow, const char *problem)
{
	const struct browsing_options *options = &follow->options.browsing->options;
	AUTO_FREE char *text = NULL;

	if (problem && !follow->told) {
		text = xasprintf("what=\"version %llu stays, and no newer one is shown: %s\"", (unsigned long long)follow->number, problem);
		options->problem(options->arg, text);
	}
	follow->told = problem;
}

static void look(struct follow *follow)
{
	const struct browsing *browsing = follow->options.browsing;
	struct browse_state before = browse_state(browsing->browse);
	struct browse_followed now = {.follows = true, .newest = before.followed.newest, .asked = before.followed.asked};
	struct error err = {0};
	struct head head = {0};
	int r = open_repository(follow, &err);

	if (r == 0)
		r = head_newer(follow->repository, browsing->options.backup, follow->number, &head, &err);
	if (r >= 0) {
		now.asked = time(NULL);
		now.newest = r == 1 ? head.number : follow->number;
	}
	if (r == 1)
		r = move(follow, &head, &err);
	now.number = follow->number;
	now.name = xstrdup(follow->name);
	now.problem = r < 0 ? xstrdup(err.text) : NULL;
	tell(follow, now.problem);
	browse_note(browsing->browse, &now);
	browse_state_clear(&before);
	head_clear(&head);
}

static void *run(void *arg)
{
	struct follow *follow = arg;
	uint64_t ms = clock_us() % ASK_ETCD_MS; /* not all machines ask at the same moment */

	while (wait_turn(follow, ms)) {
		look(follow);
		ms = follow->repository && objects_etcd_place(follow->repository->objects) ? ASK_ETCD_MS : ASK_MS;
	}
	return NULL;
}

int follow_start(const struct follow_options *options, struct follow **ret_follow, struct error *err)
{
	struct follow *follow = xcalloc(1, sizeof(*follow));
	struct browse_state state = browse_state(options->browsing->browse);
	int r;

	follow->options = *options;
	follow->number = state.followed.number;
	follow->name = steal_ptr(state.followed.name);
	browse_state_clear(&state);
	pthread_mutex_init(&follow->lock, NULL);
	pthread_cond_init(&follow->called, NULL);
	r = -pthread_create(&follow->thread, NULL, run, follow);
	if (r == 0)
		*ret_follow = follow;
	else {
		free(follow->name);
		free(follow);
	}
	return r < 0 ? error_set(err, r, "no thread could be started: %s", strerror(-r)) : 0;
}

void follow_end(struct follow *follow)
{
	if (!follow)
		return;
	pthread_mutex_lock(&follow->lock);
	follow->ends = true;
	pthread_cond_signal(&follow->called);
	pthread_mutex_unlock(&follow->lock);
	pthread_join(follow->thread, NULL);
	repository_close(follow->repository);
	pthread_cond_destroy(&follow->called);
	pthread_mutex_destroy(&follow->lock);
	free(follow->name);
	free(follow);
}
