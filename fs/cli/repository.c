#include "fs/cli/repository.h"
#include "lib/base/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/exit.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/password.h"
#include "fs/cli/remotes.h"
#include "fs/cli/repository_url.h"
#include "fs/cli/run.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"
#include "lib/repository/objects_open.h"

#define PLACEHOLDER "REPOSITORY" /* in hints of lib/, which does not know what the repository is called */

/* A name of a remote stands for what it names, in whichever directory. */
static int resolve(struct cli *cli, const char *name, json_t **ret_remote, struct error *err)
{
	const char *rest = "";
	json_t *remote = NULL;
	int r = remote_find(name, &remote, &rest, err);

	if (r > 0 && *rest) {
		json_decref(remote);
		return error_set(err, -EINVAL, "%s: a whole repository is wanted, which is %.*s", name, (int)(rest - name), name);
	}
	if (r >= 0 && cli) {
		json_decref(cli->remote);
		cli->remote = json_incref(remote);
	}
	if (r >= 0)
		*ret_remote = remote;
	return MIN(r, 0);
}

int repository_name_check(const char *name, struct error *err)
{
	const char *rest = name + strcspn(name, ":/@");

	if (objects_is_url(name))
		return objects_url_check(name, err);
	if (strncmp(rest, "://", 3) != 0 && (*rest != ':' || !strchr(rest, '@')))
		return 0;
	(void)error_set(err, -EINVAL, "what other programs call a repository on the network is none: its name begins with s3: or rest:");
	error_hint(err, "no user and no password is part of it; a directory with a colon in its name is ./NAME");
	return -EINVAL;
}

static int open_directory(const char *path, bool make, int *ret_fd, struct error *err)
{
	const size_t name = strcspn(path, ":/@");

	/* What follows a colon may be a password: no message has it. */
	if (make && path[name] == ':')
		return error_set(err, -EINVAL, "there is no remote \"%.*s\"; a directory with a colon in its name is ./NAME", (int)name, path);
	if (make && mkdir(path, 0700) < 0 && errno != EEXIST) {
		(void)error_set(err, -errno, "the directory %s cannot be made: %s", path, strerror(errno));
		if (errno == ENOENT)
			error_hint_shell(err, "mkdir -p %s makes it, and those above it", path);
		return err->code;
	}
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd >= 0)
		return 0;
	if (errno == ENOENT && path[name] == ':') {
		(void)error_set(err, -ENOENT, "there is neither a remote \"%.*s\" nor a directory that is called so", (int)name, path);
		error_hint(err, "corpusfs remote list shows the remotes, corpusfs remote add NAME URL makes one");
		return -ENOENT;
	}
	(void)error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (errno == ENOENT)
		error_hint_shell(err, "corpusfs backup init %s makes a repository", path);
	return err->code;
}

int repository_open_place(struct cli *cli, const char *name, bool make, int *ret_fd, struct error *err)
{
	json_t *remote = NULL;
	int r = resolve(cli, name, &remote, err);
	const char *place = remote ? json_string_value(json_object_get(remote, "url")) : name;

	if (r == 0)
		r = repository_name_check(place, err);
	if (remote && cli && cli_option(cli, "stale-ok"))
		json_object_set_new(remote, "stale_ok", json_true());
	if (r == 0)
		r = objects_is_url(place) ? repository_url_open(place, remote, ret_fd, err) : open_directory(place, make, ret_fd, err);
	json_decref(remote);
	return r;
}

char *repository_absolute(const char *name)
{
	return objects_is_url(name) || remote_find(name, NULL, NULL, NULL) > 0 ? xstrdup(name) : realpath(name, NULL);
}

struct repository_name repository_name_of(const char *text)
{
	struct repository_name name = {.place = xstrdup(text)};
	const char *rest = NULL;
	char *at = strrchr(name.place, '/');

	/* An error is told when it is opened. */
	if (remote_find(text, NULL, &rest, NULL) > 0) {
		name.place[rest - text] = '\0';
		name.is_published = *rest && *rest != '@';
		name.backup = *rest == '@' ? rest + 1 : *rest ? rest : NULL;
		return name;
	}
	at = strchr(at ? at : name.place, '@');
	if (at) {
		*at = '\0';
		name.backup = text + (at + 1 - name.place);
	}
	return name;
}

void repository_name_set(const struct repository_name *name, json_t *args)
{
	const size_t len = strlen(name->place);
	AUTO_FREE char *place = xasprintf("%.*s", (int)(len > 1 && name->place[len - 1] == ':' ? len - 1 : len), name->place);

	json_object_set_new(args, "place", json_from_bytes(place));
	if (name->backup)
		json_object_set_new(args, "backup", json_from_bytes(name->backup));
	if (name->is_published)
		json_object_set_new(args, "published", json_true());
}

void repository_name_clear(struct repository_name *name)
{
	free(name->place);
}

void repository_add_short(json_t *row)
{
	const char *backup = json_string_value(json_object_get(row, "backup"));

	if (backup)
		json_object_set_new(row, "short", json_stringn(backup, strlen(backup) < 8 ? strlen(backup) : 8));
}

json_t *repository_verified(const json_t *rows)
{
	json_t *verified = json_object(), *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		const char *of = json_string_value(json_object_get(row, "dataset_id"));
		json_t *taken = json_object_get(row, "taken");

		if (of && !json_is_true(json_object_get(row, "incomplete")) &&
		    json_number_value(taken) > json_number_value(json_object_get(verified, of)))
			json_object_set(verified, of, taken);
	}
	return verified;
}

void repository_note(struct cli *cli, const char *kind, double seconds, json_t *verified, const char *failure)
{
	CLEANUP(repository_name_clear) struct repository_name name = repository_name_of(cli->argv[0]);
	AUTO_FREE char *store = NULL, *absolute = repository_absolute(name.place);
	struct error ignored = {0};
	json_t *args, *result = NULL;

	if (!absolute || run_find_store(cli, &store, &ignored) < 0)
		return;
	args = json_pack("{s:o, s:s, s:f, s:O*, s:s*}", "repository", json_from_bytes(absolute), "kind", kind, "seconds", seconds, "verified", verified, "failure",
	                 failure);
	if (run_op_at(store, "backup.note", args, NULL, &result, &ignored) < 0)
		fprintf(stderr, "corpusfs: how it went could not be noted in the store: %s\n", ignored.text);
	json_decref(result);
}

/* A hint is a command that can be copied. */
static void name_repository(const char *place, struct error *err)
{
	AUTO_FREE char *name = shell_text("%s", place), *hint = xstrdup(err->hint);
	AUTO_BUF text = BUF_INIT;
	const char *rest = hint;

	for (const char *word; (word = strstr(rest, PLACEHOLDER)); rest = word + strlen(PLACEHOLDER)) {
		buf_add(&text, rest, (size_t)(word - rest));
		buf_addf(&text, "%s", name);
	}
	buf_addf(&text, "%s", rest);
	buf_add_u8(&text, 0);
	error_hint(err, "%s", (const char *)text.data);
}

int repository_exit(const char *place, struct error *err, const char *interrupted)
{
	if (err->code == -ECANCELED)
		interrupt_end_with(interrupted ? interrupted : "run the same command again");
	name_repository(place, err);
	return exit_with(err);
}

int repository_try(struct cli *cli, const char *op, json_t *args, const char *title, json_t **ret_result, struct error *err)
{
	AUTO_CLOSE int fd = -1;
	CLEANUP(repository_name_clear) struct repository_name name = repository_name_of(cli->argv[0]);
	const bool makes = strcmp(op, "backup.init") == 0, was_there = access(name.place, F_OK) == 0;
	int r = repository_open_place(cli, name.place, makes, &fd, err);

	repository_name_set(&name, args);
	if (r == 0 && !json_object_get(args, "password"))
		r = password_set(cli, args, makes, err);
	/* nothing is left of a repository for which there is no password; what is not empty stays */
	if (r < 0 && makes && !was_there)
		(void)rmdir(name.place);
	interrupt_watch();
	if (r == 0)
		r = run_op_alone(op, args, fd, -1, title, ret_result, err);
	else
		json_decref(args);
	return r;
}

int repository_ask(struct cli *cli, const char *op, json_t *args, const char *title, json_t **ret_result)
{
	CLEANUP(repository_name_clear) struct repository_name name = repository_name_of(cli->argv[0]);
	struct error err = {0};

	return repository_try(cli, op, args, title, ret_result, &err) < 0 ? repository_exit(name.place, &err, NULL) : EXIT_OK;
}

void repository_print_json(const json_t *result)
{
	json_dumpf(result, stdout, JSON_INDENT(2));
	printf("\n");
}
