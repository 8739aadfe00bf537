#include "lib/browse/browse_inside.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/backup/backup_find.h"

#define BLOCK 512
#define DIR_SIZE 4096

/* --- numbers --- */

/* The backup whose tree the directory is. */
bool browse_is_backup(const struct browse *browse, uint64_t id, size_t *ret_number)
{
	if (browse->single && id == BROWSE_ROOT) {
		*ret_number = 0;
		return true;
	}
	*ret_number = id - BACKUPS;
	return id >= BACKUPS && id - BACKUPS < browse_list_count(browse->list);
}

/* The backup that a symbolic link leads to. */
bool browse_is_link(const struct browse *browse, uint64_t id, size_t *ret_number)
{
	if (browse->single)
		return false;
	*ret_number = id >= LATESTS ? id - LATESTS : id - LINKS;
	return id >= LINKS && *ret_number < browse_list_count(browse->list);
}

bool browse_may_change(const struct browse *browse, uint64_t id)
{
	return !browse->single && id <= TIMES;
}

/* A number that depends on where it stands only: the finaliser of SplitMix64 (G. Steele et al., OOPSLA 2014). */
static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t x = a ^ (b + 0x9e3779b97f4a7c15ULL);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

uint64_t browse_backup_ino(const struct browse *browse, size_t number)
{
	uint64_t first;

	memcpy(&first, browse_list_get(browse->list, number)->snapshot.tree.bytes, sizeof(first));
	return mix(first, number);
}

/* Names of one file have one number; all else has one of its own, also its copy in another backup. */
uint64_t browse_node_ino(const struct browse *browse, size_t backup, uint64_t parent_ino, const struct node *node, size_t position)
{
	uint64_t body;

	if (!S_ISDIR(node->mode) && node->links > 1) {
		memcpy(&body, node_body(node).bytes, sizeof(body));
		return mix(mix(mix(browse_backup_ino(browse, backup), node->inode), node->device_id), body);
	}
	return mix(parent_ino, position + 1);
}

/* --- the root of a dataset --- */

int browse_root_of(struct browse *browse, size_t number, bool may_wait, uint64_t *ret_id)
{
	const struct browse_backup *backup = browse_list_get(browse->list, number);
	struct browse_place place = {.tree = backup->snapshot.tree, .is_dir = true, .ino = browse_backup_ino(browse, number), .backup = (uint32_t)number};
	struct in_dir in;
	const struct node *node;
	size_t position;
	int r = browse_dir_use(browse, &backup->snapshot.tree, may_wait, &in);

	if (r < 0)
		return r;
	r = browse_dir_find(in.dir, backup_dataset(&backup->snapshot), &position);
	node = r == 0 ? browse_dir_node(in.dir, position) : NULL;
	if (node && S_ISDIR(node->mode) && node->has_subtree) {
		place.position = position;
		place.subtree = node->subtree;
		*ret_id = browse_nodes_take(browse->nodes, BACKUPS + number, &place);
	} else {
		r = -EIO;
	}
	browse_dir_done(&in);
	return r;
}

/* A root is never forgotten, also when it is not the root any more: somebody may have it open. */
int browse_root(struct browse *browse, bool may_wait, uint64_t *ret_id)
{
	uint64_t root;
	size_t shown;
	int r = 0;

	pthread_mutex_lock(&browse->mutex);
	root = browse->root;
	shown = browse->shown;
	pthread_mutex_unlock(&browse->mutex);
	/* Two at once get the same number. */
	if (root == 0)
		r = browse_root_of(browse, shown, may_wait, &root);
	if (r < 0)
		return r;
	pthread_mutex_lock(&browse->mutex);
	/* It may have become another meanwhile. */
	if (browse->root == 0)
		browse->root = root;
	*ret_id = browse->root;
	pthread_mutex_unlock(&browse->mutex);
	return 0;
}

int browse_real_node(struct browse *browse, bool may_wait, uint64_t *id)
{
	return *id == BROWSE_ROOT && browse->is_below ? browse_root(browse, may_wait, id) : 0;
}

/* --- what somebody may keep of a root that becomes another (browse_follow.c) --- */

bool browse_root_passes(struct browse *browse, uint64_t root)
{
	bool passes;

	if (!browse->options.follows)
		return false;
	pthread_mutex_lock(&browse->mutex);
	passes = browse->moves || root != browse->root;
	pthread_mutex_unlock(&browse->mutex);
	return passes;
}

bool browse_is_root(struct browse *browse, uint64_t dir)
{
	struct browse_place place;

	return browse->options.follows && browse_nodes_get(browse->nodes, dir, &place) == 0 && place.parent >= BACKUPS && place.parent < BROWSE_NODES_FIRST;
}

/* Its directory stays in memory: what its names are is needed when they are to be dropped. */
static void hold_root(struct browse *browse, uint64_t dir, const struct blob_id *tree)
{
	struct cached *cached = NULL;
	bool is_held;

	pthread_mutex_lock(&browse->mutex);
	is_held = browse->in_root;
	pthread_mutex_unlock(&browse->mutex);
	/* It is in memory: the caller uses it. */
	if (is_held || shared_cache_find(browse->dirs, tree, &cached) < 0)
		return;
	pthread_mutex_lock(&browse->mutex);
	if (!browse->in_root && !browse->moves && dir == browse->root)
		browse->in_root = steal_ptr(cached);
	pthread_mutex_unlock(&browse->mutex);
	shared_cache_put(browse->dirs, cached);
}

bool browse_name_passes(struct browse *browse, uint64_t dir, const struct blob_id *tree, bool is_there)
{
	bool passes;

	if (!browse_is_root(browse, dir))
		return false;
	/* Who remembers that there is none cannot be told by its name: nobody knows it. */
	if (!is_there)
		return true;
	hold_root(browse, dir, tree);
	pthread_mutex_lock(&browse->mutex);
	passes = browse->moves || dir != browse->root || !browse->in_root;
	pthread_mutex_unlock(&browse->mutex);
	return passes;
}

/* --- attributes --- */

static struct timespec newest(const struct browse *browse)
{
	return browse_list_count(browse->list) > 0 ? browse_list_get(browse->list, browse_list_newest(browse->list))->snapshot.time : (struct timespec){0};
}

static struct stat made_up(const struct browse *browse, uint64_t id, mode_t mode, uint64_t ino, struct timespec time, off_t size)
{
	(void)browse;
	return (struct stat){.st_ino = ino ? ino : id, .st_mode = mode, .st_nlink = 1, .st_uid = geteuid(), .st_gid = getegid(), .st_size = size,
	                     .st_blksize = DIR_SIZE, .st_atim = time, .st_mtim = time, .st_ctim = time};
}

/* Of what is no node of the repository. */
int browse_stat_made_up(const struct browse *browse, uint64_t id, struct stat *ret_stat)
{
	AUTO_BUF target = BUF_INIT;
	size_t number;

	if (browse_is_backup(browse, id, &number)) {
		const struct timespec time = browse_list_get(browse->list, number)->snapshot.time;

		*ret_stat = made_up(browse, id, S_IFDIR | 0755, browse_backup_ino(browse, number), time, DIR_SIZE);
		return 0;
	}
	if (browse_is_link(browse, id, &number)) {
		const size_t len = strlen(browse_list_get(browse->list, number)->name) + strlen(id >= LATESTS ? "ids/" : "../ids/");

		*ret_stat = made_up(browse, id, S_IFLNK | 0777, 0, browse_list_get(browse->list, number)->snapshot.time, (off_t)len);
		return 0;
	}
	if (browse->single || id < BROWSE_ROOT || id > TIMES)
		return -ESTALE;
	*ret_stat = made_up(browse, id, S_IFDIR | 0755, 0, newest(browse), DIR_SIZE);
	return 0;
}

struct stat browse_stat_of(const struct node *node, uint64_t ino)
{
	const bool is_file = S_ISREG(node->mode), is_link = S_ISLNK(node->mode), is_dir = S_ISDIR(node->mode);
	const uint64_t size = is_file ? node->size : is_link ? strlen(node->target) : is_dir ? DIR_SIZE : 0;

	return (struct stat){.st_ino = ino, .st_mode = node->mode, .st_nlink = is_dir || node->links < 1 ? 1 : (nlink_t)node->links, .st_uid = node->uid,
	                     .st_gid = node->gid, .st_rdev = S_ISCHR(node->mode) || S_ISBLK(node->mode) ? node->rdev : 0,
	                     .st_size = (off_t)MIN(size, (uint64_t)INT64_MAX), .st_blksize = DIR_SIZE,
	                     .st_blocks = is_file ? (blkcnt_t)(size / BLOCK + (size % BLOCK > 0)) : 0, .st_atim = node->atime, .st_mtim = node->mtime,
	                     .st_ctim = node->ctime};
}

int browse_getattr(struct browse *browse, uint64_t id, bool may_wait, struct browse_entry *ret_entry)
{
	struct browse_entry entry = {.id = id};
	struct in_node in;
	int r = browse_real_node(browse, may_wait, &id);

	if (r == 0 && id < BROWSE_NODES_FIRST)
		r = browse_stat_made_up(browse, id, &entry.stat);
	else if (r == 0 && (r = browse_node_use(browse, id, may_wait, &in)) == 0) {
		entry.stat = browse_stat_of(in.node, in.place.ino);
		browse_node_done(&in);
	}
	if (r < 0)
		return r;
	entry.is_passing = entry.id == BROWSE_ROOT && browse_root_passes(browse, id);
	*ret_entry = entry;
	return 0;
}
