/* Looking at one chunk's record: whether it is there, what it says, whether it is true. */
#include <errno.h>
#include <string.h>

#include "lib/chunk/chunk_record.h"
#include "lib/chunk/chunk_store.h"

/* Notes what was found missing or damaged. */
static int noted(struct chunks *chunks, uint64_t id, int ret)
{
	if (chunk_is_damage(ret))
		damaged_add(chunks->damaged, id);
	return ret;
}

int chunks_digest(struct chunks *chunks, uint64_t id, uint32_t *ret_len, uint8_t ret_sha256[DIGEST_LEN])
{
	struct backend_record record;
	struct chunk_header header;
	int ret;

	id = damaged_resolve(chunks->damaged, id);
	ret = backend_get(chunks->backend, id, &record);

	if (!ret) {
		ret = chunk_record_open(id, record.bytes, record.len, &header);
		if (!ret) {
			*ret_len = header.plain_len;
			memcpy(ret_sha256, header.sha256, DIGEST_LEN);
		}
		backend_release(&record);
	}
	/* one that is not there may have been removed */
	if (ret != -ENOENT)
		ret = noted(chunks, id, ret);
	return !ret || ret == -ENOMEM ? ret : -EIO;
}

int chunks_verify(struct chunks *chunks, uint64_t id)
{
	struct backend_record record;
	int ret;

	id = damaged_resolve(chunks->damaged, id);
	ret = backend_get(chunks->backend, id, &record);

	if (!ret) {
		ret = chunk_record_verify(chunks->scratch, id, record.bytes, record.len);
		backend_release(&record);
	}
	return noted(chunks, id, ret);
}

int chunks_stored(struct chunks *chunks, uint64_t id, uint64_t *ret_bytes)
{
	struct backend_record record;
	int ret;

	id = damaged_resolve(chunks->damaged, id);
	ret = backend_get(chunks->backend, id, &record);

	if (ret)
		return ret;
	*ret_bytes = record.len;
	backend_release(&record);
	return 0;
}

uint32_t chunks_average(const struct chunks *chunks)
{
	return chunks->cut.average;
}

uint64_t chunks_estimate(struct chunks *chunks)
{
	return backend_estimate(chunks->backend);
}

uint64_t chunks_disk_bytes(struct chunks *chunks)
{
	return backend_disk_bytes(chunks->backend);
}

void chunks_memory(struct chunks *chunks, uint64_t *ret_bytes, uint64_t *ret_budget)
{
	*ret_bytes = cache_bytes(chunks->cache);
	*ret_budget = cache_budget(chunks->cache);
}

void chunks_save_damage(struct chunks *chunks)
{
	damaged_save(chunks->damaged);
}

size_t chunks_list_damage(struct chunks *chunks, struct chunk_damage **ret_list)
{
	return damaged_list(chunks->damaged, ret_list);
}

bool chunks_any_damage(struct chunks *chunks)
{
	return damaged_any(chunks->damaged);
}

bool chunks_known_damaged(struct chunks *chunks, uint64_t id)
{
	struct damage_record record;

	return damaged_get(chunks->damaged, damaged_resolve(chunks->damaged, id), &record);
}

bool chunks_tell_damage(struct chunks *chunks, uint64_t id)
{
	return damaged_tell(chunks->damaged, damaged_resolve(chunks->damaged, id));
}

int chunks_found_whole(struct chunks *chunks, uint64_t id)
{
	struct kv_batch *batch = kv_batch_new();
	int ret;

	ret = damaged_forget(chunks->damaged, batch, 0, &id, 1);
	kv_batch_free(batch);
	return ret;
}
