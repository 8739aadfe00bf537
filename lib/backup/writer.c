#include "lib/backup/writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/backup/heads.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/repository/objects_etcd.h"
#include "lib/repository/origin.h"

struct writer {
	struct repository *repository;
	struct objects_etcd_term term;
	uint64_t lease_ms;
	void (*changed)(void *arg);
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t called;
	bool ends, drops;
	uint64_t until_ms; /* clock_boot_ms; etcd counts from later on */
	char why[ERROR_TEXT_MAX]; /* it is lost; "": it is not. Set once */
};

/* --- who it is --- */

/* {"dataset", "by", "host", "user", "since": seconds}, sealed: nobody else learns it from etcd. */
static void make_note(const struct writer_options *options, struct buf *ret_sealed)
{
	const struct origin origin = origin_of_process();
	json_t *json = json_pack("{s:s*, s:s, s:s*, s:s*, s:I}", "dataset", options->dataset, "by", options->by, "host", *origin.host ? origin.host : NULL, "user",
	                         *origin.user ? origin.user : NULL, "since", (json_int_t)clock_now().tv_sec);
	AUTO_FREE char *text = json ? json_dumps(json, JSON_COMPACT) : xasprintf("{\"by\":\"%s\"}", options->by);
	const struct buf plain = {.data = (uint8_t *)text, .len = strlen(text)};

	repository_seal(options->repository, &plain, ret_sealed);
	json_decref(json);
}

/* NULL: it is none. */
static json_t *read_note(const struct repository *repository, const struct buf *sealed)
{
	AUTO_BUF plain = BUF_INIT;

	buf_add(&plain, sealed->data, sealed->len);
	if (plain.len <= SEAL_EXTRA || repository_unseal(repository, &plain) < 0)
		return NULL;
	return json_loadb((const char *)plain.data, plain.len, 0, NULL);
}

static bool is_own(void *arg, const struct buf *sealed)
{
	const struct writer_options *options = arg;
	json_t *json = read_note(options->repository, sealed);
	const char *by = json_string_value(json_object_get(json, "by"));
	const bool is = by && strcmp(by, options->by) == 0;

	json_decref(json);
	return is;
}

static char *text_of(const json_t *json, const char *key)
{
	return xstrdup_or_null(json_string_value(json_object_get(json, key)));
}

static struct writer_info info_of(const struct repository *repository, const struct objects_etcd_holder *holder)
{
	json_t *json = read_note(repository, &holder->note);
	const struct writer_info info = {.dataset = text_of(json, "dataset"), .by = text_of(json, "by"), .host = text_of(json, "host"),
	                                 .user = text_of(json, "user"), .since = json_integer_value(json_object_get(json, "since")), .term = holder->term,
	                                 .left_s = holder->left_s};

	json_decref(json);
	return info;
}

static void info_clear(struct writer_info *info)
{
	free(info->dataset);
	free(info->by);
	free(info->host);
	free(info->user);
}

static int refuse(const struct writer_options *options, const struct objects_etcd_holder *holder, struct error *err)
{
	struct writer_info info = info_of(options->repository, holder);
	char since[32], left[64] = "";

	clock_format(info.since, since);
	if (info.left_s >= 0)
		(void)snprintf(left, sizeof(left), ", for %lld s more unless it goes on", (long long)info.left_s);
	if (info.by && strcmp(info.by, options->by) == 0) {
		(void)error_set(err, -EBUSY, "this dataset is the writer of \"%s\", by a lease%s", options->dataset, left);
		error_hint(err, "publish it with --lease SECONDS, or give the lease up with --release");
	} else {
		(void)error_set(err, -EBUSY, "the writer of \"%s\" is %s%s%s, since %s%s", options->dataset, info.host ? info.host : "another machine",
				info.user ? ", user " : "", info.user ? info.user : "", since, left);
		error_hint(err, "until its lease has ended nobody else publishes it; --as NAME publishes as another dataset");
	}
	info_clear(&info);
	return -EBUSY;
}

/* --- the lease --- */

/* Caller holds the lock. */
static void note_lost(struct writer *writer, const char *why)
{
	if (!writer->why[0])
		(void)snprintf(writer->why, sizeof(writer->why), "%s", why);
}

/* The same: when it is over, nobody asks for it any more, so that it does not begin anew after others were without. */
static void check_time(struct writer *writer)
{
	if (clock_boot_ms() >= writer->until_ms)
		note_lost(writer, "it has ended: this machine was paused, or etcd did not answer, for as long as the lease");
}

static void renew_once(struct writer *writer)
{
	struct objects *objects = writer->repository->objects;
	const uint64_t began = clock_boot_ms();
	struct error why = {0};
	int r = objects_etcd_stay_writer(objects);

	if (r == -EBUSY || r == -ENOENT)
		(void)objects_failed(objects, r, "the lease was not renewed", &why);
	pthread_mutex_lock(&writer->lock);
	if (r == 0 && !writer->why[0])
		writer->until_ms = began + writer->lease_ms;
	else if (r == -EBUSY || r == -ENOENT)
		note_lost(writer, why.text);
	check_time(writer);
	pthread_mutex_unlock(&writer->lock);
}

/* A third of the lease passes, or it is to end, or is lost. False: no more is to be asked. */
static bool rest(struct writer *writer)
{
	const struct timespec until = clock_after_ms(writer->lease_ms / 3);
	bool goes_on;

	pthread_mutex_lock(&writer->lock);
	while (!writer->ends && pthread_cond_clockwait(&writer->called, &writer->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	check_time(writer);
	goes_on = !writer->why[0] && !(writer->ends && writer->drops);
	pthread_mutex_unlock(&writer->lock);
	return goes_on;
}

static void *renew(void *arg)
{
	struct writer *writer = arg;
	bool ends = false;

	while (!ends && rest(writer)) {
		renew_once(writer);
		pthread_mutex_lock(&writer->lock);
		ends = writer->ends;
		pthread_mutex_unlock(&writer->lock);
		if (!ends && writer->changed)
			writer->changed(writer->arg);
	}
	if (!ends && writer->changed && writer_lost(writer))
		writer->changed(writer->arg);
	return NULL;
}

const char *writer_lost(struct writer *writer)
{
	bool is;

	pthread_mutex_lock(&writer->lock);
	check_time(writer);
	is = writer->why[0];
	pthread_mutex_unlock(&writer->lock);
	return is ? writer->why : NULL;
}

uint64_t writer_until_ms(struct writer *writer)
{
	uint64_t until;

	pthread_mutex_lock(&writer->lock);
	check_time(writer);
	until = writer->why[0] ? 0 : writer->until_ms;
	pthread_mutex_unlock(&writer->lock);
	return until;
}

uint64_t writer_left_ms(struct writer *writer)
{
	const uint64_t until = writer_until_ms(writer), now = clock_boot_ms();

	return until > now ? until - now : 0;
}

static int start(const struct writer_options *options, uint64_t began, struct writer **ret_writer, struct error *err)
{
	struct writer *writer = xcalloc(1, sizeof(*writer));
	int r;

	writer->repository = options->repository;
	objects_etcd_get_term(options->repository->objects, &writer->term);
	writer->lease_ms = (uint64_t)options->seconds * 1000;
	writer->until_ms = began + writer->lease_ms;
	writer->changed = options->changed;
	writer->arg = options->arg;
	pthread_mutex_init(&writer->lock, NULL);
	pthread_cond_init(&writer->called, NULL);
	r = -pthread_create(&writer->thread, NULL, renew, writer);
	if (r < 0) {
		buf_clear(&writer->term.value);
		free(writer);
		return error_set(err, r, "no thread could be started: %s", strerror(-r));
	}
	*ret_writer = writer;
	return 0;
}

static int needs_etcd(struct error *err)
{
	(void)error_set(err, -EOPNOTSUPP, "a lease needs etcd, which says who has it");
	error_hint(err, "corpusfs remote add NAME URL --etcd HOST:PORT,...");
	return -EOPNOTSUPP;
}

int writer_become(const struct writer_options *options, struct writer **ret_writer, struct error *err)
{
	struct objects *objects = options->repository->objects;
	AUTO_BUF note = BUF_INIT;
	struct objects_etcd_holder other = {0};
	struct objects_etcd_writer who = {.note = &note, .seconds = options->seconds, .is_own = is_own, .arg = (void *)options};
	const uint64_t began = clock_boot_ms();
	char name[HEAD_DATASET_TEXT];
	uint64_t term = 0;
	int r;

	if (!objects_etcd_place(objects) && options->seconds == 0)
		return 0;
	if (!objects_etcd_place(objects))
		return needs_etcd(err);
	make_note(options, &note);
	head_dataset_text(options->repository, options->dataset, name);
	r = objects_etcd_become_writer(objects, name, &who, &term, &other);
	if (r == 0 && options->seconds > 0)
		r = fault_point("lease-after-answer");
	if (other.note.len > 0)
		r = refuse(options, &other, err);
	else if (r < 0)
		r = objects_failed(objects, r, "it cannot be found out who may publish", err);
	buf_clear(&other.note);
	return r == 0 && options->seconds > 0 ? start(options, began, ret_writer, err) : r;
}

uint64_t writer_term(const struct writer *writer)
{
	return writer ? writer->term.number : 0;
}

void writer_copy_term(const struct writer *writer, struct objects_etcd_term *ret_term)
{
	ret_term->number = writer->term.number;
	buf_add(&ret_term->value, writer->term.value.data, writer->term.value.len);
}

int writer_join(struct repository *repository, const char *dataset, const struct objects_etcd_term *term, struct error *err)
{
	char name[HEAD_DATASET_TEXT];
	int r;

	head_dataset_text(repository, dataset, name);
	r = fault_point("lease-before-join");
	if (r == 0)
		r = objects_etcd_join_term(repository->objects, name, term);
	return r < 0 ? objects_failed(repository->objects, r, "it cannot be found out who may publish", err) : 0;
}

static void end(struct writer *writer, bool drops)
{
	if (!writer)
		return;
	pthread_mutex_lock(&writer->lock);
	writer->ends = true;
	writer->drops = drops;
	pthread_cond_signal(&writer->called);
	pthread_mutex_unlock(&writer->lock);
	pthread_join(writer->thread, NULL);
	pthread_cond_destroy(&writer->called);
	pthread_mutex_destroy(&writer->lock);
	buf_clear(&writer->term.value);
	free(writer);
}

/* The lease is renewed once more. */
void writer_end(struct writer *writer)
{
	end(writer, false);
}

void writer_drop(struct writer *writer)
{
	end(writer, true);
}

/* --- giving it up --- */

int writer_release(const struct writer_options *options, bool force, struct error *err)
{
	struct objects *objects = options->repository->objects;
	const struct objects_etcd_writer who = {.is_own = force ? NULL : is_own, .arg = (void *)options};
	struct objects_etcd_holder other = {0};
	char name[HEAD_DATASET_TEXT];
	int r;

	if (!objects_etcd_place(objects))
		return needs_etcd(err);
	head_dataset_text(options->repository, options->dataset, name);
	r = objects_etcd_end_writer(objects, name, &who, &other);
	if (r == -EBUSY && other.note.len > 0) {
		r = refuse(options, &other, err);
		error_hint(err, "only it gives its lease up; if it has died, --force does, and what it publishes later is refused");
	} else if (r < 0) {
		r = objects_failed(objects, r, "the lease cannot be given up", err);
	}
	buf_clear(&other.note);
	return r;
}

/* --- looking --- */

void writer_infos_clear(struct writer_infos *writers)
{
	for (size_t i = 0; i < writers->count; i++)
		info_clear(&writers->items[i]);
	array_clear(writers);
}

struct reading {
	struct repository *repository;
	struct writer_infos *writers;
};

/* What another dataset's note says is not believed. */
static int add_writer(void *arg, const char *name, const struct objects_etcd_holder *holder)
{
	const struct reading *reading = arg;
	struct writer_info info = info_of(reading->repository, holder);
	char expected[HEAD_DATASET_TEXT];

	if (info.dataset)
		head_dataset_text(reading->repository, info.dataset, expected);
	if (info.dataset && strcmp(expected, name) != 0) {
		info_clear(&info);
		info = (struct writer_info){.term = holder->term, .left_s = holder->left_s};
	}
	array_add(reading->writers, info);
	return 0;
}

int writer_infos_read(struct repository *repository, struct writer_infos *ret_writers, struct error *err)
{
	struct reading reading = {repository, ret_writers};
	int r = objects_etcd_place(repository->objects) ? objects_etcd_list_writers(repository->objects, add_writer, &reading) : 0;

	return r < 0 ? objects_failed(repository->objects, r, "who may publish cannot be found out", err) : 0;
}
