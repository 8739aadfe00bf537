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

static bool is_content(enum kv_family family)
{
	return family == KV_BULK || family == KV_SMALL;
}

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
	return damage == KV_DAMAGED || (damage == KV_CONTENT_DAMAGED && is_content(family));
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
	if (kv->read_only || (is_content(family) && atomic_load(&kv->damaged) == KV_CONTENT_DAMAGED))
		return;
	if (atomic_exchange(&kv->damaged, KV_DAMAGED) == KV_DAMAGED)
		return;
	set_merging(kv, KV_DAMAGED);
	int ignored = write_mark(kv, "");
	(void)ignored;
}

enum kv_damage kv_damaged(struct kv *kv)
{
	return (enum kv_damage)atomic_load(&kv->damaged);
}

void kv_tables_seen(struct kv *kv, enum kv_damage found)
{
	int result = 0;

	if (kv->read_only || found == KV_DAMAGED || kv_damaged(kv) == found)
		return;
	if (found == KV_CONTENT_DAMAGED)
		result = write_mark(kv, MARK_CONTENT);
	else if (kv->damage_mark && unlink(kv->damage_mark) < 0 && errno != ENOENT)
		result = -errno;
	if (result < 0)
		return;
	atomic_store(&kv->damaged, found);
	set_merging(kv, found);
}
