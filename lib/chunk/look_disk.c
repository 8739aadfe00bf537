#include "lib/chunk/look_disk.h"

#include <errno.h>

#include "lib/chunk/chunk_record.h"

/* The database's word, which may come from memory. */
static int look_again(struct chunks *chunks, uint64_t id, uint64_t *ret_bytes)
{
	struct backend_record record;
	int ret = backend_get(chunks->backend, id, &record);

	if (ret)
		return ret;
	*ret_bytes = record.len;
	ret = chunk_record_verify(chunks->scratch, id, record.bytes, record.len);
	backend_release(&record);
	return ret;
}

/*
 * 1: it is as it was stored. 0: it is not where it can be read so, as what lies in the log or shares a block. -EBADMSG, also when the disk
 * cannot read it, -ENOMEM.
 */
static int read_disk(struct chunks *chunks, struct scratch *tools, uint64_t id, uint64_t *ret_bytes)
{
	struct kv_value value;
	int ret;

	if (backend_get_many_disk(chunks->backend, id, 1, &tools->raw, &value) == 0)
		return tools->raw.unreadable ? -EBADMSG : 0;
	*ret_bytes = value.len;
	ret = chunk_record_verify(chunks->scratch, id, value.data, value.len);
	return ret ? ret : 1;
}

bool chunk_is_removed(struct chunks *chunks, uint64_t id)
{
	struct backend_record record;
	const int ret = backend_get(chunks->backend, id, &record);

	if (!ret)
		backend_release(&record);
	return ret == -ENOENT;
}

int chunk_look_disk(struct chunks *chunks, struct scratch *tools, uint64_t id, uint64_t *ret_bytes)
{
	int ret = read_disk(chunks, tools, id, ret_bytes);

	if (ret == -EBADMSG) {
		/* the file may have been replaced */
		backend_refresh(chunks->backend);
		ret = read_disk(chunks, tools, id, ret_bytes);
	}
	if (ret > 0)
		return chunk_is_removed(chunks, id) ? -ENOENT : 0;
	return ret == 0 ? look_again(chunks, id, ret_bytes) : ret;
}

int chunks_verify_disk(struct chunks *chunks, uint64_t id)
{
	struct scratch *tools = scratch_take(chunks->scratch);
	uint64_t bytes;
	const int ret = chunk_look_disk(chunks, tools, id, &bytes);

	scratch_put(chunks->scratch, tools);
	return ret;
}
