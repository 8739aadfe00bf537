#include "lib/ops/op_views.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/uncommitted.h"

#define NS_SECONDS_MAX (INT64_MAX / 1000000000 - 1)
#define KEY_MAX 64

void op_set_time(json_t *object, const char *key, struct timespec time)
{
	char exact[KEY_MAX];

	json_object_set_new(object, key, json_real((double)time.tv_sec + (double)time.tv_nsec / 1e9));
	if (time.tv_sec > NS_SECONDS_MAX || time.tv_sec < -NS_SECONDS_MAX)
		return;
	snprintf(exact, sizeof(exact), "%s_ns", key);
	json_object_set_new(object, exact, json_integer((json_int_t)time.tv_sec * 1000000000 + time.tv_nsec));
}

/* A head is looked at as it is committed, so commit it. */
int op_open_view(struct store *store, const char *name, struct view **ret_view, struct error *err)
{
	struct view *view;
	int result = store_view_by_name(store, name, &view, err);

	if (result == 0 && !view_read_only(view)) {
		result = view_sync(view);
		if (result < 0) {
			const uint32_t number = view_number(view);

			store_view_put(store, view);
			error_set(err, result, "\"%s\" cannot be looked at as it is now", name);
			(void)uncommitted_explain(store, &number, 1, err);
		}
	}
	if (result == 0)
		*ret_view = view;
	return result;
}
