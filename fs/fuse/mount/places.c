/* The places where a mount shows: the first and those that came later. */
#include "fs/fuse/mount/places.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "fs/fuse/group/mount_group.h"
#include "fs/fuse/mount/mount.h"
#include "fs/fuse/session/system.h"
#include "lib/base/buf.h"
#include "lib/base/shell.h"

int place_check(const char *path, struct error *err)
{
	struct system_mount there;
	struct stat stat_buf;

	if (path[0] != '/')
		return error_set(err, -EINVAL, "the mountpoint %s is not an absolute path", path);
	if (!system_find_mount(path, &there)) {
		error_set(err, -EBUSY, "something is mounted on %s already (%s)", path, there.type);
		error_hint(err, "unmount it first, or choose another directory");
		return -EBUSY;
	}
	if (stat(path, &stat_buf)) {
		const int code = error_set(err, -errno, "mountpoint %s: %s", path, strerror(errno));

		if (code == -ENOENT)
			error_hint_shell(err, "make it first: mkdir -p %s", path);
		return code;
	}
	if (!S_ISDIR(stat_buf.st_mode))
		return error_set(err, -ENOTDIR, "mountpoint %s is not a directory", path);
	return 0;
}

/* Of a place that is mounted again; libfuse sets the same for the first one. */
static unsigned long place_flags(const struct mount *mount)
{
	static const struct {
		const char *name;
		unsigned long set, clear;
	} known[] = {
		{"suid", 0, MS_NOSUID}, {"dev", 0, MS_NODEV}, {"noexec", MS_NOEXEC, 0}, {"exec", 0, MS_NOEXEC},
	};
	AUTO_FREE char *extra = xstrdup(mount->options.extra ? mount->options.extra : "");
	unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOATIME;
	char *rest = NULL;

	for (char *word = strtok_r(extra, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
		for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
			if (strcmp(word, known[i].name) == 0)
				flags = (flags | known[i].set) & ~known[i].clear;
		}
	}
	return flags;
}

/* The source that mountinfo shows: STORE[:DATASET]. */
static char *source_text(const struct mount *mount)
{
	return xasprintf("%s%s%s", store_path(mount->group->store), mount->options.dataset ? ":" : "",
	                 mount->options.dataset ? mount->options.dataset : "");
}

/* Files are open in it, but it shows nowhere. */
static int show_again(struct mount *mount, const struct mount_options *options, bool below, struct error *err)
{
	AUTO_FREE char *source = source_text(mount);
	const struct system_again what = {.fd = session_fd(mount_session(mount)),
	                                  .source = source,
	                                  .below = below ? options->dataset : "",
	                                  .mountpoint = options->mountpoint,
	                                  .flags = place_flags(mount)};
	const int result = system_mount_again(&what);

	if (!result || result == -ENOTCONN)
		return result;
	error_set(err, -EBUSY, "%s was detached from %s, and files are still open there for writing: %s", source,
	          mount->options.mountpoint, error_text(result));
	error_hint(err, "end the programs that have them open, or mount with -o ro");
	return -EBUSY;
}

static int bind(const struct mount *mount, const struct mount_options *options, bool below, struct error *err)
{
	AUTO_FREE char *source = xasprintf("%s%s%s", mount->options.mountpoint, below ? "/" : "", below ? options->dataset : "");
	int result = system_bind(source, options->mountpoint);

	if (result)
		return error_set(err, result, "%s cannot be shown on %s: %s", source, options->mountpoint, error_text(result));
	if (mount_shows_at(mount, options->mountpoint))
		return 0;
	/* It was unmounted just then, and what lay below it is not ours to show. */
	result = system_umount(options->mountpoint, true);
	return error_set(err, -EBUSY, "%s is being unmounted; try again", mount->options.mountpoint);
}

int mount_bind(struct mount *mount, const struct mount_options *options, struct error *err)
{
	const bool below = options->dataset && !mount->options.dataset;
	const int result = place_check(options->mountpoint, err);

	if (result)
		return result;
	if (mount_shows_at(mount, mount->options.mountpoint))
		return bind(mount, options, below, err);
	return show_again(mount, options, below, err);
}

int mount_keep_places(struct mount *mount, const char *text)
{
	const int result = kept_set_places(mount->kept, text);

	if (!result)
		atomic_store(&mount->kept->magic, KEPT_MAGIC);
	return result;
}
