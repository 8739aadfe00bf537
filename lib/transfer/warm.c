#include "lib/transfer/warm.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/array.h"
#include "lib/base/clock.h"
#include "lib/transfer/view_walk.h"
#include "lib/tree/records/extent.h"

#define STEP_CHUNKS 64      /* taken by a thread at once: neighbours on disk */
#define IDS_MAX (4U << 20) /* noted at once; what is more is read in several passes */
#define TELL_FILES 4096
#define WORKERS_MAX 16

struct warm {
	struct transfer transfer;
	struct store *store;
	struct view *view;
	ARRAY(uint64_t) ids;
	atomic_size_t next;
	uint64_t chunks;
};

static int note_extent(void *arg, const struct extent *extent)
{
	struct warm *warm = arg;

	if (extent->record.chunk != CHUNK_NONE)
		array_add(&warm->ids, extent->record.chunk);
	return 0;
}

static int note_file(struct warm *warm, uint64_t ino)
{
	int r = view_extents(warm->view, ino, note_extent, warm);

	atomic_fetch_add(&warm->transfer.files, 1);
	/* Somebody removed it meanwhile. */
	return r == -ENOENT || r == -ESTALE ? 0 : r;
}

static int by_number(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

/* In the order of the disk, each once. */
static void sort_ids(struct warm *warm)
{
	uint64_t *ids = warm->ids.items;
	size_t kept = 0;

	if (warm->ids.count == 0)
		return;
	qsort(ids, warm->ids.count, sizeof(*ids), by_number);
	for (size_t i = 1; i < warm->ids.count; i++)
		if (ids[i] != ids[kept])
			ids[++kept] = ids[i];
	warm->ids.count = kept + 1;
}

static void read_one(struct warm *warm, uint64_t id)
{
	uint64_t bytes;

	/* Gone with a file that was overwritten meanwhile; whoever needs it will say so. */
	if (chunks_stored(store_chunks(warm->store), id, &bytes) == 0)
		atomic_fetch_add(&warm->transfer.bytes, bytes);
}

static void read_main(void *arg)
{
	struct warm *warm = arg;
	size_t first;

	while ((first = atomic_fetch_add(&warm->next, STEP_CHUNKS)) < warm->ids.count && !transfer_stopped(&warm->transfer))
		for (size_t i = first; i < MIN(first + STEP_CHUNKS, warm->ids.count); i++)
			read_one(warm, warm->ids.items[i]);
}

static void read_noted(struct warm *warm)
{
	transfer_fn functions[WORKERS_MAX];
	size_t count = MIN(transfer_workers(), WORKERS_MAX);

	sort_ids(warm);
	for (size_t i = 0; i < count; i++)
		functions[i] = read_main;
	atomic_store(&warm->next, 0);
	transfer_run(&warm->transfer, functions, count, warm);
	warm->chunks += warm->ids.count;
	array_reset(&warm->ids);
}

static int walk(struct warm *warm, uint64_t top)
{
	struct view_walk *walk = view_walk_new(warm->view, top, false);
	struct view_walk_step step;
	int r = 0;

	while (r == 0 && !transfer_stopped(&warm->transfer) && view_walk_next(walk, &step)) {
		if (step.kind == VIEW_WALK_FAILED && step.code != -ENOENT && step.code != -ESTALE)
			r = step.code;
		else if (step.kind == VIEW_WALK_FILE && step.type == DT_REG)
			r = note_file(warm, step.ino);
		if (warm->ids.count >= IDS_MAX)
			read_noted(warm);
		if (atomic_load(&warm->transfer.files) % TELL_FILES == 0)
			transfer_tell(&warm->transfer, "look");
	}
	view_walk_free(walk);
	return r;
}

static int run(struct warm *warm, const struct warm_options *options, struct error *err)
{
	const char *slash = options->path[0] ? "/" : "";
	struct attr top;
	int r = view_resolve(warm->view, options->path, &top);

	if (r < 0)
		return error_set(err, r, "%s%s%s: %s", options->source, slash, options->path, error_text(r));
	warm->transfer.phase = "read";
	if (S_ISDIR(top.mode))
		r = walk(warm, top.ino);
	else if (S_ISREG(top.mode))
		r = note_file(warm, top.ino);
	if (r < 0)
		return error_set(err, r, "what %s%s%s consists of could not be read: %s", options->source, slash, options->path, error_text(r));
	read_noted(warm);
	return 0;
}

int warm_run(struct store *store, const struct warm_options *options, struct warm_result *ret_result, struct error *err)
{
	struct warm warm = {.store = store};
	struct transfer_counts counts;
	uint64_t started = clock_us();
	int r = store_view_by_name(store, options->source, &warm.view, err), failed;

	if (r < 0)
		return r;
	transfer_begin(&warm.transfer, &options->transfer);
	r = run(&warm, options, err);
	store_view_put(store, warm.view);
	array_clear(&warm.ids);
	failed = transfer_end(&warm.transfer, &counts, r < 0 ? NULL : err);
	if (r < 0 || failed < 0)
		return r < 0 ? r : failed;
	*ret_result = (struct warm_result){.files = counts.files,
	                                   .chunks = warm.chunks,
	                                   .bytes = counts.bytes,
	                                   .seconds = (double)(clock_us() - started) / 1e6};
	return 0;
}
