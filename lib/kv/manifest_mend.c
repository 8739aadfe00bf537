#include "lib/kv/manifest_mend.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/kv/examine.h"
#include "lib/kv/file_numbers.h"
#include "lib/kv/kv.h"
#include "lib/kv/manifest_copy.h"

#define TURNS_MAX 64 /* places at which the two files stand for each other */
#define NAMED_MAX 3

/* What there is of one manifest. */
struct candidate {
	uint64_t number;
	struct buf own, bytes;    /* the file; what can be made of it and of the copy */
	struct manifest manifest; /* of `bytes` */
	bool from_copy;
};

struct finding {
	int dir;
	struct synced_state synced;
	uint64_t copy_number; /* 0: there is no copy */
	struct buf copy;
};

static void candidate_clear(struct candidate *candidate)
{
	buf_clear(&candidate->own);
	buf_clear(&candidate->bytes);
	manifest_clear(&candidate->manifest);
	*candidate = (struct candidate){0};
}

/* True when it is further than what the candidate has; then the candidate has it. */
static bool try_bytes(struct candidate *candidate, struct buf *bytes)
{
	struct manifest manifest = {0};

	if (manifest_of_bytes(bytes->data, bytes->len, &manifest) < 0)
		return false;
	if (manifest.whole <= candidate->manifest.whole) {
		manifest_clear(&manifest);
		return false;
	}
	manifest_clear(&candidate->manifest);
	buf_clear(&candidate->bytes);
	candidate->manifest = manifest;
	candidate->bytes = *bytes;
	*bytes = BUF_INIT;
	candidate->bytes.len = (size_t)manifest.whole;
	return true;
}

/* What the candidate has, and then the other file. */
static bool go_on_with(struct candidate *candidate, const struct buf *other)
{
	AUTO_BUF bytes = BUF_INIT;
	const size_t whole = (size_t)candidate->manifest.whole;

	if (other->len <= whole)
		return false;
	if (whole > 0)
		buf_add(&bytes, candidate->bytes.data, whole);
	buf_add(&bytes, other->data + whole, other->len - whole);
	return try_bytes(candidate, &bytes);
}

static int look_at(const struct finding *finding, uint64_t number, struct candidate *candidate)
{
	char name[MANIFEST_NAME_MAX];

	snprintf(name, sizeof(name), MANIFEST_NAME_FORMAT, number);
	candidate->number = number;
	int result = file_read_inside(finding->dir, name, MANIFEST_BYTES_MAX, &candidate->own);
	if (result < 0 && result != -ENOENT && result != -EUCLEAN && result != -EFBIG)
		return result;
	bool further = go_on_with(candidate, &candidate->own);
	for (int turn = 0; number == finding->copy_number && turn < TURNS_MAX; turn++) {
		further = go_on_with(candidate, turn % 2 ? &candidate->own : &finding->copy);
		candidate->from_copy |= further && turn % 2 == 0;
		if (!further && turn > 0)
			break;
	}
	return 0;
}

static bool is_all_that_is_known(const struct finding *finding, const struct candidate *candidate)
{
	return candidate->manifest.families.count > 0 &&
	       (candidate->number != finding->synced.manifest || candidate->manifest.whole >= finding->synced.manifest_bytes);
}

static bool has_its_tables(const struct finding *finding, const struct candidate *candidate)
{
	for (size_t i = 0; i < candidate->manifest.tables.count; i++) {
		const struct manifest_table *table = &candidate->manifest.tables.items[i];
		char name[KV_TABLE_NAME_MAX];
		struct stat st;
		table_file_name(table->number, name);
		if (fstatat(finding->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || (uint64_t)st.st_size != table->bytes)
			return false;
	}
	return true;
}

/* The one that was current last comes first (MM1); a later one may not have become it. */
static int list_manifests(const struct finding *finding, struct file_numbers *ret_numbers)
{
	const uint64_t last = MAX(finding->synced.manifest, finding->copy_number);
	AUTO_ARRAY struct file_numbers there = {0};
	int result = file_numbers_list(finding->dir, MANIFEST_PREFIX, "", &there);

	if (last > 0)
		array_add(ret_numbers, last);
	for (size_t i = there.count; i-- > 0 && there.items[i] >= last;)
		if (there.items[i] != last)
			array_add(ret_numbers, there.items[i]);
	return result;
}

static bool names_table(const struct manifest *manifest, uint64_t number)
{
	for (size_t i = 0; i < manifest->tables.count; i++)
		if (manifest->tables.items[i].number == number)
			return true;
	return false;
}

/* Tables that are there and not in the list. */
static int list_unnamed(const struct finding *finding, const struct candidate *candidate, struct file_numbers *tables)
{
	size_t kept = 0;
	int result = file_numbers_list(finding->dir, "", ".sst", tables);

	for (size_t i = 0; i < tables->count; i++)
		if (!names_table(&candidate->manifest, tables->items[i]))
			tables->items[kept++] = tables->items[i];
	tables->count = kept;
	return result;
}

static bool names_all(const struct manifest *manifest, const struct manifest *other)
{
	for (size_t i = 0; i < other->tables.count; i++)
		if (!names_table(manifest, other->tables.items[i].number))
			return false;
	return manifest->families.count >= other->families.count;
}

/*
 * MM3. RocksDB writes a manifest before CURRENT names it, so a later one may be half of what it was to be. `before`: the one that was current
 * last; NULL: not all of that is known.
 */
static bool stands_for(const struct finding *finding, const struct candidate *later, const struct manifest *before)
{
	AUTO_ARRAY struct file_numbers unnamed = {0};

	if (!has_its_tables(finding, later) || !examine_has_logs(finding->dir, &finding->synced, &later->manifest, false))
		return false;
	if (before)
		return names_all(&later->manifest, before);
	return later->manifest.families.count >= KV_FAMILY_COUNT && list_unnamed(finding, later, &unnamed) == 0 && unnamed.count == 0;
}

/* The one that was current last, if all it needs is there; else a later one that stands for it; else the first all the same. -ENOENT: there is none. */
static int choose(const struct finding *finding, struct candidate *ret_candidate)
{
	AUTO_ARRAY struct file_numbers numbers = {0};
	struct candidate best = {0};
	int result = list_manifests(finding, &numbers);
	const bool knows_last = finding->synced.manifest > 0 || finding->copy_number > 0 || numbers.count == 1;
	size_t i = 0;

	if (result == 0 && knows_last && numbers.count > 0)
		result = look_at(finding, numbers.items[i++], &best);
	const bool all = result == 0 && is_all_that_is_known(finding, &best);
	bool found = all && has_its_tables(finding, &best) && examine_has_logs(finding->dir, &finding->synced, &best.manifest, true);
	for (; i < numbers.count && result == 0 && !found; i++) {
		struct candidate later = {0};
		result = look_at(finding, numbers.items[i], &later);
		found = result == 0 && stands_for(finding, &later, all ? &best.manifest : NULL);
		if (found) {
			candidate_clear(&best);
			best = later;
		} else {
			candidate_clear(&later);
		}
	}
	if (result == 0 && !found && !all)
		result = -ENOENT;
	if (result < 0)
		candidate_clear(&best);
	*ret_candidate = best;
	return result;
}

/* A list that lacks the last edits names tables that a merge has removed, and not the one that it has made of them. */
static bool is_before_a_merge(const struct finding *finding, const struct candidate *candidate)
{
	AUTO_ARRAY struct file_numbers tables = {0};

	if (candidate->own.len == candidate->bytes.len || has_its_tables(finding, candidate))
		return false;
	return list_unnamed(finding, candidate, &tables) < 0 || tables.count > 0;
}

/* MM2. Where the file is as long as it was, all of its edits are there. */
static void tell_doubt(const struct finding *finding, const struct candidate *candidate, struct buf *text)
{
	AUTO_ARRAY struct file_numbers tables = {0};
	const size_t longest = MAX(candidate->own.len, candidate->number == finding->copy_number ? finding->copy.len : 0);

	if (longest > candidate->bytes.len)
		buf_addf(text, "; its last %zu bytes are lost", longest - candidate->bytes.len);
	if (candidate->own.len == candidate->bytes.len || list_unnamed(finding, candidate, &tables) < 0 || tables.count == 0)
		return;
	for (size_t i = 0; i < MIN(tables.count, NAMED_MAX); i++)
		buf_addf(text, "%s%06" PRIu64 ".sst", i == 0 ? "; not in the list: " : ", ", tables.items[i]);
	if (tables.count > NAMED_MAX)
		buf_addf(text, " and %zu more", tables.count - NAMED_MAX);
	buf_addf(text, ", which held nothing any more, or else changes of the last seconds before: those are given up");
}

static char *text_of(const struct finding *finding, const struct candidate *candidate, const char *why)
{
	const bool copied = candidate->from_copy, missing = candidate->own.len == 0;
	AUTO_BUF text = BUF_INIT;

	buf_addf(&text, "%s; ", why);
	if (!copied && candidate->own.len == candidate->bytes.len)
		buf_addf(&text, MANIFEST_NAME_FORMAT " is whole, and CURRENT is to name it", candidate->number);
	else if (!copied)
		buf_addf(&text, "of " MANIFEST_NAME_FORMAT " the first %zu bytes are whole and stand for it", candidate->number, candidate->bytes.len);
	else
		buf_addf(&text, "%s of " MANIFEST_NAME_FORMAT " is in " MANIFEST_COPY_NAME, missing ? "all" : "what is lost", candidate->number);
	tell_doubt(finding, candidate, &text);
	return xstrdup((const char *)text.data);
}

static bool is_same(const struct buf *one, const struct buf *other)
{
	return bytes_compare(one->data, one->len, other->data, other->len) == 0;
}

static int find(struct finding *finding, const char *why, struct manifest_mend *mend, struct error *err)
{
	struct candidate candidate = {0};
	int result = manifest_copy_read(finding->dir, &finding->copy_number, &finding->copy);

	if (result == 0 || result == -ENOENT || result == -EBADMSG)
		result = choose(finding, &candidate);
	if (result == 0 && is_before_a_merge(finding, &candidate)) {
		candidate_clear(&candidate);
		error_set(err, -EBADMSG, "%s, and what is left of it is older than the tables: some that it names are gone, others that are there it does not name",
			  why);
		error_hint(err, "nothing was changed; " DATABASE_HINT_ELSEWHERE);
		return -EBADMSG;
	}
	if (result == 0) {
		mend->text = text_of(finding, &candidate, why);
		mend->number = candidate.number;
		mend->replaces = !is_same(&candidate.own, &candidate.bytes);
		mend->bytes = candidate.bytes;
		candidate.bytes = BUF_INIT;
	}
	candidate_clear(&candidate);
	if (result != -ENOENT)
		return result < 0 ? error_set(err, result, "%s; its copy cannot be read: %s", why, error_text(result)) : 0;
	error_set(err, -EBADMSG, "%s, and " MANIFEST_COPY_NAME " does not have what is lost", why);
	error_hint(err, "nothing was changed; " DATABASE_HINT_ELSEWHERE);
	return -EBADMSG;
}

int manifest_mend_look(int dir, const char *shown, struct manifest_mend *ret_mend, struct error *err)
{
	struct finding finding = {.dir = dir};
	struct manifest manifest = {0};
	struct error why = {0};
	int result = synced_read(dir, &finding.synced);

	*ret_mend = (struct manifest_mend){0};
	if (result < 0 && result != -ENOENT && result != -EBADMSG)
		return error_set(err, result, "%s/" SYNCED_NAME ": %s", shown, error_text(result));
	result = examine_manifest(dir, shown, &finding.synced, &manifest, &why);
	manifest_clear(&manifest);
	if (result == -EBADMSG)
		result = find(&finding, why.text, ret_mend, err);
	else if (result == -ENOTSUP) /* of a newer RocksDB, which knows best */
		result = 0;
	else if (result < 0)
		error_set(err, result, "%s", why.text);
	array_clear(&finding.synced.closed);
	buf_clear(&finding.copy);
	return result;
}

int manifest_mend_apply(const char *path, const struct manifest_mend *mend)
{
	AUTO_FREE char *name = xasprintf("%s/" MANIFEST_NAME_FORMAT, path, mend->number), *current = xasprintf("%s/CURRENT", path);
	char line[MANIFEST_NAME_MAX];
	int result = mend->replaces ? file_replace(name, mend->bytes.data, mend->bytes.len, 0644) : 0;

	snprintf(line, sizeof(line), MANIFEST_NAME_FORMAT "\n", mend->number);
	return result == 0 ? file_replace(current, line, strlen(line), 0644) : result;
}

void manifest_mend_clear(struct manifest_mend *mend)
{
	free(mend->text);
	buf_clear(&mend->bytes);
}
