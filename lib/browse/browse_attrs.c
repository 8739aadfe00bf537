#include "lib/browse/browse_inside.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

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
	return !browse->single && id >= BACKUPS && id - BACKUPS < browse_list_count(browse->list);
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
	if (!S_ISDIR(node->mode) && node->links > 1)
		return mix(mix(browse_backup_ino(browse, backup), node->inode), node->device_id);
	return mix(parent_ino, position + 1);
}

/* --- the root of a dataset --- */

static int look_up_below(struct browse *browse, bool may_wait, uint64_t *ret_id)
{
	const struct browse_backup *backup = browse_list_get(browse->list, 0);
	struct browse_place place = {.tree = backup->snapshot.tree, .is_dir = true, .ino = browse_backup_ino(browse, 0)};
	struct in_dir in;
	const struct node *node;
	size_t position;
	int r = browse_dir_use(browse, &backup->snapshot.tree, may_wait, &in);

	if (r < 0)
		return r;
	r = browse_dir_find(in.dir, browse->below, &position);
	node = r == 0 ? browse_dir_node(in.dir, position) : NULL;
	if (node && S_ISDIR(node->mode) && node->has_subtree) {
		place.position = position;
		place.subtree = node->subtree;
		*ret_id = browse_nodes_take(browse->nodes, BROWSE_ROOT, &place);
	} else {
		r = -EIO;
	}
	browse_dir_done(browse, &in);
	return r;
}

int browse_real_node(struct browse *browse, bool may_wait, uint64_t *id)
{
	uint64_t root;
	int r = 0;

	if (*id != BROWSE_ROOT || !browse->below)
		return 0;
	pthread_mutex_lock(&browse->mutex);
	root = browse->root;
	pthread_mutex_unlock(&browse->mutex);
	/* Two at once get the same number. */
	if (root == 0)
		r = look_up_below(browse, may_wait, &root);
	if (r < 0)
		return r;
	pthread_mutex_lock(&browse->mutex);
	browse->root = root;
	pthread_mutex_unlock(&browse->mutex);
	*id = root;
	return 0;
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

int browse_getattr(struct browse *browse, uint64_t id, bool may_wait, struct stat *ret_stat)
{
	struct in_node in;
	int r = browse_real_node(browse, may_wait, &id);

	if (r < 0)
		return r;
	if (id < BROWSE_NODES_FIRST)
		return browse_stat_made_up(browse, id, ret_stat);
	r = browse_node_use(browse, id, may_wait, &in);
	if (r < 0)
		return r;
	*ret_stat = browse_stat_of(in.node, in.place.ino);
	browse_node_done(browse, &in);
	return 0;
}
