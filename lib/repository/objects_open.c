#include "lib/repository/objects_open.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/base/file.h"
#include "lib/repository/objects_etcd.h"
#include "lib/repository/objects_rest.h"
#include "lib/repository/objects_s3.h"

#define STALE_PATIENCE_MS 2000 /* who can do without etcd does not wait long for it */

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

bool objects_is_url(const char *name)
{
	return begins(name, "s3:") || begins(name, "rest:");
}

/* Where the host begins: behind s3: or rest:, and http://, of whose slashes curl takes any number. */
static const char *find_host(const char *url)
{
	const char *rest = strchr(url, ':') + 1, *scheme = rest + strcspn(rest, ":/?#@");

	return strncmp(scheme, ":/", 2) == 0 ? scheme + 1 + strspn(scheme + 1, "/") : rest;
}

/* "USER:PASSWORD@HOST" and "USER@HOST"; a password may have slashes in it. */
static bool has_user(const char *url)
{
	const char *host = find_host(url), *end = host + strcspn(host, "/?#\\"), *colon = memchr(host, ':', (size_t)(end - host));

	if (memchr(host, '@', (size_t)(end - host)))
		return true;
	/* what follows a host is the number of its port; addresses with colons stand in brackets */
	return colon && *host != '[' && colon + 1 + strspn(colon + 1, "0123456789") != end && strchr(end, '@');
}

int objects_url_check(const char *url, struct error *err)
{
	/* it would stand in every list of processes */
	if (has_user(url)) {
		(void)error_set(err, -EINVAL, "the repository's name has a user's name or password in it");
		error_hint(err, "put them into the variables RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD, or name a file: corpusfs remote add --credentials-file");
		return -EINVAL;
	}
	return 0;
}

static int open_url(const struct objects_access *access, bool making, struct objects **ret_objects, struct error *err)
{
	int r = objects_is_url(access->url) ? objects_url_check(access->url, err) : 0;

	if (r < 0)
		return r;
	if (begins(access->url, "s3:"))
		return objects_s3_open(access, making, ret_objects, err);
	if (begins(access->url, "rest:"))
		return objects_rest_open(access, making, ret_objects, err);
	return error_set(err, -EINVAL, "a repository on the network begins with s3: or rest:");
}

/* Heads are kept in etcd. Takes over the objects. */
static int open_etcd(const json_t *json, const struct objects_access *access, struct objects **objects, struct error *err)
{
	struct etcd_options options = {.net_bytes = access->net_bytes};
	struct objects *inner = steal_ptr(*objects);
	int stale_ok = 0, r = -EINVAL;

	if (json_unpack((json_t *)json, "{s:s, s?s, s?s, s?s, s?s, s?b}", "members", &options.members, "user", &options.user, "password", &options.password,
	                "certificates", &options.certificates, "client", &options.client, "stale_ok", &stale_ok) < 0)
		(void)error_set(err, r, "the description of a repository has none of etcd that is understood");
	else {
		options.stale_ok = stale_ok != 0;
		options.patience_ms = stale_ok ? STALE_PATIENCE_MS : ETCD_PATIENCE_MS;
		if (access->limit_ms)
			options.patience_ms = MIN(options.patience_ms, access->limit_ms);
		r = objects_etcd_open(inner, &options, objects, err);
	}
	if (r < 0)
		objects_close(inner);
	return r;
}

bool objects_etcd_is_asked(const struct buf *description)
{
	json_t *json = json_loadb((const char *)description->data, description->len, 0, NULL), *etcd = json_object_get(json, "etcd");
	const bool is_asked = etcd && !json_is_true(json_object_get(etcd, "stale_ok"));

	json_decref(json);
	return is_asked;
}

int objects_description_limit(const struct buf *description, uint64_t limit_ms, struct buf *ret_limited)
{
	json_t *json = json_loadb((const char *)description->data, description->len, 0, NULL);
	AUTO_SECRET char *text = NULL;

	if (json)
		json_object_set_new(json, "limit_ms", json_integer((json_int_t)limit_ms));
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!text)
		return -EINVAL;
	buf_reset(ret_limited);
	buf_add(ret_limited, text, strlen(text));
	return 0;
}

static json_t *read_description(int fd)
{
	AUTO_BUF text = BUF_INIT;
	json_t *json;

	if (file_read_from_start(fd, OBJECTS_DESCRIPTION_MAX, &text) < 0)
		return NULL;
	json = json_loadb((const char *)text.data, text.len, 0, NULL);
	explicit_bzero(text.data, text.len);
	return json;
}

int objects_open(int fd, bool making, _Atomic uint64_t *net_bytes, struct objects **ret_objects, struct error *err)
{
	AUTO_CLOSE int own = fd;
	struct objects_access access = {.net_bytes = net_bytes};
	json_int_t limit_ms = 0;
	struct stat st;
	json_t *json;
	int is_instance = 0, r;

	if (fstat(own, &st) < 0)
		return error_set(err, -errno, "the repository cannot be opened: %s", strerror(errno));
	if (S_ISDIR(st.st_mode)) {
		*ret_objects = objects_dir_open(own);
		own = -1;
		return 0;
	}
	json = S_ISREG(st.st_mode) ? read_description(own) : NULL;
	if (!json || json_unpack(json, "{s:s, s?s, s?s, s?s, s?s, s?s, s?I, s?{s:b, s:s, s?s}}", "url", &access.url, "user", &access.user, "password",
	                         &access.password, "token", &access.token, "region", &access.region, "certificates", &access.certificates, "limit_ms", &limit_ms,
	                         "service", "instance", &is_instance, "url", &access.service.url, "authorization", &access.service.authorization) < 0 ||
	    limit_ms < 0)
		r = error_set(err, -EINVAL, "what came as a repository is neither a directory nor a description of one");
	else {
		access.limit_ms = (uint64_t)limit_ms;
		access.service.is_instance = is_instance != 0;
		r = open_url(&access, making, ret_objects, err);
	}
	if (r == 0 && json_object_get(json, "etcd"))
		r = open_etcd(json_object_get(json, "etcd"), &access, ret_objects, err);
	json_decref(json);
	return r;
}
