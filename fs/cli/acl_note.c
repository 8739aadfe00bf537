#include "fs/cli/acl_note.h"

#include <stdio.h>

void acl_note(const json_t *result)
{
	const long long acls = json_integer_value(json_object_get(result, "acls"));

	if (acls > 0)
		fprintf(stderr, "corpusfs: note: %lld %s access control lists, which a mount obeys only with -o acl\n", acls,
			acls == 1 ? "file or directory has" : "files and directories have");
}
