#include "lib/transfer/export.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/store/uncommitted.h"
#include "lib/transfer/export_archive.h"
#include "lib/transfer/export_tree.h"
#include "lib/transfer/view_walk.h"

#define COUNT_TELL 4096

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len > end_len && strcasecmp(text + len - end_len, end) == 0;
}

/* Whoever gives such a name does not mean a directory. */
static bool is_other_archive(const char *target)
{
	static const char *const others[] = {".7z",   ".br",  ".bz2",  ".cab", ".cpio", ".gz",   ".iso",  ".jar", ".lz",  ".lz4", ".lzma", ".lzo",
	                                     ".rar",  ".sqfs", ".squashfs", ".taz", ".tb2",  ".tbz",  ".tbz2", ".tlz", ".txz", ".xz",  ".z",    ".zst"};
	const char *name = strrchr(target, '/'), *tar = strcasestr(name ? name : target, ".tar.");

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (ends_with(target, others[i]))
			return true;
	return tar && !strchr(tar + strlen(".tar."), '.');
}

const char *export_format(const char *target, bool is_stream, const char *given)
{
	static const char *const suffixes[][2] = {{".tar", "tar"},       {".tar.zst", "tar.zst"}, {".tzst", "tar.zst"},
	                                          {".tar.gz", "tar.gz"}, {".tgz", "tar.gz"},      {".zip", "zip"}};

	if (given && strcmp(given, "dir") == 0)
		return "dir";
	if (!given && is_stream)
		return "tar";
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		if (given ? strcmp(given, suffixes[i][1]) == 0 : ends_with(target, suffixes[i][0]))
			return suffixes[i][1];
	return given || is_other_archive(target) ? NULL : "dir";
}

/* Whether the descriptor is what the format needs; a directory may not be taken for an archive, and nothing else for a directory. */
static int check_target(const struct export_options *options, struct error *err)
{
	const bool wants_dir = options->format && strcmp(options->format, "dir") == 0;
	struct stat st;

	if (!options->format || !export_format("", false, options->format)) {
		error_set(err, -EINVAL, "\"%s\" is not a format", options->format ? options->format : "");
		error_hint(err, EXPORT_FORMATS);
		return -EINVAL;
	}
	if (fstat(options->target_fd, &st) < 0)
		return error_set(err, -errno, "%s: %s", options->target, strerror(errno));
	if (wants_dir && !S_ISDIR(st.st_mode))
		return error_set(err, -ENOTDIR, "%s is not a directory", options->target);
	return !wants_dir && S_ISDIR(st.st_mode) ? error_set(err, -EISDIR, "%s is a directory", options->target) : 0;
}

/* Sums sizes up, for the progress. What cannot be read is told when it is exported. */
static void count(struct export *export)
{
	struct view_walk *walk = view_walk_new(export->view, export->top.ino, true);
	struct view_walk_step step;

	for (unsigned steps = 1; !transfer_stopped(&export->transfer) && view_walk_next(walk, &step); steps++) {
		if (step.kind == VIEW_WALK_FILE && S_ISREG(step.attr.mode))
			atomic_fetch_add(&export->transfer.total, MIN(step.attr.size, step.attr.allocated));
		if (steps % COUNT_TELL == 0)
			transfer_tell(&export->transfer, "count");
	}
	view_walk_free(walk);
}

static int run(struct export *export, struct error *err)
{
	const struct export_options *options = export->options;
	int r = check_target(options, err);

	if (r < 0)
		return r;
	r = view_resolve(export->view, options->path, &export->top);
	if (r < 0)
		return error_set(err, r, "%s%s%s: %s", options->source, options->path[0] ? "/" : "", options->path, error_text(r));
	/* What is buffered has no extents yet. */
	r = view_read_only(export->view) ? 0 : view_sync(export->view);
	if (r < 0) {
		const uint32_t view = view_number(export->view);

		error_set(err, r, "%s cannot be read as it is now", options->source);
		(void)uncommitted_explain(export->store, &view, 1, err);
		return r;
	}
	if (options->transfer.count && S_ISDIR(export->top.mode))
		count(export);
	return strcmp(options->format, "dir") == 0 ? export_tree(export, err) : export_archive(export, err);
}

int export_run(struct store *store, const struct export_options *options, struct transfer_counts *ret_counts, struct error *err)
{
	struct export export = {.store = store, .options = options};
	int r = store_view_by_name(store, options->source, &export.view, err), failed;

	if (r < 0)
		return r;
	transfer_begin(&export.transfer, &options->transfer);
	r = run(&export, err);
	store_view_put(store, export.view);
	failed = transfer_end(&export.transfer, ret_counts, r < 0 ? NULL : err);
	return r < 0 ? r : failed;
}
