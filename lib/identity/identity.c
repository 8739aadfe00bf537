/*
 * What may be taken as known.
 *
 * Epochs form a tree: a new one continues the line of its head (I3), of a snapshot (I4, I5); each line is the path from the root to its
 * last epoch. So an epoch e that is closed names one state of its family for ever: what a view with the line up to e sees. A snapshot is
 * the state of its last epoch. A digest record ('H' | family | inode | ~e) speaks of the inode in the state of e. Only closed epochs have
 * records: they are written for snapshots, whose epochs are all closed, never for heads.
 *
 *   ID1  A file's record is stored under the epoch e of the inode version from which it was computed, and is true in every view that sees
 *        the inode's version e. For content, attributes and a symlink's target change only in a batch that also writes the inode's record
 *        (tree/commit.c, truncate.c, allocate.c, copy.c), hence in a newer version.
 *   ID2  A directory's record is stored under the last epoch of the snapshot for which it was computed, in which it is true.
 *
 * A snapshot is complete ('I' record) when its identity is known. Then
 *
 *   ID3  for each inode of its tree the newest digest record in its line is true in it.
 *
 * Let A be complete, B a view whose line contains A's, and D = line(B) \ line(A). What B sees under a key is what A sees unless a version
 * of an epoch in D is in between, and writing that touched the inode in D (I7; entries of the touched index stay while a living line has
 * the epoch). So the node of an inode is the same in A and B unless the inode, or something below it in B, was touched in D. A version
 * that is gone altogether was an inode's that lost its last name, and that touched the directory. Hence in B
 *
 *   - an untouched file's newest record in line(B) is true: by ID3 there is one for A, under the version that A and B see. A record in line(B)
 *     under a newer epoch would be of a newer version in line(B), which B would see.
 *   - the newest record of a directory with nothing touched in or below it is true: it is A's, or one made for a snapshot between the two,
 *     in which the directory was the same.
 *   - everything else is computed: touched files, the directories in which they have names, touched directories, and all above.
 *
 * The way up. A directory knows its parent. A file's record has the directory in which it last got a name as a hint; it may have others.
 * The walk goes down from the root through the directories found so, and counts the names it meets of each touched file: it is right only
 * if it met as many as the file has (nlink), and came to every directory that was found by going up (touched_set.c). A missing name means a
 * directory that was believed unchanged and is not; then all directories are walked, which reads no content (ID1). Directories' records
 * are written only after this check, in one batch with the 'I' record.
 *
 * ID3 for B then holds by induction: what was computed is stored under epochs of line(B), newer than what was there; what was not is true.
 * A later computation for a state between A and B stores what is true between them, for directories in which nothing was touched.
 *
 * Pruning and destroying. Records speak of states, not of views: they stay true when the view for which they were made is gone, when
 * versions of it are pruned, and after rollback and clone. Inode numbers and epochs are never given out twice. digests_prune() removes
 * those that are the newest in no living line; whatever line comes later continues a living one. The snapshot that is computed in the
 * background is not held open, so that it can be destroyed; what was read is right if the snapshot is still in the catalog afterwards,
 * for pruning takes only what no living view sees. So that is asked before anything is written; the 'I' record is written under
 * change_lock, which destroying takes.
 *
 * Heads. Computed from what is committed, with the line as it is at the start; nothing is stored. All changes go to the open epoch and
 * write the record of an inode which is in the touched index of that epoch: if those records are the same before and after, nothing
 * changed meanwhile. Else it is done again, a few times.
 */
#include "lib/identity/identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/array.h"
#include "lib/base/fault.h"
#include "lib/identity/walk.h"
#include "lib/store/digests.h"
#include "lib/tree/records/touched.h"

#define HEAD_TRIES 3
#define BASES_MAX 256

/* A view whose identity is computed. */
struct subject {
	struct store *store;
	uint32_t family, view;
	struct line line;
	bool snapshot, anew;
	bool unkept; /* nothing is to be written */
	bool (*cancelled)(void *arg);
	void *arg;
	struct identity_cost cost;
};

static uint64_t last_epoch(const struct line *line)
{
	return line->count > 0 ? line->items[line->count - 1].last : 0;
}

void identity_to_text(const uint8_t identity[IDENTITY_LEN], char ret_text[IDENTITY_TEXT_LEN])
{
	for (size_t i = 0; i < IDENTITY_LEN; i++)
		snprintf(ret_text + 2 * i, 3, "%02x", identity[i]);
}

/* --- 'I' records --- */

static int known(struct store *store, uint32_t family, uint32_t view, uint8_t ret_identity[IDENTITY_LEN])
{
	int result = catalog_get_identity(store->kv, family, view, ret_identity);

	return result == -ENOENT ? -ENODATA : result;
}

int identity_known(struct store *store, struct view *view, uint8_t ret_identity[IDENTITY_LEN])
{
	return known(store, view_family(view), view_number(view), ret_identity);
}

/* All that was found is right: the snapshot is complete, if it still is. */
static int complete(const struct subject *subject, struct kv_batch *directories, const uint8_t identity[IDENTITY_LEN])
{
	struct store *store = subject->store;

	catalog_put_identity(directories, subject->family, subject->view, identity);
	int result = fault_point("identity-before-write");
	if (result < 0)
		return result;
	mutex_take(&store->change_lock);
	struct snapshot *snapshot = catalog_snapshot_by_view(store, subject->view);
	result = snapshot ? kv_write(store->kv, directories, 0) : -ESTALE;
	mutex_give(&store->change_lock);
	return result;
}

/* --- the base --- */

/* A snapshot whose line the subject's contains. */
struct base {
	uint32_t view;
	struct line line;
};

struct bases {
	ARRAY_FIELDS(struct base); /* the nearest first */
};

/*
 * Those who stand on the way from the subject up in its family's tree of epochs, up to the first that is known to be complete: few, since
 * identities are computed from the oldest snapshot on.
 */
static void find_bases(const struct subject *subject, struct bases *bases)
{
	struct store *store = subject->store;
	bool found = false;

	mutex_take(&store->catalog_lock);
	const struct family_views *family = catalog_family(store, subject->family);
	const struct lineage_node *node = family ? lineage_find(family->lineage, last_epoch(&subject->line)) : NULL;
	for (; node && !found && bases->count < BASES_MAX; node = node->parent) {
		for (const struct lineage_view *view = node->views; view; view = view->next) {
			const struct snapshot *snapshot = catalog_snapshot_by_view(store, view->view);
			if (!snapshot || view->view == subject->view || snapshot->blocked || snapshot->identity == IDENTITY_FAILED)
				continue;
			array_add(bases, (struct base){.view = view->view, .line = line_copy(&snapshot->record.line)});
			found = found || snapshot->identity == IDENTITY_KNOWN;
		}
	}
	mutex_give(&store->catalog_lock);
}

/* What the subject's line has beyond that of the nearest complete snapshot; -ENODATA when there is none. */
static int since_base(const struct subject *subject, struct line *ret_since)
{
	uint8_t identity[IDENTITY_LEN];
	struct bases bases = {0};
	int result = -ENODATA;

	find_bases(subject, &bases);
	for (size_t i = 0; i < bases.count; i++) {
		if (result == -ENODATA)
			result = known(subject->store, subject->family, bases.items[i].view, identity);
		if (result == 0) {
			*ret_since = line_minus(&subject->line, &bases.items[i].line);
			result = 1;
		}
		line_clear(&bases.items[i].line);
	}
	array_clear(&bases);
	return result > 0 ? 0 : result;
}

/* --- computing --- */

static bool is_kept(const struct subject *subject)
{
	return subject->snapshot && !subject->unkept && !store_read_only(subject->store);
}

static int walk_subject(struct subject *subject, struct node_source *source, struct touched_set *touched, struct kv_batch *directories,
			uint8_t ret_identity[IDENTITY_LEN])
{
	struct walk walk = {
		.source = source,
		.touched = touched,
		.keep = is_kept(subject),
		.view = subject->view,
		.epoch = last_epoch(&subject->line),
	};
	int result = walk_run(&walk, directories, ret_identity);

	subject->cost.directories += walk.directories;
	subject->cost.nodes += walk.nodes;
	return result;
}

/* -EUCLEAN: what was touched does not lead to all that changed. */
static int walk_touched(struct subject *subject, struct node_source *source, const struct line *since, struct kv_batch *directories,
			uint8_t ret_identity[IDENTITY_LEN])
{
	struct touched_set *touched;
	struct digest_record root;
	uint64_t epoch;
	int result = touched_set_load(source, since, &touched);

	if (result < 0)
		return result;
	if (touched_set_has_directory(touched, ROOT_INO)) {
		result = walk_subject(subject, source, touched, directories, ret_identity);
		if (result == 0 && !touched_set_complete(touched))
			result = -EUCLEAN;
	} else {
		struct digests *digests = digests_new(subject->store->kv, subject->family, &subject->line);
		result = digests_newest(digests, ROOT_INO, &root, &epoch);
		if (result == 0)
			memcpy(ret_identity, root.node, IDENTITY_LEN);
		digests_free(digests);
	}
	touched_set_free(touched);
	return result == -ENOENT ? -EUCLEAN : result;
}

static int compute(struct subject *subject, uint8_t ret_identity[IDENTITY_LEN])
{
	struct node_source source = {.store = subject->store, .cancelled = subject->cancelled, .arg = subject->arg};
	struct kv_batch *directories = kv_batch_new();
	uint8_t identity[IDENTITY_LEN];
	struct line since = {0};
	int result = subject->anew ? -ENODATA : since_base(subject, &since);

	scan_of_line(&source.scan, subject->store->tree, subject->family, &subject->line);
	subject->cost.partial = result == 0;
	if (result == 0)
		result = walk_touched(subject, &source, &since, directories, identity);
	if (result == -ENODATA || result == -EUCLEAN) {
		subject->cost.partial = false;
		kv_batch_clear(directories);
		result = walk_subject(subject, &source, NULL, directories, identity);
	}
	line_clear(&since);
	scan_clear(&source.scan);
	subject->cost.contents += atomic_load(&source.contents);
	if (result == 0 && is_kept(subject))
		result = complete(subject, directories, identity);
	kv_batch_free(directories);
	if (result == 0)
		memcpy(ret_identity, identity, IDENTITY_LEN);
	return result;
}

/* --- heads --- */

struct stamp {
	struct scan scan;
	struct digest *digest;
};

static int add_to_stamp(void *arg, struct touched_place place)
{
	struct stamp *stamp = arg;
	struct scan_inode inode = {0};
	int result = scan_inode(&stamp->scan, place.ino, &inode);

	digest_update(stamp->digest, &place.ino, sizeof(place.ino));
	digest_update(stamp->digest, inode.value.data, inode.value.len);
	scan_inode_clear(&inode);
	return result == -ENOENT ? 0 : result;
}

/* Over the records of all inodes that were touched in the open epoch, and the line: another one when anything was changed. */
static int head_stamp(struct view *view, uint8_t ret_stamp[DIGEST_LEN])
{
	struct stamp stamp = {.digest = digest_new()};
	uint64_t open;
	int result;

	scan_of_view(&stamp.scan, view);
	open = last_epoch(&stamp.scan.line);
	digest_update(stamp.digest, &open, sizeof(open));
	result = touched_each(stamp.scan.tree, stamp.scan.family, (struct touched_place){.epoch = open}, open, add_to_stamp, &stamp);
	if (result == 0)
		digest_final(stamp.digest, ret_stamp);
	digest_free(stamp.digest);
	scan_clear(&stamp.scan);
	return result;
}

static int compute_head(struct subject *subject, struct view *view, uint8_t ret_identity[IDENTITY_LEN])
{
	uint8_t before[DIGEST_LEN], after[DIGEST_LEN], identity[IDENTITY_LEN];

	for (unsigned i = 0; i < HEAD_TRIES; i++) {
		int result = view_sync(view), computed = 0;
		if (result == 0)
			result = head_stamp(view, before);
		if (result < 0)
			return result;
		line_clear(&subject->line);
		subject->line = view_line(view);
		computed = compute(subject, identity);
		if (computed == -ECANCELED)
			return computed;
		result = head_stamp(view, after);
		if (result < 0)
			return result;
		if (memcmp(before, after, DIGEST_LEN) != 0)
			continue;
		if (computed == 0)
			memcpy(ret_identity, identity, IDENTITY_LEN);
		return computed;
	}
	return -EAGAIN;
}

static bool is_snapshot(struct store *store, uint32_t view)
{
	mutex_take(&store->catalog_lock);
	bool found = catalog_snapshot_by_view(store, view) != NULL;
	mutex_give(&store->catalog_lock);
	return found;
}

static int compute_view(struct subject *subject, struct view *view, uint8_t ret_identity[IDENTITY_LEN])
{
	subject->family = view_family(view);
	subject->view = view_number(view);
	subject->snapshot = is_snapshot(subject->store, subject->view);
	subject->line = view_line(view);
	int result = subject->snapshot ? compute(subject, ret_identity) : compute_head(subject, view, ret_identity);
	line_clear(&subject->line);
	return result;
}

int identity_compute(struct store *store, struct view *view, bool (*cancelled)(void *arg), void *arg, uint8_t ret_identity[IDENTITY_LEN])
{
	struct subject subject = {.store = store, .cancelled = cancelled, .arg = arg};
	int result = identity_known(store, view, ret_identity);

	if (result == -ENODATA)
		result = compute_view(&subject, view, ret_identity);
	if (result != -ENOSPC && result != -EROFS)
		return result;
	/* It is right also where it cannot be kept: who backs up a full store needs it most. */
	subject.unkept = true;
	return compute_view(&subject, view, ret_identity);
}

int identity_measure(struct store *store, struct view *view, bool anew, uint8_t ret_identity[IDENTITY_LEN], struct identity_cost *ret_cost)
{
	struct subject subject = {.store = store, .anew = anew};
	int result = compute_view(&subject, view, ret_identity);

	if (result == 0)
		*ret_cost = subject.cost;
	return result;
}

/* --- in the background --- */

/* The oldest snapshot of which it is not known that its identity is: each is then the base of the next. */
static bool next_subject(struct store *store, struct subject *subject)
{
	const struct snapshot *found = NULL;

	mutex_take(&store->catalog_lock);
	for (size_t at = catalog_order_from(&store->order, store->identified); at < store->order.count && !found; at++) {
		const struct snapshot *snapshot = store->order.items[at];
		if (snapshot->identity == IDENTITY_UNKNOWN)
			found = snapshot;
		else
			store->identified = snapshot->record.number + 1;
	}
	/* One that is blocked is being destroyed, or will be here again soon. */
	if (found && found->blocked)
		found = NULL;
	if (found) {
		subject->family = found->record.family;
		subject->view = found->record.view;
		subject->line = line_copy(&found->record.line);
	}
	mutex_give(&store->catalog_lock);
	return found != NULL;
}

static void note(struct store *store, uint32_t view, int result)
{
	mutex_take(&store->catalog_lock);
	struct snapshot *snapshot = catalog_snapshot_by_view(store, view);
	if (snapshot)
		snapshot->identity = result < 0 ? IDENTITY_FAILED : IDENTITY_KNOWN;
	mutex_give(&store->catalog_lock);
}

int identity_step(struct store *store, bool (*cancelled)(void *arg), void *arg)
{
	struct subject subject = {.store = store, .snapshot = true, .cancelled = cancelled, .arg = arg};
	uint8_t identity[IDENTITY_LEN];
	bool computed = false;

	if (store_read_only(store))
		return 0;
	while (!computed && next_subject(store, &subject)) {
		int result = known(store, subject.family, subject.view, identity);
		if (result == -ENODATA) {
			result = compute(&subject, identity);
			computed = true;
		}
		line_clear(&subject.line);
		/* What was pruned while it was read looks like damage. */
		if (result < 0 && !is_snapshot(store, subject.view))
			return 1;
		if (result == 0 || result == -EIO || result == -EBADMSG)
			note(store, subject.view, result);
		if (result < 0)
			return result;
	}
	return computed;
}
