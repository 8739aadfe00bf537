#include "lib/ops/op_views.h"

#include <errno.h>
#include <string.h>

/* A head is looked at as it is committed, so commit it. */
int op_open_view(struct store *store, const char *name, struct view **ret_view, struct error *err)
{
	struct view *view;
	int result = store_view_by_name(store, name, &view, err);

	if (result == 0 && !view_read_only(view)) {
		result = view_sync(view);
		if (result < 0) {
			store_view_put(store, view);
			error_set(err, result, "\"%s\" could not be committed: %s", name, strerror(-result));
		}
	}
	if (result == 0)
		*ret_view = view;
	return result;
}
