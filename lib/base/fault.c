#include "lib/base/fault.h"

#ifndef FAULT_POINTS_OFF

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/base/fault_points.h"

enum action { ACTION_KILL, ACTION_ABORT, ACTION_STOP, ACTION_ERRNO, ACTION_SLEEP };

struct fault {
	char *name;
	enum action action;
	int code;         /* ACTION_ERRNO */
	unsigned long ms; /* ACTION_SLEEP */
	unsigned long nth;
	atomic_ulong passes;
};

/* The one piece of process-wide state of the library: the environment is process-wide too. Written once, under `once`. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_bool known_off;
static ARRAY(struct fault) faults;

/* A test with a misspelt fault would pass without having tested anything, so it must not run at all. */
static void refuse(const char *spec)
{
	fprintf(stderr, "CORPUSFS_FAULT: cannot understand \"%s\"\n", spec);
	abort();
}

static bool is_point(const char *name)
{
#define POINT_NAME(point, disk, who) point,
	static const char *const points[] = {FAULT_POINTS(POINT_NAME)};
#undef POINT_NAME

	for (size_t i = 0; i < ARRAY_SIZE(points); i++)
		if (strcmp(points[i], name) == 0)
			return true;
	return false;
}

static bool parse_number(const char *text, unsigned long *ret_number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	*ret_number = strtoul(text, &end, 10);
	return *end == '\0';
}

static bool parse_action(const char *text, struct fault *fault)
{
	static const struct {
		const char *name;
		enum action action;
		int code;
	} actions[] = {{"kill", ACTION_KILL, 0},          {"abort", ACTION_ABORT, 0},   {"stop", ACTION_STOP, 0},
	               {"enospc", ACTION_ERRNO, -ENOSPC}, {"eio", ACTION_ERRNO, -EIO}, {"enomem", ACTION_ERRNO, -ENOMEM}};

	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (strcmp(text, actions[i].name) != 0)
			continue;
		fault->action = actions[i].action;
		fault->code = actions[i].code;
		return true;
	}
	fault->action = ACTION_SLEEP;
	return strncmp(text, "sleep", 5) == 0 && parse_number(text + 5, &fault->ms);
}

static void parse_one(const char *spec)
{
	AUTO_FREE char *copy = xstrdup(spec);
	char *rest = copy;
	const char *name = strsep(&rest, ":");
	const char *action = strsep(&rest, ":");
	struct fault fault = {.action = ACTION_KILL, .nth = 1};

	if (!is_point(name))
		refuse(spec);
	if (action && !parse_action(action, &fault))
		refuse(spec);
	if (rest && (!parse_number(rest, &fault.nth) || fault.nth == 0))
		refuse(spec);
	fault.name = xstrdup(name);
	array_add(&faults, fault);
}

static void parse_environment(void)
{
	const char *value = getenv("CORPUSFS_FAULT");

	if (!value || *value == '\0') {
		atomic_store(&known_off, true);
		return;
	}
	AUTO_FREE char *copy = xstrdup(value);
	for (char *rest = copy, *spec = strsep(&rest, ","); spec; spec = strsep(&rest, ","))
		parse_one(spec);
}

static int act(const struct fault *fault)
{
	if (fault->action == ACTION_ERRNO)
		return fault->code;
	if (fault->action == ACTION_SLEEP) {
		struct timespec left = {.tv_sec = (time_t)(fault->ms / 1000), .tv_nsec = (long)(fault->ms % 1000) * 1000000};
		while (nanosleep(&left, &left) < 0 && errno == EINTR)
			;
		return 0;
	}
	if (fault->action == ACTION_STOP)
		return raise(SIGSTOP); /* also this thread goes no further */
	if (fault->action == ACTION_ABORT)
		abort();
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

int fault_point(const char *name)
{
	int result = 0;

	if (atomic_load_explicit(&known_off, memory_order_relaxed))
		return 0;
	pthread_once(&once, parse_environment);
	for (size_t i = 0; i < faults.count; i++) {
		struct fault *fault = &faults.items[i];
		/* each counts every pass, also one in which another acts */
		if (strcmp(fault->name, name) == 0 && atomic_fetch_add(&fault->passes, 1) + 1 == fault->nth && result == 0)
			result = act(fault);
	}
	return result;
}

unsigned long fault_passes(const char *name)
{
	pthread_once(&once, parse_environment);
	for (size_t i = 0; i < faults.count; i++)
		if (strcmp(faults.items[i].name, name) == 0)
			return atomic_load(&faults.items[i].passes);
	return 0;
}

bool fault_quick_keys(void)
{
	const char *value = getenv("CORPUSFS_FAULT_QUICK_KEYS");

	return value && strcmp(value, "1") == 0;
}

#endif
