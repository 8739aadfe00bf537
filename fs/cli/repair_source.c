#include "fs/cli/repair_source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/outside.h"
#include "fs/cli/password.h"
#include "fs/cli/remotes.h"
#include "fs/cli/repository.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"
#include "lib/repository/objects_open.h"
#include "lib/store/store.h"

#define RESTIC "restic:"
#define STEP_PIECES 256 /* a store gives so many at once: some tens of megabytes */

static bool has(const char *directory, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s", directory, name);
	struct stat st;

	return stat(path, &st) == 0;
}

static bool is_repository(const char *path)
{
	return has(path, "config") && has(path, "keys") && has(path, "data");
}

static int open_store(const char *name, const char *own, struct repair_source *source, struct error *err)
{
	source->kind = REPAIR_STORE;
	source->store = realpath(name, NULL);
	if (!source->store)
		return error_set(err, -errno, "%s: %s", name, strerror(errno));
	if (strcmp(source->store, own) == 0)
		return error_set(err, -EINVAL, "%s is the store that is to be repaired: another one is wanted", name);
	return 0;
}

static int open_repository(struct cli *cli, const char *text, struct repair_source *source, struct error *err)
{
	CLEANUP(repository_name_clear) struct repository_name name = repository_name_of(text);
	int r = repository_open_place(cli, name.place, false, &source->fd, err);

	source->kind = REPAIR_REPOSITORY;
	source->args = json_object();
	repository_name_set(&name, source->args);
	return r == 0 ? password_set(cli, source->args, false, err) : r;
}

/* A URL, a directory, also REPO@BACKUP where there is no file of that name, or a remote. */
static bool names_repository(const char *text)
{
	CLEANUP(repository_name_clear) struct repository_name name = repository_name_of(text);
	struct stat st;

	if (objects_is_url(text) || is_repository(text))
		return true;
	return lstat(text, &st) < 0 && (is_repository(name.place) || remote_find(text, NULL, NULL, NULL) != 0);
}

static int open_any(struct cli *cli, const char *name, const char *own, struct repair_source *source, struct error *err)
{
	struct superblock superblock;
	struct error why = {0};
	int probed;

	source->kind = REPAIR_OUTSIDE;
	if (strcmp(name, "-") == 0)
		return outside_open_source(name, &source->fd, err);
	if (strncmp(name, RESTIC, strlen(RESTIC)) == 0)
		return open_repository(cli, name + strlen(RESTIC), source, err);
	if (names_repository(name))
		return open_repository(cli, name, source, err);
	probed = store_probe(name, &superblock, &why);
	if (probed == 0)
		return open_store(name, own, source, err);
	if ((probed == -EBADMSG || probed == -EPROTONOSUPPORT) && has(name, SUPERBLOCK_NAME)) {
		*err = why;
		return probed;
	}
	return outside_open_source(name, &source->fd, err);
}

int repair_source_open(struct cli *cli, const char *name, const char *own, struct repair_source *ret_source, struct error *err)
{
	struct repair_source source = {.name = name, .fd = -1};
	int result = open_any(cli, name, own, &source, err);

	if (result < 0)
		repair_source_clear(&source);
	else
		*ret_source = source;
	return result;
}

void repair_source_clear(struct repair_source *source)
{
	if (source->fd >= 0)
		close(source->fd);
	free(source->store);
	json_decref(source->args);
	*source = (struct repair_source){.fd = -1};
}

const char *repair_source_kind(const struct repair_source *source)
{
	static const char *const kinds[] = {[REPAIR_STORE] = "store", [REPAIR_REPOSITORY] = "backups", [REPAIR_OUTSIDE] = "files"};

	return kinds[source->kind];
}

/* Without the places where it may be, which say nothing to a store. */
static json_t *bare_piece(json_t *piece)
{
	return json_pack("{s:O, s:O}", "sha256", json_object_get(piece, "sha256"), "length", json_object_get(piece, "length"));
}

/* The pieces go to the other store in parts, since a request has a bound. */
static int look_in_store(const struct repair_source *source, const json_t *args, int spool, run_row_fn row, int (*step)(void *arg), void *arg,
			 struct error *err)
{
	const json_t *sought = json_object_get(args, "sought");
	const size_t count = json_array_size(sought);
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i += STEP_PIECES) {
		json_t *some = json_array();
		for (size_t j = i; j < count && j < i + STEP_PIECES; j++)
			json_array_append_new(some, bare_piece(json_array_get(sought, j)));
		result = run_op_rows_with(source->store, "repair.give", json_pack("{s:o}", "sought", some), spool, NULL, row, arg, err);
		if (result == 0)
			result = step(arg);
	}
	return result;
}

int repair_source_look(const struct repair_source *source, const json_t *args, int spool, run_row_fn row, int (*step)(void *arg), void *arg,
		       json_t **ret_result, struct error *err)
{
	json_t *own;
	int result;

	if (source->kind == REPAIR_STORE) {
		result = look_in_store(source, args, spool, row, step, arg, err);
		if (result == 0)
			*ret_result = json_pack("{s:i, s:i, s:i}", "files", 0, "bytes", 0, "unread", 0);
		return result;
	}
	own = json_deep_copy(args);
	if (source->args)
		json_object_update(own, source->args);
	else
		json_object_set_new(own, "name", json_from_bytes(strrchr(source->name, '/') ? strrchr(source->name, '/') + 1 : source->name));
	result = run_op_alone_rows_with(source->kind == REPAIR_REPOSITORY ? "repair.backups" : "repair.look", own, source->fd, spool, "repair", row, arg,
					ret_result, err);
	return result == 0 ? step(arg) : result;
}
