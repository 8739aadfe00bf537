/* The mounts of a daemon that died go on in this one. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <utlist.h>

#include "fs/daemon/process/mount_args.h"
#include "fs/daemon/process/mounts_inside.h"
#include "fs/supervise/keeper.h"
#include "lib/backup/leases.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"

/* A request is refused when it was being worked at in three crashes, or in fifteen daemons that were killed (GUILTY in fs/fuse/mount). */
#define GUILT_CRASH 5
#define GUILT_KILL 1

static uint32_t guilt_of(const struct supervisor_page *page)
{
	if (page->dead_asked)
		return 0;
	return page->dead_known && WIFSIGNALED(page->dead_status) && WTERMSIG(page->dead_status) != SIGKILL ? GUILT_CRASH : GUILT_KILL;
}

/* The arguments of its mounts, as bytes; NULL: the daemon died before it had said them. */
static json_t *places_of(const struct kept_session *kept)
{
	json_t *text, *bytes = NULL;

	if (atomic_load(&kept->magic) != KEPT_MAGIC || !memchr(kept_places(kept), 0, KEPT_PLACES_MAX))
		return NULL;
	text = json_loads(kept_places(kept), 0, NULL);
	if (json_is_array(text) && json_array_size(text) > 0)
		bytes = json_deep_to_bytes(text);
	json_decref(text);
	return bytes;
}

/* What is kept is the mount's in any case, the descriptor of /dev/fuse only when it goes on. */
static int resume_mount(struct mounts *mounts, json_t *places, const struct mount_options *options, const struct mount_resume *from,
                        struct error *err)
{
	struct mount_source source = {.writes = !options->read_only && !options->snapshot};
	struct mount *mount;
	struct entry *entry;
	int result = mount_resume(mounts->group, options, from, &mount, err);

	if (result < 0) {
		close(from->fuse_fd);
		return result;
	}
	source.dataset = mount_dataset(mount);
	entry = entry_new(json_incref(json_array_get(places, 0)), &source);
	for (size_t i = 1; i < json_array_size(places); i++)
		entry_add_place(entry, json_incref(json_array_get(places, i)));
	entry->mount = mount;
	entry->refs--;
	pthread_mutex_lock(&mounts->lock);
	DL_APPEND(mounts->entries, entry);
	pthread_mutex_unlock(&mounts->lock);
	return 0;
}

/* It ends with its descriptors. */
static void give_up(const struct mount_resume *from)
{
	kept_unmap(from->kept);
	close(from->kept_fd);
	close(from->fuse_fd);
}

/* The next daemon would find no more than this one. */
static bool is_for_good(int result)
{
	return result == -EBADMSG || result == -EINVAL || result == -ENOENT || result == -ESTALE || result == -EBUSY;
}

static int resume_session(struct mounts *mounts, struct keeper *keeper, unsigned number, struct error *err)
{
	const struct supervisor_session *session = &keeper_page(keeper)->sessions[number];
	struct mount_resume from = {
		.fuse_fd = session->fuse_fd, .kept_fd = session->memory_fd, .number = number, .guilt = guilt_of(keeper_page(keeper))};
	struct mount_options options;
	json_t *places = NULL;
	int result = kept_map(from.kept_fd, &from.kept);

	if (result == 0) {
		places = places_of(from.kept);
		result = places ? mount_args_to_options(json_array_get(places, 0), &options, err) : -EBADMSG;
	}
	if (result < 0)
		give_up(&from);
	else
		result = resume_mount(mounts, places, &options, &from, err);
	json_decref(places);
	if (result < 0 && is_for_good(result))
		keeper_drop(keeper, number);
	return result;
}

int mounts_resume(struct mounts *mounts, struct keeper *keeper, struct error *err)
{
	int result;

	for (unsigned i = 0; i < SUPERVISOR_SESSIONS; i++) {
		struct error local = {0};

		if (!atomic_load(&keeper_page(keeper)->sessions[i].used))
			continue;
		result = resume_session(mounts, keeper, i, &local);
		if (result < 0 && !is_for_good(result))
			return error_set(err, result, "a mount cannot go on yet: %s", local.text[0] ? local.text : error_text(result));
		if (result < 0)
			log_line(mounts->log, "warning", "not-resumed", "session=%u text=\"%s\"", i, local.text[0] ? local.text : error_text(result));
	}
	return mounts->entries ? 0 : error_set(err, MOUNTS_NONE, "no mount can go on");
}

/* All entries, referenced. */
static size_t get_all(struct mounts *mounts, struct entry ***ret_all)
{
	struct entry *entry;
	size_t count = 0;

	pthread_mutex_lock(&mounts->lock);
	DL_COUNT(mounts->entries, entry, count);
	*ret_all = xcalloc(count + 1, sizeof(struct entry *));
	count = 0;
	DL_FOREACH (mounts->entries, entry) {
		entry->refs++;
		(*ret_all)[count++] = entry;
	}
	pthread_mutex_unlock(&mounts->lock);
	return count;
}

/* What the lease needs went with the daemon before: nobody but who mounts knows how the place is opened. */
static void begin_without_lease(struct mounts *mounts, const struct entry *entry)
{
	struct error err = {0};

	if (leases_begin(mounts->leases, entry->source.dataset, "another daemon goes on with the mount", &err) < 0)
		log_line(mounts->log, "error", "lease", "mountpoint=%s text=\"%s\"", entry->places->mountpoint, err.text);
	else
		log_line(mounts->log, "warning", "lease", "mountpoint=%s text=\"it is read-only, since another daemon goes on with it, without the lease\" "
			 "hint=\"umount and mount take it anew\"", entry->places->mountpoint);
}

/* As soon as one is served it may end, and leaves the list. */
int mounts_serve(struct mounts *mounts, struct error *err)
{
	struct entry **all;
	const size_t count = get_all(mounts, &all);
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++) {
		result = mount_serve(all[i]->mount, err);
		if (result == 0)
			log_line(mounts->log, "info", "resumed", "mountpoint=%s", all[i]->places->mountpoint);
	}
	/* a head is locked when nothing is written to it just then, which may wait for what is written to others */
	for (size_t i = 0; i < count && result == 0; i++) {
		if (entry_has_lease(all[i]))
			begin_without_lease(mounts, all[i]);
	}
	/* not before: the kernel is told of a mount only once it serves */
	if (result == 0)
		mount_group_resumed(mounts->group);
	pthread_mutex_lock(&mounts->lock);
	for (size_t i = 0; i < count; i++)
		all[i]->refs--;
	pthread_mutex_unlock(&mounts->lock);
	free(all);
	return result;
}
