#include "lib/kv/damage.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/kv/inside.h"

bool damage_marked(const char *mark)
{
	return mark && (access(mark, F_OK) == 0 || errno != ENOENT);
}

/* Opening by itself is only asked for by the mark, so what is set here holds until the mark is gone. */
static void set_merging(struct kv *kv, bool on)
{
	const char *const names[] = {"disable_auto_compactions"}, *const values[] = {on ? "false" : "true"};

	if (!kv_enter(kv))
		return;
	for (int i = 0; i < KV_FAMILY_COUNT; i++) {
		char *message = NULL;
		rocksdb_set_options_cf(kv->db, kv->handles[i], 1, names, values, &message);
		rocksdb_free(message);
	}
	kv_leave(kv);
}

void damage_found(struct kv *kv)
{
	int fd;

	if (kv->read_only || atomic_exchange(&kv->damaged, true))
		return;
	set_merging(kv, false);
	fd = kv->damage_mark ? open(kv->damage_mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
	if (fd < 0)
		return;
	(void)!fsync(fd);
	close(fd);
}

bool kv_damaged(struct kv *kv)
{
	return atomic_load(&kv->damaged);
}

void kv_tables_sound(struct kv *kv)
{
	if (kv->read_only || !atomic_load(&kv->damaged) || (kv->damage_mark && unlink(kv->damage_mark) < 0 && errno != ENOENT))
		return;
	atomic_store(&kv->damaged, false);
	set_merging(kv, true);
}
