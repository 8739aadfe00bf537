#include "lib/base/pages.h"

#include <stdlib.h>
#include <sys/mman.h>

void *pages_alloc(size_t size)
{
	void *memory = aligned_alloc(PAGES_HUGE, size);

	if (memory)
		(void)madvise(memory, size, MADV_HUGEPAGE); /* without them it works, too */
	return memory;
}
