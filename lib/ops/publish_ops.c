/* Publishing datasets, and what was published. */
#include <errno.h>
#include <string.h>

#include "lib/backup/leases.h"
#include "lib/backup/publish.h"
#include "lib/backup/writer.h"
#include "lib/base/clock.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"
#include "lib/ops/op_views.h"
#include "lib/repository/objects_etcd.h"
#include "lib/store/datasets.h"
#include "lib/store/unknown.h"
#include "lib/verify/heal_plan.h"

static json_t *head_to_json(const struct head *head, bool is_newest)
{
	json_t *object = json_pack("{s:o*, s:o*, s:o*, s:b, s:b, s:s*}", "dataset", json_from_bytes(head->dataset), "number",
	                           head->number > 0 ? json_integer((json_int_t)head->number) : NULL, "name", json_from_bytes(head->name), "head", is_newest,
	                           "damaged", head->is_damaged, "why", head->why);

	if (head->is_damaged)
		return object;
	json_object_update_new(object, json_pack("{s:s*, s:s*, s:s*, s:o*, s:o*, s:I, s:I}", "backup", head->backup[0] ? head->backup : NULL, "identity",
	                                         head->identity, "by", head->by, "host", json_from_bytes(head->host), "user", json_from_bytes(head->user),
	                                         "added", (json_int_t)head->added, "stored", (json_int_t)head->stored));
	if (head->published.tv_sec) {
		op_set_time(object, "published", head->published);
		op_set_time(object, "taken", head->taken);
	}
	return object;
}

static json_t *result_to_json(const struct publish_result *result, json_t *problems)
{
	json_t *object = head_to_json(&result->head, true);

	json_object_update_new(object, json_pack("{s:I, s:b, s:s*, s:I, s:I, s:O}", "before", (json_int_t)result->before, "was_there", result->was_there, "doubt",
	                                         result->backup.doubt, "files", (json_int_t)result->backup.transfer.files, "unchanged",
	                                         (json_int_t)result->backup.transfer.skipped, "problems", problems));
	if (result->term > 0)
		json_object_set_new(object, "term", json_integer((json_int_t)result->term));
	return object;
}

/* What came in between, as rows; the last thing that is told is the failure. */
static int give_between(struct op_context *context, const struct heads *heads)
{
	int r = 0;

	for (size_t i = 0; i < heads->count && r == 0; i++)
		r = op_row(context, head_to_json(&heads->items[i], i + 1 == heads->count));
	return r;
}

/*
 * publish: {source: "DATASET[@NAME]", as?: what it is called there, force?, unchanged?: a version even if nothing was touched, dry_run?, single_writer?,
 * lease?: seconds, password, place} and a descriptor
 * -> a version as remote.versions has it, {..., before: the number that was the head, term?: of the writer, was_there, doubt?: as of backup.run, files,
 * unchanged, problems}; rows come with a refusal only: the versions that came in between, as remote.versions has them
 */
static int publish_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct op_problems problems = {.context = context, .list = json_array()};
	struct publish_options options = {.transfer = op_problems_options(&problems), .place = op_arg_string_or(args, "place", "the repository"),
	                                  .leases = context->leases,
	                                  .force = op_arg_bool(args, "force"), .unchanged = op_arg_bool(args, "unchanged"), .dry_run = op_arg_bool(args, "dry_run"),
	                                  .single_writer = op_arg_bool(args, "single_writer"),
	                                  .lease_s = (unsigned)MIN(MAX(op_arg_int(args, "lease", 0), 0), WRITER_SECONDS_MAX)};
	struct publish_result result = {0};
	AUTO_FREE char *dataset = NULL;
	const char *source;
	int r = op_arg_string(args, "source", &source, err);

	if (r == 0) {
		dataset = xasprintf("%.*s", (int)strcspn(source, "@"), source);
		options.dataset = dataset;
		options.snapshot = strchr(source, '@') ? strchr(source, '@') + 1 : NULL;
		options.as = op_arg_string_or(args, "as", dataset);
		r = op_repository_open(context, args, &options.repository, err);
	}
	if (r == 0) {
		r = publish_run(context->store, &options, &result, err);
		/* The name of a remote ends so; what is damaged here will be looked for there. */
		if (r == 0 && !options.dry_run && strchr(options.place, ':'))
			heal_plan_published(context->store, options.place);
		if (r == 0)
			*ret_result = result_to_json(&result, problems.list);
		else if (give_between(context, &result.between) < 0)
			r = -ECANCELED;
	}
	publish_result_clear(&result);
	json_decref(problems.list);
	repository_close(options.repository);
	return r;
}

/*
 * publish.lease: {dataset, as, seconds?, password, place} and a descriptor -> {dataset, as, term}: of a dataset that is mounted with a lease, which it is
 * given. The repository stays open.
 */
static int lease_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct op_context own = *context;
	struct lease_wish wish = {.place = op_arg_string_or(args, "place", "the repository"),
	                          .seconds = (unsigned)MIN(MAX(op_arg_int(args, "seconds", LEASE_SECONDS), WRITER_SECONDS_MIN), WRITER_SECONDS_MAX)};
	uint64_t term = 0;
	int r = op_arg_string(args, "dataset", &wish.dataset, err);

	own.net_bytes = NULL; /* it goes with the request */
	if (r == 0)
		r = op_arg_string(args, "as", &wish.as, err);
	if (r == 0 && !context->leases)
		r = error_set(err, -EINVAL, "\"%s\" is not mounted with a lease", wish.dataset);
	if (r == 0)
		r = op_repository_open(&own, args, &wish.repository, err);
	if (r < 0)
		return r;
	wish.repository->waits = NULL;
	r = leases_take(context->leases, &wish, &term, err);
	if (r == 0)
		*ret_result = json_pack("{s:o, s:o, s:I}", "dataset", json_from_bytes(wish.dataset), "as", json_from_bytes(wish.as), "term", (json_int_t)term);
	return r;
}

/* Whoever gives up what a mount goes by would make it read-only. */
static int check_not_mounted(struct op_context *context, const char *dataset, struct repository *repository, const char *as, struct error *err)
{
	struct error ignored = {0};
	uint64_t term;

	if (!context->leases || leases_join(context->leases, dataset, repository, as, &term, &ignored) != 1)
		return 0;
	(void)error_set(err, -EBUSY, "\"%s\" is mounted as the writer of \"%s\"", dataset, as);
	error_hint(err, "corpusfs umount gives the lease up; --force takes it away from the mount, which is read-only then");
	return -EBUSY;
}

/*
 * publish.release: {dataset, as?: what it is called there, force?: whoever has it, password, place} and a descriptor -> {dataset: what it is called
 * there, released: false: nobody was its writer}
 */
static int release_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct writer_options options = {0};
	struct repository *repository = NULL;
	AUTO_FREE char *by = NULL;
	struct dataset_info info;
	const char *dataset;
	int r = op_arg_string(args, "dataset", &dataset, err);

	if (r == 0 && (r = dataset_get(context->store, dataset, &info)) < 0)
		r = unknown_or_failed(context->store, dataset, NULL, r, err);
	if (r == 0)
		r = op_repository_open(context, args, &repository, err);
	if (r == 0) {
		by = backup_dataset_id(context->store, info.id);
		options = (struct writer_options){.repository = repository, .dataset = op_arg_string_or(args, "as", dataset), .by = by};
		r = op_arg_bool(args, "force") ? 0 : check_not_mounted(context, dataset, repository, options.dataset, err);
		if (r == 0)
			r = writer_release(&options, op_arg_bool(args, "force"), err);
	}
	if (r >= 0)
		*ret_result = json_pack("{s:o, s:b}", "dataset", json_from_bytes(options.dataset), "released", r);
	repository_close(repository);
	return MIN(r, 0);
}

static json_t *writer_to_json(const struct writer_info *info, struct timespec now)
{
	json_t *object = json_pack("{s:s*, s:o*, s:o*, s:o*}", "by", info->by, "host", json_from_bytes(info->host), "user", json_from_bytes(info->user),
	                           "term", info->term > 0 ? json_integer((json_int_t)info->term) : NULL);

	if (info->since > 0)
		json_object_set_new(object, "since", json_integer((json_int_t)info->since));
	if (info->left_s >= 0) {
		json_object_set_new(object, "left_s", json_integer((json_int_t)info->left_s));
		json_object_set_new(object, "until", json_integer((json_int_t)(now.tv_sec + info->left_s)));
	}
	return object;
}

/* The writers by the names of their datasets. Versions are told of without them, where they cannot be had, which is said. */
static json_t *read_writers(struct repository *repository, json_t *result)
{
	struct writer_infos writers = {0};
	struct error why = {0};
	json_t *all = json_object();

	if (objects_etcd_decides(repository->objects) && writer_infos_read(repository, &writers, &why) < 0)
		json_object_set_new(result, "writers_unknown", json_from_bytes(why.text));
	for (size_t i = 0; i < writers.count; i++) {
		json_t *name = json_from_bytes(writers.items[i].dataset ? writers.items[i].dataset : "");

		json_object_set_new(all, json_string_value(name), writer_to_json(&writers.items[i], clock_now()));
		json_decref(name);
	}
	writer_infos_clear(&writers);
	return all;
}

/*
 * remote.versions: {password, dataset?} -> rows {dataset?, number?, name?, head: it is the newest, damaged, why?: of one that is damaged in etcd, backup,
 * identity?, by: "STORE/NUMBER", host?, user?, published, published_ns, taken, taken_ns, added, stored: bytes that came with it, gone: its backup is no
 * more, writer?: of a head, who is the writer of its dataset: {by?, host?, user?, term?, since?, left_s?, until?: seconds}}; then a row {dataset, head,
 * damaged, gone, writer} for each dataset that has a writer, but no head; writers_unknown?: why nothing is said of them
 */
/* It is told once. */
static void move_writer(json_t *writers, const char *dataset, json_t *row)
{
	json_t *writer = dataset ? json_object_get(writers, dataset) : NULL;

	if (!writer)
		return;
	json_object_set(row, "writer", writer);
	json_object_del(writers, dataset);
}

/* Those that are left. */
static int give_writers(struct op_context *context, json_t *writers, const char *only)
{
	json_t *wanted = only ? json_from_bytes(only) : NULL, *writer;
	const char *name;
	int r = 0;

	json_object_foreach(writers, name, writer) {
		if (r == 0 && (!only || strcmp(name, json_string_value(wanted)) == 0))
			r = op_row(context, json_pack("{s:s*, s:b, s:b, s:b, s:O}", "dataset", name[0] ? name : NULL, "head", 0, "damaged", 0, "gone", 0,
			                              "writer", writer));
	}
	json_decref(wanted);
	return r;
}

static int versions_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct repository *repository = NULL;
	struct object_names backups = {0};
	struct heads heads = {0};
	json_t *writers = NULL;
	const char *dataset = op_arg_string_or(args, "dataset", NULL);
	int r = op_repository_open(context, args, &repository, err);

	if (r == 0)
		r = heads_read(repository, dataset, &heads, err);
	/* In this order: the backup of a head that is there was there before. */
	if (r == 0)
		r = repository_list(repository, OBJECT_SNAPSHOT, &backups, err);
	if (r == 0) {
		*ret_result = json_object();
		writers = read_writers(repository, *ret_result);
	}
	for (size_t i = 0; i < heads.count && r == 0; i++) {
		json_t *row = head_to_json(&heads.items[i], head_is_newest(&heads, i));

		json_object_set_new(row, "gone", json_boolean(!heads.items[i].is_damaged && !object_names_have(&backups, heads.items[i].backup)));
		if (head_is_newest(&heads, i))
			move_writer(writers, json_string_value(json_object_get(row, "dataset")), row);
		r = op_row(context, row);
	}
	if (r == 0)
		r = give_writers(context, writers, dataset);
	json_decref(writers);
	heads_clear(&heads);
	array_clear(&backups);
	repository_close(repository);
	return r;
}

const struct op publish_ops[] = {
	{"publish", "publish a dataset in a repository", OP_OWNER, "between", publish_op},
	{"publish.lease", "give a dataset that is mounted the lease of its writer", OP_OWNER, NULL, lease_op},
	{"publish.release", "give up the lease of a published dataset's writer", OP_OWNER, NULL, release_op},
	{"remote.versions", "what was published in a repository", OP_READER, "versions", versions_op},
	{NULL},
};
