#include "lib/transfer/trail.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "lib/base/buf.h"

#define TEXT_MAX PATH_MAX /* longer ones are of no use to any system call */
#define CUT " [...] "

struct trail {
	atomic_uint refs;
	struct trail *above;
	char name[];
};

struct trail *trail_new(struct trail *above, const char *name)
{
	size_t size = strlen(name) + 1;
	struct trail *trail = xmalloc(sizeof(*trail) + size);

	atomic_init(&trail->refs, 1);
	trail->above = trail_ref(above);
	memcpy(trail->name, name, size);
	return trail;
}

struct trail *trail_ref(struct trail *trail)
{
	if (trail)
		atomic_fetch_add(&trail->refs, 1);
	return trail;
}

void trail_put(struct trail *trail)
{
	while (trail && atomic_fetch_sub(&trail->refs, 1) == 1) {
		struct trail *above = trail->above;

		free(trail);
		trail = above;
	}
}

struct trail *trail_above(struct trail *trail)
{
	return trail->above;
}

const char *trail_name(const struct trail *trail)
{
	return trail->name;
}

/* From the back; false: there was only room for its end. */
static bool put_before(char *text, size_t *at, const char *name)
{
	size_t len = strlen(name);
	bool fits = len < *at;

	if (*at == 0)
		return false;
	text[--*at] = '/';
	len = MIN(len, *at);
	*at -= len;
	memcpy(text + *at, name + strlen(name) - len, len);
	return fits;
}

char *trail_text(const struct trail *trail, const char *name)
{
	AUTO_FREE char *text = xmalloc(TEXT_MAX + NAME_MAX + 1);
	size_t len = strnlen(name, NAME_MAX), at = TEXT_MAX;
	bool fits = true;

	memcpy(text + at, name, len);
	text[at + len] = '\0';
	for (; trail && fits; trail = trail->above)
		fits = put_before(text, &at, trail->name);
	if (len == 0 && at < TEXT_MAX)
		text[TEXT_MAX - 1] = '\0';
	return xasprintf("%s%s", fits ? "" : CUT, text + at);
}

/* From the back: the length first, then each name in its place. */
void trail_add_path(const struct trail *trail, struct buf *path)
{
	size_t len = 0;
	char *at;

	for (const struct trail *one = trail; one; one = one->above)
		len += strlen(one->name) + 1;
	buf_reserve(path, len + 1);
	at = (char *)path->data + path->len + len;
	*at = '\0';
	for (const struct trail *one = trail; one; one = one->above) {
		*--at = '/';
		at -= strlen(one->name);
		memcpy(at, one->name, strlen(one->name));
	}
	path->len += len;
}
