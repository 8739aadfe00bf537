#include "lib/chunk/look.h"

#include <errno.h>
#include <string.h>

#include "lib/chunk/chunk_record.h"
#include "lib/chunk/chunk_store.h"
#include "lib/chunk/dedup.h"
#include "lib/chunk/twin.h"

static int failed(struct chunk_look *look, int code)
{
	/* as chunks_read() has it: one that is not there may have been removed */
	if (chunk_is_damage(code) && code != -ENOENT)
		damaged_add(look->chunks->damaged, look->id);
	return code == -ENOMEM ? code : -EIO;
}

static int open_stored(struct chunks *chunks, uint64_t id, struct chunk_look *look)
{
	int ret;

	*look = (struct chunk_look){.chunks = chunks, .id = id};
	ret = backend_get(chunks->backend, look->id, &look->record);
	if (ret)
		return failed(look, ret);
	ret = chunk_record_open(look->id, look->record.bytes, look->record.len, &look->header);
	if (!ret)
		return 0;
	backend_release(&look->record);
	return failed(look, ret);
}

int chunk_look_open(struct chunks *chunks, uint64_t id, struct chunk_look *look)
{
	int ret = open_stored(chunks, damaged_resolve(chunks->damaged, id), look);

	if (ret == -EIO) {
		id = twin_find(chunks, look->id);
		ret = id == CHUNK_NONE ? ret : open_stored(chunks, id, look);
	}
	return ret;
}

int chunk_look_find(struct chunks *chunks, const uint8_t sha256[DIGEST_LEN], struct chunk_look *look)
{
	uint32_t length;
	uint64_t id;
	int ret = dedup_get(chunks->kv, sha256, &id, &length);

	/* Whoever swept it since has not damaged it. */
	if (!ret) {
		*look = (struct chunk_look){.chunks = chunks, .id = damaged_resolve(chunks->damaged, id)};
		ret = backend_get(chunks->backend, look->id, &look->record);
	}
	if (ret)
		return -ENOENT;
	if (!chunk_record_open(look->id, look->record.bytes, look->record.len, &look->header) &&
	    memcmp(look->header.sha256, sha256, DIGEST_LEN) == 0)
		return 0;
	backend_release(&look->record);
	return -ENOENT;
}

void chunk_look_close(struct chunk_look *look)
{
	backend_release(&look->record);
}

int chunk_look_plain(struct chunk_look *look, struct buf *room, const uint8_t **ret_plain)
{
	const struct chunk_header *header = &look->header;
	const uint8_t *plain = header->stored;
	uint8_t sha256[DIGEST_LEN];
	struct scratch *tools;
	int ret = 0;

	if (chunk_look_is_packed(look)) {
		buf_reset(room);
		buf_reserve(room, header->plain_len);
		ret = chunk_record_unpack(look->chunks->scratch, header, room->data);
		if (ret)
			return failed(look, ret);
		plain = room->data;
	}
	tools = scratch_take(look->chunks->scratch);
	digest_once(tools->digest, plain, header->plain_len, sha256);
	scratch_put(look->chunks->scratch, tools);
	if (memcmp(sha256, header->sha256, DIGEST_LEN) != 0)
		return failed(look, -EBADMSG);
	*ret_plain = plain;
	return 0;
}
