#include "lib/browse/browse_dir.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/backup/content_blobs.h"

struct browse_dir {
	ARRAY(struct node) nodes; /* as they stand in the tree */
	size_t *by_name;          /* positions in the order of names */
	pthread_mutex_t lock;     /* guards layouts */
	struct browse_layout **layouts;
};

struct making {
	struct browse_dir *dir;
	size_t cost;
};

static bool is_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int keep(void *arg, struct node *node)
{
	struct making *making = arg;

	if (!is_name(node->name) || !(node->mode & S_IFMT) || (S_ISLNK(node->mode) && !node->target))
		return 0;
	making->cost += sizeof(*node) + strlen(node->name) + node->content.count * sizeof(node->content.items[0]);
	for (size_t i = 0; i < node->xattrs.count; i++)
		making->cost += sizeof(node->xattrs.items[i]) + strlen(node->xattrs.items[i].name) + node->xattrs.items[i].len;
	array_add(&making->dir->nodes, *node);
	*node = (struct node){0};
	return 0;
}

static int compare_names(const void *a, const void *b, void *arg)
{
	const struct browse_dir *dir = arg;

	return strcmp(dir->nodes.items[*(const size_t *)a].name, dir->nodes.items[*(const size_t *)b].name);
}

int browse_dir_new(const char *json, size_t len, struct browse_dir **ret_dir, size_t *ret_cost)
{
	struct browse_dir *dir = xcalloc(1, sizeof(*dir));
	struct making making = {.dir = dir, .cost = sizeof(*dir)};
	int r;

	pthread_mutex_init(&dir->lock, NULL);
	r = tree_read(json, len, keep, &making);
	if (r < 0) {
		browse_dir_free(dir);
		return r;
	}
	dir->by_name = xcalloc(dir->nodes.count + 1, sizeof(*dir->by_name));
	dir->layouts = xcalloc(dir->nodes.count + 1, sizeof(struct browse_layout *));
	for (size_t i = 0; i < dir->nodes.count; i++)
		dir->by_name[i] = i;
	/* Who wrote it may not have kept their order. */
	qsort_r(dir->by_name, dir->nodes.count, sizeof(*dir->by_name), compare_names, dir);
	*ret_cost = making.cost + dir->nodes.count * 2 * sizeof(size_t);
	*ret_dir = dir;
	return 0;
}

void browse_dir_free(struct browse_dir *dir)
{
	for (size_t i = 0; i < dir->nodes.count; i++) {
		if (dir->layouts && dir->layouts[i]) {
			free(dir->layouts[i]->begins);
			free(dir->layouts[i]);
		}
		node_clear(&dir->nodes.items[i]);
	}
	array_clear(&dir->nodes);
	free(dir->by_name);
	free(dir->layouts);
	pthread_mutex_destroy(&dir->lock);
	free(dir);
}

size_t browse_dir_count(const struct browse_dir *dir)
{
	return dir->nodes.count;
}

const struct node *browse_dir_node(const struct browse_dir *dir, size_t position)
{
	return position < dir->nodes.count ? &dir->nodes.items[position] : NULL;
}

int browse_dir_find(const struct browse_dir *dir, const char *name, size_t *ret_position)
{
	size_t low = 0, high = dir->nodes.count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const int order = strcmp(dir->nodes.items[dir->by_name[middle]].name, name);

		if (order == 0) {
			*ret_position = dir->by_name[middle];
			return 0;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -ENOENT;
}

static struct browse_layout *make_layout(const struct node *node, struct blob_source *source)
{
	struct browse_layout *layout = xcalloc(1, sizeof(*layout));
	uint64_t at = 0, len;

	layout->begins = xcalloc(node->content.count + 1, sizeof(*layout->begins));
	layout->begins[layout->count++] = 0;
	for (size_t i = 0; i < node->content.count; i++) {
		if (source->length(source, &node->content.items[i], false, &len) < 0 || len > UINT64_MAX - at)
			break;
		at += len;
		layout->begins[layout->count++] = at;
	}
	/* Its content has no zeros for its holes (lib/backup/backup_entries.h), and nobody knows here where they are. */
	if (layout->count == node->content.count + 1 && node->size > at && node->size - at > HOLES_MAX)
		layout->count = 1;
	return layout;
}

const struct browse_layout *browse_dir_layout(struct browse_dir *dir, size_t position, struct blob_source *source)
{
	const struct browse_layout *layout;

	pthread_mutex_lock(&dir->lock);
	if (!dir->layouts[position])
		dir->layouts[position] = make_layout(&dir->nodes.items[position], source);
	layout = dir->layouts[position];
	pthread_mutex_unlock(&dir->lock);
	return layout;
}
