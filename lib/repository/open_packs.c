#include "lib/repository/open_packs.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/repository/blob_id.h"

struct open_pack {
	char name[BLOB_ID_TEXT]; /* "": the place is free, or nobody is to find it */
	int fd;                  /* -1: the place is free */
	unsigned users;
	uint64_t used; /* the greater, the later */
};

struct open_packs {
	pthread_mutex_t lock; /* guards all below */
	struct open_pack items[OPEN_PACKS];
	uint64_t uses;
};

struct open_packs *open_packs_new(void)
{
	struct open_packs *packs = xcalloc(1, sizeof(*packs));

	pthread_mutex_init(&packs->lock, NULL);
	for (size_t i = 0; i < OPEN_PACKS; i++)
		packs->items[i].fd = -1;
	return packs;
}

static void clear(struct open_pack *pack)
{
	if (pack->fd >= 0)
		close(pack->fd);
	*pack = (struct open_pack){.fd = -1};
}

void open_packs_free(struct open_packs *packs)
{
	if (!packs)
		return;
	for (size_t i = 0; i < OPEN_PACKS; i++)
		clear(&packs->items[i]);
	pthread_mutex_destroy(&packs->lock);
	free(packs);
}

static struct open_pack *find(struct open_packs *packs, const char *name)
{
	for (size_t i = 0; i < OPEN_PACKS; i++)
		if (packs->items[i].fd >= 0 && strcmp(packs->items[i].name, name) == 0)
			return &packs->items[i];
	return NULL;
}

/* A free place, or that of the pack which was not used for longest. NULL: all are in use. */
static struct open_pack *find_room(struct open_packs *packs)
{
	struct open_pack *oldest = NULL;

	for (size_t i = 0; i < OPEN_PACKS; i++) {
		struct open_pack *pack = &packs->items[i];

		if (pack->users == 0 && (!oldest || pack->used < oldest->used))
			oldest = pack;
	}
	return oldest;
}

static int use(struct open_packs *packs, const char *name)
{
	struct open_pack *pack;
	int fd = -1;

	pthread_mutex_lock(&packs->lock);
	pack = find(packs, name);
	if (pack) {
		pack->users++;
		pack->used = ++packs->uses;
		fd = pack->fd;
	}
	pthread_mutex_unlock(&packs->lock);
	return fd;
}

/* Without a place it is open for this user alone. */
static void keep(struct open_packs *packs, const char *name, int fd)
{
	struct open_pack *pack;

	pthread_mutex_lock(&packs->lock);
	pack = find_room(packs);
	if (pack) {
		clear(pack);
		*pack = (struct open_pack){.fd = fd, .users = 1, .used = ++packs->uses};
		memcpy(pack->name, name, MIN(strlen(name), BLOB_ID_TEXT - 1));
	}
	pthread_mutex_unlock(&packs->lock);
}

int open_packs_take(struct open_packs *packs, const char *name, int (*open)(void *arg, const char *name), void *arg)
{
	int fd = use(packs, name);

	if (fd >= 0)
		return fd;
	fd = open(arg, name);
	if (fd >= 0)
		keep(packs, name, fd);
	return fd;
}

void open_packs_give(struct open_packs *packs, int fd)
{
	struct open_pack *pack = NULL;

	pthread_mutex_lock(&packs->lock);
	for (size_t i = 0; i < OPEN_PACKS && !pack; i++)
		if (packs->items[i].fd == fd)
			pack = &packs->items[i];
	if (pack && --pack->users == 0 && !*pack->name)
		clear(pack);
	pthread_mutex_unlock(&packs->lock);
	if (!pack)
		close(fd);
}

void open_packs_forget(struct open_packs *packs, const char *name)
{
	struct open_pack *pack;

	pthread_mutex_lock(&packs->lock);
	while ((pack = find(packs, name))) {
		if (pack->users == 0)
			clear(pack);
		else
			pack->name[0] = '\0';
	}
	pthread_mutex_unlock(&packs->lock);
}
