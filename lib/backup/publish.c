#include "lib/backup/publish_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/backup/leases.h"
#include "lib/backup/writer.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/identity/identity.h"
#include "lib/repository/objects_conditional.h"
#include "lib/repository/origin.h"
#include "lib/store/snapshots.h"
#include "lib/tree/records/view.h"

struct publishing {
	struct store *store;
	const struct publish_options *options;
	struct publish_result *result;
	struct heads heads; /* of the dataset, the oldest first */
	char taken[NAME_LEN_MAX + 1]; /* "": the snapshot was there */
	const char *snapshot;
	uint64_t base_number; /* of the version that is gone on from; 0: none */
	char *base_snapshot;  /* of the dataset, which that version is; NULL: none */
	char *by;
	struct writer *writer; /* NULL: without a lease */
	bool conditional;
	bool may_be_head; /* the head is there, or nobody knows: the backup must stay */
};

void publish_result_clear(struct publish_result *result)
{
	head_clear(&result->head);
	heads_clear(&result->between);
}

/* --- what a dataset goes on from --- */

/* Finds the last version that is gone on from. */
struct search {
	const struct publishing *publishing;
	const char *begins;
	struct line line; /* of what is published */
	uint64_t number;
	char *snapshot; /* of that version; owned */
};

static void found(struct search *search, uint64_t number, const char *snapshot)
{
	if (number <= search->number)
		return;
	free(search->snapshot);
	search->snapshot = xstrdup(snapshot);
	search->number = number;
}

/* Whether it is the snapshot that was published as this version. A copy of the store calls itself the same, but has not got the snapshot. */
static bool is_of(const struct search *search, const struct head *head, const struct snapshot_info *info)
{
	return !head->is_damaged && strcmp(head->by, search->publishing->by) == 0 && strcmp(head->name, info->name) == 0 &&
	       head->taken.tv_sec == info->taken.tv_sec && head->taken.tv_nsec == info->taken.tv_nsec;
}

/* Whether what is published comes from the snapshot: 1, 0. All epochs that the snapshot sees are in the line of what comes from it. */
static int comes_from(const struct search *search, const char *snapshot)
{
	struct view *view;
	struct line line, others;
	int r = store_snapshot(search->publishing->store, search->publishing->options->dataset, snapshot, &view);

	if (r < 0)
		return r == -ENOENT ? 0 : r; /* destroyed meanwhile */
	line = view_line(view);
	store_view_put(search->publishing->store, view);
	others = line_minus(&line, &search->line);
	r = others.count == 0;
	line_clear(&others);
	line_clear(&line);
	return r;
}

static int search_snapshot(void *arg, const struct snapshot_info *info)
{
	struct search *search = arg;
	const struct heads *heads = &search->publishing->heads;

	for (size_t i = 0; i < heads->count; i++)
		if (is_of(search, &heads->items[i], info))
			found(search, heads->items[i].number, info->name);
	for (size_t i = 0; i < info->hold_count; i++) {
		uint64_t number;
		int r;

		if (strncmp(info->holds[i], search->begins, strlen(search->begins)) != 0)
			continue;
		number = (uint64_t)strtoull(info->holds[i] + strlen(search->begins), NULL, 10);
		r = number > search->number ? comes_from(search, info->name) : 0;
		if (r < 0)
			return r;
		if (r == 1)
			found(search, number, info->name);
	}
	return 0;
}

/* The last version that it published, or was restored from and still comes from. */
static int find_base(struct publishing *publishing, struct error *err)
{
	const struct publish_options *options = publishing->options;
	char begins[HOLD_LEN];
	struct search search = {.publishing = publishing, .begins = begins};
	struct view *view;
	int r = options->snapshot ? store_snapshot(publishing->store, options->dataset, options->snapshot, &view)
	                          : store_head(publishing->store, options->dataset, &view);

	if (r == -ENOENT && options->snapshot)
		return error_set(err, r, "there is no snapshot %s@%s", options->dataset, options->snapshot);
	if (r < 0)
		return error_set(err, r, "\"%s\" cannot be read: %s", options->dataset, error_text(r));
	search.line = view_line(view);
	store_view_put(publishing->store, view);
	publish_hold_begins(options->repository, options->as, begins);
	r = snapshot_list(publishing->store, options->dataset, search_snapshot, &search);
	publishing->base_number = search.number;
	publishing->base_snapshot = search.snapshot;
	line_clear(&search.line);
	return r;
}

/* --- whether it may be --- */

/* Says what came behind `number`, and what can be done. */
static int refuse(struct publishing *publishing, uint64_t number, struct error *err)
{
	const struct publish_options *options = publishing->options;
	const struct head *last = array_last(&publishing->heads);

	for (size_t i = 0; i < publishing->heads.count; i++)
		if (publishing->heads.items[i].number > number)
			array_add(&publishing->result->between, head_copy(&publishing->heads.items[i]));
	(void)error_set(err, -EEXIST, "version %llu of \"%s\"%s%s was published meanwhile%s%s, and this dataset does not come from it",
			(unsigned long long)last->number, options->as, last->name ? ", " : "", last->name ? last->name : "", last->host ? ", on " : "",
			last->host ? last->host : "");
	error_hint(err, "corpusfs restore REPOSITORY@%.8s NEW brings it here to compare; --force publishes all the same, --as NAME as another dataset",
		   last->backup);
	return -EEXIST;
}

static bool is_named(const struct head *head, const char *name)
{
	return !head->is_damaged && strcmp(head->name, name) == 0;
}

static int identity_of(const struct publishing *publishing, char text[2 * IDENTITY_LEN + 1], struct error *err)
{
	const struct publish_options *options = publishing->options;
	uint8_t identity[IDENTITY_LEN];
	struct view *view;
	int r = store_snapshot(publishing->store, options->dataset, options->snapshot, &view);

	if (r < 0)
		return error_set(err, r, "there is no snapshot %s@%s", options->dataset, options->snapshot);
	r = identity_compute(publishing->store, view, NULL, NULL, identity);
	store_view_put(publishing->store, view);
	if (r < 0)
		return error_set(err, r, "what is in %s@%s cannot be compared with what was published: %s", options->dataset, options->snapshot, error_text(r));
	identity_to_text(identity, text);
	return 0;
}

/* A name means one version. The head itself, once more, is no mistake, as long as its backup is there. */
static int check_name(struct publishing *publishing, struct error *err)
{
	const struct publish_options *options = publishing->options;
	const struct head *head = NULL;
	char text[2 * IDENTITY_LEN + 1];
	int r;

	for (size_t i = 0; i < publishing->heads.count && !head; i++)
		if (is_named(&publishing->heads.items[i], options->snapshot))
			head = &publishing->heads.items[i];
	if (!head)
		return 0;
	r = identity_of(publishing, text, err);
	if (r < 0)
		return r;
	if (head != array_last(&publishing->heads) || !head->identity || strcmp(head->identity, text) != 0) {
		(void)error_set(err, -EEXIST, "a version %s of \"%s\" was published already, as number %llu", options->snapshot, options->as,
				(unsigned long long)head->number);
		error_hint(err, "a published version never changes: take a snapshot of another name");
		return -EEXIST;
	}
	r = head_check_backup(options->repository, head, err);
	if (r < 0) {
		error_hint(err, "take a snapshot of another name and publish that");
		return r;
	}
	publishing->result->was_there = true;
	publishing->result->head = head_copy(head);
	return 0;
}

/* Before anybody looks what there is: nobody else publishes from then on. Who has no lease only looks. */
static int become_writer(struct publishing *publishing, struct error *err)
{
	const struct publish_options *options = publishing->options;
	const struct writer_options writer = {.repository = options->repository, .dataset = options->as, .by = publishing->by,
	                                      .seconds = options->lease_s};
	int r = options->leases ? leases_join(options->leases, options->dataset, options->repository, options->as, &publishing->result->term, err) : 0;

	if (r != 0)
		return MIN(r, 0);
	r = options->lease_s > 0 && options->dry_run ? 0 : writer_become(&writer, &publishing->writer, err);
	publishing->result->term = writer_term(publishing->writer);
	return r;
}

static int check(struct publishing *publishing, struct error *err)
{
	const struct publish_options *options = publishing->options;
	struct dataset_info info;
	int r = dataset_name_check("dataset", options->as, err);

	if (r == 0 && (r = dataset_get(publishing->store, options->dataset, &info)) < 0)
		r = error_set(err, r, "there is no dataset \"%s\"", options->dataset);
	if (r == 0) {
		publishing->by = xasprintf("%s/%u", store_superblock(publishing->store)->uuid, info.id);
		r = become_writer(publishing, err);
	}
	if (r == 0)
		r = heads_read(options->repository, options->as, &publishing->heads, err);
	if (r == 0)
		r = find_base(publishing, err);
	if (r < 0)
		return error_default(err, r, "it cannot be found out what was published");
	publishing->result->before = publishing->heads.count > 0 ? array_last(&publishing->heads)->number : 0;
	publishing->result->head.number = MAX(publishing->result->before, publishing->base_number) + 1;
	if (publishing->result->head.number > HEAD_NUMBER_MAX)
		return head_too_many(options->as, publishing->heads.count > 0 ? array_last(&publishing->heads) : NULL, err);
	if (options->snapshot)
		r = check_name(publishing, err);
	if (r == 0 && !publishing->result->was_there && publishing->result->before > publishing->base_number && !options->force)
		r = refuse(publishing, publishing->base_number, err);
	return r;
}

static int check_place(struct publishing *publishing, struct error *err)
{
	const struct publish_options *options = publishing->options;
	int r = objects_try_conditional(options->repository->objects, &publishing->conditional);

	if (r < 0)
		return objects_failed(options->repository->objects, r, "nothing can be published there", err);
	if (publishing->conditional || options->single_writer)
		return 0;
	(void)error_set(err, -EOPNOTSUPP, "the place does not keep those apart who publish at once");
	error_hint(err, "corpusfs remote add --etcd has etcd do that; if only one machine publishes there: --single-writer, here or there");
	return -EOPNOTSUPP;
}

/* --- doing it --- */

static int take_snapshot(struct publishing *publishing, struct error *err)
{
	const struct publish_options *options = publishing->options;
	const struct snapshot_name name = {options->dataset, publishing->taken};
	int r;

	publishing->snapshot = options->snapshot;
	if (options->snapshot)
		return 0;
	publish_name_now(publishing->taken);
	r = snapshot_create(publishing->store, &name, 1, NOTE_TAKEN, 0, err);
	if (r < 0)
		publishing->taken[0] = '\0';
	publishing->snapshot = publishing->taken;
	return r;
}

static char *copy(const char *text)
{
	return text && *text ? xstrdup(text) : NULL;
}

/*
 * Two who publish at once mostly want the same number. Not after the repository was put back from an older copy: who published the lost versions
 * goes on from their numbers. Then both heads get in, and who looks last sees the other.
 */
static int check_alone(struct publishing *publishing, struct error *err)
{
	const struct publish_options *options = publishing->options;
	struct publish_result *result = publishing->result;
	struct heads heads = {0};
	struct error why = {0};
	const struct head *other = NULL;
	int r = heads_read_after(options->repository, options->as, result->before, &heads, &why);

	if (r < 0)
		(void)error_set(err, r, "it is published, but it is not known whether another one was at the same time: %s", why.text);
	for (size_t i = 0; i < heads.count; i++)
		if (heads.items[i].number != result->head.number) {
			other = &heads.items[i];
			array_add(&result->between, head_copy(other));
		}
	if (r == 0 && other) {
		r = error_set(err, -EEXIST, "it is published as version %llu of \"%s\", but version %llu was published at the same time, and neither comes from the other",
			      (unsigned long long)result->head.number, options->as, (unsigned long long)other->number);
		error_hint(err, "version %llu is what readers get now; corpusfs restore REPOSITORY:%s@NAME NEW brings the other one here to compare",
			   (unsigned long long)MAX(other->number, result->head.number), options->as);
	}
	heads_clear(&heads);
	return r;
}

/* The backup is there, and nobody removes it while its lock is held. Whether it is, is looked at last: the head promises all that it consists of. */
static int put_head(void *arg, const struct backup_done *done, struct error *err)
{
	struct publishing *publishing = arg;
	const struct origin origin = origin_of_process();
	struct head *head = &publishing->result->head;
	bool unknown;
	int r;

	if (done->problems > 0) {
		(void)error_set(err, -EIO, "it is not published: %llu files could not be read", (unsigned long long)done->problems);
		error_hint(err, "corpusfs damage says what is hurt; what is incomplete is never published");
		return -EIO;
	}
	head->dataset = xstrdup(publishing->options->as);
	head->name = xstrdup(publishing->snapshot);
	(void)snprintf(head->backup, sizeof(head->backup), "%s", done->name);
	head->identity = copy(done->identity);
	head->by = xstrdup(publishing->by);
	head->host = copy(origin.host);
	head->user = copy(origin.user);
	head->published = clock_now();
	head->taken = done->taken;
	head->added = done->counts->plain;
	head->stored = done->counts->stored;
	r = repository_lock_check(done->lock, err);
	if (r < 0)
		return r;
	r = head_put(publishing->options->repository, head, publishing->conditional, &unknown, err);
	publishing->may_be_head = r == 0 || unknown;
	/* In etcd each head comes after the one that its maker knew of: a later one says nothing against this one. */
	if (r == 0)
		return publishing->options->repository->objects->place->keeps_apart ? 0 : check_alone(publishing, err);
	if (r != -EEXIST)
		return r;
	heads_clear(&publishing->heads);
	if (heads_read(publishing->options->repository, publishing->options->as, &publishing->heads, NULL) == 0 && publishing->heads.count > 0)
		return refuse(publishing, publishing->result->before, err);
	return r;
}

static int back_up(struct publishing *publishing, struct error *err)
{
	const struct publish_options *options = publishing->options;
	AUTO_FREE char *tag = xasprintf("published=%s@%s", options->as, publishing->snapshot);
	const struct backup_options backup = {.transfer = options->transfer, .repository = options->repository, .place = options->place,
	                                      .dataset = options->dataset, .snapshot = publishing->snapshot, .type = BACKUP_INCREMENTAL, .share = true,
	                                      .fills_holes = true, .tag = tag, .dry_run = options->dry_run,
	                                      .done = options->dry_run ? NULL : put_head, .done_arg = publishing};
	struct publish_result *result = publishing->result;
	int r = backup_run(publishing->store, &backup, &result->backup, err);

	/* What lost is no version: nobody shall find it as one. Its blobs serve the next try. */
	if (r < 0 && result->backup.name[0] && !publishing->may_be_head)
		(void)!options->repository->objects->place->remove(options->repository->objects, OBJECT_SNAPSHOT, result->backup.name);
	if (r == 0 && options->dry_run) {
		result->head.dataset = xstrdup(options->as);
		result->head.name = xstrdup(publishing->snapshot);
		result->head.added = result->backup.counts.plain;
		result->head.stored = result->backup.counts.stored;
	}
	return r;
}

/* It is published by then. Without the hold, the next one is still known to come after it (find_base). */
static int hold_published(struct publishing *publishing, struct error *err)
{
	const struct publish_options *options = publishing->options;
	struct error why = {0};
	int r = publish_hold(publishing->store, options->dataset, publishing->snapshot, options->repository, &publishing->result->head, &why);

	if (r == 0)
		return 0;
	(void)error_set(err, r, "version %llu of \"%s\" is published, but its snapshot cannot be held: %s",
			(unsigned long long)publishing->result->head.number, options->as, why.text);
	error_hint(err, "%s", why.hint);
	return r;
}

/* Whether what was taken is the head again, from which the dataset goes on. */
static bool is_same(const struct publishing *publishing)
{
	const struct publish_options *options = publishing->options;
	const struct head *last;

	if (!publishing->taken[0] || options->unchanged || publishing->base_number == 0 || publishing->base_number != publishing->result->before)
		return false;
	last = array_last(&publishing->heads);
	return !last->is_damaged && publish_is_same(publishing->store, options, publishing->base_snapshot, publishing->taken, last);
}

/* What was taken for it goes. The hold may be missing where who published died. */
static int leave_it(struct publishing *publishing, struct error *err)
{
	struct publish_result *result = publishing->result;

	(void)!snapshot_destroy(publishing->store, publishing->options->dataset, publishing->taken, NULL);
	publishing->snapshot = publishing->base_snapshot;
	result->was_there = true;
	head_clear(&result->head);
	result->head = head_copy(array_last(&publishing->heads));
	return publishing->options->dry_run ? 0 : hold_published(publishing, err);
}

static int run(struct publishing *publishing, struct error *err)
{
	const struct publish_options *options = publishing->options;
	int r = check(publishing, err);

	if (r < 0 || publishing->result->was_there)
		return r;
	r = check_place(publishing, err);
	if (r == 0)
		r = take_snapshot(publishing, err);
	if (r == 0 && is_same(publishing))
		return leave_it(publishing, err);
	if (r == 0)
		r = back_up(publishing, err);
	if (r == 0 && !options->dry_run)
		r = hold_published(publishing, err);
	else if (publishing->taken[0] && !publishing->may_be_head)
		(void)!snapshot_destroy(publishing->store, options->dataset, publishing->taken, NULL);
	return r;
}

int publish_run(struct store *store, const struct publish_options *options, struct publish_result *ret_result, struct error *err)
{
	struct publishing publishing = {.store = store, .options = options, .result = ret_result};
	int r;

	*ret_result = (struct publish_result){0};
	r = run(&publishing, err);
	writer_end(publishing.writer);
	heads_clear(&publishing.heads);
	free(publishing.base_snapshot);
	free(publishing.by);
	return r;
}
