#include "fs/cli/mount_options.h"

#include <errno.h>
#include <string.h>

#include "fs/cli/units.h"
#include "lib/ops/json.h"

static const struct {
	const char *name, *key;
	bool value;
} flags[] = {
	{"ro", "read_only", true}, {"rw", "read_only", false}, {"allow_other", "allow_other", true},
	{"acl", "acl", true},      {"noacl", "acl", false},    {"debug", "debug", true},
	{"deep_idle", "deep_idle", true}, {"as_owner", "as_owner", true},
};

/* Passed on to the kernel. */
static const char *const generic[] = {"nosuid",  "suid",  "nodev",      "dev",  "noexec", "exec",
                                      "noatime", "atime", "nodiratime", "sync", "async",  "dirsync"};

/* Words of /etc/fstab that are for mount(8) and systemd. */
static const char *const ignored[] = {"defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users"};

static bool among(const char *const *list, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

static int set_size(const char *name, const char *value, uint64_t *ret_bytes, struct error *err)
{
	uint64_t bytes;

	if (units_parse_size(value, &bytes) < 0 || bytes == 0) {
		error_set(err, -EINVAL, "mount option %s=%s: that is not a size", name, value);
		error_hint(err, "for example %s=512M", name);
		return -EINVAL;
	}
	*ret_bytes = bytes;
	return 0;
}

static int set_snapdir(const char *value, json_t *args, struct error *err)
{
	if (strcmp(value, "hidden") != 0 && strcmp(value, "visible") != 0 && strcmp(value, "off") != 0)
		return error_set(err, -EINVAL, "mount option snapdir=%s is not one of hidden, visible, off", value);
	json_object_set_new(args, "snapdir", json_from_bytes(value));
	return 0;
}

static void add_extra(json_t *args, const char *name)
{
	const char *before = json_string_value(json_object_get(args, "extra"));
	AUTO_FREE char *text = xasprintf("%s%s%s", before ? before : "", before ? "," : "", name);

	json_object_set_new(args, "extra", json_from_bytes(text));
}

static int parse_one(char *option, json_t *args, struct store_options *store_options, struct error *err)
{
	char *value = strchr(option, '=');

	if (value)
		*value++ = '\0';
	if (value && strcmp(option, "cache") == 0)
		return set_size(option, value, &store_options->cache_bytes, err);
	if (value && strcmp(option, "write_buffer") == 0)
		return set_size(option, value, &store_options->write_buffer_bytes, err);
	if (value && strcmp(option, "snapdir") == 0)
		return set_snapdir(value, args, err);
	for (size_t i = 0; !value && i < ARRAY_SIZE(flags); i++)
		if (strcmp(flags[i].name, option) == 0) {
			json_object_set_new(args, flags[i].key, json_boolean(flags[i].value));
			return 0;
		}
	if (!value && among(generic, ARRAY_SIZE(generic), option)) {
		add_extra(args, option);
		return 0;
	}
	if ((!value && among(ignored, ARRAY_SIZE(ignored), option)) || strncmp(option, "x-", 2) == 0)
		return 0;
	error_set(err, -EINVAL, "unknown mount option \"%s%s%s\"", option, value ? "=" : "", value ? value : "");
	error_hint(err, "corpusfs help mount lists them");
	return -EINVAL;
}

int mount_options_parse(const char *text, json_t *args, struct store_options *store_options, struct error *err)
{
	AUTO_FREE char *copy = xstrdup(text);
	char *state = NULL;

	for (char *option = strtok_r(copy, ",", &state); option; option = strtok_r(NULL, ",", &state)) {
		int result = parse_one(option, args, store_options, err);
		if (result < 0)
			return result;
	}
	return 0;
}
