#include "lib/repository/etcd_mark.h"

#include <errno.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/repository/seal.h"

#define DIGITS ETCD_MARK_DIGITS
#define LEN (DIGITS + 1 + DIGITS)
#define CONFIG_MAX (1U << 20)
#define TRIES 10
#define PAUSE_US 50000

bool etcd_mark_is(const struct blob_id *name)
{
	char text[BLOB_ID_TEXT];

	blob_id_text(name, text);
	return strcmp(text, ETCD_MARK_NAME) == 0;
}

static char *key_of(const struct etcd_mark *mark)
{
	return xasprintf("corpusfs/%s/made", mark->repository);
}

/* What was made must be what the mark says. */
static int check(struct etcd_mark *mark, const struct buf *content, struct etcd *etcd, struct error *err)
{
	AUTO_BUF made = BUF_INIT;
	AUTO_FREE char *key = NULL;
	int r;

	if (content->len != LEN || content->data[DIGITS] != '/')
		return error_set(err, -EBADMSG, "the object heads/%s is damaged, which says that heads are in etcd", ETCD_MARK_NAME);
	(void)snprintf(mark->repository, sizeof(mark->repository), "%.*s", DIGITS, (const char *)content->data);
	key = key_of(mark);
	r = etcd_get(etcd, key, &made, err);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && bytes_compare(made.data, made.len, content->data + DIGITS + 1, DIGITS) == 0) {
		mark->is_there = true;
		return 0;
	}
	(void)error_set(err, -EUCLEAN, "etcd knows nothing of this repository, whose heads are in one: it is another one, or has lost what it knew");
	error_hint(err, "name the right one; if what it knew is lost for good, remove the object heads/%s there: of each version there is a copy", ETCD_MARK_NAME);
	return -EUCLEAN;
}

/* Nobody changes the config while there is no mark. */
static int name_repository(struct etcd_mark *mark, struct objects *place, struct error *err)
{
	AUTO_BUF config = BUF_INIT;
	char text[BLOB_ID_TEXT];
	struct blob_id id;
	int r = objects_get_whole(place, OBJECT_CONFIG, "", CONFIG_MAX, &config);

	if (r < 0)
		return error_set(err, r == -ENOENT ? -EIO : r, "the repository's config cannot be read: %s", error_text(r));
	id = blob_id_of(config.data, config.len);
	blob_id_text(&id, text);
	(void)snprintf(mark->repository, sizeof(mark->repository), "%.*s", DIGITS, text);
	return 0;
}

/* Of some servers others see what is still being written. */
static int read_mark(struct objects *place, struct buf *content)
{
	int r;

	for (unsigned tries = 1;; tries++) {
		r = objects_get_whole(place, OBJECT_HEAD, ETCD_MARK_NAME, LEN, content);
		if (r < 0 || content->len == LEN || tries == TRIES)
			return r;
		clock_pause_us(PAUSE_US);
	}
}

int etcd_mark_find(struct etcd_mark *mark, struct objects *place, struct etcd *etcd, struct error *err)
{
	AUTO_BUF content = BUF_INIT;
	int r;

	if (mark->is_there)
		return 0;
	r = read_mark(place, &content);
	if (r == -ENOENT)
		return name_repository(mark, place, err);
	if (r == 0 || r == -EFBIG)
		return check(mark, &content, etcd, err);
	return error_set(err, r, "what says where heads are cannot be read: %s", error_text(r));
}

int etcd_mark_set(struct etcd_mark *mark, struct objects *place, struct etcd *etcd, struct error *err)
{
	AUTO_FREE char *key = key_of(mark);
	AUTO_BUF made = BUF_INIT, there = BUF_INIT, content = BUF_INIT;
	uint8_t chance[DIGITS / 2];
	bool lost;
	int r;

	seal_random(chance, sizeof(chance));
	for (size_t i = 0; i < sizeof(chance); i++)
		buf_addf(&made, "%02x", chance[i]);
	r = etcd_replace(etcd, &(struct etcd_replacement){.key = key, .value = &made}, &there, &lost, err);
	if (r == -EEXIST && there.len != DIGITS)
		return error_set(err, -EBADMSG, "the key %s in etcd is damaged", key);
	if (r < 0 && r != -EEXIST)
		return r;
	buf_addf(&content, "%s/%.*s", mark->repository, DIGITS, (const char *)(r == -EEXIST ? &there : &made)->data);
	r = (place->place->put_new ? place->place->put_new : place->place->put)(place, OBJECT_HEAD, ETCD_MARK_NAME, content.data, content.len);
	if (r < 0 && r != -EEXIST)
		return error_set(err, r, "it cannot be written there that heads are in etcd: %s", error_text(r));
	r = etcd_mark_find(mark, place, etcd, err);
	return r == 0 && !mark->is_there ? error_set(err, -EAGAIN, "the place does not keep what is written there") : r;
}
