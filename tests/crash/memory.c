/*
 * Lets large allocations and starts of threads fail in a program that knows nothing of it: a library for LD_PRELOAD. The file
 * $CORPUSFS_MEMORY holds a struct order, which the test changes at any time. Only what the program itself asks for fails, not what its
 * libraries do: RocksDB ends the process then.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own, which are never replaced */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

struct order {
	_Atomic uint32_t every; /* one of so many fails; 0: none */
	uint32_t least;         /* bytes */
	_Atomic uint32_t asked, failed;
	_Atomic uint32_t every_thread; /* the same of threads */
	_Atomic uint32_t threads, threads_failed;
};

static struct order *order;

static void __attribute__((constructor)) begin(void)
{
	const char *path = getenv("CORPUSFS_MEMORY");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *page = fd >= 0 ? mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (page != MAP_FAILED)
		order = page;
	if (fd >= 0)
		close(fd);
}

static int is_of_the_program(const void *caller)
{
	Dl_info from;

	return dladdr(caller, &from) && from.dli_fname && !strstr(from.dli_fname, ".so");
}

/* Whether it is the turn of this one: as if at random, but the same each time. */
static int is_hit(_Atomic uint32_t *count, uint32_t every)
{
	return (atomic_fetch_add(count, 1) * 2654435761U >> 16) % every == 0;
}

static int fails(size_t size, const void *caller)
{
	const uint32_t every = order ? atomic_load(&order->every) : 0;

	if (!every || size < order->least || !is_of_the_program(caller) || !is_hit(&order->asked, every))
		return 0;
	atomic_fetch_add(&order->failed, 1);
	errno = ENOMEM;
	return 1;
}

int pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes, void *(*function)(void *), void *arg)
{
	const uint32_t every = order ? atomic_load(&order->every_thread) : 0;

	if (every && is_of_the_program(__builtin_return_address(0)) && is_hit(&order->threads, every)) {
		atomic_fetch_add(&order->threads_failed, 1);
		return EAGAIN;
	}
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	*(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
	return create(ret_thread, attributes, function, arg);
}

void *malloc(size_t size)
{
	return fails(size, __builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return size <= SIZE_MAX / (count + 1) && fails(count * size, __builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *pointer, size_t size)
{
	return fails(size, __builtin_return_address(0)) ? NULL : __libc_realloc(pointer, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
	void *found = fails(size, __builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);

	if (!found)
		return ENOMEM;
	*ret = found;
	return 0;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return fails(size, __builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}
