#include "lib/repository/locks.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/process_mark.h"
#include "lib/repository/go_text.h"
#include "lib/repository/lock_holder.h"
#include "lib/repository/origin.h"

#define RENEW_MS (5 * 60 * 1000)
#define LOST_MS (22 * 60 * 1000)
#define SETTLE_MS 200U /* others' locks are seen by then */
_Static_assert(RENEW_MS < LOCK_RENEWED_S * 1000, "who lives renews its lock in time");

struct repository_lock {
	struct repository *repository;
	bool exclusive;
	bool only_reads; /* what is stale by its age alone is not waited for, and what cannot be read keeps nobody out */
	struct object_names dead; /* others' that were stale so and are not renewed, sorted; of the thread that takes it */
	struct object_names shared; /* others' that were read and go with this one, which is shared, too: they never change. Sorted; of the same thread */
	atomic_bool lost;
	atomic_uint_fast64_t renewed; /* clock_boot_ms of when the lock that is there was put, or a little before */
	uint64_t put_ms; /* the same of the first one, or a little after */
	pthread_t thread;
	pthread_mutex_t lock; /* guards `ends` */
	pthread_cond_t changed;
	bool ends;
	pthread_mutex_t own; /* guards `name`, and that only one renews it */
	char name[BLOB_ID_TEXT];
};

static int put_lock(struct repository_lock *lock, char *ret_name, struct error *err)
{
	const struct origin origin = origin_of_process();
	AUTO_BUF json = BUF_INIT;
	char now[GO_TIME_TEXT];
	struct process_mark us;

	go_time_text(clock_now(), now);
	buf_addf(&json, "{\"time\":\"%s\",\"exclusive\":%s,\"hostname\":", now, lock->exclusive ? "true" : "false");
	go_json_string(&json, origin.host);
	buf_addf(&json, ",\"username\":");
	go_json_string(&json, origin.user);
	buf_addf(&json, ",\"pid\":%ld,\"uid\":%u,\"gid\":%u", (long)getpid(), geteuid(), getegid());
	/* What restic passes over: numbers of processes are used again. */
	process_mark_of(getpid(), &us);
	if (us.place[0] && us.started)
		buf_addf(&json, ",\"" LOCK_BEFORE "started\":%llu,\"" LOCK_BEFORE "place\":\"%s\",\"" LOCK_BEFORE "machine\":\"%s\"",
		         (unsigned long long)us.started, us.place, us.machine);
	buf_add_u8(&json, '}');
	return repository_put_file(lock->repository, OBJECT_LOCK, &json, ret_name, err);
}

/* Who removes things must come in where there is no room: what writers that died had begun goes then, as a prune would have it. */
static int put_first_lock(struct repository_lock *lock, struct error *err)
{
	struct objects *objects = lock->repository->objects;
	struct objects_left left = {0};
	int r = put_lock(lock, lock->name, err);

	if ((r != -ENOSPC && r != -EDQUOT) || !lock->exclusive)
		return r;
	if (objects_clean(objects, clock_now().tv_sec - OBJECTS_LEFT_AGE_S, false, &left) < 0 || left.count == 0)
		return r;
	if (err)
		*err = (struct error){0};
	return put_lock(lock, lock->name, err);
}

static int drop_lock(struct repository *repository, const char *name)
{
	return repository->objects->place->remove(repository->objects, OBJECT_LOCK, name);
}

/* --- others --- */

struct search {
	const struct repository_lock *lock;
	struct object_names *aged; /* NULL, or where it notes those that are to be waited for */
	struct object_names *shared; /* NULL, or where it notes those that go with a shared one */
	char text[512];            /* of the last of these */
	struct error *err;
};

static int object_to(void *arg, const struct lock_holder *holder)
{
	struct search *search = arg;
	struct blob_id id;

	if (!holder->exclusive && !search->lock->exclusive) {
		if (search->shared && blob_id_parse(holder->name, &id) == 0)
			array_add(search->shared, id);
		return 0;
	}
	if (holder->is_stale && !holder->is_aged) {
		(void)!drop_lock(search->lock->repository, holder->name);
		return 0;
	}
	if (holder->is_stale && (search->lock->only_reads || object_names_have(&search->lock->dead, holder->name)))
		return 0;
	if (holder->is_stale && search->aged && blob_id_parse(holder->name, &id) == 0) {
		array_add(search->aged, id);
		memcpy(search->text, holder->text, sizeof(search->text));
		return 0;
	}
	(void)error_set(search->err, -EBUSY, "the repository is locked %s", holder->text);
	if (holder->is_aged)
		error_hint(search->err, "somebody renews that lock, so the clock of one of the two machines is wrong: set it");
	else if (holder->is_elsewhere)
		error_hint(search->err, "wait for it to end; if it does not run any more: corpusfs backup unlock --all REPOSITORY");
	else
		error_hint(search->err, "wait for it to end");
	return -EBUSY;
}

/* Gives each lock but ours and those that are known to be shared. */
static int each_other(const struct repository_lock *lock, const char *own, struct search *search)
{
	struct object_names names = {0};
	size_t left = 0;
	int r = repository_list(lock->repository, OBJECT_LOCK, &names, search->err);

	for (size_t i = 0; i < names.count; i++) {
		char name[BLOB_ID_TEXT];

		blob_id_text(&names.items[i], name);
		if (!(own && strcmp(name, own) == 0) && !object_names_have_id(&lock->shared, &names.items[i]))
			names.items[left++] = names.items[i];
	}
	names.count = left;
	if (r == 0)
		r = lock_holders_each(lock->repository, &names, lock->only_reads, object_to, search, search->err);
	array_clear(&names);
	return r;
}

static int check_others(struct repository_lock *lock, const char *own, struct error *err)
{
	struct search search = {.lock = lock, .err = err};

	return each_other(lock, own, &search);
}

static int wait_for_renewal(struct repository *repository, const char *holder, struct error *err)
{
	AUTO_FREE char *why = xasprintf("the repository was locked %s; whether that lock is still renewed is known in %d minutes", holder, LOCK_RENEWED_S / 60);
	int r = 0;

	for (unsigned second = 0; second < LOCK_RENEWED_S && r == 0; second++) {
		if (repository->waits)
			r = repository->waits(repository->waits_arg, why, second, LOCK_RENEWED_S);
		else
			clock_pause_us(1000000);
	}
	return r < 0 ? error_set(err, r, "waiting for a lock of the repository was given up") : 0;
}

/* Of locks that are stale by their age alone, finds out which ones are dead, and removes them: should a holder have slept, it notices. */
static int check_first(struct repository_lock *lock, struct error *err)
{
	struct object_names aged = {0}, shared = {0};
	struct search search = {.lock = lock, .aged = &aged, .shared = &shared, .err = err};
	int r = each_other(lock, NULL, &search);

	lock->shared = shared; /* in the order of their names, as they were given */
	if (r == 0 && aged.count > 0)
		r = wait_for_renewal(lock->repository, search.text, err);
	if (r < 0 || aged.count == 0) {
		array_clear(&aged);
		return r;
	}
	for (size_t i = 0; i < aged.count; i++) {
		char name[BLOB_ID_TEXT];

		blob_id_text(&aged.items[i], name);
		(void)!drop_lock(lock->repository, name);
	}
	lock->dead = aged; /* what cannot be removed counts for nothing, too */
	return check_others(lock, NULL, err);
}

/* --- ours --- */

/* Under lock->lock. Whether it is time to end. */
static bool wait_for_end(struct repository_lock *lock, uint64_t ms)
{
	const struct timespec until = clock_after_ms(ms);

	while (!lock->ends)
		if (pthread_cond_clockwait(&lock->changed, &lock->lock, CLOCK_MONOTONIC, &until) != 0)
			break;
	return lock->ends;
}

/* Whether the lock that we put is there. Where that cannot be found out, it is there until its time is up. Under lock->own. */
static bool own_is_there(const struct repository_lock *lock)
{
	struct objects *objects = lock->repository->objects;
	uint64_t size;

	return objects->place->size(objects, OBJECT_LOCK, lock->name, &size) != -ENOENT;
}

/* Somebody may have gone on as if nobody held it, so it is not put again. Under lock->own. */
static void renew(struct repository_lock *lock)
{
	const uint64_t now = clock_boot_ms();
	char name[BLOB_ID_TEXT];

	if (repository_lock_lost(lock) || !own_is_there(lock)) {
		atomic_store(&lock->lost, true);
		return;
	}
	if (put_lock(lock, name, NULL) < 0)
		return;
	/* It went while the new one was put: somebody took it away. */
	if (drop_lock(lock->repository, lock->name) == -ENOENT)
		atomic_store(&lock->lost, true);
	memcpy(lock->name, name, sizeof(name));
	atomic_store(&lock->renewed, now);
}

void repository_lock_renew(struct repository_lock *lock)
{
	pthread_mutex_lock(&lock->own);
	renew(lock);
	pthread_mutex_unlock(&lock->own);
}

static void *renew_main(void *arg)
{
	struct repository_lock *lock = arg;

	pthread_mutex_lock(&lock->lock);
	while (!wait_for_end(lock, RENEW_MS)) {
		pthread_mutex_unlock(&lock->lock);
		repository_lock_renew(lock);
		pthread_mutex_lock(&lock->lock);
	}
	pthread_mutex_unlock(&lock->lock);
	return NULL;
}

static void free_lock(struct repository_lock *lock)
{
	pthread_cond_destroy(&lock->changed);
	pthread_mutex_destroy(&lock->lock);
	pthread_mutex_destroy(&lock->own);
	array_clear(&lock->dead);
	array_clear(&lock->shared);
	free(lock);
}

static int begin(struct repository *repository, bool exclusive, bool only_reads, struct repository_lock **ret_lock, struct error *err)
{
	struct repository_lock *lock = xcalloc(1, sizeof(*lock));
	int r;

	lock->repository = repository;
	lock->exclusive = exclusive;
	lock->only_reads = only_reads;
	pthread_mutex_init(&lock->lock, NULL);
	pthread_mutex_init(&lock->own, NULL);
	pthread_cond_init(&lock->changed, NULL);
	r = check_first(lock, err);
	atomic_store(&lock->renewed, clock_boot_ms());
	if (r == 0)
		r = put_first_lock(lock, err);
	lock->put_ms = clock_boot_ms();
	if (r == 0 && pthread_create(&lock->thread, NULL, renew_main, lock) != 0) {
		(void)!drop_lock(repository, lock->name);
		r = error_set(err, -EAGAIN, "no thread can be started");
	}
	if (r == 0)
		*ret_lock = lock;
	else
		free_lock(lock);
	return r;
}

int repository_lock_settle(struct repository_lock *lock, struct error *err)
{
	const uint64_t passed = clock_boot_ms() - lock->put_ms;
	char own[BLOB_ID_TEXT];

	if (passed < SETTLE_MS)
		clock_pause_us((SETTLE_MS - passed) * 1000);
	pthread_mutex_lock(&lock->own);
	memcpy(own, lock->name, sizeof(own));
	pthread_mutex_unlock(&lock->own);
	return check_others(lock, own, err);
}

static int take(struct repository *repository, bool exclusive, bool only_reads, struct repository_lock **ret_lock, struct error *err)
{
	struct repository_lock *lock = NULL;
	int r = begin(repository, exclusive, only_reads, &lock, err);

	if (r == 0)
		r = repository_lock_settle(lock, err);
	if (r == 0)
		*ret_lock = lock;
	else
		repository_lock_release(lock);
	return r;
}

int repository_lock_begin(struct repository *repository, struct repository_lock **ret_lock, struct error *err)
{
	return begin(repository, false, false, ret_lock, err);
}

int repository_lock_take(struct repository *repository, bool exclusive, struct repository_lock **ret_lock, struct error *err)
{
	return take(repository, exclusive, false, ret_lock, err);
}

int repository_lock_take_to_read(struct repository *repository, struct repository_lock **ret_lock, struct error *err)
{
	struct error why = {0};
	int r;

	*ret_lock = NULL;
	r = take(repository, false, true, ret_lock, &why);
	if (r == -EROFS || r == -EACCES || r == -ENOSPC || r == -EDQUOT || r == -ENOENT)
		return 0;
	if (r < 0 && err)
		*err = why;
	return r;
}

void repository_lock_release(struct repository_lock *lock)
{
	if (!lock)
		return;
	pthread_mutex_lock(&lock->lock);
	lock->ends = true;
	pthread_cond_signal(&lock->changed);
	pthread_mutex_unlock(&lock->lock);
	pthread_join(lock->thread, NULL);
	(void)!drop_lock(lock->repository, lock->name);
	free_lock(lock);
}

bool repository_lock_lost(struct repository_lock *lock)
{
	const uint64_t renewed = lock ? atomic_load(&lock->renewed) : 0;

	return lock && (atomic_load(&lock->lost) || clock_boot_ms() - renewed > LOST_MS);
}

int repository_lock_check(struct repository_lock *lock, struct error *err)
{
	bool is_there;

	pthread_mutex_lock(&lock->own);
	is_there = own_is_there(lock);
	pthread_mutex_unlock(&lock->own);
	if (is_there && !repository_lock_lost(lock))
		return 0;
	atomic_store(&lock->lost, true);
	(void)error_set(err, -ETIMEDOUT, "the lock of the repository %s", is_there ? "could not be renewed for too long" : "was taken away by somebody");
	error_hint(err, "what others did meanwhile may not go with this; do it again");
	return -ETIMEDOUT;
}

/* Those that cannot be read are not stale. */
static bool is_stale(struct repository *repository, const char *name)
{
	struct lock_holder holder = {0};

	return lock_holder_read(repository, name, &holder, NULL) == 0 && holder.is_stale;
}

int repository_locks_remove(struct repository *repository, bool all, size_t *ret_count, struct error *err)
{
	struct object_names names = {0};
	size_t count = 0;
	int r = repository_list(repository, OBJECT_LOCK, &names, err);

	for (size_t i = 0; i < names.count && r == 0; i++) {
		char name[BLOB_ID_TEXT];

		blob_id_text(&names.items[i], name);
		if (!all && !is_stale(repository, name))
			continue;
		r = drop_lock(repository, name);
		if (r == 0)
			count++;
		else if (r == -ENOENT)
			r = 0;
		else
			(void)error_set(err, r, "lock %.8s of the repository cannot be removed: %s", name, strerror(-r));
	}
	array_clear(&names);
	*ret_count = count;
	return r;
}
