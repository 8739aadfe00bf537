/* What became of a call of RocksDB's, and whether there may be another one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/kv/damage.h"
#include "lib/kv/inside.h"
#include "lib/kv/native.h"

int kv_errno(const char *message)
{
	static const struct {
		const char *text;
		int code;
	} known[] = {
		/* A full disk is told inside "IO error" and even "Corruption" messages, so it comes first; and so is what the process has not got. */
		{"No space left", -ENOSPC},
		{"Disk quota exceeded", -ENOSPC},
		{"Too many open files in system", -ENFILE},
		{"Too many open files", -EMFILE},
		{"Cannot allocate memory", -ENOMEM},
		{"While lock file", -EBUSY},
		{"lock hold by", -EBUSY},
		{"Corruption", -EBADMSG},
		{"Invalid argument", -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strstr(message, known[i].text))
			return known[i].code;
	return -EIO;
}

int kv_result(struct kv *kv, char *message)
{
	return kv_result_of(kv, KV_FAMILY_COUNT, message);
}

int kv_result_of(struct kv *kv, enum kv_family family, char *message)
{
	if (!message)
		return 0;
	AUTO_FREE char *text = native_shown(message, kv->path, kv->shown);
	int result = kv_errno(message);

	pthread_mutex_lock(&kv->mutex);
	snprintf(kv->message, sizeof(kv->message), "%s", text);
	if (result == -EBADMSG && strcmp(kv->damage, kv->message) != 0) {
		memcpy(kv->damage, kv->message, sizeof(kv->damage));
		kv->damage_new = true;
	}
	pthread_mutex_unlock(&kv->mutex);
	rocksdb_free(message);
	if (result == -EBADMSG)
		damage_found(kv, family);
	return result;
}

int kv_change_result(struct kv *kv, char *message)
{
	int result = kv_result(kv, message);

	/* Damage of a table: the change was refused before it was begun. Whatever else it was, it may have been the log that could not be written. */
	if (result == -EBADMSG)
		atomic_store(&kv->stopped_by_damage, true);
	else if (result < 0)
		atomic_fetch_add(&kv->log_suspect, 1);
	if (result == -ENOSPC)
		atomic_store(&kv->was_full, true);
	return result;
}

bool kv_damage_told(struct kv *kv, char ret_text[KV_MESSAGE_MAX])
{
	bool told;

	pthread_mutex_lock(&kv->mutex);
	told = kv->damage_new;
	kv->damage_new = false;
	memcpy(ret_text, kv->damage, KV_MESSAGE_MAX);
	pthread_mutex_unlock(&kv->mutex);
	return told;
}

void kv_last_error(struct kv *kv, char ret_text[KV_MESSAGE_MAX])
{
	pthread_mutex_lock(&kv->mutex);
	memcpy(ret_text, kv->message, KV_MESSAGE_MAX);
	pthread_mutex_unlock(&kv->mutex);
}

int kv_admit(struct kv *kv, bool now)
{
	if (kv->read_only || atomic_load(&kv->taken))
		return -EROFS;
	int result = kv->check ? kv->check(kv->check_arg, now) : 0;
	/* Its background work would remove files of the other's. */
	if (result == -EROFS && !atomic_exchange(&kv->taken, true) && kv_enter(kv)) {
		rocksdb_cancel_all_background_work(kv->db, 0);
		kv_leave(kv);
	}
	return result;
}

int kv_keep_known(struct kv *kv)
{
	if (!kv->synced || kv_admit(kv, false) < 0)
		return 0;
	manifest_copy_follow(kv->manifest, true);
	return synced_keep(kv->synced);
}
