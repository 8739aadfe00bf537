#include "lib/repository/objects.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/repository/blob_id.h"

#define GROWS_TRIES 20 /* so often it is looked at again without having grown */
#define GROWS_US 50000

void objects_close(struct objects *objects)
{
	if (objects)
		objects->place->close(objects);
}

int objects_clean(struct objects *objects, time_t before, bool dry_run, struct objects_left *ret_left)
{
	*ret_left = (struct objects_left){0};
	return objects->place->clean ? objects->place->clean(objects, before, dry_run, ret_left) : 0;
}

struct some {
	const char *begin;
	objects_list_fn each;
	void *arg;
};

static int give_some(void *arg, const char *name, uint64_t size)
{
	const struct some *some = arg;

	return strncmp(name, some->begin, strlen(some->begin)) == 0 ? some->each(some->arg, name, size) : 0;
}

int objects_list_some(struct objects *objects, enum object_kind kind, const char *begin, objects_list_fn each, void *arg)
{
	struct some some = {begin, each, arg};

	if (objects->place->list_some)
		return objects->place->list_some(objects, kind, begin, each, arg);
	return objects->place->list(objects, kind, give_some, &some);
}

uint64_t objects_sent_again(struct objects *objects)
{
	return objects->place->sent_again ? objects->place->sent_again(objects) : 0;
}

bool objects_hides_missing(struct objects *objects)
{
	return objects->place->hides_missing && objects->place->hides_missing(objects);
}

int objects_check_pack_folders(struct objects *objects, char ret_folder[OBJECT_FOLDER_TEXT])
{
	return objects->place->check_pack_folders ? objects->place->check_pack_folders(objects, ret_folder) : 0;
}

bool objects_is_away(int code)
{
	static const int codes[] = {ETIMEDOUT, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EHOSTDOWN, ENETUNREACH, ENETDOWN, ENOTCONN, ESTALE, EIO};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (code == -codes[i])
			return true;
	return false;
}

int objects_failed(struct objects *objects, int code, const char *what, struct error *err)
{
	struct error why = {0};

	if (!objects->place->explain || !objects->place->explain(objects, code, &why))
		return error_set(err, code, "%s: %s", what, error_text(code));
	(void)error_set(err, code, "%s: %s", what, why.text);
	if (why.hint[0])
		error_hint(err, "%s", why.hint);
	return code;
}

bool object_folder_comes_later(enum object_kind kind)
{
	return kind == OBJECT_HEAD || kind == OBJECT_HOLD;
}

const char *object_kind_text(enum object_kind kind)
{
	static const char *const texts[OBJECT_KINDS] = {
		[OBJECT_CONFIG] = "config file", [OBJECT_KEY] = "key file", [OBJECT_SNAPSHOT] = "snapshot file",
		[OBJECT_INDEX] = "index file",   [OBJECT_PACK] = "pack",    [OBJECT_LOCK] = "lock", [OBJECT_HEAD] = "head",
		[OBJECT_HOLD] = "hold",
	};

	return texts[kind];
}

int objects_put_failed(enum object_kind kind, int code, struct error *err)
{
	(void)error_set(err, code, "a new %s cannot be written to the repository: %s", object_kind_text(kind), error_text(code));
	if (code == -ENOSPC || code == -EDQUOT)
		error_hint(err, "the disk of the repository is full: make room on it");
	return code;
}

const char *object_folder(enum object_kind kind)
{
	static const char *const folders[OBJECT_KINDS] = {
		[OBJECT_CONFIG] = "", [OBJECT_KEY] = "keys", [OBJECT_SNAPSHOT] = "snapshots",
		[OBJECT_INDEX] = "index", [OBJECT_PACK] = "data", [OBJECT_LOCK] = "locks", [OBJECT_HEAD] = "heads",
		[OBJECT_HOLD] = "holds",
	};

	return folders[kind];
}

int objects_get_whole(struct objects *objects, enum object_kind kind, const char *name, size_t limit, struct buf *ret_content)
{
	uint64_t size;
	int r = objects->place->size(objects, kind, name, &size);

	if (r < 0)
		return r;
	if (size > limit)
		return -EFBIG;
	buf_reset(ret_content);
	buf_reserve(ret_content, (size_t)size + 1);
	r = objects->place->get(objects, kind, name, 0, (size_t)size, ret_content->data);
	if (r < 0)
		return r;
	ret_content->len = (size_t)size;
	ret_content->data[size] = '\0';
	return 0;
}

static bool is_named(const char *name, const struct buf *content)
{
	const struct blob_id id = blob_id_of(content->data, content->len);
	struct blob_id wanted;

	return blob_id_parse(name, &wanted) == 0 && blob_id_equal(&id, &wanted);
}

int objects_get_named(struct objects *objects, enum object_kind kind, const char *name, size_t limit, struct buf *ret_content)
{
	const bool may_grow = objects->place->shows_beginnings && objects->place->shows_beginnings(objects);
	int r = objects_get_whole(objects, kind, name, limit, ret_content);

	for (unsigned tries = 0; r == 0 && !is_named(name, ret_content); tries++) {
		const size_t len = ret_content->len;

		if (!may_grow || tries == GROWS_TRIES)
			return -EBADMSG;
		clock_pause_us(GROWS_US);
		r = objects_get_whole(objects, kind, name, limit, ret_content);
		if (r == 0 && ret_content->len > len)
			tries = 0;
	}
	return r;
}
