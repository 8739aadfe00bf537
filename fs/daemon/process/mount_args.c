#include "fs/daemon/process/mount_args.h"
#include "lib/store/unknown.h"

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
		.supervise = json_is_true(json_object_get(args, "supervise")),
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

int mount_args_check_source(struct store *store, const struct mount_options *options, struct error *err)
{
	struct view *view;
	int result = options->read_only || options->snapshot ? 0 : store_check_writable(store, err);

	if (result < 0)
		error_hint(err, "mount it read-only: corpusfs mount -o ro");
	if (result < 0 || !options->dataset)
		return result;
	result = options->snapshot ? store_snapshot(store, options->dataset, options->snapshot, &view)
	                           : store_head(store, options->dataset, &view);
	if (result == 0) {
		store_view_put(store, view);
		return 0;
	}
	return unknown_or_failed(store, options->dataset, options->snapshot, result, err);
}

bool mount_args_overlap(const struct mount_options *has, const struct mount_options *options)
{
	return !has->read_only && !has->snapshot && (!has->dataset || !options->dataset || strcmp(has->dataset, options->dataset) == 0);
}

bool mount_args_cover(const struct mount_options *has, const struct mount_options *options)
{
	return !has->dataset || (options->dataset && strcmp(has->dataset, options->dataset) == 0);
}

int mount_args_refuse(const struct mount_options *has, bool detached, struct error *err)
{
	const char *what = has->dataset ? has->dataset : "the store";

	if (detached) {
		error_set(err, -EBUSY, "%s was detached from %s, and files are still open there for writing", what, has->mountpoint);
		error_hint(err, "end the programs that have them open, or mount with -o ro");
	} else {
		error_set(err, -EBUSY, "%s is mounted for writing on %s already", what, has->mountpoint);
		error_hint(err, "mount it with -o ro, or show the same files there too with mount --bind");
	}
	return -EBUSY;
}
