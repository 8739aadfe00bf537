#include "lib/repository/objects.h"

#include <errno.h>

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

uint64_t objects_sent_again(struct objects *objects)
{
	return objects->place->sent_again ? objects->place->sent_again(objects) : 0;
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

const char *object_kind_text(enum object_kind kind)
{
	static const char *const texts[OBJECT_KINDS] = {
		[OBJECT_CONFIG] = "config file", [OBJECT_KEY] = "key file", [OBJECT_SNAPSHOT] = "snapshot file",
		[OBJECT_INDEX] = "index file",   [OBJECT_PACK] = "pack",    [OBJECT_LOCK] = "lock", [OBJECT_HEAD] = "head",
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
