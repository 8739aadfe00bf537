#include "lib/transfer/transfer.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"

#define TELL_EVERY_MS 200
#define WORKERS_MAX 16

void transfer_begin(struct transfer *transfer, const struct transfer_options *options)
{
	*transfer = (struct transfer){.options = options,
	                              .caller = impersonate_as(options->uid, options->gid, options->groups, options->group_count),
	                              .phase = "copy"};
	impersonate_prepare(&transfer->caller);
	pthread_mutex_init(&transfer->lock, NULL);
	pthread_cond_init(&transfer->changed, NULL);
}

int transfer_end(struct transfer *transfer, struct transfer_counts *ret_counts, struct error *err)
{
	int code = transfer->failure.code;

	*ret_counts = (struct transfer_counts){
		.files = atomic_load(&transfer->files),
		.directories = atomic_load(&transfer->directories),
		.links = atomic_load(&transfer->links),
		.skipped = atomic_load(&transfer->skipped),
		.bytes = atomic_load(&transfer->bytes),
		.problems = atomic_load(&transfer->problems),
		.acls = atomic_load(&transfer->acls),
	};
	if (code < 0 && err)
		*err = transfer->failure;
	pthread_cond_destroy(&transfer->changed);
	pthread_mutex_destroy(&transfer->lock);
	return code;
}

bool transfer_stopped(struct transfer *transfer)
{
	return atomic_load(&transfer->stop);
}

/* Of a path that is too long for any system call, its end. */
static char *problem_path(const char *dir, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s%s%s", dir, dir[0] && name[0] ? "/" : "", name);
	size_t len = strlen(path);

	return len <= PATH_MAX ? steal_ptr(path) : xasprintf("[...]%s", path + len - PATH_MAX);
}

void transfer_problem(struct transfer *transfer, const char *dir, const char *name, int code, const char *text)
{
	AUTO_FREE char *path = problem_path(dir, name);

	text = text ? text : error_text(code);
	atomic_fetch_add(&transfer->problems, 1);
	pthread_mutex_lock(&transfer->lock);
	if (!atomic_load(&transfer->stop) && transfer->options->problem)
		transfer->options->problem(transfer->options->arg, path[0] ? path : ".", code, text);
	pthread_mutex_unlock(&transfer->lock);
	/* what it is was told; that the file's name is not a possible one, say, is no fault of the command */
	if (transfer->options->strict)
		transfer_fail(transfer, -EIO, "stopped there, at the first problem");
}

void transfer_note(struct transfer *transfer, const char *format, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	pthread_mutex_lock(&transfer->lock);
	if (transfer->options->note)
		transfer->options->note(transfer->options->arg, text);
	pthread_mutex_unlock(&transfer->lock);
}

void transfer_fail(struct transfer *transfer, int code, const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&transfer->lock);
	if (transfer->failure.code == 0) {
		transfer->failure.code = code;
		va_start(args, format);
		vsnprintf(transfer->failure.text, sizeof(transfer->failure.text), format, args);
		va_end(args);
	}
	atomic_store(&transfer->stop, true);
	pthread_mutex_unlock(&transfer->lock);
}

void transfer_fail_with(struct transfer *transfer, const struct error *err)
{
	pthread_mutex_lock(&transfer->lock);
	if (transfer->failure.code == 0)
		transfer->failure = *err;
	atomic_store(&transfer->stop, true);
	pthread_mutex_unlock(&transfer->lock);
}

void transfer_store_result(struct transfer *transfer, const char *dir, const char *name, int code)
{
	switch (code) {
	case 0: return;
	case -ENOSPC: transfer_fail(transfer, code, "the store is full"); return;
	case -EDQUOT: transfer_fail(transfer, code, "the quota of the dataset is full"); return;
	case -ESTALE: transfer_fail(transfer, code, "the dataset was rolled back or destroyed meanwhile"); return;
	case -EROFS:
	case -EIO:
	case -ENOMEM: transfer_fail(transfer, code, "the store cannot be written: %s", error_text(code)); return;
	case -ECANCELED: transfer_fail(transfer, code, "cancelled"); return;
	default: transfer_problem(transfer, dir, name, code, NULL);
	}
}

void transfer_tell(struct transfer *transfer, const char *phase)
{
	transfer_tell_part(transfer, phase, atomic_load(&transfer->bytes) + atomic_load(&transfer->skipped_bytes),
	                   atomic_load(&transfer->total));
}

void transfer_tell_part(struct transfer *transfer, const char *phase, uint64_t done, uint64_t total)
{
	const struct transfer_options *options = transfer->options;
	struct transfer_progress progress = {.phase = phase, .done = done, .total = total, .files = atomic_load(&transfer->files)};

	if (options->progress && options->progress(options->arg, &progress) != 0)
		transfer_fail(transfer, -ECANCELED, "cancelled");
}

/* --- threads --- */

struct thread {
	struct transfer *transfer;
	transfer_fn function;
	void *arg;
	pthread_t id;
	bool started;
};

static void thread_run(struct thread *thread)
{
	thread->function(thread->arg);
	pthread_mutex_lock(&thread->transfer->lock);
	thread->transfer->running--;
	pthread_cond_broadcast(&thread->transfer->changed);
	pthread_mutex_unlock(&thread->transfer->lock);
}

static void *thread_main(void *arg)
{
	struct thread *thread = arg;

	impersonate_prepare(&thread->transfer->caller);
	thread_run(thread);
	return NULL;
}

void transfer_run(struct transfer *transfer, const transfer_fn *functions, size_t count, void *arg)
{
	struct thread *threads = xcalloc(count, sizeof(*threads));

	transfer->running = (unsigned)count;
	for (size_t i = 0; i < count; i++) {
		threads[i] = (struct thread){.transfer = transfer, .function = functions[i], .arg = arg};
		threads[i].started = pthread_create(&threads[i].id, NULL, thread_main, &threads[i]) == 0;
	}
	for (size_t i = 0; i < count; i++) {
		if (threads[i].started)
			continue;
		/* The functions end when they see it; which is then waited for by none but the one that runs here. */
		transfer_fail(transfer, -EAGAIN, "a thread could not be started");
		thread_run(&threads[i]);
	}
	pthread_mutex_lock(&transfer->lock);
	while (transfer->running > 0) {
		struct timespec until = clock_after_ms(TELL_EVERY_MS);

		if (pthread_cond_clockwait(&transfer->changed, &transfer->lock, CLOCK_MONOTONIC, &until) == 0)
			continue;
		pthread_mutex_unlock(&transfer->lock);
		transfer_tell(transfer, transfer->phase);
		pthread_mutex_lock(&transfer->lock);
	}
	pthread_mutex_unlock(&transfer->lock);
	for (size_t i = 0; i < count; i++)
		if (threads[i].started)
			pthread_join(threads[i].id, NULL);
	free(threads);
}

unsigned transfer_workers(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return (unsigned)MIN(MAX(cpus, 1) + 2, WORKERS_MAX);
}
