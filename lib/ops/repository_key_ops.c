/* The passwords of repositories. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"
#include "lib/repository/locks.h"

struct key_rows {
	struct op_context *context;
	const struct repository *repository;
};

static int key_row(void *arg, const struct key_info *info)
{
	const struct key_rows *rows = arg;

	return op_row(rows->context, json_pack("{s:s, s:o, s:o, s:s, s:b}", "key", info->name, "user", json_from_bytes(info->user), "host",
	                                       json_from_bytes(info->host), "created", info->created, "current",
	                                       strcmp(info->name, rows->repository->key_name) == 0));
}

/* backup.key.list: {password} -> rows {key, user, host, created, current: the password's} */
static int key_list_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct repository *repository = NULL;
	int r = op_repository_open(context, args, &repository, err);
	struct key_rows rows = {context, repository};

	if (r == 0)
		r = keys_each(repository->objects, key_row, &rows, err);
	repository_close(repository);
	return r;
}

/* backup.key.add: {password, new_password} -> {key} */
static int key_add_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct repository *repository = NULL;
	const char *password;
	char name[KEY_ID_TEXT];
	int r = op_arg_string(args, "new_password", &password, err);

	if (r == 0)
		r = op_repository_open(context, args, &repository, err);
	if (r == 0)
		r = keys_add(repository->objects, &repository->key, password, name, err);
	if (r == 0)
		*ret_result = json_pack("{s:s}", "key", name);
	repository_close(repository);
	return r;
}

struct key_search {
	const char *text;
	struct key_names {
		char name[KEY_ID_TEXT];
		size_t count;
	} found;
};

static int match_key(void *arg, const struct key_info *info)
{
	struct key_search *search = arg;

	if (strncmp(info->name, search->text, strlen(search->text)) != 0)
		return 0;
	(void)snprintf(search->found.name, sizeof(search->found.name), "%s", info->name);
	search->found.count++;
	return 0;
}

static int find_key(const struct repository *repository, struct key_search *search, struct error *err)
{
	int r = keys_each(repository->objects, match_key, search, err);

	if (r == 0 && search->found.count != 1)
		r = search->found.count == 0 ? error_set(err, -ENOENT, "there is no key %s", search->text)
					     : error_set(err, -EINVAL, "several keys begin with %s", search->text);
	if (r == -ENOENT)
		error_hint(err, "corpusfs backup key list REPOSITORY shows those there are");
	if (r == 0 && strcmp(search->found.name, repository->key_name) == 0) {
		r = error_set(err, -EINVAL, "key %.8s is that of the password which was given", search->found.name);
		error_hint(err, "give another password, so that one is left that opens the repository");
	}
	return r;
}

/* Two who remove each other's would leave none, and nobody could read anything any more: under an exclusive lock, and only while ours is there. */
static int remove_key(const struct repository *repository, const struct key_search *search, struct repository_lock *lock, struct error *err)
{
	const struct objects_place *place = repository->objects->place;
	uint64_t size;
	int r = place->size(repository->objects, OBJECT_KEY, repository->key_name, &size);

	if (r == -ENOENT)
		return error_set(err, -EBUSY, "somebody has removed the key of the password which was given");
	if (r < 0)
		return error_set(err, r, "key file %.8s cannot be read: %s", repository->key_name, error_text(r));
	r = repository_lock_check(lock, err);
	if (r < 0)
		return r;
	r = fault_point("key-before-remove");
	if (r == 0)
		r = place->remove(repository->objects, OBJECT_KEY, search->found.name);
	return r < 0 ? error_set(err, r, "key %.8s cannot be removed: %s", search->found.name, error_text(r)) : 0;
}

/* backup.key.remove: {password, key: its first digits} -> {key} */
static int key_remove_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct repository *repository = NULL;
	struct repository_lock *lock = NULL;
	struct key_search search = {0};
	int r = op_arg_string(args, "key", &search.text, err);

	if (r == 0)
		r = op_repository_open(context, args, &repository, err);
	if (r == 0)
		r = find_key(repository, &search, err);
	if (r == 0)
		r = repository_lock_take(repository, true, &lock, err);
	if (r == 0)
		r = remove_key(repository, &search, lock, err);
	if (r == 0)
		*ret_result = json_pack("{s:s}", "key", search.found.name);
	repository_lock_release(lock);
	repository_close(repository);
	return r;
}

const struct op repository_key_ops[] = {
	{"backup.key.list", "the passwords of a repository", OP_READER, "keys", key_list_op},
	{"backup.key.add", "add a password", OP_OWNER, NULL, key_add_op},
	{"backup.key.remove", "remove a password", OP_OWNER, NULL, key_remove_op},
	{NULL},
};
