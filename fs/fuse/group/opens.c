#include "fs/fuse/group/opens.h"

#include <errno.h>
#include <sys/mman.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/base/fault.h"

#define HANDLES_SIZE (KEPT_OPENS_MAX * sizeof(struct opened *))

static uint64_t number_of(const struct opens *opens, uint32_t place)
{
	return (uint64_t)opens->kept->opens[place].generation << 32 | (place + 1);
}

/* The place that the number stands for, if it does now. */
static bool find_place(const struct opens *opens, uint64_t number, uint32_t *ret_place)
{
	const uint32_t place = (uint32_t)number - 1;

	if ((uint32_t)number == 0 || place >= KEPT_OPENS_MAX || opens->kept->opens[place].generation != number >> 32)
		return false;
	*ret_place = place;
	return true;
}

static void add_free(struct opens *opens, uint32_t place)
{
	opens->free_list = array_room(opens->free_list, opens->free_count, &opens->free_cap, 1, sizeof(*opens->free_list));
	opens->free_list[opens->free_count++] = place;
}

int opens_init(struct opens *opens, struct kept_session *kept)
{
	void *handles = mmap(NULL, HANDLES_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	*opens = (struct opens){.kept = kept, .handles = handles == MAP_FAILED ? NULL : handles};
	pthread_mutex_init(&opens->lock, NULL);
	return opens->handles ? 0 : -ENOMEM;
}

void opens_clear(struct opens *opens)
{
	if (opens->handles)
		munmap(opens->handles, HANDLES_SIZE);
	free(opens->free_list);
	pthread_mutex_destroy(&opens->lock);
}

int opens_add(struct opens *opens, struct opened *opened, const struct open_what *what)
{
	uint32_t place = KEPT_OPENS_MAX;

	pthread_mutex_lock(&opens->lock);
	if (opens->free_count > 0)
		place = opens->free_list[--opens->free_count];
	else if (atomic_load(&opens->kept->opens_end) < KEPT_OPENS_MAX)
		place = atomic_fetch_add(&opens->kept->opens_end, 1);
	if (place < KEPT_OPENS_MAX) {
		struct kept_open *open = &opens->kept->opens[place];

		open->node = what->node;
		open->flags = what->flags;
		opens->handles[place] = opened;
		opened->number = number_of(opens, place);
		atomic_store(&open->request, what->request ? what->request : UINT64_MAX);
	}
	pthread_mutex_unlock(&opens->lock);
	return place < KEPT_OPENS_MAX ? 0 : -ENFILE;
}

struct opened *opens_get(const struct opens *opens, uint64_t number)
{
	uint32_t place;

	return find_place(opens, number, &place) ? opens->handles[place] : NULL;
}

uint32_t opens_flags(const struct opens *opens, uint64_t number)
{
	uint32_t place;

	return find_place(opens, number, &place) ? opens->kept->opens[place].flags : 0;
}

struct opened *opens_of_request(struct opens *opens, uint64_t request)
{
	struct opened *found = NULL;

	pthread_mutex_lock(&opens->lock);
	for (uint32_t i = 0; i < atomic_load(&opens->kept->opens_end) && !found; i++)
		if (atomic_load(&opens->kept->opens[i].request) == request)
			found = opens->handles[i];
	pthread_mutex_unlock(&opens->lock);
	return found;
}

void opens_remove(struct opens *opens, uint64_t number)
{
	uint32_t place;

	(void)!fault_point("close-before-release");
	pthread_mutex_lock(&opens->lock);
	/* A release that comes again may find its place taken by another. */
	if (find_place(opens, number, &place) && atomic_load(&opens->kept->opens[place].request)) {
		struct kept_open *open = &opens->kept->opens[place];

		opens->handles[place] = NULL;
		open->generation++;
		atomic_store(&open->request, 0);
		add_free(opens, place);
	}
	pthread_mutex_unlock(&opens->lock);
}

void opens_end(struct opens *opens, struct mount *mount)
{
	for (uint32_t i = 0; i < atomic_load(&opens->kept->opens_end); i++) {
		struct opened *opened = steal_ptr(opens->handles[i]);

		if (opened)
			opened->close(mount, opened);
	}
}

void opens_resume(struct opens *opens, struct opened *(*open)(void *arg, const struct kept_open *kept), void *arg)
{
	for (uint32_t i = 0; i < MIN(atomic_load(&opens->kept->opens_end), KEPT_OPENS_MAX); i++) {
		if (!atomic_load(&opens->kept->opens[i].request)) {
			add_free(opens, i);
			continue;
		}
		opens->handles[i] = open(arg, &opens->kept->opens[i]);
		if (opens->handles[i])
			opens->handles[i]->number = number_of(opens, i);
	}
}
