#include "lib/repository/lock_holder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/repository/go_text.h"
#include "lib/repository/process_json.h"
#include "lib/repository/read_several.h"

#define STALE_S (30 * 60)

/* A clone of this machine has its names; but what it puts while we run is later than our boot, and what it put before that it has put anew. */
static bool is_from_before_the_boot(const struct timespec *time)
{
	const int64_t now = clock_now().tv_sec;

	return time->tv_sec < now - (int64_t)(clock_boot_ms() / 1000) && now - time->tv_sec > LOCK_RENEWED_S;
}

static enum process_state look_at_process(const json_t *object, const struct timespec *time)
{
	const enum process_state process = process_json_look(object, LOCK_BEFORE);

	if (process != PROCESS_BEFORE)
		return process;
	return is_from_before_the_boot(time) ? PROCESS_GONE : PROCESS_UNKNOWN;
}

int lock_holder_read(struct repository *repository, const char *name, struct lock_holder *holder, struct error *err)
{
	AUTO_BUF json = BUF_INIT;
	int r = repository_get_file(repository, OBJECT_LOCK, name, &json, err);
	json_t *object;
	const char *time_text, *host, *user;
	enum process_state process;
	bool is_known;
	struct timespec time;
	int64_t age;
	long pid;

	if (r == -EBADMSG && json.len == 0)
		return -ENOENT;
	if (r < 0) {
		if (r != -ENOENT)
			error_hint(err, "if nobody works with the repository: corpusfs backup unlock --all REPOSITORY");
		return r;
	}
	object = json_loadb((char *)json.data, json.len, 0, NULL);
	time_text = json_string_value(json_object_get(object, "time"));
	host = json_string_value(json_object_get(object, "hostname"));
	user = json_string_value(json_object_get(object, "username"));
	pid = (long)json_integer_value(json_object_get(object, "pid"));
	if (!time_text || !host || !user || go_time_parse(time_text, &time) < 0) {
		json_decref(object);
		return error_set(err, -EBADMSG, "lock %.8s of the repository is damaged", name);
	}
	age = clock_now().tv_sec - time.tv_sec;
	(void)snprintf(holder->name, sizeof(holder->name), "%s", name);
	holder->exclusive = json_is_true(json_object_get(object, "exclusive"));
	process = look_at_process(object, &time);
	is_known = process != PROCESS_UNKNOWN && process != PROCESS_HIDDEN;
	holder->is_aged = age > STALE_S && !is_known;
	holder->is_stale = holder->is_aged || process == PROCESS_GONE;
	holder->is_elsewhere = !is_known;
	(void)snprintf(holder->text, sizeof(holder->text), "by %s on %s, process %ld, %lld minutes %s", user, host, pid, (long long)(llabs(age) / 60),
	               age < -60 ? "ahead of this machine's clock" : "ago");
	json_decref(object);
	return 0;
}

struct look {
	struct repository *repository;
	bool lenient;
	lock_holder_fn each;
	void *arg;
	struct lock_holder holders[READ_SEVERAL];
};

static int look_at(void *arg, size_t slot, const char *name, struct error *err)
{
	struct look *look = arg;

	look->holders[slot] = (struct lock_holder){0};
	return lock_holder_read(look->repository, name, &look->holders[slot], err);
}

static int give(void *arg, size_t slot, int result, bool is_over)
{
	struct look *look = arg;

	if (is_over || result == -ENOENT || (result < 0 && look->lenient))
		return 0;
	return result < 0 ? result : look->each(look->arg, &look->holders[slot]);
}

int lock_holders_each(struct repository *repository, const struct object_names *names, bool lenient, lock_holder_fn each, void *arg, struct error *err)
{
	struct look *look = xcalloc(1, sizeof(*look));
	int r;

	look->repository = repository;
	look->lenient = lenient;
	look->each = each;
	look->arg = arg;
	r = read_several(names, &(struct read_several){look_at, give, look, 0}, err);
	free(look);
	return r;
}
