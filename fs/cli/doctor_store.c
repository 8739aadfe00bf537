#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs/cli/doctor.h"
#include "fs/cli/units.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/procfs.h"

#define READ_AHEAD_WANTED_KB 1024
#define XFS_MAGIC 0x58465342
#define FREE_WANTED (4ULL << 30)

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void check_filesystem(json_t *findings, const char *store)
{
	static const struct {
		long magic;
		const char *name;
		enum doctor_state state;
		const char *mend;
	} known[] = {
		{EXT4_SUPER_MAGIC, "ext4", DOCTOR_OK, ""},
		{XFS_MAGIC, "xfs", DOCTOR_OK, ""},
		{BTRFS_SUPER_MAGIC, "btrfs", DOCTOR_SLOW, "chattr +C on an empty directory before init: the store checks and compresses by itself"},
		{TMPFS_MAGIC, "tmpfs", DOCTOR_NOTE, "everything is gone with the next start of the machine"},
		{NFS_SUPER_MAGIC, "nfs", DOCTOR_BAD, "locks and fsync over the network are not to be relied upon: use a local disk"},
		{FUSE_SUPER_MAGIC, "fuse", DOCTOR_BAD, "a store within a FUSE filesystem is slow, and may wait for itself: use a local disk"},
		{OVERLAYFS_SUPER_MAGIC, "overlayfs", DOCTOR_SLOW, "use a volume of the container instead of its own layers"},
	};
	struct statfs fs;
	char other[32];

	if (statfs(store, &fs) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (fs.f_type == known[i].magic) {
			doctor_note(findings, "store", "filesystem", known[i].state, known[i].name, known[i].mend);
			return;
		}
	snprintf(other, sizeof(other), "type 0x%lx", (unsigned long)fs.f_type);
	doctor_note(findings, "store", "filesystem", DOCTOR_OK, other, "");
}

static void check_space(json_t *findings, const char *store, const json_t *status)
{
	uint64_t left = (uint64_t)number(status, "free_bytes"), whole;
	char value[128], free_text[UNITS_MAX], whole_text[UNITS_MAX];
	struct statvfs fs;
	enum doctor_state state = left == 0 ? DOCTOR_BAD : left < FREE_WANTED ? DOCTOR_NOTE : DOCTOR_OK;

	if (statvfs(store, &fs) < 0)
		return;
	whole = (uint64_t)fs.f_bavail * fs.f_frsize;
	units_size(left, free_text);
	units_size(whole, whole_text);
	snprintf(value, sizeof(value), "%s can be written, of %s that are free on the disk", free_text, whole_text);
	doctor_note(findings, "store", "free space", state, value,
	            "destroy snapshots that nobody needs and run corpusfs gc, or make room on the disk");
}

#define SCRUB_AGE_WANTED (45LL * 24 * 3600)

static void check_damage(json_t *findings, const json_t *status)
{
	const json_t *damage = json_object_get(status, "damage"), *scrub = json_object_get(status, "scrub");
	const json_int_t chunks = number(damage, "chunks"), end = number(scrub, "last_end");
	const bool tables = json_is_true(json_object_get(damage, "tables")), unneeded = json_is_true(json_object_get(damage, "unneeded"));
	const bool old = end + SCRUB_AGE_WANTED < clock_now().tv_sec;
	char value[64], when[UNITS_MAX] = "never";

	snprintf(value, sizeof(value), "%lld chunk%s%s", (long long)chunks, chunks == 1 ? "" : "s", tables ? ", tables" : "");
	if (chunks > 0 || tables)
		doctor_note(findings, "store", "damage", DOCTOR_BAD, chunks > 0 ? value : "tables",
			    chunks == 0 && number(damage, "healed") > 0
				    ? "what was damaged is healed: corpusfs scrub looks whether tables still are"
				    : "corpusfs damage says what is hurt; copying or importing the same data again heals content, corpusfs repair mends tables");
	else
		doctor_note(findings, "store", "damage", unneeded ? DOCTOR_NOTE : DOCTOR_OK, unneeded ? "none that a file needs" : "none known",
			    "tables of content have damaged blocks: corpusfs repair --apply makes them anew, while the store is not mounted");
	if (end > 0)
		units_time((double)end, when);
	doctor_note(findings, "store", "last scrub", old ? DOCTOR_NOTE : DOCTOR_OK, when, "corpusfs scrub, or corpusfs scrub schedule monthly");
	if (end > 0)
		json_object_set_new(json_array_get(findings, json_array_size(findings) - 1), "time", json_integer(end));
}

static void check_healing(json_t *findings, const json_t *status)
{
	const char *failure = json_string_value(json_object_get(json_object_get(status, "healing"), "failure"));

	if (failure)
		doctor_note(findings, "store", "healing", DOCTOR_BAD, failure, "corpusfs tick looks in the backups again, and says what hinders it");
}

static void check_uncommitted(json_t *findings, const json_t *status)
{
	const json_t *uncommitted = json_object_get(status, "uncommitted");
	const json_int_t files = number(uncommitted, "files");
	const char *file = json_string_value(json_object_get(uncommitted, "file"));

	if (!uncommitted)
		return;
	AUTO_FREE char *value = xasprintf("%lld file%s%s%s: %s", (long long)files, files == 1 ? "" : "s", !file ? "" : files == 1 ? ", " : ", one of them ",
	                                  file ? file : "", json_string_value(json_object_get(uncommitted, "error")));
	doctor_note(findings, "store", "not on disk", DOCTOR_BAD, value,
	            "make room if the disk is full; else copy what can be read of the file and remove it, or go back with corpusfs rollback --no-guard");
}

static void check_backups(json_t *findings, const json_t *status)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(status, "backups"), i, row) {
		const bool late = json_is_true(json_object_get(row, "late"));
		const char *failure = json_string_value(json_object_get(row, "failure"));
		AUTO_FREE char *what = json_object_get(row, "kind") ? xasprintf("%s of %s", json_string_value(json_object_get(row, "kind")),
		                                                              json_string_value(json_object_get(row, "dataset"))) : xstrdup("backups");

		doctor_note(findings, "backups", what, late ? DOCTOR_BAD : DOCTOR_OK, failure ? failure : late ? "late" : "in time",
		            "corpusfs tick makes what is due and says what hinders it");
	}
	json_array_foreach(json_object_get(status, "drills"), i, row) {
		const char *failure = json_string_value(json_object_get(row, "failure")), *repository = json_string_value(json_object_get(row, "repository"));
		AUTO_FREE char *what = repository ? xasprintf("drill of %s", repository) : xstrdup("drills");
		AUTO_FREE char *mend = xasprintf("corpusfs backup drill %s tries again; if it is gone, --forget ends this", repository ? repository : "REPO");

		doctor_note(findings, "backups", what, failure ? DOCTOR_BAD : DOCTOR_OK, failure ? failure : "came back", mend);
	}
}

static void check_read_ahead(json_t *findings, const char *area, const json_t *mount)
{
	json_int_t kb = number(mount, "read_ahead_kb");
	char value[64], mend[256];

	snprintf(value, sizeof(value), kb ? "%lld KiB" : "not known", (long long)kb);
	snprintf(mend, sizeof(mend),
	         "as root: echo 4096 > /sys/class/bdi/$(mountpoint -d %s)/read_ahead_kb, or mount as root, which does it",
	         json_string_value(json_object_get(mount, "mountpoint")));
	doctor_note(findings, area, "read-ahead", kb >= READ_AHEAD_WANTED_KB ? DOCTOR_OK : DOCTOR_SLOW, value, mend);
}

static void check_mount(json_t *findings, const json_t *mount)
{
	const char *area = json_string_value(json_object_get(mount, "mountpoint"));
	bool read_only = json_is_true(json_object_get(mount, "read_only"));
	bool killpriv = json_is_true(json_object_get(mount, "killpriv_v2"));
	bool no_open = json_is_true(json_object_get(mount, "no_open"));
	char value[64];

	if (json_is_true(json_object_get(mount, "detached"))) {
		snprintf(value, sizeof(value), "detached; %lld files are open in it", (long long)number(mount, "open_files"));
		doctor_note(findings, area, "mount", DOCTOR_NOTE, value, "it ends when nobody uses it any more; a new mount shows the same files");
		return;
	}
	snprintf(value, sizeof(value), "7.%lld", (long long)number(mount, "protocol_minor"));
	doctor_note(findings, area, "protocol", DOCTOR_OK, value, "");
	check_read_ahead(findings, area, mount);
	if (read_only) {
		doctor_note(findings, area, "opens without a question", no_open ? DOCTOR_OK : DOCTOR_SLOW, no_open ? "yes" : "no",
		            "the kernel is too old for it: small files are read several times as fast with it");
		return;
	}
	doctor_note(findings, area, "privileges killed by the daemon", killpriv ? DOCTOR_OK : DOCTOR_SLOW, killpriv ? "yes" : "no",
	            "the kernel asks for security.capability at every write: Linux 5.12 or newer does not");
	doctor_note(findings, area, "reading mode", DOCTOR_OK, "read-write; a read-only or snapshot mount reads small files faster", "");
}

/* Of a daemon that answers. */
static void check_daemon(json_t *findings, const json_t *status)
{
	const bool supervised = json_is_true(json_object_get(status, "supervised"));
	const pid_t supervisor = (pid_t)number(status, "supervisor");
	const char *version = json_string_value(json_object_get(status, "version"));
	char value[128];

	if (!json_object_get(status, "pid"))
		return;
	snprintf(value, sizeof(value), "process %lld, version %s", (long long)number(status, "pid"), version ? version : "unknown");
	doctor_note(findings, "store", "daemon", version && strcmp(version, CORPUSFS_VERSION) == 0 ? DOCTOR_OK : DOCTOR_NOTE, value,
		    supervised ? "this program is another version: corpusfs restart has it go on with the mounts"
			       : "this program is another version: it serves the mounts after they are mounted anew");
	if (!supervised) {
		const char *why = json_string_value(json_object_get(status, "unsupervised"));
		snprintf(value, sizeof(value), "none (%s): if the daemon dies, its mounts end", why ? why : "an older program");
		doctor_note(findings, "store", "supervisor", DOCTOR_NOTE, value, "unmount, and mount again: it has one then, unless that is still so");
		return;
	}
	const long long crashes = number(status, "crashes");
	if (crashes > 0)
		snprintf(value, sizeof(value), "process %d; %lld of its daemons died", (int)supervisor, crashes);
	else
		snprintf(value, sizeof(value), "process %d", (int)supervisor);
	if (!procfs_is_stopped(supervisor)) {
		doctor_note(findings, "store", "supervisor", crashes > 0 ? DOCTOR_NOTE : DOCTOR_OK, value, "the file \"log\" in the store says when");
		return;
	}
	snprintf(value, sizeof(value), "process %d, which is stopped", (int)supervisor);
	doctor_note(findings, "store", "supervisor", DOCTOR_BAD, value, "if the daemon dies, everybody waits: have it go on with kill -CONT");
}

void doctor_store(json_t *findings, const char *store, const json_t *status, const char *mountpoint)
{
	json_t *mounts = json_object_get(status, "mounts"), *mount;
	size_t i;

	doctor_note(findings, "store", "path", DOCTOR_OK, store, "");
	check_filesystem(findings, store);
	check_space(findings, store, status);
	check_damage(findings, status);
	check_healing(findings, status);
	check_uncommitted(findings, status);
	check_backups(findings, status);
	check_daemon(findings, status);
	json_array_foreach (mounts, i, mount) {
		const char *point = json_string_value(json_object_get(mount, "mountpoint"));
		if (!mountpoint || strcmp(point, mountpoint) == 0)
			check_mount(findings, mount);
	}
}
