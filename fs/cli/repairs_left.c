#include "fs/cli/repairs_left.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "fs/cli/run.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/ops/json.h"
#include "lib/store/mend.h"

int repairs_left(const struct cli *cli, json_t *names, struct error *err)
{
	AUTO_FREE char *store = NULL;
	const char *name;
	int result = run_find_store(cli, &store, err);

	if (result < 0)
		return result;
	DIR *dir = opendir(store);
	result = dir ? 1 : -errno;
	while (result > 0 && (result = file_next_entry(dir, &name)) > 0)
		if (strncmp(name, STORE_KEPT, strlen(STORE_KEPT)) == 0)
			json_array_append_new(names, json_from_bytes(name));
	if (dir)
		closedir(dir);
	return result < 0 ? error_set(err, result, "what repairs have left in %s cannot be listed: %s", store, error_text(result)) : 0;
}
