/* Looking at all chunks that somebody needs, one after the other, in the order of their ids, which is the order on disk. */
#include <errno.h>

#include "lib/chunk/chunk_record.h"
#include "lib/chunk/chunk_store.h"
#include "lib/chunk/set.h"

/* A scan keeps removed files on the disk, and the database from being opened anew: so each lasts for so many chunks. */
#define SCAN_CHUNKS 64

void chunks_ends(struct chunks *chunks, uint64_t *ret_bulk_end, uint64_t *ret_small_end)
{
	*ret_bulk_end = ids_next(chunks->ids, true);
	*ret_small_end = ids_next(chunks->ids, false);
}

/* A scan fails for a damaged block of any age. The database knows whether the record is in it. */
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

static int look(struct chunks *chunks, struct backend_scan *scan, uint64_t id, uint64_t *ret_bytes)
{
	uint64_t found;
	size_t len;
	int ret = backend_scan_seek(scan, id, &found);

	if (!ret && found == id) {
		const uint8_t *record = backend_scan_record(scan, &len);

		*ret_bytes = len;
		ret = chunk_record_verify(chunks->scratch, id, record, len);
		if (!ret || ret == -ENOMEM)
			return ret;
	}
	return look_again(chunks, id, ret_bytes);
}

/* A chunk that is not there may have been removed since the set was made; all else is damage. */
static int note(struct chunks *chunks, uint64_t id, int ret)
{
	if (chunk_is_damage(ret) && ret != -ENOENT)
		damaged_add(chunks->damaged, id);
	return ret;
}

struct looked {
	uint64_t id, bytes;
	int state;
};

/* From *id on. The caller may take long over what he is told: nobody is to wait for a scan then. */
static size_t look_at_some(struct chunks *chunks, const struct chunk_set *set, uint64_t *id, uint64_t end, struct looked *looked)
{
	struct backend_scan *scan = backend_scan_new(chunks->backend, *id, end);
	size_t count = 0;

	for (; count < SCAN_CHUNKS && *id < end && (count == 0 || looked[count - 1].state != -ENOMEM); count++) {
		const uint64_t read = damaged_resolve(chunks->damaged, *id);

		looked[count] = (struct looked){.id = *id};
		looked[count].state =
			note(chunks, read, read == *id ? look(chunks, scan, *id, &looked[count].bytes) : look_again(chunks, read, &looked[count].bytes));
		*id = chunk_set_next_member(set, *id + 1, end);
	}
	backend_scan_free(scan);
	return count;
}

int chunks_scrub(struct chunks *chunks, const struct chunk_set *set, uint64_t first, uint64_t end, chunk_scrub_fn each, void *arg)
{
	struct looked looked[SCAN_CHUNKS];
	int ret = 0;

	for (uint64_t id = chunk_set_next_member(set, first, end); !ret && id < end;) {
		const size_t count = look_at_some(chunks, set, &id, end, looked);

		for (size_t i = 0; i < count && !ret; i++)
			ret = looked[i].state == -ENOMEM ? -ENOMEM : each(arg, looked[i].id, looked[i].bytes, looked[i].state);
	}
	return ret;
}
