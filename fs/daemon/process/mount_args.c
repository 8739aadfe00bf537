#include "fs/daemon/process/mount_args.h"

#include <errno.h>
#include <string.h>

int mount_args_to_options(const json_t *args, struct mount_options *ret_options, struct error *err)
{
	const char *snapdir = "hidden", *mountpoint = json_string_value(json_object_get(args, "mountpoint"));
	struct mount_options options = {
		.mountpoint = mountpoint,
		.dataset = json_string_value(json_object_get(args, "dataset")),
		.snapshot = json_string_value(json_object_get(args, "snapshot")),
		.read_only = json_is_true(json_object_get(args, "read_only")),
		.allow_other = json_is_true(json_object_get(args, "allow_other")),
		.acl = json_is_true(json_object_get(args, "acl")),
		.deep_idle = json_is_true(json_object_get(args, "deep_idle")),
		.debug = json_is_true(json_object_get(args, "debug")),
		.extra = "",
	};

	if (!mountpoint || mountpoint[0] != '/')
		return error_set(err, -EINVAL, "the mountpoint is missing or not an absolute path");
	if (options.snapshot && !options.dataset)
		return error_set(err, -EINVAL, "a snapshot is named without its dataset");
	if (json_is_string(json_object_get(args, "extra")))
		options.extra = json_string_value(json_object_get(args, "extra"));
	if (json_is_string(json_object_get(args, "snapdir")))
		snapdir = json_string_value(json_object_get(args, "snapdir"));
	if (strcmp(snapdir, "visible") == 0)
		options.snapdir = SNAPDIR_VISIBLE;
	else if (strcmp(snapdir, "off") == 0)
		options.snapdir = SNAPDIR_OFF;
	else if (strcmp(snapdir, "hidden") == 0)
		options.snapdir = SNAPDIR_HIDDEN;
	else
		return error_set(err, -EINVAL, "snapdir=%s is not one of hidden, visible, off", snapdir);
	*ret_options = options;
	return 0;
}
