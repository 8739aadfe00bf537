#include "fs/cli/repository.h"
#include "lib/base/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/cli/exit.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/password.h"
#include "fs/cli/repository_url.h"
#include "fs/cli/run.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"
#include "lib/repository/objects_open.h"

#define PLACEHOLDER "REPOSITORY" /* in hints of lib/, which does not know what the repository is called */

int repository_open_place(const char *path, bool make, int *ret_fd, struct error *err)
{
	if (objects_is_url(path))
		return repository_url_open(path, ret_fd, err);
	if (make && mkdir(path, 0700) < 0 && errno != EEXIST) {
		(void)error_set(err, -errno, "the directory %s cannot be made: %s", path, strerror(errno));
		if (errno == ENOENT)
			error_hint_shell(err, "mkdir -p %s makes it, and those above it", path);
		return err->code;
	}
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd >= 0)
		return 0;
	(void)error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (errno == ENOENT)
		error_hint_shell(err, "corpusfs backup init %s makes a repository", path);
	return err->code;
}

char *repository_absolute(const char *name)
{
	return objects_is_url(name) ? xstrdup(name) : realpath(name, NULL);
}

const char *repository_split(char *text)
{
	char *name = strrchr(text, '/');
	char *at = strchr(name ? name : text, '@');

	if (!at)
		return NULL;
	*at = '\0';
	return at + 1;
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
		const char *dataset = json_string_value(json_object_get(row, "dataset"));
		json_t *taken = json_object_get(row, "taken");

		if (dataset && !json_is_true(json_object_get(row, "incomplete")) &&
		    json_number_value(taken) > json_number_value(json_object_get(verified, dataset)))
			json_object_set(verified, dataset, taken);
	}
	return verified;
}

void repository_note(struct cli *cli, const char *kind, double seconds, json_t *verified, const char *failure)
{
	AUTO_FREE char *store = NULL, *repository = xstrdup(cli->argv[0]), *absolute = NULL;
	struct error ignored = {0};
	json_t *args, *result = NULL;

	(void)repository_split(repository);
	absolute = repository_absolute(repository);
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
	if (interrupt_came() && err->code == -ECANCELED) {
		fflush(stdout);
		fprintf(stderr, "corpusfs: interrupted%s%s\n", interrupted ? "; " : "", interrupted ? interrupted : "");
		interrupt_end();
	}
	name_repository(place, err);
	return exit_with(err);
}

int repository_ask(struct cli *cli, const char *op, json_t *args, const char *title, json_t **ret_result)
{
	AUTO_CLOSE int fd = -1;
	AUTO_FREE char *place = xstrdup(cli->argv[0]);
	const char *backup = repository_split(place);
	struct error err = {0};
	int r = repository_open_place(place, strcmp(op, "backup.init") == 0, &fd, &err);

	if (backup)
		json_object_set_new(args, "backup", json_from_bytes(backup));
	json_object_set_new(args, "place", json_from_bytes(place));
	if (r == 0 && !json_object_get(args, "password"))
		r = password_set(cli, args, strcmp(op, "backup.init") == 0, &err);
	interrupt_watch();
	if (r == 0)
		r = run_op_alone(op, args, fd, -1, title, ret_result, &err);
	else
		json_decref(args);
	return r < 0 ? repository_exit(place, &err, NULL) : EXIT_OK;
}

void repository_print_json(const json_t *result)
{
	json_dumpf(result, stdout, JSON_INDENT(2));
	printf("\n");
}
