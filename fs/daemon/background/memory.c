#include "fs/daemon/background/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"

#define MUCH (32ULL << 20)
#define WAIT_MS 5000
#define WAIT_MAX_MS 320000
#define STATM_MAX 256

uint64_t memory_anonymous(void)
{
	unsigned long long resident, shared;
	AUTO_BUF text = BUF_INIT;

	if (file_read("/proc/self/statm", STATM_MAX, &text) < 0)
		return 0;
	buf_add_u8(&text, 0);
	if (sscanf((const char *)text.data, "%*u %llu %llu", &resident, &shared) != 2 || shared > resident)
		return 0;
	return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What malloc has in memory, and nobody uses; mappings that are not malloc's count too. */
static uint64_t idle_bytes(void)
{
	const struct mallinfo2 info = mallinfo2();
	const uint64_t used = info.uordblks + info.hblkhd, all = memory_anonymous();

	return all > used ? all - used : 0;
}

void memory_give_back(struct memory *memory)
{
	const uint64_t now = clock_ms();

	if (now < memory->due_ms)
		return;
	const uint64_t before = idle_bytes();
	const bool much = before > MUCH;
	if (much)
		malloc_trim(0);
	/* It walks through all that is free: where little comes of it, it is done more and more seldom. */
	memory->wait_ms = much && idle_bytes() + MUCH / 2 > before ? MIN(MAX(2 * memory->wait_ms, (uint64_t)WAIT_MS), (uint64_t)WAIT_MAX_MS) : WAIT_MS;
	memory->due_ms = now + memory->wait_ms;
}
