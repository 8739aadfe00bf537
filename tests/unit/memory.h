/* For tests of how much memory something takes. A sanitizer's memory says nothing about ours: with one, nothing is measured. */
#ifndef CORPUSFS_TESTS_MEMORY_H
#define CORPUSFS_TESTS_MEMORY_H

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"

#ifdef __SANITIZE_ADDRESS__
#define MEMORY_MEASURED false
#else
#define MEMORY_MEASURED true
#endif

static inline size_t memory_status(const char *key)
{
	AUTO_BUF text = BUF_INIT;

	assert_int_equal(file_read("/proc/self/status", 1 << 20, &text), 0);
	buf_add_u8(&text, 0);
	const char *at = strstr((const char *)text.data, key);
	assert_non_null(at);
	return strtoul(at + strlen(key), NULL, 10) << 10;
}

/* The high-water mark begins anew. Returns what is taken now. */
static inline size_t memory_begin(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	malloc_trim(0);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "5", 1), 1);
	close(fd);
	return memory_status("VmRSS:");
}

static inline void memory_end(size_t before, size_t most)
{
	size_t peak = memory_status("VmHWM:");

	if (MEMORY_MEASURED && peak > before + most)
		fail_msg("%zu MiB more than before, not %zu", (peak - before) >> 20, most >> 20);
}

#endif
