/* K6, K7 and K8: names and inodes together. Both come in the order of inodes. */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/verify/check_family.h"

/* A name, with the views that see it. */
struct name_item {
	uint64_t ino, directory;
	const char *name;
	size_t name_len;
	struct interval places;
	uint8_t type;
};

struct names {
	struct check_family *family;
	struct spill_iter *inodes, *names;
	struct spill_item inode_item;
	struct name_item name; /* the first that is not dealt with */
	int more_inodes, more_names;
};

/* --- reading --- */

static int next_name(struct names *names)
{
	struct spill_item item;
	struct name_kept kept;
	int result = spill_iter_next(names->names, &item);

	names->more_names = result;
	if (result <= 0)
		return result;
	struct reader reader = reader_over(item.key, item.key_len);
	struct name_item *name = &names->name;
	name->ino = read_be64(&reader);
	name->directory = read_be64(&reader);
	name->name_len = reader.left - sizeof(uint64_t);
	name->name = (const char *)read_bytes(&reader, name->name_len);
	name->places.first = read_be64(&reader);
	memcpy(&kept, item.value, sizeof(kept));
	name->places.last = kept.last;
	name->type = kept.type;
	return 0;
}

static int next_inode(struct names *names)
{
	const int result = names->more_inodes = spill_iter_next(names->inodes, &names->inode_item);

	return result < 0 ? result : 0;
}

/* All that views see of the inode that comes next. */
static int take_inode(struct names *names, uint64_t *ret_ino)
{
	struct view_states *states = &names->family->states;
	const uint64_t ino = spill_number(names->inode_item.key);
	int result = 0;

	view_states_reset(states, names->family->viewers.count);
	while (result == 0 && names->more_inodes > 0 && spill_number(names->inode_item.key) == ino) {
		struct inode_kept kept;
		size_t at, to;
		memcpy(&kept, names->inode_item.value, sizeof(kept));
		const struct interval places = {spill_number(names->inode_item.key + sizeof(uint64_t)), kept.last};
		for (view_states_part(states, &places, &at, &to); at < to; at++) {
			states->items[at].has_record = true;
			states->items[at].record = (struct inode_record){.mode = kept.mode, .nlink = kept.nlink, .parent = kept.parent};
		}
		result = next_inode(names);
	}
	*ret_ino = ino;
	return result;
}

/* --- K6: the second half --- */

static int tell_name(const struct names *names, const struct interval *places, const struct view_state *state)
{
	const struct name_item *name = &names->name;
	AUTO_FREE char *text = xasprintf("%.*s", (int)name->name_len, name->name);
	struct check_where where = check_where_of(names->family, 6, places, name->ino);
	struct check_report *report = names->family->report;

	where.directory = name->directory;
	where.name = text;
	if (!state)
		return check_found(report, &where, "\"%.*s\" in directory %llu stands for it, and it is not there%s", (int)name->name_len, name->name,
				   (count)name->directory, *where.snapshot ? "" : "; in the mount, rm -f or rmdir removes the name");
	return check_found(report, &where, "\"%.*s\" in directory %llu has type %u, and it is of type %u", (int)name->name_len, name->name,
			   (count)name->directory, name->type, IFTODT(state->record.mode));
}

static int take_name(struct names *names)
{
	struct view_states *states = &names->family->states;
	const struct name_item *name = &names->name;
	size_t at, to;
	int result = 0;

	for (view_states_part(states, &name->places, &at, &to); at < to && result == 0; at++) {
		struct view_state *state = &states->items[at];
		const struct interval places = {state->first, state->last};
		if (!state->has_record)
			result = tell_name(names, &places, NULL);
		else if (name->type != IFTODT(state->record.mode))
			result = tell_name(names, &places, state);
		state->names++;
		state->directory = name->directory;
	}
	return result;
}

/* --- one inode, as some views see it --- */

/* K7: of files */
static int check_file_links(const struct names *names, uint64_t ino, const struct view_state *state)
{
	const struct check_where where = check_where_of(names->family, 7, &(struct interval){state->first, state->last}, ino);

	return S_ISDIR(state->record.mode) || state->record.nlink == state->names
	               ? 0
	               : check_found(names->family->report, &where, "it has %llu names, and %u links", (count)state->names, state->record.nlink);
}

/* K8 */
static int check_parent(const struct names *names, uint64_t ino, const struct view_state *state)
{
	const struct check_where where = check_where_of(names->family, 8, &(struct interval){state->first, state->last}, ino);
	const uint64_t wanted = ino != ROOT_INO && state->record.nlink > 0;

	if (!S_ISDIR(state->record.mode))
		return 0;
	if (state->names != wanted)
		return check_found(names->family->report, &where, "the directory has %llu names", (count)state->names);
	return !wanted || state->directory == state->record.parent
	               ? 0
	               : check_found(names->family->report, &where, "the directory lies in %llu, and says that it lies in %llu",
				     (count)state->directory, (count)state->record.parent);
}

/* Names of inodes before this one stand for nothing: those of all that are there were taken. */
static int take_names_before(struct names *names, uint64_t ino)
{
	int result = 0;

	while (result == 0 && names->more_names > 0 && names->name.ino < ino) {
		result = tell_name(names, &names->name.places, NULL);
		if (result == 0)
			result = next_name(names);
		if (result == 0)
			result = check_step(names->family->report);
	}
	return result;
}

static int take_names_of(struct names *names, uint64_t ino)
{
	int result = 0;

	while (result == 0 && names->more_names > 0 && names->name.ino == ino) {
		result = take_name(names);
		if (result == 0)
			result = next_name(names);
	}
	return result;
}

static int check_inode(struct names *names)
{
	uint64_t ino;
	int result = take_names_before(names, spill_number(names->inode_item.key));

	if (result == 0)
		result = take_inode(names, &ino);
	if (result == 0)
		result = take_names_of(names, ino);
	const struct view_states *states = &names->family->states;
	for (size_t i = 0; i < states->count && result == 0; i++) {
		if (!states->items[i].has_record)
			continue;
		result = check_file_links(names, ino, &states->items[i]);
		if (result == 0)
			result = check_parent(names, ino, &states->items[i]);
	}
	return result;
}

int check_names(struct check_family *family)
{
	struct names names = {.family = family};
	int result = spill_iter_new(family->inodes, &names.inodes);

	if (result == 0)
		result = spill_iter_new(family->names, &names.names);
	if (result == 0)
		result = next_name(&names);
	if (result == 0)
		result = next_inode(&names);
	while (result == 0 && names.more_inodes > 0) {
		result = check_inode(&names);
		if (result == 0)
			result = check_step(family->report);
	}
	/* behind the last inode */
	if (result == 0)
		result = take_names_before(&names, UINT64_MAX);
	spill_iter_free(names.inodes);
	spill_iter_free(names.names);
	return result;
}
