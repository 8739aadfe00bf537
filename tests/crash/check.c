/*
 * What may be in a witness's directory after a crash:
 *
 *   C1  Each file has, whole, what it had after one of its operations: the last one that a sync acknowledged, or a later one. So
 *       no operation is there in half, and they are there in order.
 *   C2  Names are as after one operation, which is not before the last sync; all of them after the same one.
 *   C3  A file that was renamed over another has the content that it had when it was renamed, or later content.
 *   C4  A snapshot that was acknowledged is there, one whose removal was acknowledged is not, and each that is there is exactly what the
 *       files were when it was taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "tests/crash/witness.h"

/* The names after one operation. */
struct candidate {
	uint64_t position;
	struct object *names[FILES];
	uint64_t at_least[FILES]; /* the content must be of this operation or a later one (C3) */
};

struct check {
	const char *directory;
	bool accepted;
	size_t acknowledged;
	bool begun;
	struct model model;
	bool there[FILES];
	struct buf found[FILES];
	ARRAY(struct candidate) candidates;
	uint64_t durable_names;
	unsigned problems;
};

static void problem(struct check *check, const char *what, const char *name, uint64_t number)
{
	printf("%s: %s (%s %llu)\n", check->directory, what, name, (unsigned long long)number);
	check->problems++;
}

static bool equal(const struct buf *one, const struct buf *other)
{
	return one->len == other->len && (one->len == 0 || memcmp(one->data, other->data, one->len) == 0);
}

/* Notes under which names the object's content of now is found. */
static void observe(void *arg, struct object *object)
{
	struct check *check = arg;

	for (size_t i = 0; i < FILES; i++)
		if (check->there[i] && (object->any || equal(&object->content, &check->found[i])))
			object->matched[i] = check->model.position;
}

static void add_candidate(struct check *check)
{
	struct candidate *candidate = array_new(&check->candidates);

	candidate->position = check->model.position;
	for (size_t i = 0; i < FILES; i++) {
		candidate->names[i] = check->model.names[i];
		candidate->at_least[i] = candidate->names[i] ? candidate->names[i]->over : 0;
	}
}

static void settle(struct check *check, struct object *object)
{
	if (!object)
		return;
	object->durable = check->model.position;
	observe(check, object);
}

static void settle_all(struct check *check)
{
	for (size_t i = 0; i < FILES; i++)
		settle(check, check->model.names[i]);
	check->durable_names = check->model.position;
}

static void begin(struct check *check)
{
	check->begun = true;
	add_candidate(check);
	settle_all(check);
}

static bool changes_names(const struct record *record)
{
	return record->operation == UNLINK || record->operation == RENAME || record->operation == REPLACE || record->operation == ROLLBACK;
}

/* An operation that was done, or may have been. `acknowledged`: whoever asked for it was told that it is done. */
static void take(struct check *check, const struct record *record, bool acknowledged)
{
	bool creates = record->operation == WRITE && !check->model.names[record->file];

	check->model.position++;
	model_apply(&check->model, record, observe, check);
	for (size_t i = 0; i < FILES; i++)
		if (check->model.names[i] && (i == record->file || i == record->other || record->operation == ROLLBACK))
			observe(check, check->model.names[i]);
	if (creates || changes_names(record))
		add_candidate(check);
	struct snapshot *snapshot = model_snapshot(&check->model, record->snapshot);
	if (record->operation == SNAPSHOT && !acknowledged)
		snapshot->must_be = false;
	if (record->operation == DESTROY && !acknowledged)
		snapshot->may_be = true;
	if (!acknowledged)
		return;
	if (record->operation == SNAPSHOT || record->operation == ROLLBACK || check->accepted)
		settle_all(check);
	else if (record->operation == SYNC_FILE)
		settle(check, check->model.names[record->file]);
	if (record->operation >= SYNC_FILE)
		check->durable_names = check->model.position;
}

static void adopt(struct check *check, const struct record *record, struct reader *ledger)
{
	if (record->operation == ADOPT_FILE) {
		struct object *object = xcalloc(1, sizeof(*object));
		const uint8_t *content = read_bytes(ledger, record->length);
		if (content)
			buf_add(&object->content, content, record->length);
		object->next = check->model.objects;
		check->model.objects = check->model.names[record->file] = object;
	} else if (record->operation == BEGIN) {
		check->model.position++;
		begin(check);
	} else {
		model_apply(&check->model, record, NULL, NULL);
	}
}

static void replay(struct check *check, struct reader ledger)
{
	const uint8_t *start = ledger.at;

	while (!ledger.bad && ledger.left >= sizeof(struct record)) {
		struct record record, end = {0};
		memcpy(&record, read_bytes(&ledger, sizeof(record)), sizeof(record));
		if (record.operation <= BEGIN) {
			adopt(check, &record, &ledger);
			continue;
		}
		if (ledger.left >= sizeof(end))
			memcpy(&end, read_bytes(&ledger, sizeof(end)), sizeof(end));
		bool acknowledged = end.ended && end.result == 0 && (size_t)(ledger.at - start) <= check->acknowledged;
		if (!end.ended || end.applied)
			take(check, &record, acknowledged);
	}
}

/* Why the directory cannot be as this candidate says: a file's number, or -1: it can. */
static int first_difference(const struct check *check, const struct candidate *candidate)
{
	for (int i = 0; i < (int)FILES; i++) {
		const struct object *object = candidate->names[i];
		if (!object != !check->there[i])
			return i;
		if (object && (object->matched[i] == 0 || object->matched[i] < MAX(object->durable, candidate->at_least[i])))
			return i;
	}
	return -1;
}

static void explain(struct check *check, uint32_t file)
{
	const struct object *object = check->model.names[file];

	printf("  f%u: found %s of %zu bytes; at the end of the ledger %s of %zu", file, check->there[file] ? "one" : "none",
	       check->found[file].len, object ? "one" : "none", object ? object->content.len : 0);
	if (object) {
		size_t same = 0, most = MIN(object->content.len, check->found[file].len);
		while (same < most && object->content.data[same] == check->found[file].data[same])
			same++;
		printf(", is as after %llu, synced at %llu, the same up to %zu", (unsigned long long)object->matched[file],
		       (unsigned long long)object->durable, same);
	}
	printf("; operations: %llu, names synced at %llu\n", (unsigned long long)check->model.position, (unsigned long long)check->durable_names);
}

static void check_names(struct check *check)
{
	int worst = -1;

	for (size_t i = check->candidates.count; i-- > 0;) {
		const struct candidate *candidate = &check->candidates.items[i];
		int difference = first_difference(check, candidate);
		if (difference < 0)
			return;
		worst = MAX(worst, difference);
		if (candidate->position <= check->durable_names)
			break;
	}
	problem(check, "the files are not as after any operation that may be the last (C1, C2, C3); at least", "f", (uint64_t)worst);
	for (uint32_t i = 0; i < FILES; i++)
		explain(check, i);
}

static void check_snapshot(struct check *check, const struct snapshot *snapshot)
{
	AUTO_FREE char *path = xasprintf("%s/.snapshots/s%u", check->directory, snapshot->number);
	bool there = access(path, F_OK) == 0;
	AUTO_BUF content = BUF_INIT;

	if (there != snapshot->must_be && (there ? !snapshot->may_be : snapshot->must_be))
		problem(check, there ? "removed, and there (C4)" : "acknowledged, and not there (C4)", "snapshot", snapshot->number);
	for (uint32_t i = 0; i < FILES && there; i++) {
		int result = witness_read(check->directory, snapshot->number, i, &content);
		if (result == -ENOENT ? snapshot->there[i] : result < 0 || !snapshot->there[i])
			problem(check, result == 0 ? "has a file too much (C4)" : strerror(-result), "snapshot", snapshot->number);
		else if (result == 0 && !snapshot->any[i] && !equal(&content, &snapshot->content[i]))
			problem(check, "is not what was there when it was taken (C4)", "snapshot", snapshot->number);
	}
}

static void read_files(struct check *check)
{
	for (uint32_t i = 0; i < FILES; i++) {
		int result = witness_read(check->directory, -1, i, &check->found[i]);
		check->there[i] = result == 0;
		if (result < 0 && result != -ENOENT)
			problem(check, strerror(-result), "f", i);
	}
}

int witness_check(const char *directory, const char *ledger, size_t acknowledged, size_t begun, bool accepted)
{
	struct check check = {.directory = directory, .acknowledged = acknowledged, .accepted = accepted};
	AUTO_BUF text = BUF_INIT;

	if (file_read(ledger, 1U << 30, &text) < 0) {
		perror(ledger);
		return 2;
	}
	read_files(&check);
	replay(&check, reader_over(text.data, MIN(text.len, begun)));
	if (check.begun) {
		check_names(&check);
		for (size_t i = 0; i < check.model.snapshots.count; i++)
			check_snapshot(&check, &check.model.snapshots.items[i]);
	}
	printf("%llu operations\n", (unsigned long long)check.model.position);
	for (size_t i = 0; i < FILES; i++)
		buf_clear(&check.found[i]);
	array_clear(&check.candidates);
	model_clear(&check.model);
	return check.problems > 0;
}
