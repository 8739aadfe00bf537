#include <stdio.h>
#include <string.h>

#include "fs/cli/doctor.h"
#include "fs/cli/where.h"
#include "lib/base/shell.h"

struct look {
	json_t *findings;
	const char *store, *mountpoint;
	bool silent;
};

static void look_at(void *arg, const char *mountpoint, const char *store, unsigned connection)
{
	struct look *look = arg;
	AUTO_FREE char *mend = NULL;

	if (look->mountpoint ? strcmp(mountpoint, look->mountpoint) != 0 : look->store && (!store || strcmp(store, look->store) != 0))
		return;
	switch (where_health(mountpoint)) {
	case WHERE_ALIVE: doctor_note(look->findings, mountpoint, "daemon", DOCTOR_OK, "answers", ""); break;
	case WHERE_DEAD:
		mend = shell_text("corpusfs umount %s takes the mount away; what was synced is on disk, and a new mount shows it", mountpoint);
		doctor_note(look->findings, mountpoint, "daemon", DOCTOR_BAD, "has died: whoever uses the mount gets an error", mend);
		break;
	case WHERE_SILENT:
		look->silent = true;
		mend = shell_text("the file \"log\" in the store may say why; corpusfs umount --force %s ends the mount", mountpoint);
		doctor_note(look->findings, mountpoint, "daemon", DOCTOR_BAD, "does not answer", mend);
		break;
	}
}

bool doctor_mounts(json_t *findings, const char *store, const char *mountpoint)
{
	struct look look = {.findings = findings, .store = store, .mountpoint = mountpoint};

	where_each(look_at, &look);
	return !look.silent;
}
