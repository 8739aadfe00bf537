/* Publishing datasets, and what was published. */
#include <errno.h>
#include <string.h>

#include "lib/backup/publish.h"
#include "lib/backup/writer.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"
#include "lib/ops/op_views.h"

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
 * publish: {source: "DATASET[@NAME]", as?: what it is called there, force?, dry_run?, single_writer?, lease?: seconds, password, place} and a descriptor
 * -> a version as remote.versions has it, {..., before: the number that was the head, term?: of the writer, was_there, doubt?: as of backup.run, files,
 * unchanged, problems}; rows come with a refusal only: the versions that came in between, as remote.versions has them
 */
static int publish_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct op_problems problems = {.context = context, .list = json_array()};
	struct publish_options options = {.transfer = op_problems_options(&problems), .place = op_arg_string_or(args, "place", "the repository"),
	                                  .force = op_arg_bool(args, "force"), .dry_run = op_arg_bool(args, "dry_run"),
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
 * remote.versions: {password, dataset?} -> rows {dataset?, number?, name?, head: it is the newest, damaged, why?: of one that is damaged in etcd, backup,
 * identity?, by: "STORE/NUMBER", host?, user?, published, published_ns, taken, taken_ns, added, stored: bytes that came with it, gone: its backup is no
 * more}
 */
static int versions_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct repository *repository = NULL;
	struct object_names backups = {0};
	struct heads heads = {0};
	int r = op_repository_open(context, args, &repository, err);

	if (r == 0)
		r = heads_read(repository, op_arg_string_or(args, "dataset", NULL), &heads, err);
	/* In this order: the backup of a head that is there was there before. */
	if (r == 0)
		r = repository_list(repository, OBJECT_SNAPSHOT, &backups, err);
	for (size_t i = 0; i < heads.count && r == 0; i++) {
		json_t *row = head_to_json(&heads.items[i], head_is_newest(&heads, i));

		json_object_set_new(row, "gone", json_boolean(!heads.items[i].is_damaged && !object_names_have(&backups, heads.items[i].backup)));
		r = op_row(context, row);
	}
	heads_clear(&heads);
	array_clear(&backups);
	repository_close(repository);
	return r;
}

const struct op publish_ops[] = {
	{"publish", "publish a dataset in a repository", OP_OWNER, "between", publish_op},
	{"remote.versions", "what was published in a repository", OP_READER, "versions", versions_op},
	{NULL},
};
