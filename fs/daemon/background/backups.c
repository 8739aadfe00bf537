#include "fs/daemon/background/backups.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/backup/backup_schedule.h"
#include "lib/base/clock.h"
#include "lib/verify/heal_plan.h"

#define LOOK_EVERY_MS 60000
#define TELL_EVERY_MS (24 * 3600 * 1000ULL)
#define PATIENCE_MS 2000
#define WAIT_STEP_US 20000

static int is_due(void *arg, const struct dataset_info *dataset, const json_t *entry)
{
	enum backup_kind kind;

	(void)dataset;
	return backup_schedule_due(entry, *(const int64_t *)arg, &kind);
}

/* Of our threads' signal mask it must have nothing: it ends by signals. */
static int spawn(const char *store, pid_t *ret_child)
{
	const char *const argv[] = {"corpusfs", "-s", store, "tick", NULL};
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	r = -posix_spawn(ret_child, "/proc/self/exe", NULL, &attributes, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attributes);
	return r;
}

/* When content was healed for the last time; 0: never. */
static int64_t healed_at(struct store *store)
{
	json_t *status = heal_plan_status(store);
	const int64_t time = (int64_t)json_integer_value(json_object_get(json_object_get(status, "last"), "time"));

	json_decref(status);
	return time;
}

static void log_healed(struct backups *backups, struct store *store, struct log *log)
{
	json_t *status = heal_plan_status(store);
	const json_t *last = json_object_get(status, "last");

	if ((int64_t)json_integer_value(json_object_get(last, "time")) != backups->healed)
		log_line(log, "info", "healed", "chunks=%lld bytes=%lld from=\"%s\"", (long long)json_integer_value(json_object_get(last, "chunks")),
			 (long long)json_integer_value(json_object_get(last, "bytes")), json_string_value(json_object_get(last, "from")));
	json_decref(status);
}

/* True: it has ended, or was never there. */
static bool has_ended(struct backups *backups, int *ret_status)
{
	const pid_t ended = waitpid(backups->child, ret_status, WNOHANG);

	if (ended == 0 || (ended < 0 && errno == EINTR))
		return false;
	if (ended < 0)
		*ret_status = 0;
	backups->child = 0;
	return true;
}

struct late {
	struct log *log;
	int64_t now;
	bool any;
};

static int log_one_late(void *arg, const struct dataset_info *dataset, const json_t *entry)
{
	struct late *late = arg;
	const char *kind;
	json_t *period;

	json_object_foreach(json_object_get(entry, "every"), kind, period) {
		enum backup_kind number;

		if (backup_kind_parse(kind, &number) < 0 || !backup_schedule_late(entry, number, late->now))
			continue;
		late->any = true;
		log_line(late->log, "warning", "late", "dataset=\"%s\" kind=%s every=%s repository=\"%s\" hint=\"corpusfs status\"", dataset->name, kind,
		         json_string_value(period), json_string_value(json_object_get(entry, "repository")));
	}
	return 0;
}

/* What is due is made first: told is what is late when nothing is due, or when that has failed. */
static void log_late(struct backups *backups, struct store *store, struct log *log)
{
	struct late late = {.log = log, .now = clock_now().tv_sec};

	if (clock_ms() < backups->tell_ms || backup_schedule_each(store, log_one_late, &late) < 0)
		return;
	if (late.any)
		backups->tell_ms = clock_ms() + TELL_EVERY_MS;
}

void backups_look(struct backups *backups, struct store *store, struct log *log)
{
	int64_t now = clock_now().tv_sec;
	int status, r;

	if (backups->child > 0) {
		if (!has_ended(backups, &status))
			return;
		log_healed(backups, store, log);
		if (status != 0) {
			log_line(log, "error", "backup", "text=\"a scheduled backup, a drill or healing failed\" hint=\"corpusfs status\"");
			log_late(backups, store, log);
		}
		return;
	}
	if (clock_ms() < backups->due_ms)
		return;
	backups->due_ms = clock_ms() + LOOK_EVERY_MS;
	if (backup_schedule_each(store, is_due, &now) <= 0 && !heal_plan_due(store, now)) {
		log_late(backups, store, log);
		return;
	}
	backups->healed = healed_at(store);
	r = spawn(store_path(store), &backups->child);
	if (r < 0) {
		backups->child = 0;
		log_line(log, "error", "backup", "text=\"corpusfs tick cannot be started: %s\"", strerror(-r));
	}
}

void backups_stop(struct backups *backups, struct log *log)
{
	const uint64_t begun = clock_ms();
	int status;

	if (backups->child <= 0)
		return;
	log_line(log, "info", "backup", "text=\"what a schedule has begun is interrupted\" hint=\"the next mount goes on with it\"");
	kill(backups->child, SIGTERM);
	while (!has_ended(backups, &status)) {
		if (clock_ms() - begun > PATIENCE_MS)
			kill(backups->child, SIGKILL);
		clock_pause_us(WAIT_STEP_US);
	}
}
