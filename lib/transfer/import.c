#include "lib/transfer/import.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/base/clock.h"
#include "lib/store/datasets.h"
#include "lib/store/leaseless.h"
#include "lib/store/uncommitted.h"
#include "lib/transfer/import_parts.h"

/* --- the target --- */

static int open_dataset(struct import *import, struct error *err)
{
	const struct import_options *options = import->options;
	int r = store_head(import->store, options->dataset, &import->view);

	if (r == -ENOENT) {
		r = dataset_create(import->store, options->dataset, MADE_MODE, options->transfer.uid, options->transfer.gid,
		                   options->level, err);
		if (r == 0 || r == -EEXIST)
			r = store_head(import->store, options->dataset, &import->view);
	}
	if (r == 0 && view_refuses(import->view))
		return dataset_refuse_locked(import->store, options->dataset, err);
	return r < 0 ? error_default(err, r, "dataset \"%s\"", options->dataset) : 0;
}

static int step_down(struct import *import, const char *name)
{
	struct create create = {.mode = S_IFDIR | MADE_MODE, .uid = import->options->transfer.uid, .gid = import->options->transfer.gid};
	struct attr attr;
	int r = view_create(import->view, import->root, name, &create, &attr, NULL);

	if (r == -EEXIST)
		r = view_lookup(import->view, import->root, name, &attr);
	else if (r == 0)
		store_entry_changed(import->store, view_number(import->view), import->root, name);
	if (r == 0 && !S_ISDIR(attr.mode))
		r = -ENOTDIR;
	if (r == 0)
		import->root = attr.ino;
	return r;
}

static int open_target(struct import *import, struct error *err)
{
	AUTO_FREE char *copy = xstrdup(import->options->path);
	char *rest = copy, *name;
	int r = open_dataset(import, err);

	import->root = ROOT_INO;
	while (r == 0 && (name = strsep(&rest, "/")) != NULL) {
		if (!*name)
			continue;
		r = import->root == ROOT_INO && strcmp(name, IMPORT_RESERVED) == 0 ? -EINVAL : step_down(import, name);
		if (r < 0)
			error_set(err, r, "%s/%s: \"%s\": %s", import->options->dataset, import->options->path, name, error_text(r));
	}
	return r;
}

/* --- the end --- */

static void finish(struct import *import)
{
	struct error *failure = &import->transfer.failure, unsynced = {0};
	int r;

	import_set_directory_times(import);
	import_tell_left_out(import);
	transfer_tell(&import->transfer, "sync");
	r = store_sync(import->store);
	if (r < 0) {
		error_set(&unsynced, r, "what was imported could not be brought to the disk");
		(void)uncommitted_explain(import->store, NULL, 0, &unsynced);
		transfer_fail_with(&import->transfer, &unsynced);
	}
	if (failure->code == -EDQUOT)
		error_hint(failure, "what came in is complete; remove files, or give it a larger quota (corpusfs dataset set), and run the same "
		                    "command again");
	if (failure->code == -ENOSPC)
		error_hint(failure, "what came in is complete; destroy snapshots that nobody needs (corpusfs du shows what they take) and run "
		                    "corpusfs gc, or make room on the disk, and run the same command again");
}

static int is_store(struct import *import, const struct stat *st)
{
	struct stat store;

	return fstat(store_dir_fd(import->store), &store) == 0 && store.st_dev == st->st_dev && store.st_ino == st->st_ino;
}

#define DEV_NULL makedev(1, 3)

/* What the kernel makes up, as in /proc, says that it has no bytes, and has some. */
static bool is_empty(int fd, const struct stat *st)
{
	char byte;

	if (S_ISREG(st->st_mode))
		return st->st_size == 0 && pread(fd, &byte, 1, 0) == 0;
	return S_ISCHR(st->st_mode) && st->st_rdev == DEV_NULL;
}

/* Looks at the source, and opens it if it is an archive. */
static int open_source(struct import *import, bool *ret_is_dir, struct error *err)
{
	const struct import_options *options = import->options;
	struct stat st;

	*ret_is_dir = false;
	import->archive = options->archive;
	if (import->archive)
		return 0;
	if (fstat(options->source_fd, &st) < 0)
		return error_set(err, -errno, "%s: %s", options->source, strerror(errno));
	*ret_is_dir = S_ISDIR(st.st_mode);
	if (*ret_is_dir)
		return is_store(import, &st) ? error_set(err, -EINVAL, "%s is the store itself", options->source) : 0;
	if (is_empty(options->source_fd, &st))
		return error_set(err, -EINVAL, "%s is empty: a directory or an archive is wanted", options->source);
	if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
		return error_set(err, -EINVAL, "%s is neither a directory nor an archive", options->source);
	return import_archive_open(import, options->source_fd, err);
}

static int run(struct import *import, struct error *err)
{
	bool is_dir;
	int r = open_source(import, &is_dir, err);

	if (r < 0)
		return r;
	r = open_target(import, err);
	if (r == 0)
		r = view_first_new_ino(import->view, &import->first_new);
	if (r < 0)
		return error_default(err, r, "%s", import->options->dataset);
	import->began = clock_now();
	import->is_archive = !is_dir;
	import->batch_bytes = MIN(16ULL << 20, bulk_budget(import->view) / 2 / transfer_workers());
	if (is_dir)
		import_tree(import, import->options->source_fd);
	else
		import_archive(import);
	finish(import);
	return 0;
}

int import_run(struct store *store, const struct import_options *options, struct transfer_counts *ret_counts, struct error *err)
{
	struct import import = {.store = store, .options = options};
	int r = store_check_writable(store, err), failed;

	if (r < 0) {
		archive_in_free(options->archive);
		return r;
	}
	transfer_begin(&import.transfer, &options->transfer);
	pthread_mutex_init(&import.lock, NULL);
	r = run(&import, err);
	if (import.view)
		store_view_put(store, import.view);
	archive_in_free(import.archive);
	array_clear(&import.dirs);
	pthread_mutex_destroy(&import.lock);
	failed = transfer_end(&import.transfer, ret_counts, r < 0 ? NULL : err);
	return r < 0 ? r : failed;
}
