#include "fs/cli/hint.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/where.h"
#include "lib/base/shell.h"

#define PROGRAM "corpusfs "

/* The first words of commands for the store that is meant. What a hint says of `send` is for another one, and the others name theirs. */
static const char *const words[] = {"check",   "clone",   "damage", "dataset", "demote",  "diff",     "du",    "export",   "gc",   "import",  "promote",
				    "publish", "receive", "repair", "restore", "rollback", "scrub", "snapshot", "tick", "versions", "why"};

static bool wants_store(const char *command)
{
	const size_t len = strspn(command, "abcdefghijklmnopqrstuvwxyz-");

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strlen(words[i]) == len && memcmp(words[i], command, len) == 0)
			return true;
	return false;
}

/* $CORPUSFS_STORE may be where it is mounted. */
static bool is_found(const char *store)
{
	const char *named = getenv("CORPUSFS_STORE");
	const bool is_named = named && *named;
	AUTO_FREE char *place = is_named ? where_absolute(named) : getcwd(NULL, 0), *wanted = where_absolute(store);
	AUTO_FREE char *mounted = place ? where_store_of(place, NULL) : NULL;
	const char *found = mounted || !is_named ? mounted : place;

	return found && wanted && strcmp(found, wanted) == 0;
}

void hint_name_store(struct error *err, const char *store)
{
	AUTO_BUF text = BUF_INIT;
	const char *rest = err->hint;

	if (!store || !strstr(rest, PROGRAM) || is_found(store))
		return;
	for (const char *found; (found = strstr(rest, PROGRAM)); rest = found + strlen(PROGRAM)) {
		buf_addf(&text, "%.*s" PROGRAM, (int)(found - rest), rest);
		if (!wants_store(found + strlen(PROGRAM)))
			continue;
		buf_addf(&text, "-s ");
		shell_add(&text, store);
		buf_add_u8(&text, ' ');
	}
	buf_addf(&text, "%s", rest);
	buf_add_u8(&text, 0);
	/* one that is cut off is no command */
	if (text.len <= sizeof(err->hint))
		memcpy(err->hint, text.data, text.len);
}
