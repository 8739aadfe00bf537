#include "lib/backup/writer.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <jansson.h>

#include "lib/backup/heads.h"
#include "lib/base/clock.h"
#include "lib/repository/objects_etcd.h"
#include "lib/repository/origin.h"

struct writer {
	struct repository *repository;
	uint64_t term, pause_ms;
	pthread_t thread;
	pthread_mutex_t lock; /* guards `ends` */
	pthread_cond_t called;
	bool ends;
};

/* --- who it is --- */

/* {"by", "host", "user", "since": seconds}, sealed: nobody else learns it from etcd. */
static void make_note(const struct writer_options *options, struct buf *ret_sealed)
{
	const struct origin origin = origin_of_process();
	json_t *json = json_pack("{s:s, s:s*, s:s*, s:I}", "by", options->by, "host", *origin.host ? origin.host : NULL, "user",
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

static int refuse(const struct writer_options *options, const struct buf *sealed, struct error *err)
{
	json_t *json = read_note(options->repository, sealed);
	const char *host = json_string_value(json_object_get(json, "host")), *user = json_string_value(json_object_get(json, "user"));
	char since[32];

	clock_format(json_integer_value(json_object_get(json, "since")), since);
	if (is_own((void *)options, sealed)) {
		(void)error_set(err, -EBUSY, "this dataset is the writer of \"%s\", by a lease", options->dataset);
		error_hint(err, "publish it with --lease SECONDS, or wait until the lease has ended");
	} else {
		(void)error_set(err, -EBUSY, "the writer of \"%s\" is %s%s%s, since %s", options->dataset, host ? host : "another machine", user ? ", user " : "",
				user ? user : "", since);
		error_hint(err, "until its lease has ended nobody else publishes it; --as NAME publishes as another dataset");
	}
	json_decref(json);
	return -EBUSY;
}

/* --- the lease --- */

/* Whether it was renewed is seen when something is published. */
static void *renew(void *arg)
{
	struct writer *writer = arg;
	bool goes_on = true;

	while (goes_on) {
		const struct timespec until = clock_after_ms(writer->pause_ms);

		pthread_mutex_lock(&writer->lock);
		while (!writer->ends && pthread_cond_clockwait(&writer->called, &writer->lock, CLOCK_MONOTONIC, &until) == 0)
			;
		goes_on = !writer->ends;
		pthread_mutex_unlock(&writer->lock);
		(void)!objects_etcd_stay_writer(writer->repository->objects);
	}
	return NULL;
}

static int start(const struct writer_options *options, uint64_t term, struct writer **ret_writer, struct error *err)
{
	struct writer *writer = xcalloc(1, sizeof(*writer));
	int r;

	writer->repository = options->repository;
	writer->term = term;
	writer->pause_ms = (uint64_t)options->seconds * 1000 / 3;
	pthread_mutex_init(&writer->lock, NULL);
	pthread_cond_init(&writer->called, NULL);
	r = -pthread_create(&writer->thread, NULL, renew, writer);
	if (r < 0) {
		free(writer);
		return error_set(err, r, "no thread could be started: %s", strerror(-r));
	}
	*ret_writer = writer;
	return 0;
}

int writer_become(const struct writer_options *options, struct writer **ret_writer, struct error *err)
{
	struct objects *objects = options->repository->objects;
	AUTO_BUF note = BUF_INIT, other = BUF_INIT;
	struct objects_etcd_writer who = {.note = &note, .seconds = options->seconds, .is_own = is_own, .arg = (void *)options};
	char name[HEAD_DATASET_TEXT];
	uint64_t term = 0;
	int r;

	if (!objects_etcd_place(objects) && options->seconds == 0)
		return 0;
	if (!objects_etcd_place(objects)) {
		(void)error_set(err, -EOPNOTSUPP, "a lease needs etcd, which says who has it");
		error_hint(err, "corpusfs remote add NAME URL --etcd HOST:PORT,...");
		return -EOPNOTSUPP;
	}
	make_note(options, &note);
	head_dataset_text(options->repository, options->dataset, name);
	r = objects_etcd_become_writer(objects, name, &who, &term, &other);
	if (other.len > 0)
		return refuse(options, &other, err);
	if (r < 0)
		return objects_failed(objects, r, "it cannot be found out who may publish", err);
	return options->seconds > 0 ? start(options, term, ret_writer, err) : 0;
}

uint64_t writer_term(const struct writer *writer)
{
	return writer ? writer->term : 0;
}

/* The lease is renewed once more. */
void writer_end(struct writer *writer)
{
	if (!writer)
		return;
	pthread_mutex_lock(&writer->lock);
	writer->ends = true;
	pthread_cond_signal(&writer->called);
	pthread_mutex_unlock(&writer->lock);
	pthread_join(writer->thread, NULL);
	pthread_cond_destroy(&writer->called);
	pthread_mutex_destroy(&writer->lock);
	free(writer);
}
