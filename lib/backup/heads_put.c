#include "lib/backup/heads_inside.h"

#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/repository/go_text.h"

#define TRIES 10
#define PAUSE_US 50000

static void encode(const struct head *head, struct buf *json)
{
	const struct {
		const char *key, *text;
	} texts[] = {{"name", head->name}, {"backup", head->backup}, {"identity", head->identity}, {"by", head->by}, {"host", head->host}, {"user", head->user}};
	char published[GO_TIME_TEXT], taken[GO_TIME_TEXT];

	go_time_text(head->published, published);
	go_time_text(head->taken, taken);
	buf_addf(json, "{\"version\":1,\"number\":%llu,\"dataset\":", (unsigned long long)head->number);
	go_json_string(json, head->dataset);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		buf_addf(json, ",\"%s\":", texts[i].key);
		if (texts[i].text)
			go_json_string(json, texts[i].text);
		else
			buf_addf(json, "null");
	}
	buf_addf(json, ",\"published\":\"%s\",\"taken\":\"%s\",\"added\":%llu,\"stored\":%llu}", published, taken, (unsigned long long)head->added,
	         (unsigned long long)head->stored);
}

/* Whether what is there is what we have put: 1 yes, 0 no, -ENOENT there is nothing, -EAGAIN there is the beginning of it, and the rest may come. */
static int is_ours(struct repository *repository, const struct head *head, const struct buf *sealed)
{
	AUTO_BUF there = BUF_INIT;
	int r = objects_get_whole(repository->objects, OBJECT_HEAD, head->object, HEAD_MAX, &there);

	if (r < 0)
		return r == -EFBIG ? 0 : r;
	if (there.len > sealed->len || memcmp(there.data, sealed->data, there.len) != 0)
		return 0;
	return there.len == sealed->len ? 1 : -EAGAIN;
}

static bool may_have_come(int code)
{
	return code == -ETIMEDOUT || code == -EIO || code == -ECONNREFUSED || code == -EHOSTUNREACH || code == -EPROTO;
}

/*
 * What the place says may not be what became of it: an answer may have been lost, also that of an earlier try, whose repetition then failed for
 * another reason. So after every failure it is looked whether it is there. unknown: once it may come later, no later try undoes that.
 */
static int put_once(struct repository *repository, const struct head *head, const struct buf *sealed, bool conditional, bool *unknown)
{
	const struct objects_place *place = repository->objects->place;
	int r = (conditional ? place->put_new : place->put)(repository->objects, OBJECT_HEAD, head->object, sealed->data, sealed->len), there;

	if (r == 0 && conditional)
		return 0;
	if (place->keeps_apart && r < 0 && r != -ETIMEDOUT) /* etcd has decided, or does not answer: nothing has come, nor will (objects_etcd.h) */
		return r;
	if (r == -ENOTRECOVERABLE) { /* it is there now, and may not be after a crash */
		*unknown = true;
		return r;
	}
	there = is_ours(repository, head, sealed);
	if (there == 1)
		return 0;
	if (there == 0) {
		*unknown = false;
		return -EEXIST;
	}
	if (r == -EEXIST || r == 0 || there != -ENOENT || may_have_come(r))
		*unknown = true;
	if (r == -EEXIST)
		return there == -ENOENT ? -EAGAIN : there;
	return r < 0 ? r : there;
}

int head_put(struct repository *repository, struct head *head, bool conditional, bool *ret_unknown, struct error *err)
{
	AUTO_BUF json = BUF_INIT, sealed = BUF_INIT;
	int r;

	*ret_unknown = false;
	head_set_object(repository, head);
	encode(head, &json);
	repository_seal(repository, &json, &sealed);
	r = fault_point("head-before-put");
	if (r < 0)
		return error_set(err, r, "what was published cannot be written: %s", error_text(r));
	/* S3 may let nobody through when several come at once. */
	for (unsigned i = 0; i < TRIES; i++) {
		r = put_once(repository, head, &sealed, conditional, ret_unknown);
		if (r != -EAGAIN)
			break;
		clock_pause_us(PAUSE_US << MIN(i, 4U));
	}
	if (r == 0) {
		r = fault_point("head-after-put");
		*ret_unknown = r < 0;
	}
	if (r == -EEXIST)
		return error_set(err, r, "another one was published at the same time");
	if (r < 0 && *ret_unknown)
		return objects_failed(repository->objects, r, "it is not known whether it is published, as the answer was lost", err);
	return r < 0 ? objects_failed(repository->objects, r, "what was published cannot be written", err) : 0;
}
