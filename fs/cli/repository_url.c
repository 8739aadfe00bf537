#include "fs/cli/repository_url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "fs/cli/password.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"

#define FILE_MAX (1U << 20)
#define DEFAULT_SECTION "default"
/* Where Amazon's services are, beside each of its machines. */
#define CONTAINERS "169.254.170.2"
#define INSTANCE "http://169.254.169.254"
#define INSTANCE_6 "http://[fd00:ec2::254]"

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	len = strlen(text);
	while (len > 0 && strchr(" \t\r", text[len - 1]))
		text[--len] = '\0';
	return text;
}

/* One line of the section: KEY = VALUE. */
static void take_line(json_t *access, char *line)
{
	static const struct {
		const char *key, *as;
	} known[] = {{"aws_access_key_id", "user"}, {"aws_secret_access_key", "password"}, {"aws_session_token", "token"}, {"region", "region"},
	             {"user", "user"}, {"password", "password"}};
	char *equals = strchr(line, '='), *key;

	if (!equals)
		return;
	*equals = '\0';
	key = trim(line);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(key, known[i].key) == 0)
			json_object_set_new(access, known[i].as, json_string(trim(equals + 1)));
}

static void take_section(json_t *access, char *text, const char *wanted)
{
	bool inside = strcmp(wanted, DEFAULT_SECTION) == 0; /* without any */
	char *line;

	while ((line = strsep(&text, "\n"))) {
		line = trim(line);
		if (*line == '[') {
			line[strcspn(line, "]")] = '\0';
			inside = strcmp(trim(line + 1), wanted) == 0;
		} else if (inside && *line != '#' && *line != ';') {
			take_line(access, line);
		}
	}
}

static int take_file(json_t *access, const char *profile, struct error *err)
{
	const char *named = variable("AWS_SHARED_CREDENTIALS_FILE"), *home = variable("HOME");
	AUTO_FREE char *usual = home ? xasprintf("%s/.aws/credentials", home) : NULL;
	const char *path = named ? named : usual;
	AUTO_BUF content = BUF_INIT;
	int r = path ? file_read(path, FILE_MAX, &content) : -ENOENT;

	if (r == -ENOENT && !named)
		return 0;
	if (r < 0)
		return error_set(err, r, "the file of credentials %s cannot be read: %s", path, error_text(r));
	buf_add_u8(&content, 0);
	take_section(access, (char *)content.data, profile ? profile : DEFAULT_SECTION);
	explicit_bzero(content.data, content.len);
	if (profile && !json_object_get(access, "user"))
		return error_set(err, -ENOENT, "%s has no credentials for the profile \"%s\"", path, profile);
	return 0;
}

static void set(json_t *access, const char *key, const char *value)
{
	if (value)
		json_object_set_new(access, key, json_string(value));
}

/* --- services that give keys --- */

/* What the service for containers wants to be told; NULL: nothing. Its file is read anew by each command. */
static int take_authorization(json_t *service, struct error *err)
{
	const char *path = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), *text = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	AUTO_BUF content = BUF_INIT;
	AUTO_SECRET char *line = NULL;
	int r = path ? file_read(path, FILE_MAX, &content) : 0;

	if (r < 0)
		return error_set(err, r, "the file %s cannot be read, which AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names: %s", path, error_text(r));
	if (!path && !text)
		return 0;
	while (content.len > 0 && strchr("\r\n", content.data[content.len - 1]))
		content.len--;
	line = path ? xasprintf("%.*s", (int)content.len, (const char *)content.data) : xstrdup(text);
	if (content.data)
		explicit_bzero(content.data, content.len);
	text = trim(line);
	if (strpbrk(text, "\r\n"))
		return error_set(err, -EINVAL, "what authorizes this container is not one line");
	set(service, "authorization", text);
	return 0;
}

/* Who asks without TLS tells everybody on the way who he is: only what is beside this machine is asked so. */
static bool is_beside(const char *url)
{
	static const char *const hosts[] = {"localhost", "127.0.0.1", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};
	const char *host = url + strlen("http://");
	const size_t len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#@");

	for (size_t i = 0; i < ARRAY_SIZE(hosts) && !memchr(host, '@', strcspn(host, "/?#")); i++)
		if (len == strlen(hosts[i]) && strncmp(host, hosts[i], len) == 0 && strchr(":/", host[len]))
			return true;
	return false;
}

static int take_container(json_t *service, struct error *err)
{
	const char *relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), *full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	AUTO_FREE char *url = relative ? xasprintf("http://" CONTAINERS "%s%s", *relative == '/' ? "" : "/", relative) : xstrdup(full);

	if (strncmp(url, "https://", 8) != 0 && (strncmp(url, "http://", 7) != 0 || !is_beside(url)))
		return error_set(err, -EINVAL, "AWS_CONTAINER_CREDENTIALS_FULL_URI names neither a service beside this machine nor one with https");
	set(service, "url", url);
	return take_authorization(service, err);
}

static void take_instance(json_t *service)
{
	const char *endpoint = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT"), *mode = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	AUTO_FREE char *url = xstrdup(endpoint ? endpoint : mode && strcasecmp(mode, "IPv6") == 0 ? INSTANCE_6 : INSTANCE);

	if (url[strlen(url) - 1] == '/')
		url[strlen(url) - 1] = '\0';
	set(service, "url", url);
}

/* Where no key is given. A container says that it has such a service; an instance is asked in any case. */
static int take_service(json_t *access, struct error *err)
{
	const bool is_container = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char *disabled = variable("AWS_EC2_METADATA_DISABLED");
	json_t *service;

	if (!is_container && disabled && strcasecmp(disabled, "true") == 0)
		return 0;
	service = json_pack("{s:b}", "instance", !is_container);
	json_object_set_new(access, "service", service);
	if (is_container)
		return take_container(service, err);
	take_instance(service);
	return 0;
}

/* `profile`: of the remote, or NULL. */
static int take_s3(json_t *access, const char *profile, struct error *err)
{
	const char *region = variable("AWS_REGION");

	if (!profile && variable("AWS_ACCESS_KEY_ID")) {
		set(access, "user", variable("AWS_ACCESS_KEY_ID"));
		set(access, "password", variable("AWS_SECRET_ACCESS_KEY"));
		set(access, "token", variable("AWS_SESSION_TOKEN"));
	} else {
		int r = take_file(access, profile ? profile : variable("AWS_PROFILE"), err);

		if (r == 0 && !json_object_get(access, "user"))
			r = take_service(access, err);
		if (r < 0)
			return r;
	}
	set(access, "region", region ? region : variable("AWS_DEFAULT_REGION"));
	return 0;
}

static int take_pem(json_t *access, const char *key, const char *path, struct error *err)
{
	AUTO_BUF content = BUF_INIT;
	int r = path ? file_read(path, FILE_MAX, &content) : 0;

	if (r < 0)
		return error_set(err, r, "the certificates in %s cannot be read: %s", path, error_text(r));
	if (path && json_object_set_new(access, key, json_stringn((const char *)content.data, content.len)) < 0)
		r = error_set(err, -EINVAL, "%s has no certificates as PEM text", path);
	if (content.data)
		explicit_bzero(content.data, content.len);
	return r;
}

/* `path`: of the remote, or NULL. */
static int take_certificates(json_t *access, const char *path, bool is_s3, struct error *err)
{
	if (!path)
		path = variable("RESTIC_CACERT");
	if (!path && is_s3)
		path = variable("AWS_CA_BUNDLE");
	return take_pem(access, "certificates", path, err);
}

static int describe(const json_t *access, int *ret_fd, struct error *err)
{
	char *text = json_dumps(access, JSON_COMPACT);
	const size_t len = text ? strlen(text) : 0;
	int fd = text ? file_in_memory("corpusfs-repository", text, len) : -EINVAL;

	if (text)
		explicit_bzero(text, len);
	free(text);
	if (fd < 0)
		return error_set(err, fd, "the repository cannot be described: %s", error_text(fd));
	*ret_fd = fd;
	return 0;
}

/* --- of a remote --- */

static const char *setting(const json_t *remote, const char *key)
{
	return json_string_value(json_object_get(remote, key));
}

struct credentials {
	const char *file, *command, *profile;
};

/* What a file of the remote's own has, or its command prints. */
static int take_named(json_t *access, const struct credentials *named, struct error *err)
{
	const char *file = named->file, *command = named->command, *profile = named->profile;
	AUTO_BUF content = BUF_INIT;
	char *text = NULL;
	int r;

	if (command) {
		r = password_command_output(command, &text, err);
	} else {
		r = file_read(file, FILE_MAX, &content);
		if (r < 0)
			return error_set(err, r, "the file of credentials %s cannot be read: %s", file, error_text(r));
		buf_add_u8(&content, 0);
	}
	if (r == 0)
		take_section(access, text ? text : (char *)content.data, profile ? profile : DEFAULT_SECTION);
	if (content.data)
		explicit_bzero(content.data, content.len);
	password_free(text);
	if (r == 0 && !json_object_get(access, "user"))
		r = error_set(err, -ENOENT, "%s has no credentials%s%s", command ? "what the credentials command prints" : file,
			      profile ? " for the profile " : "", profile ? profile : "");
	return r;
}

/* Where heads are. */
static int take_etcd(json_t *access, const json_t *remote, struct error *err)
{
	const struct credentials named = {.file = setting(remote, "etcd_credentials_file"), .command = setting(remote, "etcd_credentials_command")};
	json_t *etcd = json_pack("{s:s, s:b}", "members", setting(remote, "etcd"), "stale_ok", json_is_true(json_object_get(remote, "stale_ok")));
	int r = named.file || named.command ? take_named(etcd, &named, err) : 0;

	if (r == 0)
		r = take_pem(etcd, "certificates", setting(remote, "etcd_ca_file"), err);
	if (r == 0)
		r = take_pem(etcd, "client", setting(remote, "etcd_client_file"), err);
	json_object_set_new(access, "etcd", etcd);
	return r;
}

int repository_url_open(const char *url, const json_t *remote, int *ret_fd, struct error *err)
{
	const struct credentials named = {setting(remote, "credentials_file"), setting(remote, "credentials_command"), setting(remote, "profile")};
	const bool is_s3 = strncmp(url, "s3:", 3) == 0, is_named = named.file || named.command;
	json_t *access = json_pack("{s:s}", "url", url);
	int r = access ? 0 : error_set(err, -EINVAL, "the repository's name is not UTF-8");

	if (r == 0 && is_named)
		r = take_named(access, &named, err);
	if (r == 0 && !is_named && is_s3)
		r = take_s3(access, named.profile, err);
	if (r == 0 && !is_named && !is_s3) {
		set(access, "user", variable("RESTIC_REST_USERNAME"));
		set(access, "password", variable("RESTIC_REST_PASSWORD"));
	}
	if (r == 0 && setting(remote, "region"))
		set(access, "region", setting(remote, "region"));
	if (r == 0)
		r = take_certificates(access, setting(remote, "ca_file"), is_s3, err);
	if (r == 0 && setting(remote, "etcd"))
		r = take_etcd(access, remote, err);
	if (r == 0)
		r = describe(access, ret_fd, err);
	json_decref(access);
	return r;
}
