#include "fs/fuse/mount/watch.h"

#include <pthread.h>
#include <stdio.h>

#include "fs/fuse/group/mount_group.h"
#include "fs/fuse/session/node.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/base/procfs.h"

#define STEP_MS 2000
#define LONG_MS 10000
#define NUMBER_MAX 32

struct watch {
	struct mount_group *group;
	pthread_t thread;
	pthread_mutex_t lock; /* guards `leave` */
	pthread_cond_t wake;
	bool leave;
};

/* What the kernel says: requests that we have not read are among them. */
static int64_t count_waiting(unsigned connection)
{
	AUTO_FREE char *path = xasprintf("/sys/fs/fuse/connections/%u/waiting", connection);
	AUTO_BUF text = BUF_INIT;

	if (!connection || file_read(path, NUMBER_MAX, &text) < 0)
		return -1;
	buf_add_u8(&text, 0);
	return strtoll((const char *)text.data, NULL, 10);
}

static void describe(const struct unanswered_request *request, char *out, size_t size)
{
	char in[PROCFS_TEXT_MAX];

	switch (request->where) {
	case UNANSWERED_HELD: snprintf(out, size, "held back for a snapshot"); break;
	case UNANSWERED_HANDED_ON: snprintf(out, size, "behind other work of the daemon"); break;
	case UNANSWERED_RUNS:
		procfs_waits_in(getpid(), request->thread, in);
		snprintf(out, size, "thread %d%s%s", (int)request->thread, in[0] ? " in " : "", in);
		break;
	}
}

void mount_get_waiting(struct mount *mount, struct mount_waiting *ret_waiting)
{
	struct mount_waiting waiting = {.count = count_waiting(atomic_load(&mount->gate.connection)), .op = ""};
	struct unanswered_request request;

	if (mount_session(mount) && session_oldest(mount_session(mount), &request)) {
		waiting.unique = request.unique;
		waiting.op = unanswered_name(request.opcode);
		waiting.ms = request.age_ms;
		waiting.ino = node_decode(request.node, &mount->gate.root).ino;
		describe(&request, waiting.where, sizeof(waiting.where));
	}
	*ret_waiting = waiting;
}

static void look(struct watch *watch)
{
	struct mount **mounts;
	const size_t count = group_mounts(watch->group, &mounts);

	for (size_t i = 0; i < count; i++) {
		struct mount_waiting waiting;

		mount_get_waiting(mounts[i], &waiting);
		if (waiting.ms >= LONG_MS && waiting.unique != mounts[i]->told_unique) {
			mounts[i]->told_unique = waiting.unique;
			group_log(watch->group, "warning", "%s: %s of inode %llu waits for %llu s, %s; waiting in the kernel: %lld",
			          mounts[i]->options.mountpoint, waiting.op, (unsigned long long)waiting.ino,
			          (unsigned long long)waiting.ms / 1000, waiting.where, (long long)waiting.count);
		}
		mount_put(mounts[i]);
	}
	free(mounts);
}

static void *watch_main(void *arg)
{
	struct watch *watch = arg;

	pthread_mutex_lock(&watch->lock);
	while (!watch->leave) {
		const struct timespec until = clock_after_ms(STEP_MS);

		pthread_cond_clockwait(&watch->wake, &watch->lock, CLOCK_MONOTONIC, &until);
		pthread_mutex_unlock(&watch->lock);
		look(watch);
		pthread_mutex_lock(&watch->lock);
	}
	pthread_mutex_unlock(&watch->lock);
	return NULL;
}

static void free_unstarted(struct watch *watch)
{
	pthread_cond_destroy(&watch->wake);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
}

struct watch *watch_new(struct mount_group *group)
{
	struct watch *watch = xcalloc(1, sizeof(*watch));

	watch->group = group;
	pthread_mutex_init(&watch->lock, NULL);
	pthread_cond_init(&watch->wake, NULL);
	if (pthread_create(&watch->thread, NULL, watch_main, watch) == 0)
		return watch;
	free_unstarted(watch);
	return NULL;
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	pthread_mutex_lock(&watch->lock);
	watch->leave = true;
	pthread_cond_signal(&watch->wake);
	pthread_mutex_unlock(&watch->lock);
	pthread_join(watch->thread, NULL);
	free_unstarted(watch);
}
