#include "lib/backup/holds.h"

#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/utf8.h"
#include "lib/repository/go_text.h"
#include "lib/repository/origin.h"

static void hold_clear(struct backup_hold *hold)
{
	free(hold->tag);
	free(hold->host);
	free(hold->user);
	*hold = (struct backup_hold){0};
}

void backup_holds_clear(struct backup_holds *holds)
{
	for (size_t i = 0; i < holds->count; i++)
		hold_clear(&holds->items[i]);
	array_clear(holds);
}

/* --- reading --- */

static char *text_of(const json_t *object, const char *key)
{
	return xstrdup_or_null(json_string_value(json_object_get(object, key)));
}

static int is_newer(const char *object, struct error *err)
{
	(void)error_set(err, -EPROTONOSUPPORT, "a newer version of corpusfs made the file holds/%s of the repository, and it is not known which backup it keeps",
	                object);
	error_hint(err, "use that version");
	return -EPROTONOSUPPORT;
}

static int decode(const struct buf *json, struct backup_hold *hold, struct error *err)
{
	json_t *object = json_loadb((const char *)json->data, json->len, 0, NULL);
	const char *backup = json_string_value(json_object_get(object, "backup")), *since = json_string_value(json_object_get(object, "since"));
	const json_int_t version = json_integer_value(json_object_get(object, "version"));
	struct blob_id id;
	int r = version == 1 && backup && since && blob_id_parse(backup, &id) == 0 && go_time_parse(since, &hold->since) == 0 ? 0 : -EBADMSG;

	if (version > 1)
		r = is_newer(hold->object, err);
	if (r == 0) {
		blob_id_text(&id, hold->backup);
		hold->tag = text_of(object, "tag");
		hold->host = text_of(object, "host");
		hold->user = text_of(object, "user");
		r = hold->tag ? 0 : -EBADMSG;
	}
	json_decref(object);
	return r;
}

static int is_damaged(const char *object, struct error *err)
{
	(void)error_set(err, -EBADMSG, "the file holds/%s of the repository is damaged, and nobody knows which backup it keeps", object);
	error_hint(err, "if no backup needs it, remove that file");
	return -EBADMSG;
}

static int read_hold(struct repository *repository, const struct blob_id *id, struct backup_hold *ret_hold, struct error *err)
{
	struct backup_hold hold = {0};
	AUTO_BUF json = BUF_INIT;
	int r;

	blob_id_text(id, hold.object);
	r = repository_get_file(repository, OBJECT_HOLD, hold.object, &json, err);
	if (r == 0)
		r = decode(&json, &hold, err);
	if (r == -EBADMSG)
		(void)is_damaged(hold.object, err);
	if (r < 0)
		hold_clear(&hold);
	else
		*ret_hold = hold;
	return r;
}

int backup_holds_read(struct repository *repository, struct backup_holds *ret_holds, struct error *err)
{
	struct object_names names = {0};
	struct error ignored = {0};
	int r = repository_list(repository, OBJECT_HOLD, &names, err);

	for (size_t i = 0; i < names.count && r == 0; i++) {
		struct backup_hold hold;
		int one = read_hold(repository, &names.items[i], &hold, err ? err : &ignored);

		if (one == 0)
			array_add(ret_holds, hold);
		else if (one != -ENOENT) /* else it was released meanwhile */
			r = one;
	}
	array_clear(&names);
	if (r == 0 && err)
		*err = (struct error){0};
	return r;
}

int backup_holds_check(struct repository *repository, int (*damaged)(void *arg, const char *object, int code), void *arg, struct error *err)
{
	struct object_names names = {0};
	struct error ignored;
	int r = repository_list(repository, OBJECT_HOLD, &names, err);

	for (size_t i = 0; i < names.count && r == 0; i++) {
		struct backup_hold hold = {0};
		char object[BLOB_ID_TEXT];
		int one = read_hold(repository, &names.items[i], &hold, &ignored);

		hold_clear(&hold);
		blob_id_text(&names.items[i], object);
		/* released meanwhile, or for a newer version to read */
		if (one < 0 && one != -ENOENT && one != -EPROTONOSUPPORT)
			r = damaged(arg, object, one);
	}
	array_clear(&names);
	return r;
}

const struct backup_hold *backup_holds_find(const struct backup_holds *holds, const char *backup, const char *tag)
{
	for (size_t i = 0; i < holds->count; i++)
		if (strcmp(holds->items[i].backup, backup) == 0 && (!tag || strcmp(holds->items[i].tag, tag) == 0))
			return &holds->items[i];
	return NULL;
}

/* --- changing --- */

static int check_tag(const char *tag, struct error *err)
{
	bool is_good = *tag && strlen(tag) <= BACKUP_HOLD_TAG_MAX && utf8_is_valid(tag);

	for (const char *at = tag; is_good && *at; at++)
		is_good = (unsigned char)*at >= ' ' && *at != 0x7f;
	return is_good ? 0 : error_set(err, -EINVAL, "the tag of a hold is a line of text of 1 to %d bytes", BACKUP_HOLD_TAG_MAX);
}

static void encode(const char *backup, const char *tag, struct buf *json)
{
	const struct origin origin = origin_of_process();
	char since[GO_TIME_TEXT];

	go_time_text(clock_now(), since);
	buf_addf(json, "{\"version\":1,\"backup\":\"%s\",\"tag\":", backup);
	go_json_string(json, tag);
	buf_addf(json, ",\"host\":");
	go_json_string(json, origin.host);
	buf_addf(json, ",\"user\":");
	go_json_string(json, origin.user);
	buf_addf(json, ",\"since\":\"%s\"}", since);
}

int backup_hold_put(struct repository *repository, const char *backup, const char *tag, struct error *err)
{
	struct backup_holds holds = {0};
	char name[BLOB_ID_TEXT];
	AUTO_BUF json = BUF_INIT;
	int r = check_tag(tag, err);

	if (r == 0)
		r = backup_holds_read(repository, &holds, err);
	if (r == 0 && backup_holds_find(&holds, backup, tag))
		r = error_set(err, -EEXIST, "backup %.8s is held by \"%s\" already", backup, tag);
	backup_holds_clear(&holds);
	if (r < 0)
		return r;
	encode(backup, tag, &json);
	return repository_put_file(repository, OBJECT_HOLD, &json, name, err);
}

/* Two who held it by one tag at once made two. */
int backup_hold_release(struct repository *repository, const char *backup, const char *tag, struct error *err)
{
	struct backup_holds holds = {0};
	const struct backup_hold *hold;
	int r = backup_holds_read(repository, &holds, err);

	if (r == 0 && !backup_holds_find(&holds, backup, tag))
		r = error_set(err, -ENOENT, "backup %.8s is not held by \"%s\"", backup, tag);
	for (size_t i = 0; i < holds.count && r == 0; i++) {
		hold = &holds.items[i];
		if (strcmp(hold->backup, backup) != 0 || strcmp(hold->tag, tag) != 0)
			continue;
		r = repository->objects->place->remove(repository->objects, OBJECT_HOLD, hold->object);
		r = r == -ENOENT ? 0 : r;
		if (r < 0)
			(void)objects_failed(repository->objects, r, "the hold cannot be taken back", err);
	}
	backup_holds_clear(&holds);
	return r;
}
