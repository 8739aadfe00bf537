#include "fs/daemon/process/mount_args.h"

#include <errno.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/store/datasets.h"
#include "lib/store/unknown.h"

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
	if (json_object_get(args, "lease") && (!options.dataset || options.read_only || options.snapshot))
		return error_set(err, -EINVAL, "a lease is of one dataset that is mounted to be written");
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

int mount_args_find_source(struct store *store, const struct mount_options *options, struct mount_source *ret_source, struct error *err)
{
	const bool writes = !options->read_only && !options->snapshot;
	struct dataset_info dataset = {0};
	struct view *view;
	int result = writes ? store_check_writable(store, err) : 0;

	if (result < 0) {
		error_hint(err, "mount it read-only: corpusfs mount -o ro");
		return result;
	}
	if (options->dataset)
		result = dataset_get(store, options->dataset, &dataset);
	if (result == 0 && options->snapshot) {
		result = store_snapshot(store, options->dataset, options->snapshot, &view);
		if (result == 0)
			store_view_put(store, view);
	}
	if (result < 0)
		return unknown_or_failed(store, options->dataset, options->snapshot, result, err);
	*ret_source = (struct mount_source){.dataset = dataset.id, .writes = writes};
	return 0;
}

bool mount_args_overlap(const struct mount_source *has, const struct mount_source *wanted)
{
	return has->writes && wanted->writes && (!has->dataset || !wanted->dataset || has->dataset == wanted->dataset);
}

bool mount_args_cover(const struct mount_source *has, const struct mount_source *wanted)
{
	return !has->dataset || has->dataset == wanted->dataset;
}

/* Of the kernel's: what holds unless the other one is asked for. */
static const char *const pairs[][2] = {{"nosuid", "suid"}, {"nodev", "dev"}, {"exec", "noexec"}, {"async", "sync"}, {"nodirsync", "dirsync"}};

/* Which of the two comes last in the list; NULL: neither does. */
static const char *find_last(const char *list, const char *const pair[2])
{
	AUTO_FREE char *copy = xstrdup(list);
	const char *last = NULL;
	char *rest = NULL;

	for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
		for (size_t i = 0; i < 2; i++)
			last = strcmp(word, pair[i]) == 0 ? pair[i] : last;
	return last;
}

char *mount_args_missing(const struct mount_options *has, const struct mount_options *wanted, const json_t *args)
{
	const char *snapdir = json_string_value(json_object_get(args, "snapdir"));

	if (wanted->acl && !has->acl)
		return xstrdup("acl");
	if (wanted->allow_other && !has->allow_other)
		return xstrdup("allow_other");
	if (snapdir && wanted->snapdir != has->snapdir)
		return xasprintf("snapdir=%s", snapdir);
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		const char *word = find_last(wanted->extra, pairs[i]), *other = find_last(has->extra, pairs[i]);
		if (word && word != (other ? other : pairs[i][0]))
			return xstrdup(word);
	}
	return NULL;
}

char *mount_args_dataset_name(struct store *store, const struct mount_source *source, const char *last)
{
	struct dataset_info dataset;

	if (!source->dataset)
		return NULL;
	return dataset_get_by_id(store, source->dataset, &dataset) == 0 ? xstrdup(dataset.name) : xstrdup_or_null(last);
}

int mount_args_refuse(const char *name, const char *mountpoint, bool detached, struct error *err)
{
	if (detached) {
		error_set(err, -EBUSY, "%s was detached from %s, and files are still open there for writing", name, mountpoint);
		error_hint(err, "end the programs that have them open, or mount with -o ro");
	} else {
		error_set(err, -EBUSY, "%s is mounted for writing on %s already", name, mountpoint);
		error_hint(err, "mount it with -o ro, or show the same files there too with mount --bind");
	}
	return -EBUSY;
}
