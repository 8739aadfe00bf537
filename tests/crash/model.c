#include "tests/crash/model.h"

#include <string.h>

#define SAME 16 /* so many seeds stand for all that give content which is there more than once */

static uint64_t mix(uint64_t value)
{
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
	value = (value ^ value >> 27) * 0x94d049bb133111eb;
	return value ^ value >> 31;
}

void content_make(uint64_t seed, uint8_t *out, size_t length)
{
	bool shrinks = seed % 3 == 0;
	uint64_t state = seed % 5 == 0 ? seed % SAME : seed;

	for (size_t at = 0; at < length; at += sizeof(state)) {
		uint64_t word = shrinks ? mix(state + at / 512) : mix(state + at);
		memcpy(out + at, &word, MIN(sizeof(word), length - at));
	}
}

static void resize(struct buf *content, size_t length)
{
	if (length > content->len) {
		buf_reserve(content, length - content->len);
		memset(content->data + content->len, 0, length - content->len);
	}
	content->len = length;
}

static struct object *make(struct model *model, uint32_t file)
{
	struct object *object = xcalloc(1, sizeof(*object));

	object->next = model->objects;
	model->objects = object;
	model->names[file] = object;
	return object;
}

static void put(struct object *object, const struct record *record)
{
	if (object->content.len < record->offset + record->length)
		resize(&object->content, record->offset + record->length);
	content_make(record->seed, object->content.data + record->offset, record->length);
}

static void punch(struct object *object, const struct record *record)
{
	if (record->offset < object->content.len)
		memset(object->content.data + record->offset, 0, MIN(record->length, object->content.len - record->offset));
}

struct snapshot *model_snapshot(struct model *model, uint32_t number)
{
	for (size_t i = 0; i < model->snapshots.count; i++)
		if (model->snapshots.items[i].number == number)
			return &model->snapshots.items[i];
	return NULL;
}

static void take(struct model *model, uint32_t number)
{
	struct snapshot *snapshot = array_new(&model->snapshots);

	*snapshot = (struct snapshot){.number = number, .may_be = true, .must_be = true};
	for (size_t i = 0; i < FILES; i++) {
		const struct object *object = model->names[i];
		snapshot->there[i] = object != NULL;
		snapshot->any[i] = object && object->any;
		if (object)
			buf_add(&snapshot->content[i], object->content.data, object->content.len);
	}
}

static void roll_back(struct model *model, const struct snapshot *snapshot)
{
	for (uint32_t i = 0; i < FILES; i++) {
		model->names[i] = NULL;
		if (!snapshot->there[i])
			continue;
		struct object *object = make(model, i);
		object->any = snapshot->any[i];
		object->over = model->position;
		buf_add(&object->content, snapshot->content[i].data, snapshot->content[i].len);
	}
}

static struct object *made_or_found(struct model *model, const struct record *record, void (*created)(void *arg, struct object *object),
				    void *arg)
{
	struct object *old = model->names[record->file];

	if (old && record->operation != REPLACE)
		return old;
	struct object *object = make(model, record->file);
	if (old)
		object->over = model->position;
	else if (created)
		created(arg, object);
	return object;
}

void model_apply(struct model *model, const struct record *record, void (*created)(void *arg, struct object *object), void *arg)
{
	struct object **name = &model->names[record->file], **other = &model->names[record->other];

	switch (record->operation) {
	case WRITE:
	case REPLACE: put(made_or_found(model, record, created, arg), record); break;
	case TRUNCATE: resize(&(*name)->content, record->length); break;
	case PUNCH: punch(*name, record); break;
	case UNLINK: *name = NULL; break;
	case RENAME:
		if (*other)
			(*name)->over = model->position;
		*other = *name;
		*name = NULL;
		break;
	case ADOPT_SNAPSHOT:
		take(model, record->snapshot);
		memset(model->names, 0, sizeof(model->names));
		break;
	case SNAPSHOT: take(model, record->snapshot); break;
	case DESTROY: model_snapshot(model, record->snapshot)->may_be = model_snapshot(model, record->snapshot)->must_be = false; break;
	case ROLLBACK: roll_back(model, model_snapshot(model, record->snapshot)); break;
	default: break;
	}
}

void model_clear(struct model *model)
{
	while (model->objects) {
		struct object *next = model->objects->next;
		buf_clear(&model->objects->content);
		free(model->objects);
		model->objects = next;
	}
	for (size_t i = 0; i < model->snapshots.count; i++)
		for (size_t j = 0; j < FILES; j++)
			buf_clear(&model->snapshots.items[i].content[j]);
	array_clear(&model->snapshots);
	memset(model->names, 0, sizeof(model->names));
}
