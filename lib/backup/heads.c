#include "lib/backup/heads_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/shell.h"
#include "lib/repository/etcd_mark.h"
#include "lib/repository/go_text.h"
#include "lib/repository/objects_etcd.h"

#define DATASET_BYTES ((HEAD_DATASET_TEXT - 1) / 2)

_Static_assert(DATASET_BYTES + sizeof(uint64_t) == BLOB_ID_LEN, "a head's name is a dataset and a number");

void head_clear(struct head *head)
{
	free(head->why);
	free(head->dataset);
	free(head->name);
	free(head->identity);
	free(head->by);
	free(head->host);
	free(head->user);
	*head = (struct head){0};
}

struct head head_copy(const struct head *head)
{
	struct head copy = *head;

	copy.why = xstrdup_or_null(head->why);
	copy.dataset = xstrdup_or_null(head->dataset);
	copy.name = xstrdup_or_null(head->name);
	copy.identity = xstrdup_or_null(head->identity);
	copy.by = xstrdup_or_null(head->by);
	copy.host = xstrdup_or_null(head->host);
	copy.user = xstrdup_or_null(head->user);
	return copy;
}

void heads_clear(struct heads *heads)
{
	for (size_t i = 0; i < heads->count; i++)
		head_clear(&heads->items[i]);
	array_clear(heads);
}

/* --- names --- */

/* The number 0: no head has it. */
static struct blob_id id_of(const struct repository *repository, const char *dataset)
{
	AUTO_FREE char *text = xasprintf("%s/%s", repository->id, dataset);
	struct blob_id id = blob_id_of(text, strlen(text));

	memset(id.bytes + DATASET_BYTES, 0, sizeof(uint64_t));
	return id;
}

static uint64_t number_of(const struct blob_id *id)
{
	uint64_t number = 0;

	for (size_t i = DATASET_BYTES; i < BLOB_ID_LEN; i++)
		number = number << 8 | id->bytes[i];
	return number;
}

static bool is_same_dataset(const struct blob_id *a, const struct blob_id *b)
{
	return memcmp(a->bytes, b->bytes, DATASET_BYTES) == 0;
}

void head_dataset_text(const struct repository *repository, const char *dataset, char *out)
{
	const struct blob_id id = id_of(repository, dataset);
	char text[BLOB_ID_TEXT];

	blob_id_text(&id, text);
	(void)snprintf(out, HEAD_DATASET_TEXT, "%.*s", HEAD_DATASET_TEXT - 1, text);
}

void head_set_object(const struct repository *repository, struct head *head)
{
	struct blob_id id = id_of(repository, head->dataset);

	for (size_t i = 0; i < sizeof(uint64_t); i++)
		id.bytes[DATASET_BYTES + i] = (uint8_t)(head->number >> (8 * (sizeof(uint64_t) - 1 - i)));
	blob_id_text(&id, head->object);
}

/* --- reading --- */

static char *text_of(const json_t *object, const char *key)
{
	return xstrdup_or_null(json_string_value(json_object_get(object, key)));
}

static int read_time(const json_t *object, const char *key, struct timespec *ret_time)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? go_time_parse(text, ret_time) : -EBADMSG;
}

/* What it says it is, and what its name says, must agree: nobody can put an old one in another's place. */
static int decode(const struct repository *repository, const struct buf *json, struct head *head)
{
	json_t *object = json_loadb((const char *)json->data, json->len, 0, NULL);
	const char *backup = json_string_value(json_object_get(object, "backup"));
	struct head named = {.number = (uint64_t)json_integer_value(json_object_get(object, "number"))};
	struct blob_id id;
	int r = backup && blob_id_parse(backup, &id) == 0 ? 0 : -EBADMSG;

	if (r == 0) {
		(void)snprintf(head->backup, sizeof(head->backup), "%s", backup);
		head->dataset = text_of(object, "dataset");
		head->name = text_of(object, "name");
		head->identity = text_of(object, "identity");
		head->by = text_of(object, "by");
		head->host = text_of(object, "host");
		head->user = text_of(object, "user");
		head->added = (uint64_t)json_integer_value(json_object_get(object, "added"));
		head->stored = (uint64_t)json_integer_value(json_object_get(object, "stored"));
		r = head->dataset && head->name && head->by && read_time(object, "published", &head->published) == 0 &&
				    read_time(object, "taken", &head->taken) == 0 ? 0 : -EBADMSG;
	}
	if (r == 0) {
		named.dataset = head->dataset;
		head_set_object(repository, &named);
		r = strcmp(named.object, head->object) == 0 ? 0 : -EBADMSG;
	}
	json_decref(object);
	return r;
}

static int read_head(struct repository *repository, const struct blob_id *id, struct head *ret_head, struct error *err)
{
	struct head head = {.number = number_of(id)};
	AUTO_BUF content = BUF_INIT;
	int r;

	blob_id_text(id, head.object);
	r = objects_get_whole(repository->objects, OBJECT_HEAD, head.object, HEAD_MAX, &content);
	if (r < 0 && r != -EFBIG)
		return objects_failed(repository->objects, r, "what was published cannot be read", err);
	if (r == 0)
		r = repository_unseal(repository, &content);
	if (r == 0)
		r = decode(repository, &content, &head);
	if (r < 0) {
		struct head damaged = {.number = head.number, .is_damaged = true};

		memcpy(damaged.object, head.object, sizeof(damaged.object));
		head_clear(&head);
		head = damaged;
	}
	*ret_head = head;
	return 0;
}

/* Anybody who can write there can put an object of any number; nobody gets that far by publishing. */
static bool is_number(uint64_t number)
{
	return number > 0 && number <= HEAD_NUMBER_MAX;
}

/* Where heads are in etcd, the copies of them do not say which is the newest. */
static int is_elsewhere(struct error *err)
{
	(void)error_set(err, -EOPNOTSUPP, "what is published there is agreed upon through etcd, which is not named");
	error_hint(err, "corpusfs remote add NAME URL --etcd HOST:PORT,...");
	return -EOPNOTSUPP;
}

/*
 * Whether a name with a number that no head has is that of a newest one whose key in etcd is damaged: then that is the failure, -EBADMSG. Anybody can put
 * an object of such a name where there is no etcd.
 */
static int check_newest(struct repository *repository, const struct blob_id *id, struct error *err)
{
	char name[BLOB_ID_TEXT];
	uint64_t size;
	int r = 0;

	blob_id_text(id, name);
	if (strcmp(name + HEAD_DATASET_TEXT - 1, OBJECTS_ETCD_DAMAGED) == 0)
		r = repository->objects->place->size(repository->objects, OBJECT_HEAD, name, &size);
	return r < 0 && r != -ENOENT ? objects_failed(repository->objects, r, "what was published cannot be read", err) : 0;
}

/* The names of a dataset's heads, or of all (NULL), in their order. Of all, also those of other numbers. */
static int list_names(struct repository *repository, const char *dataset, struct object_names *ret_names, struct error *err)
{
	const struct blob_id wanted = id_of(repository, dataset ? dataset : "");
	size_t kept = 0;
	int r = repository_list(repository, OBJECT_HEAD, ret_names, err);

	if (r < 0)
		return objects_failed(repository->objects, r, "what was published cannot be read", err);
	for (size_t i = 0; i < ret_names->count && r == 0; i++)
		if (etcd_mark_is(&ret_names->items[i]))
			r = is_elsewhere(err);
		else if (!dataset || (is_same_dataset(&ret_names->items[i], &wanted) && is_number(number_of(&ret_names->items[i]))))
			ret_names->items[kept++] = ret_names->items[i];
		else if (is_same_dataset(&ret_names->items[i], &wanted))
			r = check_newest(repository, &ret_names->items[i], err);
	ret_names->count = kept;
	return r;
}

int heads_read(struct repository *repository, const char *dataset, struct heads *ret_heads, struct error *err)
{
	return heads_read_after(repository, dataset, 0, ret_heads, err);
}

/* Of a number that no head has: adds it if it is a newest one that is damaged in etcd. */
static int add_damaged(struct repository *repository, const struct blob_id *id, struct heads *heads, struct error *err)
{
	struct head damaged = {.is_damaged = true};
	struct error why = {0};
	int r = check_newest(repository, id, &why);

	if (r != -EBADMSG)
		return r < 0 ? error_set(err, r, "%s", why.text) : 0;
	blob_id_text(id, damaged.object);
	damaged.why = xstrdup(why.text);
	array_add(heads, damaged);
	return 0;
}

int heads_read_after(struct repository *repository, const char *dataset, uint64_t number, struct heads *ret_heads, struct error *err)
{
	struct object_names names = {0};
	int r = list_names(repository, dataset, &names, err);

	for (size_t i = 0; i < names.count && r == 0; i++) {
		struct head head;

		if (!is_number(number_of(&names.items[i]))) {
			r = add_damaged(repository, &names.items[i], ret_heads, err);
			continue;
		}
		if (number_of(&names.items[i]) <= number)
			continue;
		r = read_head(repository, &names.items[i], &head, err);
		if (r == 0)
			array_add(ret_heads, head);
		else if (r == -ENOENT) /* somebody has removed it meanwhile */
			r = 0;
	}
	array_clear(&names);
	return r;
}

bool head_is_newest(const struct heads *heads, size_t i)
{
	return i + 1 == heads->count || strncmp(heads->items[i].object, heads->items[i + 1].object, HEAD_DATASET_TEXT - 1) != 0;
}

int heads_check_newest(const struct heads *heads, struct error *err)
{
	for (size_t i = 0; i < heads->count; i++)
		if (heads->items[i].why)
			return error_set(err, -EBADMSG, "%s", heads->items[i].why);
	return 0;
}

const struct head *heads_keeping(const struct heads *heads, const char *backup)
{
	bool has_one = false; /* the dataset that is looked at */

	for (size_t i = heads->count; i-- > 0;) {
		const struct head *head = &heads->items[i];

		has_one = has_one && !head_is_newest(heads, i);
		if (has_one || head->is_damaged)
			continue;
		has_one = true;
		if (strcmp(head->backup, backup) == 0)
			return head;
	}
	return NULL;
}

static int not_found(const char *dataset, const char *version, size_t count, struct error *err)
{
	if (count == 0) {
		(void)error_set(err, -ENOENT, "no dataset \"%s\" was published there", dataset);
		error_hint_shell(err, "corpusfs publish %s REPOSITORY", dataset);
	} else {
		(void)error_set(err, -ENOENT, "of dataset \"%s\" no version \"%s\" was published there", dataset, version);
		error_hint(err, "corpusfs remote list REPOSITORY shows which were");
	}
	return -ENOENT;
}

/* Somebody may have let it go with restic, which knows of no heads. */
int head_check_backup(struct repository *repository, const struct head *head, struct error *err)
{
	uint64_t size;
	int r = repository->objects->place->size(repository->objects, OBJECT_SNAPSHOT, head->backup, &size);

	if (r == 0)
		return 0;
	if (r != -ENOENT)
		return error_set(err, r, "backup %.8s cannot be read: %s", head->backup, error_text(r));
	(void)error_set(err, r, "version %llu of \"%s\", %s, was published, but its backup %.8s is gone", (unsigned long long)head->number, head->dataset,
			head->name, head->backup);
	error_hint(err, "corpusfs remote list REPOSITORY shows which versions are there");
	return r;
}

int head_too_many(const char *dataset, const struct head *last, struct error *err)
{
	(void)error_set(err, -EOVERFLOW, "\"%s\" has a version of the highest number there is", dataset);
	if (last && last->number == HEAD_NUMBER_MAX)
		error_hint(err, "nobody gets there by publishing: if you know of no such version, remove the object heads/%s there; --as NAME publishes as another dataset",
			   last->object);
	else
		error_hint(err, "--as NAME publishes as another dataset");
	return -EOVERFLOW;
}

/*
 * From the newest one back, until it is found: the others are not read. With a version, one that cannot be read is passed over, and told if no
 * other is it.
 */
static int find_newest(struct repository *repository, const struct object_names *names, const char *version, struct head *ret_head, struct error *err)
{
	struct error unreadable = {0};

	for (size_t i = names->count; i-- > 0;) {
		struct error why = {0};
		int r = read_head(repository, &names->items[i], ret_head, &why);

		if (r == 0 && (!version || (!ret_head->is_damaged && strcmp(ret_head->name, version) == 0)))
			return 0;
		if (r == 0)
			head_clear(ret_head);
		else if (r != -ENOENT && unreadable.code == 0) /* -ENOENT: somebody has removed it meanwhile */
			unreadable = why;
		if (unreadable.code < 0 && !version)
			break;
	}
	if (unreadable.code < 0)
		*err = unreadable;
	return unreadable.code < 0 ? unreadable.code : -ENOENT;
}

int head_find(struct repository *repository, const char *text, struct head *ret_head, struct error *err)
{
	AUTO_FREE char *dataset = xstrdup(text);
	const char *version = strchr(text, '@');
	struct object_names names = {0};
	struct head found = {0};
	int r;

	dataset[strcspn(dataset, "@")] = '\0';
	version = version ? version + 1 : NULL;
	r = list_names(repository, dataset, &names, err);
	if (r == 0) {
		r = find_newest(repository, &names, version, &found, err);
		if (r == -ENOENT)
			r = not_found(dataset, version, version ? names.count : 0, err);
	}
	array_clear(&names);
	if (r == 0 && found.is_damaged) {
		r = error_set(err, -EBADMSG, "what says which version of \"%s\" is the newest is damaged", dataset);
		error_hint(err, "corpusfs remote list REPOSITORY shows the versions: name one, or publish again");
	}
	if (r == 0)
		r = head_check_backup(repository, &found, err);
	if (r == 0)
		*ret_head = found;
	else
		head_clear(&found);
	return r;
}

/* --- whether there is a newer one --- */

/* Of names of one dataset's heads. */
static int keep_newest(void *arg, const char *name, uint64_t size)
{
	struct blob_id *newest = arg, id;

	(void)size;
	if (blob_id_parse(name, &id) == 0 && is_number(number_of(&id)) && number_of(&id) > number_of(newest))
		*newest = id;
	return 0;
}

/* Where heads are in etcd, who does not ask it could stay behind for ever. */
static int check_no_mark(struct repository *repository)
{
	uint64_t size;
	int r = repository->objects->place->size(repository->objects, OBJECT_HEAD, ETCD_MARK_NAME, &size);

	return r == 0 ? -EOPNOTSUPP : r == -ENOENT ? 0 : r;
}

/* `newest`: with the number 0, and still so if there is none. */
static int find_newest_name(struct repository *repository, struct blob_id *newest)
{
	struct objects *objects = repository->objects;
	char name[BLOB_ID_TEXT], found[BLOB_ID_TEXT];
	int r;

	blob_id_text(newest, name);
	if (objects_etcd_place(objects)) {
		r = objects_etcd_newest_name(objects, name, found);
		if (r != -ENOENT)
			return r < 0 ? r : blob_id_parse(found, newest);
	} else {
		r = check_no_mark(repository);
		if (r < 0)
			return r;
	}
	name[HEAD_DATASET_TEXT - 1] = '\0';
	return objects_list_some(objects, OBJECT_HEAD, name, keep_newest, newest);
}

int head_newer(struct repository *repository, const char *dataset, uint64_t number, struct head *ret_head, struct error *err)
{
	struct blob_id newest = id_of(repository, dataset);
	struct head head;
	int r = find_newest_name(repository, &newest);

	if (r < 0)
		return r == -EOPNOTSUPP ? is_elsewhere(err) : objects_failed(repository->objects, r, "what was published cannot be read", err);
	if (number_of(&newest) <= number)
		return 0;
	r = read_head(repository, &newest, &head, err);
	if (r < 0)
		return r;
	if (head.is_damaged) {
		head_clear(&head);
		return error_set(err, -EBADMSG, "version %llu of \"%s\" is damaged", (unsigned long long)number_of(&newest), dataset);
	}
	*ret_head = head;
	return 1;
}
