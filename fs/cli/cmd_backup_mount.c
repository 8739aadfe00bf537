#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/cmd_backup_mount.h"
#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/mount_options.h"
#include "fs/cli/password.h"
#include "fs/cli/repository.h"
#include "fs/cli/where.h"
#include "fs/daemon/serve/backups_daemon.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/ops/json.h"
#include "lib/repository/http.h"
#include "lib/repository/objects_open.h"

#define CACHE_BYTES (128U << 20)
#define CACHE_DIR_BYTES (10ULL << 30)

static int take_cache(const json_t *args, struct backups_daemon_options *options, struct error *err)
{
	const json_t *bytes = json_object_get(args, MOUNT_CACHE_SIZE), *timeout = json_object_get(args, MOUNT_TIMEOUT);

	options->cache_dir = json_string_value(json_object_get(args, MOUNT_CACHE_DIR));
	options->cache_dir_bytes = bytes ? (uint64_t)json_integer_value(bytes) : CACHE_DIR_BYTES;
	options->patience_ms = timeout ? (uint64_t)json_integer_value(timeout) * 1000 : HTTP_PATIENCE_MS;
	if (bytes && !options->cache_dir) {
		(void)error_set(err, -EINVAL, "mount option cache_size: of which cache is not said");
		error_hint(err, "for example cache=/var/cache/corpus,cache_size=200G");
		return -EINVAL;
	}
	return 0;
}

/* What of `corpusfs mount -o` has a meaning here. */
static int take_options(struct cli *cli, json_t *args, struct backups_daemon_options *options, struct error *err)
{
	struct store_options store = {0};
	const char *key;
	json_t *value;
	int r = 0;

	for (int i = 0; i < cli->given_count && r == 0; i++)
		if (cli->given[i].option->letter == 'o')
			r = mount_options_parse(cli->given[i].value, args, &store, err);
	if (r < 0)
		return r;
	json_object_foreach(args, key, value) {
		if (strcmp(key, "allow_other") == 0 || strcmp(key, "debug") == 0 || strcmp(key, "extra") == 0 || strcmp(key, MOUNT_TIMEOUT) == 0 ||
		    strcmp(key, MOUNT_CACHE_DIR) == 0 || strcmp(key, MOUNT_CACHE_SIZE) == 0 || (strcmp(key, "read_only") == 0 && json_is_true(value)))
			continue;
		(void)error_set(err, -EINVAL, "mount option \"%s\" has no meaning for backups, which are read only", strcmp(key, "read_only") == 0 ? "rw" : key);
		return -EINVAL;
	}
	if (store.salvage || store.write_buffer_bytes)
		return error_set(err, -EINVAL, "mount options of stores have no meaning for backups");
	options->allow_other = json_is_true(json_object_get(args, "allow_other"));
	options->debug = json_is_true(json_object_get(args, "debug"));
	options->extra = json_string_value(json_object_get(args, "extra"));
	options->cache_bytes = store.cache_bytes ? store.cache_bytes : CACHE_BYTES;
	return take_cache(args, options, err);
}

/* How long who reads waits for a place on the network. */
static int set_timeout(struct buf *description, json_int_t seconds, struct error *err)
{
	json_t *access = description->len ? json_loadb((const char *)description->data, description->len, 0, NULL) : NULL;
	char *text;

	if (description->len == 0)
		return error_set(err, -EINVAL, "mount option timeout has no meaning for a directory");
	json_object_set_new(access, "limit_ms", json_integer(seconds * 1000));
	text = json_dumps(access, JSON_COMPACT);
	json_decref(access);
	if (!text)
		return error_set(err, -ENOMEM, "no memory");
	explicit_bzero(description->data, description->len);
	buf_reset(description);
	buf_add(description, text, strlen(text));
	password_free(text);
	return 0;
}

/* The file need not be there. */
static char *absolute(const char *path)
{
	AUTO_FREE char *here = path[0] == '/' ? NULL : realpath(".", NULL);

	return path[0] == '/' ? xstrdup(path) : here ? xasprintf("%s/%s", here, path) : NULL;
}

/* The description: of a repository on the network. */
static int find_paths(struct cli *cli, const char *repository, const char *mountpoint, const char *log, char *ret_paths[3], struct buf *ret_description,
                      struct error *err)
{
	AUTO_CLOSE int fd = -1;
	int r = repository_open_place(cli, repository, false, &fd, err);

	if (r < 0)
		return r;
	if (cli->remote)
		repository = json_string_value(json_object_get(cli->remote, "url"));
	if (objects_is_url(repository))
		r = file_read_from_start(fd, OBJECTS_DESCRIPTION_MAX, ret_description);
	if (r < 0)
		return error_set(err, r, "the repository cannot be described: %s", error_text(r));
	ret_paths[0] = repository_absolute(repository);
	ret_paths[1] = where_absolute(mountpoint);
	ret_paths[2] = log ? absolute(log) : NULL;
	if (!ret_paths[0] || !ret_paths[1] || (log && !ret_paths[2])) {
		r = error_set(err, -errno, "%s: %s", !ret_paths[0] ? repository : !ret_paths[1] ? mountpoint : log, strerror(errno));
		if (r == -ENOENT && ret_paths[0] && !ret_paths[1])
			error_hint(err, "make the mountpoint first: mkdir -p");
	}
	return r;
}

int backup_mount_run(struct cli *cli)
{
	CLEANUP(repository_name_clear) struct repository_name name = repository_name_of(cli->argv[0]);
	const char *repository = name.place;
	struct backups_daemon_options options = {.backup = name.backup, .is_published = name.is_published};
	char *paths[4] = {NULL}, *password = NULL;
	json_t *args = json_object();
	AUTO_BUF description = BUF_INIT;
	struct error err = {0};
	int r = find_paths(cli, repository, cli->argv[1], cli_option(cli, "log"), paths, &description, &err);

	if (r == 0)
		r = take_options(cli, args, &options, &err);
	if (r == 0 && options.cache_dir && !(options.cache_dir = paths[3] = absolute(options.cache_dir)))
		r = error_set(&err, -errno, "the cache: %s", strerror(errno));
	if (r == 0 && json_object_get(args, MOUNT_TIMEOUT))
		r = set_timeout(&description, json_integer_value(json_object_get(args, MOUNT_TIMEOUT)), &err);
	if (r == 0)
		r = password_get(cli, false, &password, &err);
	if (r == 0) {
		options.password = password;
		options.repository = paths[0];
		options.description = description.len ? &description : NULL;
		options.mountpoint = paths[1];
		options.log = paths[2];
		r = backups_daemon_start(&options, &err);
	}
	password_free(password);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		free(paths[i]);
	json_decref(args);
	if (r < 0)
		return repository_exit(repository, &err, NULL);
	if (!cli->quiet)
		printf("mounted %s%s on %s; corpusfs umount ends it\n", name.is_published ? "" : "the backups of ", name.is_published ? cli->argv[0] : repository,
		       cli->argv[1]);
	return EXIT_OK;
}

static const struct option mount_options[] = {
	{'o', NULL, "OPTIONS", "allow_other, cache=SIZE|DIRECTORY, cache_size=SIZE, ..."},
	{0, "log", "FILE", "where damage is told; else syslog"},
	OPTIONS_PASSWORD,
	OPTIONS_END,
};

const struct command backup_mount_commands[] = {
	{.name = "backup mount",
         .operands = "REPO[@BACKUP] MOUNTPOINT",
         .summary = "look into backups as into directories",
         .details = "Read only. All backups: ids/, times/ and latest; or the tree of the one that is\n"
                    "named. Answers at once: directories are fetched when they are looked into, content\n"
                    "when it is read. Every byte is checked; what is damaged cannot be read, and the\n"
                    "log says what it is. While it is mounted, nothing can be pruned.\n",
         .min = 2,
         .max = 2,
         .options = mount_options,
         .run = backup_mount_run},
	{NULL},
};
