#include "lib/repository/s3_keys.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/repository/go_text.h"
#include "lib/repository/http.h"
#include "lib/repository/transfers.h"

#define LIMIT_MS 3000
#define EARLY_S 300 /* before they run out; there are new ones by then */
#define AGAIN_S 10  /* after a service was asked; sooner only if there is nothing good */
#define SESSION "X-aws-ec2-metadata-token"
#define SESSION_S "21600"
#define ROLES "/latest/meta-data/iam/security-credentials/"

struct s3_keys {
	struct http *http;
	bool is_instance;
	char *url, *authorization; /* a header, or NULL */

	pthread_mutex_t lock; /* guards what follows; held while the service is asked, which has a bound */
	struct s3_key key;    /* user NULL: there was none yet */
	int64_t ends, again;  /* seconds since 1970; ends 0: never */
};

void s3_key_clear(struct s3_key *key)
{
	free(key->user);
	free_secret(key->password);
	free_secret(key->token);
	*key = (struct s3_key){0};
}

struct s3_keys *s3_keys_new(const struct s3_keys_service *service)
{
	struct s3_keys *keys = xcalloc(1, sizeof(*keys));

	keys->http = http_new(&(struct http_options){.limit_ms = LIMIT_MS, .no_proxy = true});
	keys->is_instance = service->is_instance;
	keys->url = xstrdup(service->url);
	keys->authorization = service->authorization ? xasprintf("Authorization: %s", service->authorization) : NULL;
	pthread_mutex_init(&keys->lock, NULL);
	return keys;
}

void s3_keys_free(struct s3_keys *keys)
{
	if (!keys)
		return;
	http_free(keys->http);
	free(keys->url);
	free_secret(keys->authorization);
	s3_key_clear(&keys->key);
	pthread_mutex_destroy(&keys->lock);
	free(keys);
}

/* --- asking --- */

static int ask(const struct s3_keys *keys, const char *method, const char *path, const char *header, struct buf *ret_body, struct error *err)
{
	AUTO_FREE char *url = xasprintf("%s%s", keys->url, path);
	const char *const headers[] = {header, NULL};
	const bool is_put = strcmp(method, "PUT") == 0;
	struct http_answer answer;
	int r = http_do(keys->http, &(struct http_request){.method = method, .url = url, .headers = headers, .data = is_put ? "" : NULL}, &answer);

	if (r < 0)
		(void)error_set(err, r, "it cannot be reached: %s", answer.problem);
	else if (answer.status != 200)
		r = error_set(err, answer.status == 404 ? -ENOENT : -EACCES, "HTTP status %ld", answer.status);
	*ret_body = answer.body;
	return r;
}

static void clear_body(struct buf *body)
{
	if (body->data)
		explicit_bzero(body->data, body->len);
	buf_clear(body);
}

/* The same, of which the answer is one line. */
static int ask_line(const struct s3_keys *keys, const char *method, const char *path, const char *header, char **ret_line, struct error *err)
{
	struct buf body = BUF_INIT;
	int r = ask(keys, method, path, header, &body, err);

	if (r == 0) {
		const char *text = (const char *)body.data;
		const size_t len = strcspn(text, "\r\n");

		*ret_line = xasprintf("%.*s", (int)len, text);
		if (len == 0)
			r = error_set(err, -ENOENT, "the answer is empty");
	}
	clear_body(&body);
	return r;
}

static char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	/* a line's end would begin a header of its own */
	return text && *text && !strpbrk(text, "\r\n") ? xstrdup(text) : NULL;
}

static int read_key(const struct buf *body, struct s3_key *ret_key, int64_t *ret_ends, struct error *err)
{
	json_t *object = json_loadb((const char *)body->data, body->len, 0, NULL);
	const char *code = json_string_value(json_object_get(object, "Code")), *ends = json_string_value(json_object_get(object, "Expiration"));
	struct s3_key key = {text_of(object, "AccessKeyId"), text_of(object, "SecretAccessKey"), text_of(object, "Token")};
	struct timespec time = {0};
	int r = 0;

	if (code && strcmp(code, "Success") != 0)
		r = error_set(err, -EACCES, "%.100s", code);
	else if (!key.user || !key.password || (ends && go_time_parse(ends, &time) < 0))
		r = error_set(err, -EPROTO, "the answer is not understood");
	json_decref(object);
	if (r < 0) {
		s3_key_clear(&key);
		return r;
	}
	*ret_key = key;
	*ret_ends = time.tv_sec;
	return 0;
}

static int ask_key(const struct s3_keys *keys, const char *path, const char *header, struct s3_key *ret_key, int64_t *ret_ends, struct error *err)
{
	struct buf body = BUF_INIT;
	int r = ask(keys, "GET", path, header, &body, err);

	if (r == 0)
		r = read_key(&body, ret_key, ret_ends, err);
	clear_body(&body);
	return r;
}

/* A session, the role that the instance has, and that role's keys. */
static int ask_instance(const struct s3_keys *keys, struct s3_key *ret_key, int64_t *ret_ends, struct error *err)
{
	AUTO_FREE char *session = NULL, *header = NULL, *role = NULL, *escaped = NULL, *path = NULL;
	int r = ask_line(keys, "PUT", "/latest/api/token", SESSION "-ttl-seconds: " SESSION_S, &session, err);

	if (r < 0)
		return r;
	header = xasprintf(SESSION ": %s", session);
	r = ask_line(keys, "GET", ROLES, header, &role, err);
	if (r == -ENOENT)
		return error_set(err, r, "the instance has no role");
	if (r < 0)
		return r;
	escaped = transfers_escape(role);
	path = xasprintf(ROLES "%s", escaped);
	return ask_key(keys, path, header, ret_key, ret_ends, err);
}

/* --- keeping --- */

static int renew(struct s3_keys *keys, int64_t now, struct error *err)
{
	struct s3_key key = {0};
	struct error why = {0};
	int64_t ends = 0;
	int r = keys->is_instance ? ask_instance(keys, &key, &ends, &why) : ask_key(keys, "", keys->authorization, &key, &ends, &why);

	keys->again = now + AGAIN_S;
	if (r < 0)
		return error_set(err, r, "the %s at %s gives no keys for S3: %s", keys->is_instance ? "metadata service of this instance" : "service for containers",
		                 keys->url, why.text);
	s3_key_clear(&keys->key);
	keys->key = key;
	keys->ends = ends;
	return 0;
}

int s3_keys_get(struct s3_keys *keys, struct s3_key *ret_key, struct error *err)
{
	const int64_t now = clock_now().tv_sec;
	struct error why = {0};
	bool has, is_good, is_late;
	int r = 0;

	pthread_mutex_lock(&keys->lock);
	has = keys->key.user != NULL;
	is_good = has && (keys->ends == 0 || now < keys->ends);
	is_late = has && keys->ends != 0 && now + EARLY_S >= keys->ends;
	if (!is_good || (is_late && now >= keys->again))
		r = renew(keys, now, &why);
	if (r == 0 || is_good) {
		*ret_key = (struct s3_key){xstrdup(keys->key.user), xstrdup(keys->key.password), xstrdup_or_null(keys->key.token)};
		r = 0;
	}
	pthread_mutex_unlock(&keys->lock);
	if (r < 0 && err)
		*err = why;
	return r;
}
