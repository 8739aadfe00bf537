#include "lib/verify/check_view.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/spill.h"
#include "lib/tree/records/inline_content.h"
#include "lib/tree/records/version.h"

#define MEMORY (16U << 20) /* of each of the two maps */
#define STEP 4096
#define TRIES 3

/* The records of one inode come one behind the other, its inode record first. */
struct inode_seen {
	uint64_t ino;
	bool has_record;
	struct inode_record record; /* without its data */
	uint64_t extents_end, extents_sum, extents;
	uint32_t entries, subdirectories;
};

struct check {
	const struct check_view_options *options;
	struct inode_seen inode;
	struct spill *inodes; /* number -> what is compared with its names */
	struct spill *names;  /* inode, directory, name -> type */
};

/* A value of `inodes`. */
struct inode_kept {
	uint32_t mode, nlink;
	uint64_t parent;
};

/* --- telling --- */

static int PRINTF_LIKE(4, 5) found(struct check *check, const char *rule, uint64_t ino, const char *format, ...)
{
	static const char *const names[] = {"record", "inode", "overlap", "allocated", "chunk", "entry", "links", "parent", "reachable"};
	const struct check_view_options *options = check->options;
	char text[CHECK_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	options->counts->problems++;
	return options->problem(options->arg, &(struct check_problem){.rule = rule,
								      .name = names[rule[1] - '1'],
								      .dataset = options->dataset,
								      .snapshot = options->snapshot,
								      .ino = ino,
								      .text = text});
}

typedef unsigned long long count; /* for %llu */

/* --- one record --- */

/* K1 */
static int not_understood(struct check *check, const struct tree_key_parts *parts, const char *what)
{
	return found(check, "K1", parts->ino, "%s record cannot be understood", what);
}

/* K3, and what K4 needs */
static int take_extent(struct check *check, const struct tree_key_parts *parts, const struct extent_record *extent)
{
	struct inode_seen *inode = &check->inode;
	int result = 0;

	if (extent->length == 0)
		result = found(check, "K3", parts->ino, "the extent at %llu has no length", (count)parts->offset);
	else if (inode->extents > 0 && parts->offset < inode->extents_end)
		result = found(check, "K3", parts->ino, "the extent at %llu begins before the end, %llu, of the one before it", (count)parts->offset,
			       (count)inode->extents_end);
	inode->extents++;
	inode->extents_sum += extent->length;
	inode->extents_end = MAX(inode->extents_end, parts->offset + extent->length);
	return result;
}

/* K5 */
static int check_chunk(struct check *check, const struct tree_key_parts *parts, const struct extent_record *extent)
{
	uint64_t bytes;
	int result = extent->chunk == CHUNK_NONE ? 0 : chunks_stored(store_chunks(check->options->store), extent->chunk, &bytes);

	if (result != -ENOENT)
		return 0; /* one that is damaged is what a scrub finds */
	return found(check, "K5", parts->ino, "the content from %llu on is missing: there is no chunk 0x%llx", (count)parts->offset,
		     (count)extent->chunk);
}

static int take_entry(struct check *check, const struct tree_key_parts *parts, const struct entry_record *entry)
{
	AUTO_BUF key = BUF_INIT;

	check->inode.entries++;
	check->inode.subdirectories += entry->type == DT_DIR;
	buf_add_be64(&key, entry->ino);
	buf_add_be64(&key, parts->ino);
	buf_add(&key, parts->name, parts->name_len);
	return spill_put(check->names, key.data, key.len, &entry->type, sizeof(entry->type));
}

static int take_record(struct check *check, const struct tree_key_parts *parts, const uint8_t *value, size_t len)
{
	struct extent_record extent;
	struct entry_record entry;
	int result;

	switch (parts->kind) {
	case KEY_INODE:
		if (inode_record_decode(value, len, &check->inode.record) < 0)
			return not_understood(check, parts, "the inode");
		check->inode.has_record = true;
		return 0;
	case KEY_EXTENT:
		if (extent_record_decode(value, len, &extent) < 0)
			return not_understood(check, parts, "an extent");
		result = take_extent(check, parts, &extent);
		return result == 0 ? check_chunk(check, parts, &extent) : result;
	case KEY_ENTRY:
		if (entry_record_decode(value, len, &entry) < 0)
			return not_understood(check, parts, "an entry");
		return take_entry(check, parts, &entry);
	case KEY_XATTR:
		return value[0] == FORMAT_VERSION ? 0 : not_understood(check, parts, "an attribute");
	case KEY_CONTENT:
		break; /* not among these records */
	}
	return not_understood(check, parts, "a misplaced");
}

/* --- one inode --- */

/* K2 */
static int check_record(struct check *check, const struct inode_seen *inode)
{
	return inode->has_record ? 0 : found(check, "K2", inode->ino, "there are records of it, and none that says what it is");
}

/* The record of the content is not part of the walk: somebody may write the file anew, and then its inode says what to look for. */
static bool has_content(struct check *check, const struct inode_seen *inode)
{
	const struct check_view_options *options = check->options;
	struct tree_key stem = tree_stem_inode(options->family, inode->ino);
	struct inode_record record = inode->record;

	for (int i = 0; i < TRIES; i++) {
		AUTO_BUF value = BUF_INIT, content = BUF_INIT;
		if (inline_content_get(store_tree(options->store), options->family, inode->ino, &record, &content) != -EIO)
			return true;
		if (version_get(store_kv(options->store), options->line, &stem, &value, NULL) < 0 ||
		    inode_record_decode(value.data, value.len, &record) < 0 || !record.is_inline)
			return true;
	}
	return false;
}

/* K4 */
static int check_allocated(struct check *check, const struct inode_seen *inode)
{
	const struct inode_record *record = &inode->record;

	if (record->is_inline && inode->extents > 0)
		return found(check, "K4", inode->ino, "it has extents, and inline content, too");
	if (record->is_inline && (record->allocated > record->size || !has_content(check, inode)))
		return found(check, "K4", inode->ino, "%llu bytes of inline content are counted, of size %llu, and they are not there",
			     (count)record->allocated, (count)record->size);
	if (S_ISLNK(record->mode) && (record->target_len != record->size || record->allocated != record->size))
		return found(check, "K4", inode->ino, "the target has %u bytes, and size %llu", record->target_len, (count)record->size);
	if (S_ISREG(record->mode) && !record->is_inline && record->allocated != inode->extents_sum)
		return found(check, "K4", inode->ino, "its extents have %llu bytes, and %llu are counted", (count)inode->extents_sum,
			     (count)record->allocated);
	return 0;
}

/* K6: the first half */
static int check_has_entries(struct check *check, const struct inode_seen *inode)
{
	return inode->entries == 0 || S_ISDIR(inode->record.mode)
	               ? 0
	               : found(check, "K6", inode->ino, "it has %u entries, and is no directory", inode->entries);
}

/* K7: of directories */
static int check_directory_links(struct check *check, const struct inode_seen *inode)
{
	const struct inode_record *record = &inode->record;

	if (!S_ISDIR(record->mode) || record->nlink == 2 + inode->subdirectories)
		return 0;
	return found(check, "K7", inode->ino, "the directory has %u subdirectories, and %u links instead of %u", inode->subdirectories, record->nlink,
		     2 + inode->subdirectories);
}

static int end_inode(struct check *check)
{
	const struct inode_seen *inode = &check->inode;
	int result = 0;

	if (inode->ino == 0)
		return 0;
	check->options->counts->inodes++;
	if (!inode->has_record)
		return check_record(check, inode);
	/* What has no name any more is being taken away, bit by bit. */
	if (inode->record.nlink > 0) {
		result = check_allocated(check, inode);
		if (result == 0)
			result = check_has_entries(check, inode);
		if (result == 0)
			result = check_directory_links(check, inode);
	}
	AUTO_BUF key = BUF_INIT;
	struct inode_kept kept = {.mode = inode->record.mode, .nlink = inode->record.nlink, .parent = inode->record.parent};
	buf_add_be64(&key, inode->ino);
	return result == 0 ? spill_put(check->inodes, key.data, key.len, &kept, sizeof(kept)) : result;
}

static int walk(struct check *check)
{
	const struct check_view_options *options = check->options;
	struct tree_key first = tree_prefix_family(options->family), end = tree_prefix_end(first);
	struct version_iter *iter = version_iter_new(store_kv(options->store), options->line, &first, &end, KV_ITER_SCAN);
	int result = 0;

	while (result == 0 && version_iter_next(iter)) {
		const struct tree_key_parts *parts = version_iter_parts(iter);
		size_t len;
		const uint8_t *value = version_iter_value(iter, &len);
		if (parts->ino != check->inode.ino) {
			result = end_inode(check);
			check->inode = (struct inode_seen){.ino = parts->ino};
		}
		if (result == 0)
			result = take_record(check, parts, value, len);
		if (result == 0 && ++options->counts->records % STEP == 0)
			result = options->step(options->arg);
	}
	if (result == 0)
		result = version_iter_status(iter);
	version_iter_free(iter);
	return result == 0 ? end_inode(check) : result;
}

/* --- names and inodes together --- */

/* All names of one inode. */
struct names_seen {
	uint32_t count;
	uint64_t directory; /* of the last one */
};

/* K6: the second half */
static int check_type(struct check *check, uint64_t ino, const struct inode_kept *inode, const struct spill_item *name)
{
	const struct reader at = reader_over(name->key + 8, name->key_len - 8);
	struct reader reader = at;
	const count directory = read_be64(&reader);

	if (!inode)
		return found(check, "K6", ino, "\"%.*s\" in directory %llu stands for it, and it is not there", (int)reader.left,
			     (const char *)reader.at, directory);
	if (name->value[0] == IFTODT(inode->mode))
		return 0;
	return found(check, "K6", ino, "\"%.*s\" in directory %llu has type %u, and it is of type %u", (int)reader.left, (const char *)reader.at,
		     directory, name->value[0], IFTODT(inode->mode));
}

/* K7: of files */
static int check_file_links(struct check *check, uint64_t ino, const struct inode_kept *inode, const struct names_seen *names)
{
	return S_ISDIR(inode->mode) || inode->nlink == names->count
	               ? 0
	               : found(check, "K7", ino, "it has %u names, and %u links", names->count, inode->nlink);
}

/* K8 */
static int check_parent(struct check *check, uint64_t ino, const struct inode_kept *inode, const struct names_seen *names)
{
	const uint32_t wanted = ino != ROOT_INO && inode->nlink > 0;

	if (!S_ISDIR(inode->mode))
		return 0;
	if (names->count != wanted)
		return found(check, "K8", ino, "the directory has %u names", names->count);
	return !wanted || names->directory == inode->parent
	               ? 0
	               : found(check, "K8", ino, "the directory lies in %llu, and says that it lies in %llu", (count)names->directory,
			       (count)inode->parent);
}

/* `item` is the first name that is not dealt with, `more` whether there is one. */
static int take_names(struct check *check, struct spill_iter *iter, uint64_t ino, const struct inode_kept *inode, struct spill_item *item, int *more,
		      struct names_seen *ret_names)
{
	struct names_seen names = {0};
	int result = 0;

	while (*more > 0 && result == 0) {
		struct reader reader = reader_over(item->key, item->key_len);
		const uint64_t named = read_be64(&reader);
		if (named > ino)
			break;
		if (named == ino) {
			names.count++;
			names.directory = read_be64(&reader);
		}
		result = check_type(check, named, named == ino ? inode : NULL, item);
		*more = spill_iter_next(iter, item);
	}
	*ret_names = names;
	return result == 0 && *more < 0 ? *more : result;
}

static int check_names(struct check *check)
{
	struct spill_iter *inodes = NULL, *names = NULL;
	struct spill_item inode_item, name_item;
	struct names_seen seen;
	int result = spill_iter_new(check->inodes, &inodes), more = 0, next = 0;

	if (result == 0)
		result = spill_iter_new(check->names, &names);
	if (result == 0)
		result = more = spill_iter_next(names, &name_item);
	while (result >= 0 && (result = next = spill_iter_next(inodes, &inode_item)) > 0) {
		struct inode_kept inode;
		const uint64_t ino = spill_number(inode_item.key);
		memcpy(&inode, inode_item.value, sizeof(inode));
		result = take_names(check, names, ino, &inode, &name_item, &more, &seen);
		if (result == 0)
			result = check_file_links(check, ino, &inode, &seen);
		if (result == 0)
			result = check_parent(check, ino, &inode, &seen);
	}
	if (result >= 0)
		result = take_names(check, names, UINT64_MAX, NULL, &name_item, &more, &seen);
	spill_iter_free(inodes);
	spill_iter_free(names);
	return result;
}

/* --- K9 --- */

struct reach {
	struct check *check;
	struct spill *parents, *reached;
	uint64_t directories;
	ARRAY(uint64_t) way;
};

static int parent_of(struct reach *reach, uint64_t ino, uint64_t *ret_parent)
{
	AUTO_BUF key = BUF_INIT, value = BUF_INIT;

	buf_add_be64(&key, ino);
	int result = spill_get(reach->parents, key.data, key.len, &value);
	if (result == 0)
		memcpy(ret_parent, value.data, sizeof(*ret_parent));
	return result;
}

/* Up to what is known to be below the root; what lies on the way is then known, too. A way that comes back to itself ends, too. */
static int check_reachable(void *arg, const struct spill_item *item)
{
	struct reach *reach = arg;
	struct inode_kept inode;
	uint64_t ino = spill_number(item->key);
	int known = 0, result = 0;

	memcpy(&inode, item->value, sizeof(inode));
	if (!S_ISDIR(inode.mode) || inode.nlink == 0)
		return 0;
	const uint64_t first = ino;
	array_reset(&reach->way);
	while (result == 0 && (known = ino == ROOT_INO ? 1 : spill_has(reach->reached, ino)) == 0) {
		array_add(&reach->way, ino);
		result = parent_of(reach, ino, &ino);
		if (reach->way.count > reach->directories)
			result = -ELOOP;
	}
	if (known < 0 || (result < 0 && result != -ENOENT && result != -ELOOP))
		return known < 0 ? known : result;
	if (result < 0)
		return found(reach->check, "K9", first, "no way leads from the directory up to the root");
	for (size_t i = 0; i < reach->way.count && result == 0; i++)
		result = spill_add(reach->reached, reach->way.items[i]);
	return result;
}

static int note_parent(void *arg, const struct spill_item *item)
{
	struct reach *reach = arg;
	struct inode_kept inode;

	memcpy(&inode, item->value, sizeof(inode));
	reach->directories += S_ISDIR(inode.mode);
	return S_ISDIR(inode.mode) ? spill_put(reach->parents, item->key, item->key_len, &inode.parent, sizeof(inode.parent)) : 0;
}

static int check_reach(struct check *check)
{
	struct reach reach = {.check = check, .parents = spill_new(MEMORY), .reached = spill_new(MEMORY)};
	int result = spill_each(check->inodes, note_parent, &reach);

	if (result == 0)
		result = spill_each(check->inodes, check_reachable, &reach);
	spill_free(reach.parents);
	spill_free(reach.reached);
	array_clear(&reach.way);
	return result;
}

int check_view(const struct check_view_options *options)
{
	struct check check = {.options = options, .inodes = spill_new(MEMORY), .names = spill_new(MEMORY)};
	int result = walk(&check);

	if (result == 0)
		result = check_names(&check);
	if (result == 0)
		result = check_reach(&check);
	spill_free(check.inodes);
	spill_free(check.names);
	return result;
}
