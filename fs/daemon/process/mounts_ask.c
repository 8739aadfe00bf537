/* What is asked of the daemon's mounts. */
#include <utlist.h>

#include "fs/daemon/process/mounts_inside.h"

json_t *mounts_list(struct mounts *mounts)
{
	json_t *list = json_array();
	struct entry *entry;

	pthread_mutex_lock(&mounts->lock);
	DL_FOREACH (mounts->entries, entry) {
		if (entry->mount)
			entry_list(entry, mounts->store, list);
	}
	pthread_mutex_unlock(&mounts->lock);
	return list;
}

struct leases *mounts_leases(struct mounts *mounts)
{
	return mounts->leases;
}

bool mounts_want_lease(void *arg, uint32_t dataset)
{
	struct mounts *mounts = arg;
	const struct entry *entry;
	bool wants = false;

	pthread_mutex_lock(&mounts->lock);
	DL_FOREACH (mounts->entries, entry)
		wants |= entry->source.dataset == dataset && entry_has_lease(entry);
	pthread_mutex_unlock(&mounts->lock);
	return wants;
}

void mounts_log(void *arg, const char *level, const char *text)
{
	const struct mounts *mounts = arg;

	log_line(mounts->log, level, "lease", "text=\"%s\"", text);
}

bool mounts_has_device(struct mounts *mounts, dev_t device)
{
	return mount_group_has_device(mounts->group, device);
}

bool mounts_may_have(struct mounts *mounts, dev_t device)
{
	pthread_mutex_lock(&mounts->lock);
	const bool starts = mounts->starting > 0;
	pthread_mutex_unlock(&mounts->lock);
	return starts || mounts_has_device(mounts, device);
}

uint64_t mounts_requests(struct mounts *mounts)
{
	uint64_t requests = 0;
	struct entry *entry;

	pthread_mutex_lock(&mounts->lock);
	DL_FOREACH (mounts->entries, entry) {
		struct mount_status status = {0};

		if (entry->mount)
			mount_get_status(entry->mount, &status);
		requests += status.requests;
	}
	pthread_mutex_unlock(&mounts->lock);
	return requests;
}

int mounts_flush(struct mounts *mounts)
{
	return mount_flush_kernel(mounts->group, NULL);
}

int mounts_lost(struct mounts *mounts, struct error *err)
{
	const int result = mount_lost(mounts->group, NULL);

	if (result < 0) {
		error_set(err, result, "some of what programs wrote or stored into mapped files is lost, since it could not be committed: %s", error_text(result));
		error_hint(err, "%s/log says of which files; this is told once: the same command again goes on", store_path(mounts->store));
	}
	return result;
}

void mounts_note_lost(struct mounts *mounts, uint32_t view, uint64_t ino, int error)
{
	mount_group_note_lost(mounts->group, view, ino, error);
}

int mounts_result(struct mounts *mounts)
{
	pthread_mutex_lock(&mounts->lock);
	int result = mounts->result;
	pthread_mutex_unlock(&mounts->lock);
	return result;
}

void mounts_names(struct mounts *mounts, struct memory_part *ret_part)
{
	ret_part->name = "listings";
	mount_group_names(mounts->group, &ret_part->bytes, &ret_part->budget);
}

void mounts_settle(struct mounts *mounts)
{
	mount_group_settle(mounts->group);
}
