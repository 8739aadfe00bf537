#include "lib/backup/first_names.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <uthash.h>

#include "lib/base/buf.h"

struct first_name {
	struct first_key {
		uint64_t inode, device;
	} key;
	UT_hash_handle hh;
	struct blob_id body;
	char *path;
};

struct first_names {
	struct first_name *table;
};

struct first_names *first_names_new(void)
{
	return xcalloc(1, sizeof(struct first_names));
}

void first_names_free(struct first_names *names)
{
	struct first_name *first, *next;

	if (!names)
		return;
	HASH_ITER (hh, names->table, first, next) {
		HASH_DEL(names->table, first);
		free(first->path);
		free(first);
	}
	free(names);
}

const char *first_names_find(struct first_names *names, const struct node *node, const char *path, const char **ret_other)
{
	struct first_name *first;
	struct first_key key;
	struct blob_id body;

	*ret_other = NULL;
	if (S_ISDIR(node->mode) || node->links < 2)
		return NULL;
	memset(&key, 0, sizeof(key));
	key.inode = node->inode;
	key.device = node->device_id;
	body = node_body(node);
	HASH_FIND(hh, names->table, &key, sizeof(key), first);
	if (first && blob_id_equal(&first->body, &body))
		return first->path;
	if (first) {
		*ret_other = first->path;
		return NULL;
	}
	first = xcalloc(1, sizeof(*first));
	first->key = key;
	first->body = body;
	first->path = xstrdup(path);
	HASH_ADD(hh, names->table, key, sizeof(key), first);
	return NULL;
}
