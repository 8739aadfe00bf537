#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "fs/cli/doctor.h"
#include "fs/daemon/serve/heritage.h"
#include "fs/fuse/session/libfuse.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/kv/engine.h"

#define DESCRIPTORS_WANTED 4096
#define RINGS "/sys/module/fuse/parameters/enable_uring" /* Linux 6.14 */

void doctor_note(json_t *findings, const char *area, const char *what, enum doctor_state state, const char *value, const char *mend)
{
	static const char *const names[] = {"ok", "slow", "note", "bad"};

	json_array_append_new(findings, json_pack("{s:s, s:s, s:s, s:s, s:s}", "area", area, "what", what, "value", value, "state",
	                                          names[state], "mend", state == DOCTOR_OK ? "" : mend));
}

static bool file_has(const char *path, const char *word)
{
	AUTO_BUF content = BUF_INIT;

	/* Files of /proc say more than they are large. */
	if (file_read(path, 1 << 20, &content) < 0)
		return false;
	buf_add(&content, "", 1);
	return strstr((const char *)content.data, word) != NULL;
}

static void check_kernel(json_t *findings)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	uname(&name);
	sscanf(name.release, "%u.%u", &major, &minor);
	doctor_note(findings, "system", "kernel", major > 5 || (major == 5 && minor >= 15) ? DOCTOR_OK : DOCTOR_SLOW, name.release,
	            "Linux 5.15 or newer writes and opens with fewer questions");
}

static void check_succession(json_t *findings)
{
	const bool possible = heritage_possible();

	doctor_note(findings, "system", "mounts outlive their daemon", possible ? DOCTOR_OK : DOCTOR_NOTE, possible ? "yes" : "no: they end when it dies",
	            "Linux 6.9 or newer sends again what a daemon that died had not answered, so that another can go on");
}

static void check_libraries(json_t *findings)
{
	doctor_note(findings, "system", "libfuse", DOCTOR_OK, fuse_library_version(), "");
	doctor_note(findings, "system", "RocksDB", DOCTOR_OK, kv_library_version(), "");
}

static void check_fuse(json_t *findings)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	doctor_note(findings, "system", "/dev/fuse", fd >= 0 ? DOCTOR_OK : DOCTOR_BAD, fd >= 0 ? "usable" : strerror(errno),
	            "modprobe fuse; a container needs --device /dev/fuse; without root it must be writable for you");
	if (fd >= 0)
		close(fd);
	bool there = access("/usr/bin/fusermount3", X_OK) == 0 || access("/bin/fusermount3", X_OK) == 0;
	bool allowed = file_has("/etc/fuse.conf", "\nuser_allow_other");
	bool root = geteuid() == 0; /* who needs neither */
	doctor_note(findings, "system", "fusermount3", there || root ? DOCTOR_OK : DOCTOR_BAD, there ? "found" : "not found",
	            "install the package fuse3: only root mounts without it");
	doctor_note(findings, "system", "user_allow_other", allowed || root ? DOCTOR_OK : DOCTOR_SLOW, allowed ? "set" : "not set",
	            "for -o allow_other without root, add the line user_allow_other to /etc/fuse.conf");
	if (access(RINGS, F_OK) == 0) {
		bool rings = file_has(RINGS, "Y");
		doctor_note(findings, "system", "FUSE over io_uring", rings ? DOCTOR_OK : DOCTOR_SLOW, rings ? "on" : "off",
		            "as root: echo Y > " RINGS ", then mount anew: a request of a snapshot's mount takes half the processor time");
	}
	bool control = file_has("/proc/self/mountinfo", " - fusectl ");
	doctor_note(findings, "system", "fusectl", control ? DOCTOR_OK : DOCTOR_SLOW, control ? "mounted" : "not mounted",
	            "mount -t fusectl none /sys/fs/fuse/connections: lets root end a mount that hangs");
}

static void check_processor(json_t *findings)
{
	bool sha = file_has("/proc/cpuinfo", " sha_ni") || file_has("/proc/cpuinfo", " sha2");
	bool wide = file_has("/proc/cpuinfo", " avx2") || file_has("/proc/cpuinfo", " asimd");

	doctor_note(findings, "system", "SHA-256 in hardware", sha ? DOCTOR_OK : DOCTOR_SLOW, sha ? "yes" : "no",
	            "taking data in is bounded by SHA-256 at about 0.4 GB/s per core here; a virtual machine may hide sha_ni: CPU model host");
	doctor_note(findings, "system", "vector instructions", wide ? DOCTOR_OK : DOCTOR_SLOW, wide ? "yes" : "no",
	            "checking what is read takes longer; a virtual machine may hide avx2: CPU model host");
	bool awake = access("/dev/cpu_dma_latency", W_OK) == 0;
	doctor_note(findings, "system", "processors kept awake", awake ? DOCTOR_OK : DOCTOR_SLOW, awake ? "while requests come" : "no",
	            "each request pays for waking an idle processor: let the daemon write to /dev/cpu_dma_latency");
}

static void check_limits(json_t *findings)
{
	struct rlimit limit = {0};
	char value[64];

	getrlimit(RLIMIT_NOFILE, &limit);
	snprintf(value, sizeof(value), "%llu", (unsigned long long)limit.rlim_max);
	doctor_note(findings, "system", "open files allowed", limit.rlim_max >= DESCRIPTORS_WANTED ? DOCTOR_OK : DOCTOR_SLOW, value,
	            "raise the hard limit: ulimit -Hn, or nofile in /etc/security/limits.conf");
	bool huge = !file_has("/sys/kernel/mm/transparent_hugepage/enabled", "[never]");
	doctor_note(findings, "system", "huge pages", huge ? DOCTOR_OK : DOCTOR_SLOW, huge ? "on" : "never",
	            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled: cold reads and writes get faster");
}

void doctor_system(json_t *findings)
{
	check_kernel(findings);
	check_succession(findings);
	check_libraries(findings);
	check_fuse(findings);
	check_processor(findings);
	check_limits(findings);
}
