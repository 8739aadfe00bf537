#include "lib/repository/objects_etcd_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/fault.h"

char *objects_etcd_key(const struct objects_etcd *own, const char *name)
{
	return xasprintf("corpusfs/%s/heads/%.*s", own->mark.repository, DATASET_LEN, name);
}

struct known *objects_etcd_known(const struct objects_etcd *own, const char *name)
{
	struct known *known;

	HASH_FIND_STR(own->known, name, known);
	return known;
}

struct known *objects_etcd_remember(struct objects_etcd *own, const struct buf *value)
{
	const char *text = (const char *)value->data;
	char name[BLOB_ID_TEXT];
	struct known *known;
	struct blob_id id;

	if (value->len <= NAME_LEN || text[NAME_LEN] != '\n' || blob_id_parse_text(text, NAME_LEN, &id) < 0)
		return NULL;
	(void)snprintf(name, sizeof(name), "%.*s", NAME_LEN, text);
	if (strspn(name + DATASET_LEN, "0") == NAME_LEN - DATASET_LEN || strcmp(name + DATASET_LEN, NUMBER_MAX) > 0)
		return NULL;
	known = objects_etcd_known(own, name);
	if (known)
		return known;
	known = xcalloc(1, sizeof(*known));
	memcpy(known->name, name, sizeof(name));
	buf_add(&known->sealed, value->data + NAME_LEN + 1, value->len - NAME_LEN - 1);
	HASH_ADD_STR(own->known, name, known);
	return known;
}

void objects_etcd_forget(struct objects_etcd *own)
{
	struct known *known, *next;

	HASH_ITER (hh, own->known, known, next) {
		HASH_DEL(own->known, known);
		buf_clear(&known->sealed);
		free(known);
	}
}

int objects_etcd_damaged(struct objects_etcd *own, const char *key)
{
	(void)error_set(&own->why, -EBADMSG, "the key %s in etcd is damaged, which says which version of a dataset is the newest", key);
	error_hint(&own->why, "if it is removed, the copies of heads in the repository say that");
	return -EBADMSG;
}

int objects_etcd_newest(struct objects_etcd *own, const char *name, const struct known **ret_newest, struct buf *ret_value)
{
	AUTO_FREE char *key = objects_etcd_key(own, name);
	int r = etcd_get(own->etcd, key, ret_value, &own->why);

	if (r < 0)
		return r;
	*ret_newest = objects_etcd_remember(own, ret_value);
	return *ret_newest && strncmp((*ret_newest)->name, name, DATASET_LEN) == 0 ? 0 : objects_etcd_damaged(own, key);
}

static bool is_same(const struct buf *sealed, const void *data, size_t len)
{
	return bytes_compare(sealed->data, sealed->len, data, len) == 0;
}

/* Whether the place has these very bytes under the name: 1, 0. -ENOENT: it has none; -EAGAIN: the first of them, as of one that is being written. */
static int has_copy(struct objects_etcd *own, const char *name, const void *data, size_t len)
{
	AUTO_BUF there = BUF_INIT;
	int r = objects_get_whole(own->place, OBJECT_HEAD, name, len, &there);

	if (r == -ENOENT || r == -EFBIG)
		return r == -ENOENT ? r : 0;
	if (r < 0)
		return error_set(&own->why, r, "a head cannot be read: %s", error_text(r));
	if (there.len == len || !is_same(&there, data, there.len))
		return is_same(&there, data, len);
	return error_set(&own->why, -EAGAIN, "the copy heads/%s of a head is half there: somebody writes it, or has died of that", name);
}

/* What failed before anything was put. */
static int nothing_came(struct objects_etcd *own, int r)
{
	if (!objects_is_away(r) && r != -EPROTO)
		return r;
	if (own->why.code != r)
		(void)error_set(&own->why, r, "%s", error_text(r));
	own->why.code = -EREMOTEIO;
	return -EREMOTEIO;
}

/* -EAGAIN: it let nobody through, or another one is about to put it. */
static int put_copy(struct objects_etcd *own, const struct known *head)
{
	int r = own->place->place->put(own->place, OBJECT_HEAD, head->name, head->sealed.data, head->sealed.len);

	if (r == 0)
		return 0;
	if (r != -EEXIST)
		return error_set(&own->why, r, "the copy of a head cannot be written to the repository: %s", error_text(r));
	r = has_copy(own, head->name, head->sealed.data, head->sealed.len);
	if (r == -ENOENT)
		return error_set(&own->why, -EAGAIN, "the repository has no copy of a head, and takes none");
	if (r != 0)
		return MIN(r, 0);
	(void)error_set(&own->why, -EUCLEAN, "heads/%s is not the version that etcd knows by this name: somebody publishes there without etcd", head->name);
	error_hint(&own->why, "move that object away once nobody does");
	return -EUCLEAN;
}

/* E1 */
static int replace_head(struct objects_etcd *own, const char *name, const struct buf *before, const struct buf *value, bool *ret_lost)
{
	AUTO_FREE char *key = objects_etcd_key(own, name);
	AUTO_BUF there = BUF_INIT;
	struct objects_etcd_right right = {0};
	int r = fault_point("head-before-transaction");

	if (r < 0)
		return r;
	objects_etcd_may_write(own, name, &right);
	r = etcd_replace(own->etcd, &(struct etcd_replacement){key, before, value, &right.condition}, &there, ret_lost, &own->why);
	if (r == -EBUSY)
		r = objects_etcd_not_writer(own, &right);
	/* No term comes again; but the writer's lease may end, and then what was lost may come. */
	*ret_lost = *ret_lost && !(r == -EBUSY && right.has_term);
	free(right.key);
	return r;
}

/* E1, E2 */
static int put_after(struct objects_etcd *own, const char *name, const struct buf *before, const struct buf *value)
{
	const uint8_t *data = value->data + NAME_LEN + 1;
	const size_t len = value->len - NAME_LEN - 1;
	bool lost = false;
	int r = replace_head(own, name, before, value, &lost);

	/* It was the newest in between, and who came after it has seen to its copy. */
	if (r == -EEXIST && lost) {
		r = has_copy(own, name, data, len);
		if (r >= 0 || r == -ENOENT)
			return r == 1 ? 0 : -EEXIST;
	}
	if (r < 0 && lost)
		return own->why.code = -ETIMEDOUT;
	if (r < 0)
		return r == -EEXIST ? r : nothing_came(own, r);
	r = fault_point("head-before-copy");
	if (r == 0)
		(void)!put_copy(own, objects_etcd_remember(own, value)); /* else the next one's maker does it */
	return 0;
}

/* A head of the same dataset that is not lower than this one: it was put after the number was counted. */
static int find_rival(void *arg, const char *name, uint64_t size)
{
	const char *own = arg;

	(void)size;
	return strncmp(name, own, DATASET_LEN) == 0 && strcmp(name, own) >= 0 && strcmp(name + DATASET_LEN, NUMBER_MAX) <= 0 ? -EEXIST : 0;
}

int objects_etcd_put_head(struct objects_etcd *own, const char *name, const void *data, size_t len)
{
	AUTO_BUF before = BUF_INIT, value = BUF_INIT;
	const struct known *newest = NULL;
	int r = etcd_mark_find(&own->mark, own->place, own->etcd, &own->why);

	if (r == 0 && !own->mark.is_there)
		r = etcd_mark_set(&own->mark, own->place, own->etcd, &own->why);
	if (r == 0) {
		r = objects_etcd_newest(own, name, &newest, &before);
		r = r == -ENOENT ? 0 : r;
	}
	if (r == 0 && newest && strcmp(newest->name, name) == 0 && is_same(&newest->sealed, data, len))
		return 0;
	/* It came after the number was counted. */
	if (r == 0 && newest && (strcmp(newest->name, name) >= 0 || !newest->is_listed))
		return -EEXIST;
	/* The first one in etcd. Who does not ask etcd may have published meanwhile; the mark, which is there by now, keeps all others from that. */
	if (r == 0)
		r = newest ? put_copy(own, newest) : own->place->place->list(own->place, OBJECT_HEAD, find_rival, (void *)name);
	if (r < 0)
		return nothing_came(own, r);
	buf_addf(&value, "%s\n", name);
	buf_add(&value, data, len);
	return put_after(own, name, newest ? &before : NULL, &value);
}
