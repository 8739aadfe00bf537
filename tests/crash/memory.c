/*
 * Lets large allocations of a program fail that knows nothing of it: a library for LD_PRELOAD. The file $CORPUSFS_MEMORY holds a struct
 * order, which the test changes at any time. Only what the program itself asks for fails, not what its libraries do: RocksDB ends the
 * process then.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
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

static int fails(size_t size, const void *caller)
{
	const uint32_t every = order ? atomic_load(&order->every) : 0;
	Dl_info from;

	if (!every || size < order->least || !dladdr(caller, &from) || !from.dli_fname || strstr(from.dli_fname, ".so"))
		return 0;
	/* as if at random, but the same each time */
	if ((atomic_fetch_add(&order->asked, 1) * 2654435761U >> 16) % every)
		return 0;
	atomic_fetch_add(&order->failed, 1);
	errno = ENOMEM;
	return 1;
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
