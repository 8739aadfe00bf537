#include "lib/store/mend_keep.h"

#include <errno.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/kv/mend.h"

int mend_keep(const struct store_dir *dir, const char *db, char **ret_kept, struct error *err)
{
	char when[32];

	clock_format(clock_now().tv_sec, when);
	AUTO_FREE char *name = xasprintf(STORE_KEPT "%s", when);
	for (unsigned i = 2; store_dir_has(dir, name); i++) {
		free(name);
		name = xasprintf(STORE_KEPT "%s-%u", when, i);
	}
	AUTO_FREE char *copy = store_dir_inside(dir, name);
	int result = kv_mend_keep(db, copy);
	if (result == 0 && fsync(dir->fd) < 0)
		result = -errno;
	if (result < 0)
		return error_set(err, result, "%s/%s: %s; nothing was changed", dir->path, name, error_text(result));
	*ret_kept = xasprintf("%s/%s", dir->path, name);
	return 0;
}
