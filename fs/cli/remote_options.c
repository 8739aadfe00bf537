#include "fs/cli/remote_options.h"

#include <errno.h>
#include <string.h>

#include "fs/cli/mount_options.h"
#include "fs/cli/password.h"
#include "fs/cli/where.h"
#include "lib/base/file.h"
#include "lib/base/memory_limit.h"
#include "lib/repository/http.h"
#include "lib/repository/objects_open.h"

#define CACHE_BYTES (128U << 20)
#define CACHE_BYTES_LEAST (16U << 20)
#define CACHE_DIR_BYTES (10ULL << 30)

static int take_cache(struct remote_options *options, struct error *err)
{
	const json_t *bytes = json_object_get(options->args, MOUNT_CACHE_SIZE), *timeout = json_object_get(options->args, MOUNT_TIMEOUT);
	const char *dir = json_string_value(json_object_get(options->args, MOUNT_CACHE_DIR));

	options->browsing.cache_dir_bytes = bytes ? (uint64_t)json_integer_value(bytes) : CACHE_DIR_BYTES;
	options->browsing.patience_ms = timeout ? (uint64_t)json_integer_value(timeout) * 1000 : HTTP_PATIENCE_MS;
	if (bytes && !dir) {
		(void)error_set(err, -EINVAL, "mount option cache_size: of which cache is not said");
		error_hint(err, "for example cache=/var/cache/corpus,cache_size=200G");
		return -EINVAL;
	}
	options->browsing.cache_dir = options->cache_dir = dir ? where_absolute_new(dir) : NULL;
	return dir && !options->cache_dir ? error_set(err, -errno, "the cache: %s", strerror(errno)) : 0;
}

/* What of `corpusfs mount -o` has a meaning here. */
static int take_options(struct cli *cli, struct remote_options *options, struct error *err)
{
	struct store_options store = {0};
	const char *key;
	json_t *value;
	int r = 0;

	for (int i = 0; i < cli->given_count && r == 0; i++)
		if (cli->given[i].option->letter == 'o')
			r = mount_options_parse(cli->given[i].value, options->args, &store, err);
	if (r < 0)
		return r;
	json_object_foreach(options->args, key, value) {
		if (strcmp(key, "allow_other") == 0 || strcmp(key, "debug") == 0 || strcmp(key, "extra") == 0 || strcmp(key, MOUNT_TIMEOUT) == 0 ||
		    strcmp(key, MOUNT_STALE_OK) == 0 || strcmp(key, MOUNT_FOLLOW) == 0 ||
		    strcmp(key, MOUNT_CACHE_DIR) == 0 || strcmp(key, MOUNT_CACHE_SIZE) == 0 || (strcmp(key, "read_only") == 0 && json_is_true(value)))
			continue;
		(void)error_set(err, -EINVAL, "mount option \"%s\" has no meaning for backups, which are read only", strcmp(key, "read_only") == 0 ? "rw" : key);
		return -EINVAL;
	}
	if (store.salvage || store.write_buffer_bytes)
		return error_set(err, -EINVAL, "mount options of stores have no meaning for backups");
	options->browsing.follows = json_is_true(json_object_get(options->args, MOUNT_FOLLOW));
	options->browsing.cache_bytes = store.cache_bytes ? store.cache_bytes : memory_budget(CACHE_BYTES, CACHE_BYTES_LEAST);
	return take_cache(options, err);
}

/* How long who reads waits for a place on the network, and whether an older version is good enough. */
static int change_description(struct buf *description, const json_t *args, struct error *err)
{
	const json_t *timeout = json_object_get(args, MOUNT_TIMEOUT), *stale_ok = json_object_get(args, MOUNT_STALE_OK);
	json_t *access = description->len ? json_loadb((const char *)description->data, description->len, 0, NULL) : NULL, *etcd;
	char *text;

	if (timeout && !access)
		return error_set(err, -EINVAL, "mount option timeout has no meaning for a directory");
	etcd = json_object_get(access, "etcd");
	if (timeout)
		json_object_set_new(access, "limit_ms", json_integer(json_integer_value(timeout) * 1000));
	if (stale_ok && etcd)
		json_object_set_new(etcd, "stale_ok", json_true());
	text = access ? json_dumps(access, JSON_COMPACT) : NULL;
	json_decref(access);
	if (!text)
		return description->len ? error_set(err, -ENOMEM, "no memory") : 0;
	explicit_bzero(description->data, description->len);
	buf_reset(description);
	buf_add(description, text, strlen(text));
	password_free(text);
	return 0;
}

/* The description: of a repository on the network. */
static int describe(struct cli *cli, struct remote_options *options, struct error *err)
{
	const char *repository = options->name.place;
	AUTO_CLOSE int fd = -1;
	int r = repository_open_place(cli, repository, false, &fd, err);

	if (r < 0)
		return r;
	if (cli->remote)
		repository = json_string_value(json_object_get(cli->remote, "url"));
	if (objects_is_url(repository))
		r = file_read_from_start(fd, OBJECTS_DESCRIPTION_MAX, &options->description);
	if (r < 0)
		return error_set(err, r, "the repository cannot be described: %s", error_text(r));
	options->browsing.repository = options->repository = repository_absolute(repository);
	if (!options->repository)
		return error_set(err, -errno, "%s: %s", repository, strerror(errno));
	options->browsing.description = options->description.len ? &options->description : NULL;
	return 0;
}

struct remote_options remote_options_of(const char *operand)
{
	struct remote_options options = {.name = repository_name_of(operand), .args = json_object(), .description = BUF_INIT};

	options.browsing.backup = options.name.backup;
	options.browsing.is_published = options.name.is_published;
	return options;
}

int remote_options_get(struct cli *cli, struct remote_options *options, struct error *err)
{
	int r = describe(cli, options, err);

	if (r == 0)
		r = take_options(cli, options, err);
	if (r == 0)
		r = change_description(&options->description, options->args, err);
	if (r == 0)
		r = password_get(cli, false, &options->password, err);
	options->browsing.password = options->password;
	return r;
}

void remote_options_clear(struct remote_options *options)
{
	repository_name_clear(&options->name);
	json_decref(options->args);
	free(options->repository);
	free(options->cache_dir);
	password_free(options->password);
	if (options->description.len > 0)
		explicit_bzero(options->description.data, options->description.len);
	buf_clear(&options->description);
}
