#include "lib/identity/walk.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "lib/identity/node_bytes.h"
#include "lib/store/digests.h"

#define BATCH 1024
/* Files that one pool job hashes: cancellation is polled between jobs. */
#define SLICE 128
#define FLUSH_KEYS 4096

struct child {
	size_t name; /* offset in names */
	uint32_t name_len;
	uint8_t type;
	bool known; /* digest.node is the child's node */
	bool old;   /* digest and epoch are of an older record; until it is known */
	uint64_t ino, epoch;
	struct digest_record digest;
	int result;
};

/* A directory that is being walked. */
struct frame {
	uint64_t ino;
	struct digest *digest;
	ARRAY(struct child) children; /* a batch */
	size_t at;
	struct buf names;
	char last[NAME_LEN_MAX + 1]; /* the batch's last name; "" at the start */
	bool more;
	struct frame *above;
};

struct state {
	struct walk *walk;
	struct kv_batch *files, *directories;
	struct frame *top;
	uint8_t root[NODE_LEN];
	/* of a pool job */
	struct child **jobs;
};

static int check_cancelled(const struct state *state)
{
	struct node_source *source = state->walk->source;

	return source->cancelled && source->cancelled(source->arg) ? -ECANCELED : 0;
}

/* If the snapshot is still there, what was read is right: pruning takes only what no living view sees. */
static int check_living(const struct state *state)
{
	struct store *store = state->walk->source->store;

	if (!state->walk->keep)
		return 0;
	mutex_take(&store->catalog_lock);
	bool living = catalog_snapshot_by_view(store, state->walk->view) != NULL;
	mutex_give(&store->catalog_lock);
	return living ? 0 : -ESTALE;
}

static int flush_files(struct state *state)
{
	int result = kv_batch_count(state->files) > 0 ? check_living(state) : 0;

	if (result == 0 && kv_batch_count(state->files) > 0)
		result = kv_write(state->walk->source->store->kv, state->files, 0);
	kv_batch_clear(state->files);
	return result;
}

/* --- a batch of entries --- */

static int add_child(void *arg, const char *name, const struct entry_record *entry)
{
	struct frame *frame = arg;
	size_t len = strlen(name);

	array_add(&frame->children,
		  (struct child){.name = frame->names.len, .name_len = (uint32_t)len, .ino = entry->ino, .type = entry->type});
	buf_add(&frame->names, name, len);
	return frame->children.count == BATCH;
}

/* Entries behind frame->last, in the order of names. */
static int list_batch(struct state *state, struct frame *frame)
{
	int result;

	array_reset(&frame->children);
	buf_reset(&frame->names);
	frame->at = 0;
	result = scan_entries(&state->walk->source->scan, frame->ino, frame->last, add_child, frame);
	frame->more = result > 0;
	if (frame->children.count > 0) {
		const struct child *last = array_last(&frame->children);
		memcpy(frame->last, frame->names.data + last->name, last->name_len);
		frame->last[last->name_len] = '\0';
	}
	return MIN(result, 0);
}

static int by_ino(const void *a, const void *b)
{
	uint64_t left = (*(struct child *const *)a)->ino, right = (*(struct child *const *)b)->ino;

	return left < right ? -1 : left > right;
}

/* Finds the digests that are stored for the children, and decides which of them are still true. */
static int look_up(struct state *state, struct child **sorted, size_t count)
{
	struct node_source *source = state->walk->source;
	struct touched_set *touched = state->walk->touched;
	struct digests *digests = digests_new(source->store->kv, source->scan.family, &source->scan.line);
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++) {
		struct child *child = sorted[i];
		bool directory = child->type == DT_DIR, changed = true;
		if (touched)
			changed = directory ? touched_set_has_directory(touched, child->ino) : touched_set_name(touched, child->ino);
		if (directory && changed)
			continue;
		result = digests_newest(digests, child->ino, &child->digest, &child->epoch);
		if (result == 0)
			*(changed ? &child->old : &child->known) = true;
		result = result == -ENOENT ? 0 : result;
	}
	digests_free(digests);
	return result;
}

static int compute_child(struct state *state, struct child *child, unsigned flags)
{
	struct node node;
	int result = node_compute(state->walk->source, child->ino, child->old ? &child->digest : NULL, child->epoch, flags, &node);

	if (result < 0)
		return result == -ENOENT || result == -EISDIR ? -EIO : result; /* the entry says otherwise */
	child->old = child->old && child->epoch == node.epoch; /* it is stored already */
	child->digest = node.digest;
	child->epoch = node.epoch;
	child->known = true;
	return 0;
}

static void compute_step(void *arg, size_t index)
{
	struct state *state = arg;

	state->jobs[index]->result = compute_child(state, state->jobs[index], NODE_IN_STEP);
}

static int store_children(struct state *state, struct child **children, size_t count)
{
	struct walk *walk = state->walk;

	walk->nodes += count;
	for (size_t i = 0; i < count && walk->keep; i++)
		if (!children[i]->old)
			digests_put(state->files, walk->source->scan.family, children[i]->ino, children[i]->epoch, &children[i]->digest);
	return kv_batch_count(state->files) >= FLUSH_KEYS ? flush_files(state) : 0;
}

/* `children` are no directories, and not known: together on the pool, and then one by one those whose content is long. */
static int compute_children(struct state *state, struct child **children, size_t count)
{
	int result = 0;

	for (size_t at = 0; at < count && result == 0; at += SLICE) {
		size_t slice = MIN(count - at, SLICE);
		result = check_cancelled(state);
		if (result < 0)
			break;
		state->jobs = children + at;
		pool_run(state->walk->source->store->pool, compute_step, state, slice);
		for (size_t i = 0; i < slice && result == 0; i++) {
			struct child *child = state->jobs[i];
			result = child->result == -EINPROGRESS ? compute_child(state, child, 0) : child->result;
		}
		if (result == 0)
			result = store_children(state, state->jobs, slice);
	}
	return result;
}

static int load_batch(struct state *state, struct frame *frame)
{
	int result = list_batch(state, frame);
	AUTO_FREE struct child **sorted = xcalloc(MAX(frame->children.count, 1U), sizeof(*sorted));
	size_t unknown = 0;

	for (size_t i = 0; i < frame->children.count; i++)
		sorted[i] = &frame->children.items[i];
	qsort(sorted, frame->children.count, sizeof(*sorted), by_ino);
	if (result == 0)
		result = look_up(state, sorted, frame->children.count);
	for (size_t i = 0; i < frame->children.count; i++)
		if (!sorted[i]->known && sorted[i]->type != DT_DIR)
			sorted[unknown++] = sorted[i];
	return result == 0 ? compute_children(state, sorted, unknown) : result;
}

/* --- directories --- */

static int push(struct state *state, uint64_t ino)
{
	struct scan_inode inode;
	int result = check_cancelled(state);

	if (result == 0)
		result = scan_inode(&state->walk->source->scan, ino, &inode);
	if (result < 0)
		return result == -ENOENT ? -EIO : result;
	const uint32_t mode = inode.record.mode;
	scan_inode_clear(&inode);
	if (!S_ISDIR(mode))
		return -EIO;
	struct frame *frame = xcalloc(1, sizeof(*frame));
	frame->ino = ino;
	frame->digest = digest_new();
	frame->more = true;
	node_begin_directory(frame->digest, mode);
	LL_PREPEND2(state->top, frame, above);
	if (state->walk->touched)
		touched_set_reached(state->walk->touched, ino);
	return 0;
}

static void drop(struct state *state)
{
	struct frame *frame = state->top;

	state->top = frame->above;
	digest_free(frame->digest);
	array_clear(&frame->children);
	buf_clear(&frame->names);
	free(frame);
}

/* The directory's last entry is done. Its node goes to the directory above. */
static void pop(struct state *state)
{
	struct walk *walk = state->walk;
	struct digest_record record = {0};
	struct frame *above = state->top->above;

	digest_final(state->top->digest, record.node);
	walk->directories++;
	if (walk->keep)
		digests_put(state->directories, walk->source->scan.family, state->top->ino, walk->epoch, &record);
	if (above) {
		above->children.items[above->at].digest = record;
		above->children.items[above->at].known = true;
	} else {
		memcpy(state->root, record.node, NODE_LEN);
	}
	drop(state);
}

static int advance(struct state *state)
{
	struct frame *frame = state->top;

	if (frame->at < frame->children.count) {
		struct child *child = &frame->children.items[frame->at];
		if (!child->known)
			return push(state, child->ino);
		node_add_entry(frame->digest, (const char *)frame->names.data + child->name, child->name_len, child->digest.node);
		frame->at++;
		return 0;
	}
	if (frame->more)
		return load_batch(state, frame);
	pop(state);
	return 0;
}

int walk_run(struct walk *walk, struct kv_batch *directories, uint8_t ret_root[NODE_LEN])
{
	struct state state = {.walk = walk, .directories = directories};
	int result;

	state.files = kv_batch_new();
	result = push(&state, ROOT_INO);
	while (result == 0 && state.top)
		result = advance(&state);
	while (state.top)
		drop(&state);
	if (result == 0)
		result = flush_files(&state);
	if (result == 0)
		memcpy(ret_root, state.root, NODE_LEN);
	kv_batch_free(state.files);
	return result;
}
