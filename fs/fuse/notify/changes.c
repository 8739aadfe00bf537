#include "fs/fuse/notify/changes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>
#include <utlist.h>

#include "fs/fuse/group/mount_group.h"
#include "fs/fuse/notify/lost_changes.h"
#include "fs/fuse/session/node.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/format/key.h"

#define PERIOD_MS 200
#define WRITE_BACK_PERIODS 2
#define SETTLE_MS 1000
#define LOST_PIECE 65536 /* inodes, told in one round */

struct change {
	struct change_key {
		struct mount *source; /* NULL: tell all. Compared, never followed */
		uint64_t ino;
		uint32_t view;
		enum node_kind kind;
		bool attributes; /* of the inode itself, no more */
		bool head;       /* the inode is the root of a head that came in the place of another one */
		char name[];     /* "": the inode itself */
	} * key;
	UT_hash_handle hh;
};

struct kept {
	struct view *view;
	struct inode *inode;
	struct kept *next;
};

struct changes {
	struct mount_group *group;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake, told;
	struct change *pending;
	struct kept *kept, *kept_before; /* since the last round, and before it */
	uint64_t rounds_begun, rounds_done;
	bool hurry, leave;
	struct untold *untold; /* NULL: nobody would tell it later */
	bool resumes;          /* what a daemon before this one has left there is not told yet */
	struct lost_changes *lost; /* what it could not leave, as long as that is not told; NULL: there is none */
};

/* False: it is noted already. */
static bool add(struct changes *changes, const struct change_key *what, const char *name)
{
	const size_t key_len = sizeof(*what) + strlen(name);
	struct change_key *key = xcalloc(1, key_len + 1);
	struct change *change;

	/* Field by field: the key is compared as bytes, and padding must be zero. */
	key->source = what->source;
	key->ino = what->ino;
	key->view = what->view;
	key->kind = what->kind;
	key->attributes = what->attributes;
	key->head = what->head;
	memcpy(key->name, name, strlen(name));
	HASH_FIND(hh, changes->pending, key, key_len, change);
	if (change) {
		free(key);
		return false;
	}
	change = xcalloc(1, sizeof(*change));
	change->key = key;
	HASH_ADD_KEYPTR(hh, changes->pending, change->key, key_len, change);
	return true;
}

static void note(struct changes *changes, const struct change_key *what, const char *name)
{
	const struct untold_change left = {
		.ino = what->ino, .view = what->view, .kind = (uint8_t)what->kind, .attributes = what->attributes};

	pthread_mutex_lock(&changes->lock);
	if (add(changes, what, name) && changes->untold)
		untold_add(changes->untold, &left, name);
	pthread_mutex_unlock(&changes->lock);
}

static void add_left(void *arg, const struct untold_change *left, const char *name)
{
	const struct change_key what = {
		.ino = left->ino, .view = left->view, .kind = (enum node_kind)left->kind, .attributes = left->attributes};

	if (left->kind == NODE_FILE || left->kind == NODE_SNAPSHOTS || left->kind == NODE_DATASETS)
		(void)!add(arg, &what, name);
}

bool changes_resume(struct mount_group *group)
{
	struct changes *changes = group->changes;
	struct lost_changes *lost = NULL;
	bool known = true;

	pthread_mutex_lock(&changes->lock);
	if (changes->untold)
		known = untold_each(changes->untold, add_left, changes);
	pthread_mutex_unlock(&changes->lock);
	if (!known)
		lost = lost_changes_new(group->store, changes->untold);
	pthread_mutex_lock(&changes->lock);
	changes->lost = lost;
	changes->resumes = false;
	pthread_mutex_unlock(&changes->lock);
	return known;
}

void changes_note(struct mount *mount, uint32_t view, uint64_t ino)
{
	const struct change_key what = {.source = mount, .ino = ino, .view = view, .kind = NODE_FILE};

	if (atomic_load_explicit(&mount->group->sessions, memory_order_relaxed) > 1)
		note(mount->group->changes, &what, "");
}

void changes_note_attributes(struct mount *mount, uint32_t view, uint64_t ino)
{
	const struct change_key what = {.source = mount, .ino = ino, .view = view, .kind = NODE_FILE, .attributes = true};

	if (atomic_load_explicit(&mount->group->sessions, memory_order_relaxed) > 1)
		note(mount->group->changes, &what, "");
}

void changes_note_name(struct mount *mount, uint32_t view, uint64_t dir, const char *name)
{
	const struct change_key what = {.source = mount, .ino = dir, .view = view, .kind = NODE_FILE};

	if (atomic_load_explicit(&mount->group->sessions, memory_order_relaxed) <= 1)
		return;
	note(mount->group->changes, &what, name);
	note(mount->group->changes, &what, "");
}

void changes_note_entry(struct mount_group *group, uint32_t view, uint64_t dir, const char *name)
{
	const struct change_key what = {.ino = dir, .view = view, .kind = NODE_FILE};

	if (name[0])
		note(group->changes, &what, name);
	note(group->changes, &what, "");
}

void changes_note_list(struct mount_group *group, uint32_t view, const char *name)
{
	const struct change_key what = {.ino = ROOT_INO, .view = view, .kind = view ? NODE_SNAPSHOTS : NODE_DATASETS};

	if (name)
		note(group->changes, &what, name);
	note(group->changes, &what, "");
}

void changes_note_head(struct mount_group *group, uint32_t view)
{
	const struct change_key what = {.ino = ROOT_INO, .view = view, .kind = NODE_FILE, .head = true};

	note(group->changes, &what, "");
}

void changes_keep_open(struct mount_group *group, uint32_t view, uint64_t ino)
{
	struct kept *kept = xcalloc(1, sizeof(*kept));
	int result = store_view_by_number(group->store, view, &kept->view);

	if (!result) {
		result = inode_open(kept->view, ino, &kept->inode);
		if (result)
			store_view_put(group->store, kept->view);
	}
	if (result) {
		free(kept);
		return;
	}
	pthread_mutex_lock(&group->changes->lock);
	LL_PREPEND(group->changes->kept, kept);
	pthread_mutex_unlock(&group->changes->lock);
}

static void close_all(struct mount_group *group, struct kept *list)
{
	struct kept *kept, *next;

	LL_FOREACH_SAFE (list, kept, next) {
		inode_close(kept->inode);
		store_view_put(group->store, kept->view);
		free(kept);
	}
}

/* Whether something of the head can be seen in the mount. */
static bool shows(const struct mount *mount, uint32_t view)
{
	const uint32_t root_view = mount_root_view(mount);

	return !mount->options.snapshot && (!root_view || root_view == view);
}

/*
 * The kernel notes what the answer to a listing tells when the caller runs again, with the epoch of then. Until that is done he has the directory
 * locked, and a notice of any name there, as "." which is none, waits for him.
 */
static void tell_head(struct session *session, uint64_t root)
{
	session_notify_entry(session, root, ".");
	(void)!session_notify_epoch(session);
	session_notify_inode(session, root);
}

/*
 * Names are expired, not dropped: who stands in a directory that is still there would lose it, the one who has just
 * made it first of all. Where that is not to be had, names in lists are left to their short time.
 */
static void tell(struct mount *mount, const struct change_key *key)
{
	const struct node node = {.kind = key->kind, .view = key->view, .ino = key->ino};
	const uint64_t id = node_encode(node, &mount->gate.root);

	if (mount == key->source || !shows(mount, key->view))
		return;
	if (key->head)
		tell_head(mount_session(mount), id);
	else if (key->attributes)
		session_notify_attributes(mount_session(mount), id);
	else if (!key->name[0])
		session_notify_inode(mount_session(mount), id);
	else if (key->kind == NODE_FILE || session_has_expiry(mount_session(mount)))
		session_expire_entry(mount_session(mount), id, key->name);
}

/* Names first: an inode's notice also drops the cached listing that was made from them. */
static void tell_all(struct mount_group *group, struct change *pending)
{
	struct mount **mounts;
	const size_t count = group_mounts(group, &mounts);
	struct change *change, *next;
	const int result = fault_point("notice-before-kernel");

	for (int names = 1; !result && names >= 0; names--) {
		HASH_ITER (hh, pending, change, next) {
			for (size_t i = 0; i < count && (change->key->name[0] != 0) == names; i++)
				tell(mounts[i], change->key);
		}
	}
	HASH_ITER (hh, pending, change, next) {
		HASH_DEL(pending, change);
		free(change->key);
		free(change);
	}
	for (size_t i = 0; i < count; i++)
		mount_put(mounts[i]);
	free(mounts);
}

/* A piece of them. False: that was all. */
static bool tell_lost(struct mount_group *group, struct lost_changes *lost)
{
	struct mount **mounts;
	const size_t count = group_mounts(group, &mounts);
	struct lost_inode inode;
	bool more = true;

	for (unsigned told = 0; told < LOST_PIECE && more; told++) {
		more = lost_changes_next(lost, &inode);
		for (size_t i = 0; i < count && more; i++) {
			const struct node node = {.kind = NODE_FILE, .view = inode.view, .ino = inode.ino};

			if (shows(mounts[i], inode.view))
				session_notify_inode(mount_session(mounts[i]), node_encode(node, &mounts[i]->gate.root));
		}
	}
	for (size_t i = 0; i < count; i++)
		mount_put(mounts[i]);
	free(mounts);
	return more;
}

void changes_tell_name(struct mount_group *group, uint32_t view, uint64_t dir, const char *name)
{
	const struct change_key what = { .ino = dir, .view = view, .kind = NODE_FILE };
	struct mount **mounts;
	const size_t count = group_mounts(group, &mounts);

	for (size_t i = 0; i < count; i++) {
		const struct node node = { .kind = NODE_FILE, .view = view, .ino = dir };
		const uint64_t id = node_encode(node, &mounts[i]->gate.root);

		if (shows(mounts[i], view)) {
			session_notify_entry(mount_session(mounts[i]), id, name);
			session_notify_inode(mount_session(mounts[i]), id);
		}
		mount_put(mounts[i]);
	}
	free(mounts);
	note(group->changes, &what, name);
	note(group->changes, &what, "");
}

/* What is still in the kernel's cache of one mount cannot be seen in another. */
static void write_back_all(struct mount_group *group)
{
	if (atomic_load(&group->sessions) > 1 && freeze_write_back_if_free(group->freeze))
		group_log(group, "warning", "write-back of files that are open for writing failed");
}

static void *changes_main(void *arg)
{
	struct changes *changes = arg;
	unsigned periods = 0;
	uint64_t told;
	bool all, more;

	pthread_mutex_lock(&changes->lock);
	while (!changes->leave) {
		const struct timespec until = clock_after_ms(PERIOD_MS);
		struct lost_changes *lost;
		struct change *pending;
		struct kept *expired;

		while (!changes->leave && !changes->hurry &&
		       pthread_cond_clockwait(&changes->wake, &changes->lock, CLOCK_MONOTONIC, &until) == 0)
			;
		changes->hurry = false;
		changes->rounds_begun++;
		pending = steal_ptr(changes->pending);
		told = changes->untold ? untold_end(changes->untold) : 0;
		lost = changes->lost;
		all = !changes->resumes && !lost;
		expired = changes->kept_before;
		changes->kept_before = steal_ptr(changes->kept);
		pthread_mutex_unlock(&changes->lock);
		close_all(changes->group, expired);
		if (pending)
			tell_all(changes->group, pending);
		more = lost && tell_lost(changes->group, lost);
		if (++periods % WRITE_BACK_PERIODS == 0)
			write_back_all(changes->group);
		pthread_mutex_lock(&changes->lock);
		changes->rounds_done = changes->rounds_begun;
		if (lost && !more)
			lost_changes_free(steal_ptr(changes->lost));
		if (changes->untold && all)
			untold_told(changes->untold, told);
		pthread_cond_broadcast(&changes->told);
	}
	pthread_mutex_unlock(&changes->lock);
	return NULL;
}

void changes_settle(struct mount_group *group)
{
	struct changes *changes = group->changes;
	const struct timespec until = clock_after_ms(SETTLE_MS);

	pthread_mutex_lock(&changes->lock);
	const uint64_t wanted = changes->rounds_begun + (changes->pending != NULL);
	changes->hurry = changes->pending != NULL;
	pthread_cond_broadcast(&changes->wake);
	while (!changes->leave && changes->rounds_done < wanted &&
	       pthread_cond_clockwait(&changes->told, &changes->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	pthread_mutex_unlock(&changes->lock);
}

static void free_unstarted(struct changes *changes)
{
	pthread_cond_destroy(&changes->wake);
	pthread_cond_destroy(&changes->told);
	pthread_mutex_destroy(&changes->lock);
	free(changes);
}

struct changes *changes_new(struct mount_group *group)
{
	struct changes *changes = xcalloc(1, sizeof(*changes));

	changes->group = group;
	changes->untold = group->keeper ? &keeper_page(group->keeper)->untold : NULL;
	changes->resumes = changes->untold && untold_end(changes->untold) > 0;
	pthread_mutex_init(&changes->lock, NULL);
	pthread_cond_init(&changes->wake, NULL);
	pthread_cond_init(&changes->told, NULL);
	if (pthread_create(&changes->thread, NULL, changes_main, changes) == 0)
		return changes;
	free_unstarted(changes);
	return NULL;
}

void changes_free(struct changes *changes)
{
	struct change *change, *next;

	if (!changes)
		return;
	pthread_mutex_lock(&changes->lock);
	changes->leave = true;
	pthread_cond_broadcast(&changes->wake);
	pthread_mutex_unlock(&changes->lock);
	pthread_join(changes->thread, NULL);
	close_all(changes->group, changes->kept_before);
	close_all(changes->group, changes->kept);
	lost_changes_free(changes->lost);
	HASH_ITER (hh, changes->pending, change, next) {
		HASH_DEL(changes->pending, change);
		free(change->key);
		free(change);
	}
	free_unstarted(changes);
}
