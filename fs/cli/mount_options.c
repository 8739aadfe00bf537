#include "fs/cli/mount_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/units.h"
#include "lib/backup/writer.h"
#include "lib/browse/disk_cache.h"
#include "lib/ops/json.h"

#define TIMEOUT_MAX_S 86400

static const struct {
	const char *name, *key;
	bool value;
} flags[] = {
	{"ro", "read_only", true}, {"rw", "read_only", false}, {"allow_other", "allow_other", true},
	{"acl", "acl", true},      {"noacl", "acl", false},    {"debug", "debug", true},
	{"deep_idle", "deep_idle", true}, {"supervise", "supervise", true}, {"nosupervise", "supervise", false},
	{"as_owner", "as_owner", true}, {"stale_ok", MOUNT_STALE_OK, true},
	{"follow", MOUNT_FOLLOW, true},
};

/* What mount(8) and /etc/fstab know. */
static const struct {
	const char *name;
	enum {
		KERNEL, /* passed on to it */
		OTHERS, /* for mount(8) and systemd */
		HOLDS,  /* so it is in any case */
		NOTED,  /* it makes no difference, which is said */
		REFUSED,
	} what;
} known[] = {
	{"nosuid", KERNEL},      {"suid", KERNEL},       {"nodev", KERNEL},     {"dev", KERNEL},      {"noexec", KERNEL},
	{"exec", KERNEL},        {"sync", KERNEL},       {"async", KERNEL},     {"dirsync", KERNEL},

	{"defaults", OTHERS},    {"auto", OTHERS},       {"noauto", OTHERS},    {"nofail", OTHERS},   {"_netdev", OTHERS},
	{"user", OTHERS},        {"nouser", OTHERS},     {"users", OTHERS},     {"nousers", OTHERS},  {"owner", OTHERS},
	{"noowner", OTHERS},     {"group", OTHERS},      {"nogroup", OTHERS},   {"comment", OTHERS},  {"uhelper", OTHERS},
	{"helper", OTHERS},

	{"noatime", HOLDS},      {"nodiratime", HOLDS},  {"norelatime", HOLDS}, {"nostrictatime", HOLDS},
	{"lazytime", HOLDS},     {"nolazytime", HOLDS},  {"nomand", HOLDS},     {"noiversion", HOLDS},
	{"symfollow", HOLDS},    {"silent", HOLDS},      {"loud", HOLDS},

	{"relatime", NOTED},     {"diratime", NOTED},    {"atime", REFUSED},    {"strictatime", REFUSED},
};

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

static int set_timeout(const char *value, json_t *args, struct error *err)
{
	char *end;
	const unsigned long seconds = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || seconds == 0 || seconds > TIMEOUT_MAX_S)
		return error_set(err, -EINVAL, "mount option timeout=%s: that is no number of seconds, 1 to %d", value, TIMEOUT_MAX_S);
	json_object_set_new(args, MOUNT_TIMEOUT, json_integer((json_int_t)seconds));
	return 0;
}

static int set_lease_time(const char *value, json_t *args, struct error *err)
{
	char *end;
	const unsigned long seconds = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || seconds < WRITER_SECONDS_MIN || seconds > WRITER_SECONDS_MAX)
		return error_set(err, -EINVAL, "mount option lease_time=%s: that is no number of seconds, %d to %d", value, WRITER_SECONDS_MIN,
		                 WRITER_SECONDS_MAX);
	json_object_set_new(args, MOUNT_LEASE_TIME, json_integer((json_int_t)seconds));
	return 0;
}

static int set_cache_size(const char *option, const char *value, json_t *args, struct error *err)
{
	uint64_t bytes = 0;
	int r = set_size(option, value, &bytes, err);

	if (r == 0 && bytes < DISK_CACHE_MIN)
		r = error_set(err, -EINVAL, "mount option %s=%s: that is too small for a cache, which needs %lluM", option, value, DISK_CACHE_MIN >> 20);
	if (r == 0)
		json_object_set_new(args, MOUNT_CACHE_SIZE, json_integer((json_int_t)bytes));
	return r;
}

static void add_extra(json_t *args, const char *name)
{
	const char *before = json_string_value(json_object_get(args, "extra"));
	AUTO_FREE char *text = xasprintf("%s%s%s", before ? before : "", before ? "," : "", name);

	json_object_set_new(args, "extra", json_from_bytes(text));
}

/* 1: not known here. */
static int set_known(const char *option, const char *value, json_t *args, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcmp(known[i].name, option) != 0 || (value && known[i].what != OTHERS))
			continue;
		switch (known[i].what) {
		case KERNEL: add_extra(args, option); return 0;
		case OTHERS:
		case HOLDS: return 0;
		case NOTED:
			fprintf(stderr, "corpusfs: %s makes no difference: reading a file does not change its access time\n", option);
			return 0;
		case REFUSED:
			error_set(err, -EINVAL, "mount option \"%s\" cannot be had: reading a file does not change its access time", option);
			error_hint(err, "leave it out; the mount is noatime");
			return -EINVAL;
		}
	}
	return strncmp(option, "x-", 2) == 0 || strncmp(option, "X-", 2) == 0 ? 0 : 1;
}

static int parse_one(char *text, json_t *args, struct store_options *store_options, struct error *err)
{
	const char *option = text;
	char *value = strchr(text, '=');
	int result;

	if (value)
		*value++ = '\0';
	/* A path, or a size. */
	if (value && strcmp(option, "cache") == 0 && strchr(value, '/'))
		return json_object_set_new(args, MOUNT_CACHE_DIR, json_from_bytes(value));
	if (value && strcmp(option, MOUNT_CACHE_SIZE) == 0)
		return set_cache_size(option, value, args, err);
	if (value && strcmp(option, "cache") == 0)
		return set_size(option, value, &store_options->cache_bytes, err);
	if (value && strcmp(option, "write_buffer") == 0)
		return set_size(option, value, &store_options->write_buffer_bytes, err);
	if (value && strcmp(option, "timeout") == 0)
		return set_timeout(value, args, err);
	if (value && *value && strcmp(option, MOUNT_LEASE) == 0)
		return json_object_set_new(args, MOUNT_LEASE, json_from_bytes(value));
	if (value && strcmp(option, MOUNT_LEASE_TIME) == 0)
		return set_lease_time(value, args, err);
	if (value && strcmp(option, "snapdir") == 0)
		return set_snapdir(value, args, err);
	if (!value && strcmp(option, "salvage") == 0) {
		store_options->salvage = true;
		option = "ro";
	}
	for (size_t i = 0; !value && i < ARRAY_SIZE(flags); i++)
		if (strcmp(flags[i].name, option) == 0) {
			json_object_set_new(args, flags[i].key, json_boolean(flags[i].value));
			return 0;
		}
	result = set_known(option, value, args, err);
	if (result <= 0)
		return result;
	error_set(err, -EINVAL, "unknown mount option \"%s%s%s\"", option, value ? "=" : "", value ? value : "");
	error_hint(err, "corpusfs help mount lists them");
	return -EINVAL;
}

int mount_options_check_store(const json_t *args, struct error *err)
{
	static const char *const of_remotes[] = {MOUNT_TIMEOUT, MOUNT_STALE_OK, MOUNT_FOLLOW};

	for (size_t i = 0; i < ARRAY_SIZE(of_remotes); i++)
		if (json_object_get(args, of_remotes[i]))
			return error_set(err, -EINVAL, "mount option %s has a meaning for remotes only", of_remotes[i]);
	if (json_object_get(args, MOUNT_CACHE_DIR) || json_object_get(args, MOUNT_CACHE_SIZE)) {
		(void)error_set(err, -EINVAL, "mount options cache=DIRECTORY and cache_size have a meaning for remotes only");
		error_hint(err, "cache=SIZE, for example cache=1G, is memory");
		return -EINVAL;
	}
	return 0;
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
