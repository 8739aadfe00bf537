#include "lib/repository/origin.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#define ENTRY_ROOM 16384

struct origin origin_of_process(void)
{
	struct origin origin = {0};
	struct passwd entry, *found = NULL;
	char room[ENTRY_ROOM];

	(void)gethostname(origin.host, sizeof(origin.host) - 1);
	if (getpwuid_r(geteuid(), &entry, room, sizeof(room), &found) == 0 && found)
		(void)snprintf(origin.user, sizeof(origin.user), "%s", found->pw_name);
	return origin;
}
