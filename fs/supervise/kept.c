#include "fs/supervise/kept.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int kept_create(int *ret_fd)
{
	int fd = memfd_create("corpusfs-session", MFD_CLOEXEC), result = 0;

	if (fd < 0 || ftruncate(fd, sizeof(struct kept_session)) < 0)
		result = -errno;
	if (result < 0 && fd >= 0)
		close(fd);
	if (result == 0)
		*ret_fd = fd;
	return result;
}

int kept_map(int fd, struct kept_session **ret_kept)
{
	void *memory = mmap(NULL, sizeof(struct kept_session), PROT_READ | PROT_WRITE,
	                    fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, fd, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	*ret_kept = memory;
	return 0;
}

void kept_unmap(struct kept_session *kept)
{
	if (kept)
		munmap(kept, sizeof(*kept));
}

const char *kept_places(const struct kept_session *kept)
{
	return kept->places[atomic_load(&kept->places_turn) & 1];
}

int kept_set_places(struct kept_session *kept, const char *text)
{
	const uint32_t turn = (atomic_load(&kept->places_turn) + 1) & 1;
	const size_t len = strlen(text) + 1;

	if (len > KEPT_PLACES_MAX)
		return -E2BIG;
	memcpy(kept->places[turn], text, len);
	atomic_store(&kept->places_turn, turn);
	return 0;
}

void kept_suspect(struct kept_session *kept, uint32_t guilt)
{
	for (unsigned i = 0; i < KEPT_THREADS; i++) {
		const uint64_t request = atomic_exchange(&kept->running[i], 0);
		struct kept_suspect *suspect = NULL;

		for (unsigned j = 0; j < KEPT_SUSPECTS && request; j++)
			if (kept->suspects[j].request == request)
				suspect = &kept->suspects[j];
		if (!suspect && request) {
			suspect = &kept->suspects[kept->suspect_next++ % KEPT_SUSPECTS];
			*suspect = (struct kept_suspect){.request = request};
		}
		if (suspect)
			suspect->guilt += guilt;
	}
}

uint32_t kept_guilt(const struct kept_session *kept, uint64_t request)
{
	for (unsigned i = 0; i < KEPT_SUSPECTS; i++)
		if (kept->suspects[i].request == request)
			return kept->suspects[i].guilt;
	return 0;
}

bool kept_was_done(const struct kept_session *kept, uint64_t request)
{
	for (unsigned i = 0; i < KEPT_DONE; i++)
		if (kept->done[i] == request)
			return request != 0;
	return false;
}

void kept_note_done(struct kept_session *kept, uint64_t request)
{
	if (!kept_was_done(kept, request))
		kept->done[kept->done_next++ % KEPT_DONE] = request;
}
