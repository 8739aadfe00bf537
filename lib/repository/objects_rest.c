#include "lib/repository/objects_rest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/fault.h"
#include "lib/repository/blob_id.h"

#define TYPE_2 "application/vnd.x.restic.rest.v2"

struct objects_rest {
	struct objects objects;
	struct http *http;
	char *base; /* ends with '/' */
	bool is_rclone;
};

static const struct objects_rest *rest_of(const struct objects *objects)
{
	return (const struct objects_rest *)objects;
}

static char *url_of(const struct objects *objects, enum object_kind kind, const char *name)
{
	if (kind == OBJECT_CONFIG)
		return xasprintf("%sconfig", rest_of(objects)->base);
	return xasprintf("%s%s/%s", rest_of(objects)->base, object_folder(kind), name);
}

static int ask(const struct objects *objects, const struct http_request *request, struct http_answer *ret_answer)
{
	return objects_net_result(http_do(rest_of(objects)->http, request, ret_answer), ret_answer);
}

/* For who does not look at the answer. */
static int simply(const struct objects *objects, const struct http_request *request)
{
	struct http_answer answer;
	int r = ask(objects, request, &answer);

	buf_clear(&answer.body);
	return r;
}

static int create(struct objects *objects)
{
	AUTO_FREE char *url = xasprintf("%s?create=true", rest_of(objects)->base);

	return simply(objects, &(struct http_request){.method = "POST", .url = url, .data = ""});
}

static int size(struct objects *objects, enum object_kind kind, const char *name, uint64_t *ret_size)
{
	AUTO_FREE char *url = url_of(objects, kind, name);
	struct http_answer answer;
	int r = http_do(rest_of(objects)->http, &(struct http_request){.method = "HEAD", .url = url}, &answer);

	return objects_net_size(r, &answer, ret_size);
}

static int tell_time(struct objects *objects, struct timespec *ret_now)
{
	AUTO_FREE char *url = url_of(objects, OBJECT_CONFIG, "");
	struct http_answer answer;
	int r = http_do(rest_of(objects)->http, &(struct http_request){.method = "HEAD", .url = url}, &answer);

	return objects_net_clock(r, &answer, ret_now);
}

static int put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	AUTO_FREE char *url = url_of(objects, kind, name);
	struct http_answer answer;
	uint64_t there;
	int r;

	/* Servers overwrite, or say 403. */
	r = size(objects, kind, name, &there);
	if (r == 0)
		return -EEXIST;
	if (r != -ENOENT)
		return r;
	r = fault_point("object-before-rename");
	if (r == 0)
		r = ask(objects, &(struct http_request){.method = "POST", .url = url, .data = len ? data : "", .len = len}, &answer);
	else
		return r;
	buf_clear(&answer.body);
	/* an answer that was lost: it has come the first time */
	if (r < 0 && answer.tries > 1 && kind != OBJECT_HEAD && size(objects, kind, name, &there) == 0 && there == len)
		r = 0;
	return r < 0 ? r : fault_point("object-after-rename");
}

static int get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	AUTO_FREE char *url = url_of(objects, kind, name);

	if (len == 0)
		return 0;
	return simply(objects, &(struct http_request){.method = "GET", .url = url, .range_offset = offset, .range_len = len, .out = out});
}

/* Version 1 of the protocol tells names alone. */
static int take_row(struct objects *objects, enum object_kind kind, const json_t *row, objects_list_fn each, void *arg)
{
	const char *name = json_string_value(json_is_string(row) ? row : json_object_get(row, "name"));
	uint64_t bytes = (uint64_t)json_integer_value(json_object_get(row, "size"));
	struct blob_id id;
	int r = 0;

	if (!name || blob_id_parse(name, &id) < 0)
		return 0;
	if (json_is_string(row))
		r = size(objects, kind, name, &bytes);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : each(arg, name, bytes);
}

static int list(struct objects *objects, enum object_kind kind, objects_list_fn each, void *arg)
{
	static const char *const headers[] = {"Accept: " TYPE_2, NULL};
	AUTO_FREE char *url = xasprintf("%s%s/", rest_of(objects)->base, object_folder(kind));
	struct http_answer answer;
	json_t *rows, *row;
	size_t i;
	int r = ask(objects, &(struct http_request){.method = "GET", .url = url, .headers = headers}, &answer);

	rows = r == 0 ? json_loadb((const char *)answer.body.data, answer.body.len, 0, NULL) : NULL;
	buf_clear(&answer.body);
	if (r == 0 && !json_is_array(rows))
		r = json_is_null(rows) ? 0 : -EPROTO; /* an empty folder is null for some */
	json_array_foreach(rows, i, row) {
		if (r == 0)
			r = take_row(objects, kind, row, each, arg);
	}
	json_decref(rows);
	/* A folder that was never written to: nobody makes those of heads and holds before, and not every server that of locks. Of the others, it was lost. */
	return r == -ENOENT && (object_folder_comes_later(kind) || kind == OBJECT_LOCK || rest_of(objects)->is_rclone) ? 0 : r;
}

static int remove_object(struct objects *objects, enum object_kind kind, const char *name)
{
	AUTO_FREE char *url = url_of(objects, kind, name);
	struct http_answer answer;
	int r = ask(objects, &(struct http_request){.method = "DELETE", .url = url}, &answer);

	buf_clear(&answer.body);
	return r == -ENOENT && answer.tries > 1 ? 0 : r;
}

static uint64_t sent_again(struct objects *objects)
{
	return http_sent_again(rest_of(objects)->http);
}

static void close_rest(struct objects *objects)
{
	struct objects_rest *rest = (struct objects_rest *)objects;

	http_free(rest->http);
	free(rest->base);
	free(rest);
}

/* rclone writes them in place. */
static bool shows_beginnings(struct objects *objects)
{
	(void)objects;
	return true;
}

/* rclone lists nothing there. */
static bool hides_missing(struct objects *objects)
{
	return rest_of(objects)->is_rclone;
}

static const struct objects_place server = {
	.create = create, .put = put, .get = get, .size = size, .list = list, .remove = remove_object, .clock = tell_time,
	.sent_again = sent_again, .shows_beginnings = shows_beginnings, .hides_missing = hides_missing, .close = close_rest,
};

int objects_rest_open(const struct objects_access *access, bool making, struct objects **ret_objects, struct error *err)
{
	const char *base = access->url + strlen("rest:");
	struct objects_rest *rest = xcalloc(1, sizeof(*rest));
	AUTO_FREE char *url = NULL;
	struct http_answer answer;
	int r;

	(void)making;
	rest->objects.place = &server;
	rest->base = xasprintf("%s%s", base, *base && base[strlen(base) - 1] == '/' ? "" : "/");
	rest->http = http_new(&(struct http_options){.user = access->user, .password = access->password, .certificates = access->certificates,
	                                           .limit_ms = access->limit_ms, .net_bytes = access->net_bytes});
	url = url_of(&rest->objects, OBJECT_CONFIG, "");
	r = http_do(rest->http, &(struct http_request){.method = "HEAD", .url = url, .patience_ms = HTTP_PATIENCE_FIRST_MS}, &answer);
	buf_clear(&answer.body);
	if (r < 0 || (answer.status != 200 && answer.status != 404)) {
		r = objects_net_problem(access->url, r, &answer, NULL, err);
		close_rest(&rest->objects);
		return r;
	}
	rest->is_rclone = strncmp(answer.server, "rclone/", strlen("rclone/")) == 0;
	*ret_objects = &rest->objects;
	return 0;
}
