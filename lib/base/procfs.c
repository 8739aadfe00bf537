#include "lib/base/procfs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"

#define STAT_MAX 4096

bool procfs_stat(pid_t pid, char *ret_state, uint64_t *ret_started)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int)pid);
	AUTO_BUF text = BUF_INIT;

	if (file_read(path, STAT_MAX, &text) < 0)
		return false;
	buf_add_u8(&text, 0);
	/* the command's name, in parentheses, may hold anything */
	const char *rest = strrchr((const char *)text.data, ')');
	return rest && sscanf(rest + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64, ret_state,
			      ret_started) == 2;
}

pid_t procfs_parent(pid_t pid)
{
	AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int)pid);
	AUTO_BUF text = BUF_INIT;
	int parent = 0;

	if (file_read(path, STAT_MAX, &text) < 0)
		return 0;
	buf_add_u8(&text, 0);
	const char *rest = strrchr((const char *)text.data, ')');
	return rest && sscanf(rest + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

bool procfs_is_stopped(pid_t pid)
{
	uint64_t started;
	char state;

	return procfs_stat(pid, &state, &started) && (state == 'T' || state == 't');
}

/* The first line. */
static void read_text(const char *path, char ret_text[PROCFS_TEXT_MAX])
{
	AUTO_BUF text = BUF_INIT;

	ret_text[0] = '\0';
	if (file_read(path, STAT_MAX, &text) < 0)
		return;
	buf_add_u8(&text, 0);
	snprintf(ret_text, PROCFS_TEXT_MAX, "%.*s", (int)strcspn((const char *)text.data, "\n"), (const char *)text.data);
}

void procfs_name(pid_t pid, char ret_name[PROCFS_TEXT_MAX])
{
	AUTO_FREE char *path = xasprintf("/proc/%d/comm", (int)pid);

	read_text(path, ret_name);
}

void procfs_waits_in(pid_t pid, pid_t thread, char ret_name[PROCFS_TEXT_MAX])
{
	AUTO_FREE char *path = xasprintf("/proc/%d/task/%d/wchan", (int)pid, (int)thread);

	read_text(path, ret_name);
	if (strcmp(ret_name, "0") == 0)
		ret_name[0] = '\0';
}

void procfs_boot(char ret_boot[PROCFS_BOOT_MAX])
{
	char text[PROCFS_TEXT_MAX];

	read_text("/proc/sys/kernel/random/boot_id", text);
	snprintf(ret_boot, PROCFS_BOOT_MAX, "%.*s", PROCFS_BOOT_MAX - 1, text);
}

void procfs_machine(char ret_machine[PROCFS_MACHINE_MAX])
{
	char text[PROCFS_TEXT_MAX];
	bool is_id;

	read_text("/etc/machine-id", text);
	/* Before the first boot has given it one, some images have a word there. */
	is_id = strlen(text) == PROCFS_MACHINE_MAX - 1 && strspn(text, "0123456789abcdef") == strlen(text);
	snprintf(ret_machine, PROCFS_MACHINE_MAX, "%.*s", is_id ? PROCFS_MACHINE_MAX - 1 : 0, text);
}

static uint64_t namespace_of_us(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_ino : 0;
}

uint64_t procfs_pid_namespace(void)
{
	char self[PROCFS_TEXT_MAX] = "";

	if (readlink("/proc/self", self, sizeof(self) - 1) < 0 || strtol(self, NULL, 10) != getpid())
		return 0;
	return namespace_of_us("/proc/self/ns/pid");
}

void procfs_place(char ret_place[PROCFS_PLACE_MAX])
{
	const uint64_t pids = procfs_pid_namespace(), time = namespace_of_us("/proc/self/ns/time");
	char boot[PROCFS_BOOT_MAX];

	procfs_boot(boot);
	ret_place[0] = '\0';
	if (pids && boot[0])
		snprintf(ret_place, PROCFS_PLACE_MAX, "%s/%" PRIu64 "/%" PRIu64, boot, pids, time);
}
