#include "lib/base/process_mark.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What the first namespace of pids has as its number on every machine (the kernel's PROC_PID_INIT_INO): who is in it is in no container. */
#define FIRST_PID_NAMESPACE 0xEFFFFFFCU

void process_mark_of(pid_t pid, struct process_mark *ret_mark)
{
	char state;

	*ret_mark = (struct process_mark){.pid = pid};
	if (!procfs_stat(pid, &state, &ret_mark->started))
		ret_mark->started = 0;
	procfs_place(ret_mark->place);
	procfs_machine(ret_mark->machine);
	(void)gethostname(ret_mark->host, sizeof(ret_mark->host) - 1);
}

enum process_state process_look(pid_t pid, uint64_t started)
{
	uint64_t found;
	char state;

	if (kill(pid, 0) < 0 && errno == ESRCH)
		return PROCESS_GONE;
	if (!procfs_stat(pid, &state, &found))
		return PROCESS_HIDDEN;
	if (state == 'Z' || state == 'X' || (started && found != started))
		return PROCESS_GONE;
	return state == 'T' || state == 't' ? PROCESS_STOPPED : PROCESS_LIVES;
}

static bool is_outside_of_containers(const char *place)
{
	const char *slash = strchr(place, '/');
	uint64_t pids;

	return slash && sscanf(slash, "/%" SCNu64 "/", &pids) == 1 && pids == FIRST_PID_NAMESPACE;
}

static bool is_same_boot(const char *place, const char *other)
{
	const size_t len = strcspn(place, "/");

	return len == strcspn(other, "/") && memcmp(place, other, len) == 0;
}

static bool ran_before_the_boot(const struct process_mark *mark, const struct process_mark *us)
{
	return us->host[0] && strcmp(mark->host, us->host) == 0 && us->machine[0] && strcmp(mark->machine, us->machine) == 0 &&
	       is_outside_of_containers(mark->place) && is_outside_of_containers(us->place) && !is_same_boot(mark->place, us->place);
}

enum process_state process_mark_look(const struct process_mark *mark)
{
	struct process_mark us;

	process_mark_of(getpid(), &us);
	if (mark->pid <= 0 || !mark->place[0] || !us.place[0])
		return PROCESS_UNKNOWN;
	if (strcmp(mark->place, us.place) == 0)
		return mark->started ? process_look(mark->pid, mark->started) : PROCESS_UNKNOWN;
	return ran_before_the_boot(mark, &us) ? PROCESS_BEFORE : PROCESS_UNKNOWN;
}
