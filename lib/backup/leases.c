#include "lib/backup/leases.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/backup/backup.h"
#include "lib/backup/heads.h"
#include "lib/base/clock.h"
#include "lib/repository/objects_etcd.h"
#include "lib/store/datasets.h"
#include "lib/store/leaseless.h"

#define LOOK_EVERY_MS 1000
#define RENEW_PATIENCE_MS 5000 /* for etcd, of each time: who gives the lease up may wait for that */
#define LEAVE_PATIENCE_MS 2000 /* for etcd, when a lease is given up: it ends by itself */

enum state { LEASE_NONE, LEASE_HAD, LEASE_LOST };

struct lease {
	uint32_t dataset;
	enum state state;
	bool is_busy;   /* somebody does something about it, without the lock; he alone changes it */
	bool is_awaited; /* the thread looks at it when he is done */
	bool is_locked; /* the dataset's head is */
	bool is_late;   /* it is not as it should be, which the log says */
	char *name, *as, *place, *by; /* NULL before it was taken */
	struct repository *repository;
	struct writer *writer;
	uint64_t term;
	int64_t since_s;
	char why[ERROR_TEXT_MAX];
};

struct leases {
	struct leases_options options;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows; taken before that of a writer */
	pthread_cond_t changed;
	ARRAY(struct lease *) all;
	bool ends, has_news; /* the thread is to end, or to look now */
};

/* --- one lease --- */

/* Caller holds the lock. NULL: there is none. */
static struct lease *find(const struct leases *leases, uint32_t dataset)
{
	for (size_t i = 0; i < leases->all.count; i++)
		if (leases->all.items[i]->dataset == dataset)
			return leases->all.items[i];
	return NULL;
}

/* The lease, which the caller alone changes then, when nobody else does. NULL: there is none, or, for who does not wait, somebody else does. */
static struct lease *claim(struct leases *leases, uint32_t dataset, bool waits)
{
	struct lease *lease;

	pthread_mutex_lock(&leases->lock);
	while ((lease = find(leases, dataset)) && lease->is_busy && waits)
		pthread_cond_wait(&leases->changed, &leases->lock);
	if (lease && lease->is_busy)
		lease = NULL;
	if (lease)
		lease->is_busy = true;
	pthread_mutex_unlock(&leases->lock);
	return lease;
}

static void let_go(struct leases *leases, struct lease *lease)
{
	pthread_mutex_lock(&leases->lock);
	lease->is_busy = false;
	leases->has_news |= lease->is_awaited;
	lease->is_awaited = false;
	pthread_cond_broadcast(&leases->changed);
	pthread_mutex_unlock(&leases->lock);
}

/* The thread looks at all of them now. */
static void call_thread(struct leases *leases)
{
	pthread_mutex_lock(&leases->lock);
	leases->has_news = true;
	pthread_cond_broadcast(&leases->changed);
	pthread_mutex_unlock(&leases->lock);
}

/* What it has of a place. */
static void clear_place(struct leases *leases, struct lease *lease)
{
	struct writer *writer;
	struct repository *repository;

	pthread_mutex_lock(&leases->lock);
	writer = steal_ptr(lease->writer);
	repository = steal_ptr(lease->repository);
	pthread_mutex_unlock(&leases->lock);
	writer_drop(writer);
	repository_close(repository);
}

static void log_text(struct leases *leases, const char *level, const char *format, ...) PRINTF_LIKE(3, 4);
static void log_text(struct leases *leases, const char *level, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	leases->options.log(leases->options.arg, level, text);
}

/* Each head refuses changes as soon as its lease is over, at once where there is none. Whoever has claimed one does not matter. */
static void set_ends(struct leases *leases)
{
	pthread_mutex_lock(&leases->lock);
	for (size_t i = 0; i < leases->all.count; i++) {
		const struct lease *lease = leases->all.items[i];
		const uint64_t until_ms = lease->writer ? writer_until_ms(lease->writer) : 0;

		dataset_set_end(leases->options.store, lease->dataset, until_ms > 0 ? until_ms : LEASE_OVER);
	}
	pthread_mutex_unlock(&leases->lock);
}

/* Who has claimed it locks the head, or unlocks it. */
static int set_locked(struct leases *leases, struct lease *lease, bool is_locked, struct error *err)
{
	int r = dataset_set_leaseless(leases->options.store, lease->dataset, is_locked, err);

	pthread_mutex_lock(&leases->lock);
	if (r == 0)
		lease->is_locked = is_locked;
	pthread_mutex_unlock(&leases->lock);
	return r;
}

/* The same. If that cannot be done, the log says so once, and the thread tries it again, as long as the lease is there. */
static int see_locked(struct leases *leases, struct lease *lease, bool is_locked)
{
	struct error err = {0};
	int r = lease->is_locked == is_locked ? 0 : set_locked(leases, lease, is_locked, &err);

	if (r == -ENOENT)
		r = 0;
	if (r < 0 && !lease->is_late)
		log_text(leases, "error", "%s%s%s; it is tried again", err.text, err.hint[0] ? ": " : "", err.hint);
	lease->is_late = r < 0;
	return r;
}

static void note_state(struct leases *leases, struct lease *lease, enum state state, const char *why)
{
	pthread_mutex_lock(&leases->lock);
	lease->state = state;
	lease->since_s = clock_now().tv_sec;
	(void)snprintf(lease->why, sizeof(lease->why), "%s", why);
	pthread_mutex_unlock(&leases->lock);
}

/* --- what happens by itself --- */

/* One that was had is lost. */
static void lose(struct leases *leases, struct lease *lease)
{
	note_state(leases, lease, LEASE_LOST, writer_lost(lease->writer));
	(void)!see_locked(leases, lease, true);
	log_text(leases, "error", "%s is read-only, since it is the writer of %s no more: %s; umount it and mount it again, then publish or restore",
	         lease->name, lease->as, lease->why);
	clear_place(leases, lease);
}

static void give_up(struct leases *leases, struct lease *lease)
{
	const struct writer_options options = {.repository = lease->repository, .dataset = lease->as, .by = lease->by};
	struct error err = {0};

	objects_etcd_set_patience(lease->repository->objects, LEAVE_PATIENCE_MS);
	if (writer_release(&options, false, &err) < 0)
		log_text(leases, "warning", "the lease of %s could not be given up, and ends by itself: %s", lease->as, err.text);
	else
		log_text(leases, "info", "the lease of %s is given up", lease->as);
}

/* The mount is gone. As long as the dataset cannot be unlocked, it stays in the list. */
static void end(struct leases *leases, struct lease *lease, bool unlocks)
{
	if (lease->state == LEASE_HAD && !writer_lost(lease->writer))
		give_up(leases, lease);
	clear_place(leases, lease);
	if (unlocks && see_locked(leases, lease, false) < 0) {
		note_state(leases, lease, LEASE_NONE, "it was unmounted, and cannot be made writable yet");
		let_go(leases, lease);
		return;
	}
	pthread_mutex_lock(&leases->lock);
	if (unlocks)
		dataset_set_end(leases->options.store, lease->dataset, 0);
	for (size_t i = 0; i < leases->all.count; i++)
		if (leases->all.items[i] == lease) {
			array_remove(&leases->all, i, 1);
			break;
		}
	pthread_cond_broadcast(&leases->changed);
	pthread_mutex_unlock(&leases->lock);
	free(lease->name);
	free(lease->as);
	free(lease->place);
	free(lease->by);
	free(lease);
}

/* Looks after one of them: ends it if it is not wanted, or, if it is, sees to it that its head is locked or not. */
static void look_at(struct leases *leases, uint32_t dataset, bool ends, bool waits)
{
	const bool is_wanted = leases->options.is_wanted(leases->options.arg, dataset);
	struct lease *lease = is_wanted != ends ? claim(leases, dataset, waits) : NULL;

	if (!lease)
		return;
	if (leases->options.is_wanted(leases->options.arg, dataset) == ends) {
		let_go(leases, lease);
		return;
	}
	if (ends) {
		end(leases, lease, true);
		return;
	}
	if (lease->state == LEASE_HAD && writer_lost(lease->writer))
		lose(leases, lease);
	else
		(void)!see_locked(leases, lease, lease->state != LEASE_HAD);
	let_go(leases, lease);
}

/* At those that are there now. */
static void look(struct leases *leases, bool ends, bool waits)
{
	ARRAY(uint32_t) datasets = {0};

	pthread_mutex_lock(&leases->lock);
	for (size_t i = 0; i < leases->all.count; i++)
		array_add(&datasets, leases->all.items[i]->dataset);
	pthread_mutex_unlock(&leases->lock);
	for (size_t i = 0; i < datasets.count; i++)
		look_at(leases, datasets.items[i], ends, waits);
	array_clear(&datasets);
}

void leases_sweep(struct leases *leases)
{
	look(leases, true, true);
}

/* Until it is time to look again, which is when the first lease would end at the latest. Caller holds the lock. */
static void wait(struct leases *leases)
{
	uint64_t ms = LOOK_EVERY_MS;
	struct timespec until;

	for (size_t i = 0; i < leases->all.count; i++) {
		struct lease *lease = leases->all.items[i];

		lease->is_awaited = lease->is_busy;
		if (lease->writer && !lease->is_busy)
			ms = MIN(ms, writer_left_ms(lease->writer) + 1);
	}
	until = clock_after_ms(ms);
	while (!leases->ends && !leases->has_news) {
		if (leases->all.count == 0)
			pthread_cond_wait(&leases->changed, &leases->lock);
		else if (pthread_cond_clockwait(&leases->changed, &leases->lock, CLOCK_MONOTONIC, &until) != 0)
			return;
	}
}

static void *watch(void *arg)
{
	struct leases *leases = arg;
	bool ends = false;

	while (!ends) {
		pthread_mutex_lock(&leases->lock);
		wait(leases);
		leases->has_news = false;
		ends = leases->ends;
		pthread_mutex_unlock(&leases->lock);
		if (ends)
			break;
		/* whoever does something about one may wait for etcd, and giving one up does: no other head stays unlocked for that */
		look(leases, false, false);
		look(leases, true, false);
	}
	return NULL;
}

/* By the thread that renews one: when it has, or when that one is lost. */
static void told_changed(void *arg)
{
	set_ends(arg);
	call_thread(arg);
}

struct leases *leases_new(const struct leases_options *options)
{
	struct leases *leases = xcalloc(1, sizeof(*leases));

	leases->options = *options;
	pthread_mutex_init(&leases->lock, NULL);
	pthread_cond_init(&leases->changed, NULL);
	if (pthread_create(&leases->thread, NULL, watch, leases) != 0) {
		free(leases);
		return NULL;
	}
	return leases;
}

void leases_free(struct leases *leases)
{
	if (!leases)
		return;
	pthread_mutex_lock(&leases->lock);
	leases->ends = true;
	pthread_cond_broadcast(&leases->changed);
	pthread_mutex_unlock(&leases->lock);
	pthread_join(leases->thread, NULL);
	while (leases->all.count > 0)
		end(leases, leases->all.items[0], false);
	array_clear(&leases->all);
	pthread_cond_destroy(&leases->changed);
	pthread_mutex_destroy(&leases->lock);
	free(leases);
}

/* --- what is asked for --- */

int leases_begin(struct leases *leases, uint32_t dataset, const char *why, struct error *err)
{
	struct lease *lease = claim(leases, dataset, true);
	int r;

	if (!lease) {
		lease = xcalloc(1, sizeof(*lease));
		*lease = (struct lease){.dataset = dataset, .is_busy = true};
		pthread_mutex_lock(&leases->lock);
		array_add(&leases->all, lease);
		pthread_mutex_unlock(&leases->lock);
	}
	if (lease->state == LEASE_NONE)
		note_state(leases, lease, LEASE_NONE, why ? why : "");
	set_ends(leases);
	r = lease->state == LEASE_HAD ? 0 : set_locked(leases, lease, true, err);
	let_go(leases, lease);
	call_thread(leases);
	return r;
}

/* The lease is there. Who has claimed it takes it over. Should it end meanwhile, the head is unlocked, and refuses changes. */
static int have(struct leases *leases, struct lease *lease, const struct lease_wish *wish, struct writer *writer, struct error *err)
{
	int r;

	pthread_mutex_lock(&leases->lock);
	free(lease->as);
	free(lease->place);
	lease->as = xstrdup(wish->as);
	lease->place = xstrdup(wish->place);
	lease->writer = writer;
	lease->repository = wish->repository;
	lease->term = writer_term(writer);
	lease->state = LEASE_HAD;
	lease->why[0] = '\0';
	lease->since_s = clock_now().tv_sec;
	pthread_mutex_unlock(&leases->lock);
	r = set_locked(leases, lease, false, err);
	set_ends(leases);
	return r;
}

/* The answer took longer than the lease is: others may have it by now. */
static int refuse_late(const struct lease_wish *wish, struct writer *writer, struct error *err)
{
	writer_drop(writer);
	(void)error_set(err, -EBUSY, "the lease of \"%s\" had ended when etcd's answer came: etcd is slow, or this machine was paused", wish->as);
	error_hint(err, "mount it again; a longer lease is lease_time=SECONDS");
	return -EBUSY;
}

/* Who has claimed it asks. */
static int take(struct leases *leases, struct lease *lease, const struct lease_wish *wish, struct error *err)
{
	struct writer_options options = {.repository = wish->repository, .dataset = wish->as, .seconds = wish->seconds, .changed = told_changed, .arg = leases};
	struct writer *writer = NULL;
	int r;

	free(lease->name);
	free(lease->by);
	lease->name = xstrdup(wish->dataset);
	options.by = lease->by = backup_dataset_id(leases->options.store, lease->dataset);
	clear_place(leases, lease);
	r = writer_become(&options, &writer, err);
	if (r < 0)
		return r;
	if (writer_lost(writer))
		return refuse_late(wish, writer, err);
	objects_etcd_set_patience(wish->repository->objects, MIN((uint64_t)RENEW_PATIENCE_MS, (uint64_t)wish->seconds * 1000 / 3));
	return have(leases, lease, wish, writer, err);
}

static bool is_of(const struct lease *lease, const struct repository *repository, const char *as)
{
	return lease->state != LEASE_NONE && lease->as && strcmp(lease->as, as) == 0 && lease->repository && strcmp(lease->repository->id, repository->id) == 0;
}

int leases_take(struct leases *leases, const struct lease_wish *wish, uint64_t *ret_term, struct error *err)
{
	struct dataset_info info;
	struct lease *lease = dataset_get(leases->options.store, wish->dataset, &info) == 0 ? claim(leases, info.id, true) : NULL;
	bool is_taken = false;
	int r = 0;

	if (!lease) {
		r = error_set(err, -EINVAL, "\"%s\" is not mounted with a lease", wish->dataset);
	} else if (lease->state == LEASE_HAD && !writer_lost(lease->writer)) {
		if (!is_of(lease, wish->repository, wish->as))
			r = error_set(err, -EBUSY, "\"%s\" is mounted as the writer of %s in %s already", wish->dataset, lease->as, lease->place);
	} else {
		if (lease->state == LEASE_HAD)
			lose(leases, lease);
		/* nothing is written while it is asked for */
		r = lease->is_locked ? 0 : set_locked(leases, lease, true, err);
		r = r < 0 ? r : take(leases, lease, wish, err);
		is_taken = lease->repository == wish->repository;
	}
	if (r == 0)
		*ret_term = lease->term;
	if (!is_taken)
		repository_close(wish->repository);
	if (lease)
		let_go(leases, lease);
	call_thread(leases);
	return r;
}

int leases_join(struct leases *leases, const char *dataset, struct repository *repository, const char *as, uint64_t *ret_term, struct error *err)
{
	struct dataset_info info;
	struct lease *lease = dataset_get(leases->options.store, dataset, &info) == 0 ? claim(leases, info.id, true) : NULL;
	struct objects_etcd_term term = {0};
	int r = 0;

	if (!lease)
		return 0;
	if (lease->state == LEASE_LOST || (lease->state == LEASE_HAD && writer_lost(lease->writer))) {
		r = error_set(err, -EBUSY, "\"%s\" is mounted as the writer of %s, and is that no more: %s", dataset, lease->as ? lease->as : "another one",
			      lease->state == LEASE_LOST ? lease->why : writer_lost(lease->writer));
		error_hint(err, "umount it and mount it again");
	} else if (is_of(lease, repository, as) && objects_etcd_place(repository->objects)) {
		writer_copy_term(lease->writer, &term);
		r = 1;
	}
	let_go(leases, lease);
	/* the place and etcd may take their time: nobody who does something about the lease waits for that */
	if (r == 1 && (r = writer_join(repository, as, &term, err)) == 0) {
		*ret_term = term.number;
		r = 1;
	}
	buf_clear(&term.value);
	return r;
}

json_t *leases_list(struct leases *leases)
{
	static const char *const states[] = {[LEASE_NONE] = "none", [LEASE_HAD] = "had", [LEASE_LOST] = "lost"};
	json_t *rows = json_array();

	pthread_mutex_lock(&leases->lock);
	for (size_t i = 0; i < leases->all.count; i++) {
		const struct lease *lease = leases->all.items[i];
		const uint64_t left = lease->writer ? writer_left_ms(lease->writer) : 0;
		json_t *row = json_pack("{s:I, s:s*, s:s*, s:s, s:b, s:I, s:s*}", "dataset_id", (json_int_t)lease->dataset, "as", lease->as, "place",
		                        lease->place, "state", states[lease->state], "read_only", lease->is_locked || left == 0, "since", (json_int_t)lease->since_s,
		                        "why", lease->why[0] ? lease->why : NULL);

		if (lease->term > 0)
			json_object_set_new(row, "term", json_integer((json_int_t)lease->term));
		if (lease->writer)
			json_object_set_new(row, "left_s", json_integer((json_int_t)(left / 1000)));
		json_array_append_new(rows, row);
	}
	pthread_mutex_unlock(&leases->lock);
	return rows;
}
