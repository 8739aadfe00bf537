#include "fs/cli/keep.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/base/buf.h"

static const char *const keep_names[] = {"last", "hourly", "daily", "weekly", "monthly", "yearly"};

int keep_set(struct cli *cli, json_t *args, struct error *err)
{
	json_t *keep = json_object();

	json_object_set_new(args, "keep", keep);
	for (size_t i = 0; i < ARRAY_SIZE(keep_names); i++) {
		AUTO_FREE char *option = xasprintf("keep-%s", keep_names[i]);
		const char *value = cli_option(cli, option);
		char *end;
		unsigned long count = value ? strtoul(value, &end, 10) : 0;

		if (!value)
			continue;
		if (end == value || *end || count == 0 || count > 1000000)
			return error_set(err, -EINVAL, "--%s is a number, 1 or more", option);
		json_object_set_new(keep, keep_names[i], json_integer((json_int_t)count));
	}
	return 0;
}
