#include "lib/kv/damage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/kv/inside.h"

/* What the mark says where only tables of content are damaged (KD4); else it is empty. */
#define MARK_CONTENT "content\n"
#define MARK_MAX 64

enum kv_damage damage_marked(const char *mark)
{
	AUTO_BUF text = BUF_INIT;

	if (!mark || (access(mark, F_OK) < 0 && errno == ENOENT))
		return KV_SOUND;
	if (file_read(mark, MARK_MAX, &text) < 0 || text.len != strlen(MARK_CONTENT) || memcmp(text.data, MARK_CONTENT, text.len) != 0)
		return KV_DAMAGED;
	return KV_CONTENT_DAMAGED;
}

bool damage_stops(enum kv_damage damage, enum kv_family family)
{
	return damage == KV_DAMAGED || (damage == KV_CONTENT_DAMAGED && kv_holds_chunks(family));
}

/* Opening by itself is only asked for by the mark, so what is set here holds until the mark is gone. */
static void set_merging(struct kv *kv, enum kv_damage damage)
{
	if (!kv_enter(kv))
		return;
	for (int i = 0; i < KV_FAMILY_COUNT; i++) {
		const char *const names[] = {"disable_auto_compactions"}, *const values[] = {damage_stops(damage, (enum kv_family)i) ? "true" : "false"};
		char *message = NULL;
		rocksdb_set_options_cf(kv->db, kv->handles[i], 1, names, values, &message);
		rocksdb_free(message);
	}
	kv_leave(kv);
}

/* A mark that is not written whole is empty, or is not this text: then nothing is merged. */
static int write_mark(const struct kv *kv, const char *text)
{
	AUTO_CLOSE int fd = kv->damage_mark ? open(kv->damage_mark, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;

	if (fd < 0)
		return kv->damage_mark ? -errno : 0;
	if (file_write_all(fd, text, strlen(text)) < 0 || fsync(fd) < 0)
		return -EIO;
	return 0;
}

void damage_found(struct kv *kv, enum kv_family family)
{
	const enum kv_damage met = kv_holds_chunks(family) ? KV_CONTENT_DAMAGED : KV_DAMAGED;

	if (kv->read_only)
		return;
	pthread_mutex_lock(&kv->damage_lock);
	kv->met = MAX(kv->met, met);
	if (kv_damaged(kv) == KV_SOUND || kv_damaged(kv) < met) {
		atomic_store(&kv->damaged, KV_DAMAGED);
		set_merging(kv, KV_DAMAGED);
		int ignored = write_mark(kv, "");
		(void)ignored;
	}
	pthread_mutex_unlock(&kv->damage_lock);
}

enum kv_damage kv_damaged(struct kv *kv)
{
	return (enum kv_damage)atomic_load(&kv->damaged);
}

void kv_tables_look(struct kv *kv)
{
	pthread_mutex_lock(&kv->damage_lock);
	kv->met = KV_SOUND;
	pthread_mutex_unlock(&kv->damage_lock);
}

static int change_mark(const struct kv *kv, enum kv_damage damage)
{
	if (damage == KV_CONTENT_DAMAGED)
		return write_mark(kv, MARK_CONTENT);
	return kv->damage_mark && unlink(kv->damage_mark) < 0 && errno != ENOENT ? -errno : 0;
}

void kv_tables_seen(struct kv *kv)
{
	if (kv->read_only)
		return;
	pthread_mutex_lock(&kv->damage_lock);
	if (kv->met < kv_damaged(kv) && change_mark(kv, kv->met) == 0) {
		atomic_store(&kv->damaged, kv->met);
		set_merging(kv, kv->met);
	}
	pthread_mutex_unlock(&kv->damage_lock);
}
