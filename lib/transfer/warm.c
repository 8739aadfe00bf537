#include "lib/transfer/warm.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/array.h"
#include "lib/base/clock.h"
#include "lib/tree/records/extent.h"

#define STEP_CHUNKS 64 /* taken by a thread at once: neighbours on disk */

struct warm {
	struct transfer transfer;
	struct store *store;
	struct view *view;
	ARRAY(uint64_t) ids;
	atomic_size_t next;
};

static int note_extent(void *arg, const struct extent *extent)
{
	struct warm *warm = arg;

	if (extent->record.chunk != CHUNK_NONE)
		array_add(&warm->ids, extent->record.chunk);
	return 0;
}

struct child {
	uint64_t ino;
	bool is_dir;
};

struct children {
	ARRAY_FIELDS(struct child);
};

static int note_child(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct children *children = arg;

	if (type == DT_DIR || type == DT_REG)
		array_add(children, (struct child){.ino = ino, .is_dir = type == DT_DIR});
	return 0;
}

static int gather_file(struct warm *warm, uint64_t ino)
{
	atomic_fetch_add(&warm->transfer.files, 1);
	return view_extents(warm->view, ino, note_extent, warm);
}

/* The list grows while it is walked: directories add what is in them. */
static int gather(struct warm *warm, const struct attr *top)
{
	struct children children = {0};
	int r = 0;

	if (S_ISREG(top->mode))
		return gather_file(warm, top->ino);
	if (!S_ISDIR(top->mode))
		return 0;
	r = view_list(warm->view, top->ino, "", note_child, &children);
	while (r == 0 && children.count > 0 && !transfer_stopped(&warm->transfer)) {
		struct child child = array_pop(&children);

		r = child.is_dir ? view_list(warm->view, child.ino, "", note_child, &children) : gather_file(warm, child.ino);
		/* Somebody removed it meanwhile. */
		if (r == -ENOENT || r == -ESTALE)
			r = 0;
		if (atomic_load(&warm->transfer.files) % 4096 == 0)
			transfer_tell(&warm->transfer, "look");
	}
	array_clear(&children);
	return r;
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

static int run(struct warm *warm, const struct warm_options *options, struct error *err)
{
	transfer_fn functions[16];
	size_t count = MIN(transfer_workers(), ARRAY_SIZE(functions));
	struct attr top;
	int r = view_resolve(warm->view, options->path, &top);

	if (r < 0)
		return error_set(err, r, "%s/%s: %s", options->source, options->path, strerror(-r));
	r = gather(warm, &top);
	if (r < 0)
		return error_set(err, r, "what %s/%s consists of could not be read: %s", options->source, options->path, strerror(-r));
	sort_ids(warm);
	for (size_t i = 0; i < count; i++)
		functions[i] = read_main;
	warm->transfer.phase = "read";
	transfer_run(&warm->transfer, functions, count, warm);
	return 0;
}

int warm_run(struct store *store, const struct warm_options *options, struct warm_result *ret_result, struct error *err)
{
	struct warm warm = {.store = store};
	struct transfer_counts counts;
	uint64_t started = clock_us(), chunks;
	int r = store_view_by_name(store, options->source, &warm.view, err), failed;

	if (r < 0)
		return r;
	transfer_begin(&warm.transfer, &options->transfer);
	r = run(&warm, options, err);
	store_view_put(store, warm.view);
	chunks = warm.ids.count;
	array_clear(&warm.ids);
	failed = transfer_end(&warm.transfer, &counts, r < 0 ? NULL : err);
	if (r < 0 || failed < 0)
		return r < 0 ? r : failed;
	*ret_result = (struct warm_result){.files = counts.files,
	                                   .chunks = chunks,
	                                   .bytes = counts.bytes,
	                                   .seconds = (double)(clock_us() - started) / 1e6};
	return 0;
}
