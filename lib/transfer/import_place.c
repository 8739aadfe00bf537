#include "lib/transfer/import_place.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define FOLLOW_MAX 40 /* symbolic links in one name, as Linux has it */

struct step {
	char *name;
	uint64_t ino;
};

/*
 * The chain stays true without being looked at again: what an archive puts in a directory's place stands in a directory that was found
 * last at that time, so at the chain's end; whatever goes on from there looks at the name anew.
 */
struct places {
	struct import *import;
	struct batch *batch;
	ARRAY(struct step) chain; /* from the target down to the directory that was found last */
	bool is_plain;            /* no symbolic link is on this way: it can be used again */
};

struct places *places_new(struct import *import, struct batch *batch)
{
	struct places *places = xcalloc(1, sizeof(*places));

	places->import = import;
	places->batch = batch;
	places->is_plain = true;
	return places;
}

static void cut(struct places *places, size_t count)
{
	while (places->chain.count > count)
		free(array_pop(&places->chain).name);
}

void places_free(struct places *places)
{
	cut(places, 0);
	array_clear(&places->chain);
	free(places);
}

/* --- one step --- */

int places_lookup(struct places *places, uint64_t dir, const char *name, struct attr *ret_attr)
{
	size_t number;

	if (batch_find(places->batch, dir, name, &number))
		batch_flush(places->batch);
	return view_lookup(places->import->view, dir, name, ret_attr);
}

static uint64_t here(const struct places *places)
{
	return places->chain.count > 0 ? places->chain.items[places->chain.count - 1].ino : places->import->root;
}

static void go(struct places *places, const char *name, uint64_t ino)
{
	array_add(&places->chain, (struct step){.name = xstrdup(name), .ino = ino});
}

static int make_directory(struct places *places, const char *name)
{
	struct import *import = places->import;
	const struct transfer_options *options = import->transfer.options;
	struct create create = {.mode = S_IFDIR | MADE_MODE, .uid = options->uid, .gid = options->gid};
	struct attr attr;
	int r = view_create(import->view, here(places), name, &create, &attr, NULL);

	if (r < 0)
		return r;
	import_changed(import, here(places), name, 0);
	atomic_fetch_add(&import->transfer.directories, 1);
	go(places, name, attr.ino);
	return 0;
}

/* What is left to be followed: at the front a name, then the rest. */
struct way {
	struct buf rest; /* with a NUL */
	size_t at;
	size_t names_of_links; /* so many bytes of the rest came from symbolic links: nothing is made there */
	unsigned followed;
};

static bool leads_up(const char *target)
{
	while (*target) {
		size_t len = strcspn(target, "/");

		if (len == 2 && memcmp(target, "..", 2) == 0)
			return true;
		target += len;
		target += strspn(target, "/");
	}
	return false;
}

static int follow(struct places *places, struct way *way, const struct attr *link, const char **ret_why)
{
	AUTO_BUF target = BUF_INIT, rest = BUF_INIT;
	int r = view_readlink(places->import->view, link->ino, &target);
	const char *text = (const char *)target.data;

	if (r < 0)
		return r;
	*ret_why = "its name leads through a symbolic link out of the target";
	if (text[0] == '/' || (link->ino >= places->import->first_new && leads_up(text)))
		return -EXDEV;
	if (++way->followed > FOLLOW_MAX)
		return -ELOOP;
	places->is_plain = false;
	buf_add(&rest, text, strlen(text));
	buf_add_u8(&rest, '/');
	way->names_of_links = rest.len + (way->names_of_links > way->at ? way->names_of_links - way->at : 0);
	buf_add(&rest, way->rest.data + way->at, way->rest.len - way->at);
	buf_clear(&way->rest);
	way->rest = rest;
	way->at = 0;
	rest = BUF_INIT;
	*ret_why = NULL;
	return 0;
}

static int step(struct places *places, struct way *way, const char *name, bool make, const char **ret_why)
{
	struct attr attr;
	int r;

	if (strcmp(name, ".") == 0)
		return 0;
	if (strcmp(name, "..") == 0) {
		*ret_why = "its name leads through a symbolic link out of the target";
		if (places->chain.count == 0)
			return -EXDEV;
		*ret_why = NULL;
		cut(places, places->chain.count - 1);
		return 0;
	}
	if (here(places) == ROOT_INO && strcmp(name, IMPORT_RESERVED) == 0) {
		*ret_why = IMPORT_RESERVED_TEXT;
		return -EINVAL;
	}
	r = places_lookup(places, here(places), name, &attr);
	if (r == -ENOENT && make && way->at > way->names_of_links)
		return make_directory(places, name);
	if (r == 0 && S_ISLNK(attr.mode))
		return follow(places, way, &attr, ret_why);
	if (r == 0 && !S_ISDIR(attr.mode))
		return -ENOTDIR;
	if (r == 0)
		go(places, name, attr.ino);
	return r;
}

/* --- the whole --- */

/* How much of the path is the way that was gone last. */
static size_t gone_already(struct places *places, const char *path, size_t len)
{
	size_t at = 0, count = 0;

	while (places->is_plain && count < places->chain.count && at < len) {
		const char *name = places->chain.items[count].name;
		size_t name_len = strlen(name);

		if (name_len > len - at || memcmp(path + at, name, name_len) != 0 || (at + name_len < len && path[at + name_len] != '/'))
			break;
		at += name_len + (at + name_len < len);
		count++;
	}
	cut(places, count);
	places->is_plain = true;
	return at;
}

int places_find(struct places *places, const char *path, size_t len, bool make, uint64_t *ret_ino, const char **ret_why)
{
	struct way way = {.rest = BUF_INIT};
	char name[NAME_LEN_MAX + 1];
	int r = 0;

	*ret_why = NULL;
	way.at = gone_already(places, path, len);
	if (way.at == len) {
		*ret_ino = here(places);
		return 0;
	}
	buf_add(&way.rest, path, len);
	buf_add_u8(&way.rest, '\0');
	while (r == 0 && way.rest.data[way.at]) {
		const char *from = (const char *)way.rest.data + way.at;
		size_t name_len = strcspn(from, "/");

		if (name_len > NAME_LEN_MAX) {
			r = -ENAMETOOLONG;
			break;
		}
		memcpy(name, from, name_len);
		name[name_len] = '\0';
		way.at += name_len + strspn(from + name_len, "/");
		if (name_len > 0)
			r = step(places, &way, name, make, ret_why);
	}
	buf_clear(&way.rest);
	if (r < 0)
		cut(places, 0);
	else
		*ret_ino = here(places);
	return r;
}
