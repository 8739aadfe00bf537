/*
 * Each object is put by one request. It need not come in parts: a pack has 16 MiB and what a last blob adds, and where one blob is a whole directory of
 * millions of names, less than 1 GiB (BLOB_BYTES_MAX); S3 takes 5 GiB so. One request is whole or not at all, and can have a condition, which parts have
 * not everywhere; and nothing that was begun is left behind.
 */
#include "lib/repository/objects_s3.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/repository/blob_id.h"
#include "lib/repository/s3_answer.h"
#include "lib/repository/transfers.h"

#define AMAZON ".amazonaws.com"
#define HEADERS_MAX 4
#define TOKEN "x-amz-security-token: %s"
#define HEADER_LEN 4096

struct objects_s3 {
	struct objects objects;
	struct http *http;
	char *bucket; /* its URL, which ends with '/' */
	char *prefix, *escaped; /* of the keys: "" or ends with '/'; and for a URL's path */
	char *token;  /* a header, or NULL */
	struct s3_keys *keys; /* that are asked for; NULL: what was given is used */
	char *region;
};

static const struct objects_s3 *s3_of(const struct objects *objects)
{
	return (const struct objects_s3 *)objects;
}

static char *url_of(const struct objects *objects, enum object_kind kind, const char *name)
{
	const struct objects_s3 *s3 = s3_of(objects);

	if (kind == OBJECT_CONFIG)
		return xasprintf("%s%sconfig", s3->bucket, s3->escaped);
	if (kind == OBJECT_PACK)
		return xasprintf("%s%sdata/%.2s/%s", s3->bucket, s3->escaped, name, name);
	return xasprintf("%s%s%s/%s", s3->bucket, s3->escaped, object_folder(kind), name);
}

/* Signs it with the hash of its body (curl 7.88 cannot), and asks. `extra`: one more header, or NULL. */
static int ask(const struct objects *objects, struct http_request *request, const char *extra, struct http_answer *ret_answer)
{
	const struct objects_s3 *s3 = s3_of(objects);
	const struct blob_id hash = blob_id_of(request->data ? request->data : "", request->data ? request->len : 0);
	const char *headers[HEADERS_MAX] = {NULL};
	char text[BLOB_ID_TEXT], content[HEADER_LEN];
	AUTO_FREE char *token = NULL;
	struct s3_key key = {0};
	struct error err = {0};
	size_t count = 0;
	int r = s3->keys ? s3_keys_get(s3->keys, &key, &err) : 0;

	if (r < 0) {
		*ret_answer = (struct http_answer){.content_length = -1};
		(void)snprintf(ret_answer->problem, sizeof(ret_answer->problem), "%.*s", HTTP_PROBLEM_MAX - 1, err.text);
		return r;
	}
	request->user = key.user;
	request->password = key.password;
	token = key.token ? xasprintf(TOKEN, key.token) : xstrdup_or_null(s3->token);
	blob_id_text(&hash, text);
	(void)snprintf(content, sizeof(content), "x-amz-content-sha256: %s", text);
	headers[count++] = content;
	if (token)
		headers[count++] = token;
	if (extra)
		headers[count++] = extra;
	request->headers = headers;
	r = http_do(s3->http, request, ret_answer);
	s3_key_clear(&key);
	return r;
}

static int simply(const struct objects *objects, struct http_request *request)
{
	struct http_answer answer;
	int r = ask(objects, request, NULL, &answer);

	r = objects_net_result(r, &answer);
	buf_clear(&answer.body);
	return r;
}

static int create(struct objects *objects)
{
	const struct objects_s3 *s3 = s3_of(objects);
	AUTO_FREE char *place = xasprintf("<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
	                                  "<LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>", s3->region);
	const bool is_first_region = strcmp(s3->region, "us-east-1") == 0;
	struct http_request put = {.method = "PUT", .url = s3->bucket, .data = is_first_region ? "" : place, .len = is_first_region ? 0 : strlen(place)};
	int r = simply(objects, &(struct http_request){.method = "HEAD", .url = s3->bucket});

	return r == -ENOENT ? simply(objects, &put) : r;
}

static int size(struct objects *objects, enum object_kind kind, const char *name, uint64_t *ret_size)
{
	AUTO_FREE char *url = url_of(objects, kind, name);
	struct http_answer answer;
	int r = ask(objects, &(struct http_request){.method = "HEAD", .url = url}, NULL, &answer);

	return objects_net_size(r, &answer, ret_size);
}

static int tell_time(struct objects *objects, struct timespec *ret_now)
{
	struct http_answer answer;
	int r = ask(objects, &(struct http_request){.method = "HEAD", .url = s3_of(objects)->bucket}, NULL, &answer);

	return objects_net_clock(r, &answer, ret_now);
}

static int put_new(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	AUTO_FREE char *url = url_of(objects, kind, name);
	struct http_request request = {.method = "PUT", .url = url, .data = len ? data : "", .len = len};
	struct http_answer answer;
	uint64_t there;
	int r = fault_point("object-before-rename");

	if (r < 0)
		return r;
	r = ask(objects, &request, "If-None-Match: *", &answer);
	r = objects_net_result(r, &answer);
	buf_clear(&answer.body);
	/* an answer that was lost: it has come the first time, for its name is its content's */
	if (r == -EEXIST && answer.tries > 1 && kind != OBJECT_HEAD && size(objects, kind, name, &there) == 0 && there == len)
		r = 0;
	return r < 0 ? r : fault_point("object-after-rename");
}

/* Some servers do not know the condition, and overwrite: with the same bytes, unless the name is not the content's. */
static int put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	uint64_t there;
	int r;

	if ((kind == OBJECT_CONFIG || kind == OBJECT_HEAD) && (r = size(objects, kind, name, &there)) != -ENOENT)
		return r < 0 ? r : -EEXIST;
	return put_new(objects, kind, name, data, len);
}

static int get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	AUTO_FREE char *url = url_of(objects, kind, name);

	if (len == 0)
		return 0;
	return simply(objects, &(struct http_request){.method = "GET", .url = url, .range_offset = offset, .range_len = len, .out = out});
}

struct listing {
	objects_list_fn each;
	void *arg;
};

static int take_key(void *arg, const char *key, uint64_t bytes)
{
	const struct listing *listing = arg;
	const char *slash = strrchr(key, '/'), *name = slash ? slash + 1 : key;
	struct blob_id id;

	return blob_id_parse(name, &id) < 0 ? 0 : listing->each(listing->arg, name, bytes);
}

static int list_some(struct objects *objects, enum object_kind kind, const char *begin, objects_list_fn each, void *arg)
{
	const struct objects_s3 *s3 = s3_of(objects);
	struct listing listing = {.each = each, .arg = arg};
	struct s3_page page = {.each = take_key, .arg = &listing};
	int r;

	do {
		AUTO_FREE char *last = xstrdup(page.next), *token = transfers_escape(last);
		/* what is signed is sorted */
		AUTO_FREE char *wanted = xasprintf("%s%s/%s", s3->prefix, object_folder(kind), begin), *prefix = transfers_escape(wanted);
		AUTO_FREE char *url = xasprintf("%s?%s%s%slist-type=2&prefix=%s", s3->bucket, *token ? "continuation-token=" : "", token, *token ? "&" : "",
		                                prefix);
		struct http_answer answer;

		r = ask(objects, &(struct http_request){.method = "GET", .url = url}, NULL, &answer);
		r = objects_net_result(r, &answer);
		if (r == 0)
			r = s3_read_page(answer.body.data, answer.body.len, &page);
		if (r == 0 && *last && strcmp(last, page.next) == 0)
			r = -EPROTO; /* it would never end */
		buf_clear(&answer.body);
	} while (r == 0 && page.next[0]);
	return r;
}

static int list(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg)
{
	return list_some(objects, kind, "", each, arg);
}

/* The server's answer is the same whether it was there. */
static int remove_object(struct objects *objects, enum object_kind kind, const char *name)
{
	AUTO_FREE char *url = url_of(objects, kind, name);
	uint64_t there;
	int r = size(objects, kind, name, &there);

	return r < 0 ? r : simply(objects, &(struct http_request){.method = "DELETE", .url = url});
}

static uint64_t sent_again(struct objects *objects)
{
	return http_sent_again(s3_of(objects)->http);
}

static void close_s3(struct objects *objects)
{
	struct objects_s3 *s3 = (struct objects_s3 *)objects;

	http_free(s3->http);
	s3_keys_free(s3->keys);
	free(s3->bucket);
	free(s3->prefix);
	free(s3->escaped);
	free(s3->token);
	free(s3->region);
	free(s3);
}

static const struct objects_place server = {
	.create = create, .put = put, .put_new = put_new, .clock = tell_time, .get = get, .size = size, .list = list, .list_some = list_some,
	.remove = remove_object,
	.sent_again = sent_again, .close = close_s3,
};

/* --- opening --- */

/* "s3.eu-west-1.amazonaws.com" and "s3-eu-west-1.amazonaws.com": eu-west-1. */
static char *region_of(const struct objects_access *access, const char *host)
{
	const char *end = strstr(host, AMAZON);

	if (access->region)
		return xstrdup(access->region);
	if (end && end - host > 3 && strncmp(host, "s3", 2) == 0 && (host[2] == '.' || host[2] == '-'))
		return xasprintf("%.*s", (int)(end - host - 3), host + 3);
	return xstrdup("us-east-1");
}

static void take_prefix(struct objects_s3 *s3, const char *path)
{
	AUTO_BUF plain = BUF_INIT, escaped = BUF_INIT;

	while (*path) {
		const size_t len = strcspn(path, "/");
		AUTO_FREE char *part = xasprintf("%.*s", (int)len, path), *safe = transfers_escape(part);

		if (len > 0) {
			buf_addf(&plain, "%s/", part);
			buf_addf(&escaped, "%s/", safe);
		}
		path += len + (path[len] == '/');
	}
	buf_add_u8(&plain, 0);
	buf_add_u8(&escaped, 0);
	s3->prefix = xstrdup((const char *)plain.data);
	s3->escaped = xstrdup((const char *)escaped.data);
}

/* Cuts "https://HOST/BUCKET/PREFIX"; Amazon's buckets are hosts of their own, where a certificate can name them. */
static int take_url(struct objects_s3 *s3, const struct objects_access *access, char *host, struct error *err)
{
	const char *scheme = "https", *rest = access->url + strlen("s3:");
	AUTO_FREE char *bucket = NULL;
	char *path, *end;

	if (strncmp(rest, "http://", 7) == 0)
		scheme = "http";
	if (strstr(rest, "://"))
		rest = strstr(rest, "://") + 3;
	snprintf(host, HEADER_LEN, "%s", rest);
	path = strchr(host, '/');
	bucket = path ? strndup(path + 1, strcspn(path + 1, "/")) : NULL;
	if (!bucket || !*bucket || path == host)
		return error_set(err, -EINVAL, "%s: a repository in S3 is s3:https://HOST/BUCKET or s3:https://HOST/BUCKET/PREFIX", access->url);
	*path = '\0';
	end = path + 1 + strlen(bucket);
	take_prefix(s3, end);
	if (strstr(host, AMAZON) && !strchr(bucket, '.'))
		s3->bucket = xasprintf("%s://%s.%s/", scheme, bucket, host);
	else
		s3->bucket = xasprintf("%s://%s/%s/", scheme, host, bucket);
	return 0;
}

static int refused(const struct objects_s3 *s3, const struct objects_access *access, int result, const struct http_answer *answer, struct error *err)
{
	char code[S3_TEXT_MAX], message[S3_TEXT_MAX];
	AUTO_FREE char *what = NULL;

	s3_read_error(answer->body.data, answer->body.len, code, message);
	if (*code)
		what = xasprintf("%s%s%s", code, *message ? ": " : "", message);
	result = objects_net_problem(access->url, result, answer, what, err);
	if (!access->user && !s3->keys)
		error_hint(err, "no key was given: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials");
	else if (strcmp(code, "NoSuchBucket") == 0)
		error_hint(err, "corpusfs backup init REPOSITORY makes the bucket and a repository in it");
	else if (strcmp(code, "InvalidAccessKeyId") == 0 || strcmp(code, "SignatureDoesNotMatch") == 0)
		error_hint(err, "the key or its secret is wrong, for this server");
	else if (strcmp(code, "RequestTimeTooSkewed") == 0)
		error_hint(err, "the clocks of this machine and the server differ by more than 15 minutes");
	return result;
}

/* The bucket is listed, since an answer to HEAD has no words. */
static int look(struct objects_s3 *s3, const struct objects_access *access, bool making, struct error *err)
{
	AUTO_FREE char *url = xasprintf("%s?list-type=2&max-keys=1", s3->bucket);
	struct http_answer answer;
	int r = ask(&s3->objects, &(struct http_request){.method = "GET", .url = url, .patience_ms = HTTP_PATIENCE_FIRST_MS}, NULL, &answer);
	const bool is_good = r == 0 && (answer.status == 200 || (answer.status == 404 && making));

	if (!is_good)
		r = refused(s3, access, r, &answer, err);
	buf_clear(&answer.body);
	return r;
}

/* What an instance has to offer is asked for without being told to: one that has nothing reads what everybody may. */
static int open_keys(struct objects_s3 *s3, const struct objects_access *access, struct error *err)
{
	struct s3_key key = {0};
	struct error why = {0};
	int r;

	if (!access->service.url || access->user)
		return 0;
	s3->keys = s3_keys_new(&access->service);
	r = s3_keys_get(s3->keys, &key, &why);
	s3_key_clear(&key);
	if (r == 0)
		return 0;
	if (!access->service.is_instance)
		return error_set(err, r, "%s", why.text);
	s3_keys_free(s3->keys);
	s3->keys = NULL;
	return 0;
}

int objects_s3_open(const struct objects_access *access, bool making, struct objects **ret_objects, struct error *err)
{
	struct objects_s3 *s3 = xcalloc(1, sizeof(*s3));
	AUTO_FREE char *host = xcalloc(1, HEADER_LEN), *sign = NULL;
	int r;

	s3->objects.place = &server;
	r = take_url(s3, access, host, err);
	if (r == 0) {
		s3->region = region_of(access, host);
		s3->token = access->token ? xasprintf(TOKEN, access->token) : NULL;
		sign = xasprintf("aws:amz:%s:s3", s3->region);
		s3->http = http_new(&(struct http_options){.user = access->user, .password = access->password, .sign = sign,
		                                           .certificates = access->certificates, .limit_ms = access->limit_ms,
		                                           .net_bytes = access->net_bytes});
		r = open_keys(s3, access, err);
	}
	if (r == 0)
		r = look(s3, access, making, err);
	if (r < 0) {
		close_s3(&s3->objects);
		return r;
	}
	*ret_objects = &s3->objects;
	return 0;
}
