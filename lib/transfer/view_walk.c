#include "lib/transfer/view_walk.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/array.h"

#define BATCH_NAMES 4096 /* at the top; at depth d it is that by d + 1 */
#define BATCH_MIN 8

struct entry {
	size_t name; /* offset in the frame's names */
	uint64_t ino;
	uint8_t type;
};

/* A directory on the way down. */
struct frame {
	uint64_t ino;
	size_t path_len, name_at; /* of the path that leads here */
	ARRAY(struct entry) batch;
	size_t at, limit;
	struct buf names;
	bool more, is_top;
};

struct view_walk {
	struct view *view;
	bool with_attr;
	struct buf path; /* a NUL is kept behind it */
	size_t name_at;  /* where its last part begins */
	ARRAY(struct frame) frames;
};

static void push(struct view_walk *walk, uint64_t ino)
{
	struct frame *frame = array_new(&walk->frames);

	frame->ino = ino;
	frame->path_len = walk->path.len;
	frame->name_at = walk->name_at;
	frame->limit = MAX(BATCH_NAMES / walk->frames.count, (size_t)BATCH_MIN);
	frame->more = true;
}

static void pop(struct view_walk *walk)
{
	struct frame *frame = array_last(&walk->frames);

	array_clear(&frame->batch);
	buf_clear(&frame->names);
	walk->frames.count--;
}

static void cut_path(struct view_walk *walk, size_t len, size_t name_at)
{
	walk->path.len = len;
	walk->name_at = name_at;
	buf_reserve(&walk->path, 1);
	walk->path.data[len] = '\0';
}

static void set_name(struct view_walk *walk, const struct frame *frame, const char *name)
{
	walk->path.len = frame->path_len;
	if (frame->path_len > 0)
		buf_add_u8(&walk->path, '/');
	walk->name_at = walk->path.len;
	buf_add(&walk->path, name, strlen(name) + 1);
	walk->path.len--;
}

struct view_walk *view_walk_new(struct view *view, uint64_t dir, bool with_attr)
{
	struct view_walk *walk = xcalloc(1, sizeof(*walk));

	walk->view = view;
	walk->with_attr = with_attr;
	cut_path(walk, 0, 0);
	push(walk, dir);
	array_last(&walk->frames)->is_top = true;
	return walk;
}

void view_walk_free(struct view_walk *walk)
{
	if (!walk)
		return;
	while (walk->frames.count > 0)
		pop(walk);
	array_clear(&walk->frames);
	buf_clear(&walk->path);
	free(walk);
}

static int add_entry(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct frame *frame = arg;

	array_add(&frame->batch, (struct entry){.name = frame->names.len, .ino = ino, .type = type});
	buf_add(&frame->names, name, strlen(name) + 1);
	return frame->batch.count == frame->limit;
}

static int load_batch(struct view_walk *walk, struct frame *frame)
{
	AUTO_FREE char *last = frame->batch.count > 0 ? xstrdup((char *)frame->names.data + array_last(&frame->batch)->name) : NULL;
	int r;

	array_reset(&frame->batch);
	buf_reset(&frame->names);
	frame->at = 0;
	r = view_list(walk->view, frame->ino, last ? last : "", add_entry, frame);
	frame->more = r == 0 && frame->batch.count == frame->limit;
	return r;
}

static struct view_walk_step step_of(const struct view_walk *walk, enum view_walk_kind kind)
{
	const char *path = (const char *)walk->path.data;

	return (struct view_walk_step){.kind = kind, .path = path, .name = path + walk->name_at};
}

int view_walk_attr(struct view_walk *walk, struct view_walk_step *step)
{
	int r = view_getattr(walk->view, step->ino, &step->attr);

	/* The entry may say otherwise than the inode. */
	return r == 0 && S_ISDIR(step->attr.mode) != (step->type == DT_DIR) ? -EIO : r;
}

static struct view_walk_step next_entry(struct view_walk *walk, struct frame *frame)
{
	const struct entry *entry = &frame->batch.items[frame->at++];
	struct view_walk_step step;

	set_name(walk, frame, (char *)frame->names.data + entry->name);
	step = step_of(walk, entry->type == DT_DIR ? VIEW_WALK_ENTER : VIEW_WALK_FILE);
	step.ino = entry->ino;
	step.type = entry->type;
	step.code = walk->with_attr ? view_walk_attr(walk, &step) : 0;
	if (step.code < 0)
		step.kind = VIEW_WALK_FAILED;
	else if (step.kind == VIEW_WALK_ENTER)
		push(walk, entry->ino);
	return step;
}

bool view_walk_next(struct view_walk *walk, struct view_walk_step *ret_step)
{
	while (walk->frames.count > 0) {
		struct frame *frame = array_last(&walk->frames);
		int r = 0;

		if (frame->at < frame->batch.count) {
			*ret_step = next_entry(walk, frame);
			return true;
		}
		if (frame->more)
			r = load_batch(walk, frame);
		if (r == 0 && frame->batch.count > frame->at)
			continue;
		cut_path(walk, frame->path_len, frame->name_at);
		*ret_step = step_of(walk, r < 0 ? VIEW_WALK_FAILED : VIEW_WALK_LEAVE);
		ret_step->ino = frame->ino;
		ret_step->code = r;
		/* A directory that could not be listed is left with the next step. */
		if (r < 0)
			return true;
		if (frame->is_top)
			return false;
		pop(walk);
		return true;
	}
	return false;
}

void view_walk_skip(struct view_walk *walk)
{
	if (!array_last(&walk->frames)->is_top)
		pop(walk);
}
