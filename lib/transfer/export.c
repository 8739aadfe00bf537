#include "lib/transfer/export.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/transfer/export_parts.h"
#include "lib/tree/records/extent.h"

/* --- reading --- */

static int add_name(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct names *names = arg;

	if (names->count == names->cap) {
		names->cap = MAX(2 * names->cap, 64);
		names->items = xrealloc(names->items, names->cap * sizeof(*names->items));
	}
	names->items[names->count++] = (struct name){.text = xstrdup(name), .ino = ino};
	return 0;
}

int names_load(struct export *export, uint64_t dir, struct names *names)
{
	return view_list(export->view, dir, "", add_name, names);
}

void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i].text);
	free(names->items);
	*names = (struct names){0};
}

static int load_xattrs(struct export *export, uint64_t ino, struct extras *extras)
{
	AUTO_BUF list = BUF_INIT;
	int r = view_xattr_list(export->view, ino, &list);

	for (size_t at = 0; r == 0 && at < list.len; at += strlen((char *)list.data + at) + 1) {
		const char *name = (const char *)list.data + at;
		AUTO_BUF value = BUF_INIT;

		r = view_xattr_get(export->view, ino, name, &value);
		if (r == -ENODATA) {
			r = 0;
			continue;
		}
		extras->xattrs = xrealloc(extras->xattrs, (extras->xattr_count + 1) * sizeof(*extras->xattrs));
		extras->xattrs[extras->xattr_count++] = (struct archive_pair){
			.name = xstrdup(name), .value = memcpy(xmalloc(value.len + 1), value.len ? value.data : (const void *)"", value.len),
			.len = value.len};
	}
	return r;
}

static int add_stretch(void *arg, const struct extent *extent)
{
	struct extras *extras = arg;
	struct archive_stretch *last = extras->data_count ? &extras->data[extras->data_count - 1] : NULL;

	if (extent->record.chunk == CHUNK_NONE)
		return 0;
	if (last && last->offset + last->len == extent->offset) {
		last->len += extent->record.length;
		return 0;
	}
	if (extras->data_count == extras->data_cap) {
		extras->data_cap = MAX(2 * extras->data_cap, 16);
		extras->data = xrealloc(extras->data, extras->data_cap * sizeof(*extras->data));
	}
	extras->data[extras->data_count++] = (struct archive_stretch){.offset = extent->offset, .len = extent->record.length};
	return 0;
}

/* Where a file has data, if not everywhere. The last stretch may end beyond `size`, and is cut. */
static int load_stretches(struct export *export, const struct attr *attr, struct extras *extras)
{
	int r = view_extents(export->view, attr->ino, add_stretch, extras);
	struct archive_stretch *last = extras->data_count ? &extras->data[extras->data_count - 1] : NULL;

	while (last && extras->data_count > 0 && last->offset >= attr->size) {
		extras->data_count--;
		last--;
	}
	if (extras->data_count > 0)
		last->len = MIN(last->len, attr->size - last->offset);
	extras->has_holes = true;
	return r;
}

int extras_load(struct export *export, const struct attr *attr, struct extras *extras)
{
	int r = load_xattrs(export, attr->ino, extras);

	if (r == 0 && S_ISLNK(attr->mode))
		r = view_readlink(export->view, attr->ino, &extras->target);
	if (r == 0 && S_ISREG(attr->mode) && attr->allocated < attr->size)
		r = load_stretches(export, attr, extras);
	return r;
}

void extras_clear(struct extras *extras)
{
	for (size_t i = 0; i < extras->xattr_count; i++) {
		free((char *)extras->xattrs[i].name);
		free((void *)extras->xattrs[i].value);
	}
	free(extras->xattrs);
	free(extras->data);
	buf_clear(&extras->target);
	*extras = (struct extras){0};
}

static int read_stretch(struct export *export, struct inode *inode, uint64_t first, uint64_t end, uint8_t *piece, content_fn each,
			void *arg)
{
	int r = 0;

	while (r == 0 && first < end) {
		ssize_t got = transfer_stopped(&export->transfer) ? -ECANCELED
		                                                  : inode_read(inode, first, MIN(end - first, EXPORT_PIECE), piece);

		/* Shorter than it was: somebody writes to it. */
		if (got <= 0)
			return got < 0 ? (int)got : -EAGAIN;
		r = each(arg, piece, (size_t)got, first);
		first += (uint64_t)got;
		atomic_fetch_add(&export->transfer.bytes, (uint64_t)got);
	}
	return r;
}

int content_read(struct export *export, struct inode *inode, uint64_t size, const struct extras *extras, uint8_t *piece, content_fn each,
		 void *arg)
{
	int r = 0;

	if (!extras->has_holes)
		return read_stretch(export, inode, 0, size, piece, each, arg);
	for (size_t i = 0; i < extras->data_count && r == 0; i++)
		r = read_stretch(export, inode, extras->data[i].offset, extras->data[i].offset + extras->data[i].len, piece, each, arg);
	return r;
}

/* --- the whole --- */

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len > end_len && strcmp(text + len - end_len, end) == 0;
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
	return given ? NULL : "dir";
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

/* Sums sizes up, for the progress. */
static int count_below(struct export *export, uint64_t dir)
{
	struct names names = {0};
	int r = names_load(export, dir, &names);

	transfer_tell(&export->transfer, "count");
	for (size_t i = 0; i < names.count && r == 0 && !transfer_stopped(&export->transfer); i++) {
		struct attr attr;

		if (view_getattr(export->view, names.items[i].ino, &attr) < 0)
			continue;
		if (S_ISREG(attr.mode))
			atomic_fetch_add(&export->transfer.total, MIN(attr.size, attr.allocated));
		else if (S_ISDIR(attr.mode))
			r = count_below(export, attr.ino);
	}
	names_clear(&names);
	return r;
}

static int run(struct export *export, struct error *err)
{
	const struct export_options *options = export->options;
	int r = check_target(options, err);

	if (r < 0)
		return r;
	r = view_resolve(export->view, options->path, &export->top);
	if (r < 0)
		return error_set(err, r, "%s%s%s: %s", options->source, options->path[0] ? "/" : "", options->path, strerror(-r));
	/* What is buffered has no extents yet. */
	r = view_read_only(export->view) ? 0 : view_sync(export->view);
	if (r == 0 && options->transfer.count && S_ISDIR(export->top.mode))
		r = count_below(export, export->top.ino);
	if (r < 0)
		return error_set(err, r, "%s cannot be read: %s", options->source, strerror(-r));
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
