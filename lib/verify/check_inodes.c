/* K1 to K4, and the halves of K6 and K7 that need only one inode's records. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/tree/records/inline_content.h"
#include "lib/tree/records/version.h"
#include "lib/verify/check_chunks.h"
#include "lib/verify/check_family.h"

#define TRIES 3

/* One version, and who sees it. */
struct seen_version {
	const struct stored_version *version;
	const struct line *places;
};

/* The entries of a directory mostly come with the same views: they are counted before they are added. */
struct counting {
	const struct line *places;
	uint64_t entries, subdirectories;
};

struct inodes {
	struct check_family *family;
	uint64_t ino;
	struct line epochs; /* in which somebody sees a version of it */
	struct counting counting;
};

static struct check_where where_first(const struct inodes *inodes, unsigned rule, const struct line *places)
{
	struct check_where where = check_where_of(inodes->family, rule, &places->items[0], inodes->ino);

	for (size_t i = 1; i < places->count; i++)
		where.more += places->items[i].last - places->items[i].first + 1;
	return where;
}

/* --- one version --- */

/* K1 */
static int not_understood(struct inodes *inodes, const struct seen_version *seen, const char *what)
{
	const struct check_where where = where_first(inodes, 1, seen->places);

	return check_found(inodes->family->report, &where, "%s record cannot be understood", what);
}

static int take_inode(struct inodes *inodes, const struct seen_version *seen)
{
	struct view_states *states = &inodes->family->states;
	struct inode_record record;
	size_t at, to;

	if (inode_record_decode(seen->version->value, seen->version->len, &record) < 0)
		return not_understood(inodes, seen, "the inode");
	record.target = NULL;
	for (size_t i = 0; i < seen->places->count; i++)
		for (view_states_part(states, &seen->places->items[i], &at, &to); at < to; at++) {
			states->items[at].has_any = states->items[at].has_record = true;
			states->items[at].record = record;
		}
	return 0;
}

/* K3, and what K4 needs */
static int add_extent(struct inodes *inodes, struct view_state *state, uint64_t offset, const struct extent_record *extent)
{
	const struct check_where where = check_where_of(inodes->family, 3, &(struct interval){state->first, state->last}, inodes->ino);
	int result = 0;

	if (extent->length == 0)
		result = check_found(inodes->family->report, &where, "the extent at %llu has no length", (count)offset);
	else if (state->extents > 0 && offset < state->extents_end)
		result = check_found(inodes->family->report, &where, "the extent at %llu begins before the end, %llu, of the one before it",
				     (count)offset, (count)state->extents_end);
	state->has_any = true;
	state->extents++;
	state->extents_sum += extent->length;
	state->extents_end = MAX(state->extents_end, offset + extent->length);
	return result;
}

static int take_extent(struct inodes *inodes, const struct seen_version *seen)
{
	const struct tree_key_parts *parts = &seen->version->parts;
	struct view_states *states = &inodes->family->states;
	struct extent_record extent;
	size_t at, to;
	int result = 0;

	if (extent_record_decode(seen->version->value, seen->version->len, &extent) < 0)
		return not_understood(inodes, seen, "an extent");
	for (size_t i = 0; i < seen->places->count; i++)
		for (view_states_part(states, &seen->places->items[i], &at, &to); at < to && result == 0; at++)
			result = add_extent(inodes, &states->items[at], parts->offset, &extent);
	return result == 0 ? check_chunks_note(inodes->family, inodes->ino, parts->offset, &extent, seen->places->items[0].first) : result;
}

static void end_counting(struct inodes *inodes)
{
	const struct counting counting = inodes->counting;
	struct view_states *states = &inodes->family->states;
	size_t at, to;

	for (size_t i = 0; counting.places && i < counting.places->count; i++)
		for (view_states_part(states, &counting.places->items[i], &at, &to); at < to; at++) {
			states->items[at].has_any = true;
			states->items[at].entries += counting.entries;
			states->items[at].subdirectories += counting.subdirectories;
		}
	inodes->counting = (struct counting){0};
}

static int note_name(struct inodes *inodes, const struct tree_key_parts *parts, const struct entry_record *entry, const struct interval *places)
{
	const struct name_kept kept = {.last = places->last, .type = entry->type};
	AUTO_BUF key = BUF_INIT;

	buf_add_be64(&key, entry->ino);
	buf_add_be64(&key, parts->ino);
	buf_add(&key, parts->name, parts->name_len);
	buf_add_be64(&key, places->first);
	return spill_put(inodes->family->names, key.data, key.len, &kept, sizeof(kept));
}

static int take_entry(struct inodes *inodes, const struct seen_version *seen)
{
	struct entry_record entry;
	int result = 0;

	if (entry_record_decode(seen->version->value, seen->version->len, &entry) < 0)
		return not_understood(inodes, seen, "an entry");
	if (inodes->counting.places != seen->places)
		end_counting(inodes);
	inodes->counting.places = seen->places;
	inodes->counting.entries++;
	inodes->counting.subdirectories += entry.type == DT_DIR;
	for (size_t i = 0; i < seen->places->count && result == 0; i++)
		result = note_name(inodes, &seen->version->parts, &entry, &seen->places->items[i]);
	return result;
}

static int take_xattr(struct inodes *inodes, const struct seen_version *seen)
{
	struct view_states *states = &inodes->family->states;
	size_t at, to;

	for (size_t i = 0; i < seen->places->count; i++)
		for (view_states_part(states, &seen->places->items[i], &at, &to); at < to; at++)
			states->items[at].has_any = true;
	return seen->version->value[0] == FORMAT_VERSION ? 0 : not_understood(inodes, seen, "an attribute");
}

static int take_version(struct inodes *inodes, const struct seen_version *seen)
{
	const struct stored_version *version = seen->version;

	line_add(&inodes->epochs, version->parts.epoch, version->parts.epoch);
	if (version->len == 0)
		return 0; /* a tombstone */
	switch (version->parts.kind) {
	case KEY_INODE: return take_inode(inodes, seen);
	case KEY_EXTENT: return take_extent(inodes, seen);
	case KEY_ENTRY: return take_entry(inodes, seen);
	case KEY_XATTR: return take_xattr(inodes, seen);
	case KEY_CONTENT: break; /* not among these records */
	}
	return not_understood(inodes, seen, "a misplaced");
}

/* --- one inode, as some views see it --- */

/* The record of the content is not part of the walk: somebody may write the file anew, and then its inode says what to look for. */
static bool has_content(const struct inodes *inodes, const struct view_state *state)
{
	const struct check_family *family = inodes->family;
	struct tree_key stem = tree_stem_inode(family->family, inodes->ino);
	struct inode_record record = state->record;

	for (int i = 0; i < TRIES; i++) {
		AUTO_BUF value = BUF_INIT, content = BUF_INIT;
		if (inline_content_get(store_tree(family->store), family->family, inodes->ino, &record, &content) != -EIO)
			return true;
		if (version_get(store_kv(family->store), &family->viewers.items[state->first].line, &stem, &value, NULL) < 0 ||
		    inode_record_decode(value.data, value.len, &record) < 0 || !record.is_inline)
			return true;
	}
	return false;
}

/* K4 */
static int check_allocated(const struct inodes *inodes, const struct view_state *state, struct check_where *where)
{
	struct check_report *report = inodes->family->report;
	const struct inode_record *record = &state->record;

	where->rule = 4;
	if (record->is_inline && state->extents > 0)
		return check_found(report, where, "it has extents, and small content, too");
	if (record->is_inline && (record->allocated > record->size || !has_content(inodes, state)))
		return check_found(report, where, "%llu bytes of small content are counted, of size %llu, and they are not there",
				   (count)record->allocated, (count)record->size);
	if (S_ISLNK(record->mode) && (record->target_len != record->size || record->allocated != record->size))
		return check_found(report, where, "the target has %u bytes, and size %llu", record->target_len, (count)record->size);
	if (S_ISREG(record->mode) && !record->is_inline && record->allocated != state->extents_sum)
		return check_found(report, where, "its extents have %llu bytes, and %llu are counted", (count)state->extents_sum,
				   (count)record->allocated);
	return 0;
}

/* K6: the first half */
static int check_has_entries(const struct inodes *inodes, const struct view_state *state, struct check_where *where)
{
	where->rule = 6;
	return state->entries == 0 || S_ISDIR(state->record.mode)
	               ? 0
	               : check_found(inodes->family->report, where, "it has %llu entries, and is no directory", (count)state->entries);
}

/* K7: of directories */
static int check_directory_links(const struct inodes *inodes, const struct view_state *state, struct check_where *where)
{
	const struct inode_record *record = &state->record;

	where->rule = 7;
	if (!S_ISDIR(record->mode) || record->nlink == 2 + state->subdirectories)
		return 0;
	return check_found(inodes->family->report, where, "the directory has %llu subdirectories, and %u links instead of %llu",
			   (count)state->subdirectories, record->nlink, 2 + (count)state->subdirectories);
}

/* What is noted of it is compared with its names later; without a name, with the list of orphans. */
static int keep(struct inodes *inodes, const struct view_state *state)
{
	const struct inode_kept kept = {
		.last = state->last, .mode = state->record.mode, .nlink = state->record.nlink, .parent = state->record.parent};
	AUTO_BUF key = BUF_INIT;

	buf_add_be64(&key, inodes->ino);
	buf_add_be64(&key, state->first);
	int result = spill_put(inodes->family->inodes, key.data, key.len, &kept, sizeof(kept));
	for (uint64_t place = state->first; kept.nlink == 0 && place <= state->last && result == 0; place++) {
		buf_clear(&key);
		buf_add_be64(&key, place);
		buf_add_be64(&key, inodes->ino);
		result = spill_put(inodes->family->orphans, key.data, key.len, "", 0);
	}
	return result;
}

static int check_state(struct inodes *inodes, const struct view_state *state)
{
	struct check_where where = check_where_of(inodes->family, 2, &(struct interval){state->first, state->last}, inodes->ino);
	int result = 0;

	if (!state->has_any)
		return 0;
	inodes->family->report->counts.inodes += state->last - state->first + 1;
	if (!state->has_record)
		return check_found(inodes->family->report, &where, "there are records of it, and none that says what it is");
	/* What has no name any more is being taken away, bit by bit. */
	if (state->record.nlink > 0) {
		result = check_allocated(inodes, state, &where);
		if (result == 0)
			result = check_has_entries(inodes, state, &where);
		if (result == 0)
			result = check_directory_links(inodes, state, &where);
	}
	return result == 0 ? keep(inodes, state) : result;
}

static int note_touched(struct inodes *inodes)
{
	int result = 0;

	for (size_t i = 0; i < inodes->epochs.count; i++)
		for (uint64_t epoch = inodes->epochs.items[i].first; epoch <= inodes->epochs.items[i].last && result == 0; epoch++) {
			AUTO_BUF key = BUF_INIT;
			buf_add_be64(&key, epoch);
			buf_add_be64(&key, inodes->ino);
			result = spill_put(inodes->family->touched, key.data, key.len, "", 0);
		}
	array_reset(&inodes->epochs);
	return result;
}

static int end_inode(struct inodes *inodes)
{
	struct view_states *states = &inodes->family->states;
	int result;

	if (inodes->ino == 0)
		return 0;
	end_counting(inodes);
	result = note_touched(inodes);
	for (size_t i = 0; i < states->count && result == 0; i++)
		result = check_state(inodes, &states->items[i]);
	return result;
}

static int next_version(struct inodes *inodes, const struct stored_version *version)
{
	struct check_family *family = inodes->family;
	int result = 0;

	if (version->parts.ino != inodes->ino) {
		result = end_inode(inodes);
		view_states_reset(&family->states, family->viewers.count);
		view_sets_tidy(family->sets);
		inodes->ino = version->parts.ino;
		family->max_ino = MAX(family->max_ino, inodes->ino);
	}
	if (result < 0)
		return result;
	const struct seen_version seen = {version, view_sets_of(family->sets, version->is_newest, version->parts.epoch)};
	return seen.places->count == 0 ? 0 : take_version(inodes, &seen);
}

int check_inodes(struct check_family *family)
{
	struct inodes inodes = {.family = family};
	struct stored_version version;
	int result = 0, next = 0;

	while (result == 0 && (next = all_versions_next(family->versions, &version)) > 0) {
		result = next_version(&inodes, &version);
		if (result == 0)
			result = check_record(family->report);
	}
	if (result == 0)
		result = next < 0 ? next : end_inode(&inodes);
	line_clear(&inodes.epochs);
	return result;
}
