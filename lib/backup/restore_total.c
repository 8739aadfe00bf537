#include "lib/backup/restore_total.h"

#include <pthread.h>

struct restore_total {
	struct restore_source_options options;
	pthread_t thread;
	bool runs;
	atomic_bool stop;
	atomic_uint_fast64_t *bytes; /* the caller's */
};

/* Of the member that came last. Holes are not read. */
static uint64_t content_of(struct restore_source *source)
{
	struct holes holes;
	struct node node;
	uint64_t bytes;

	restore_source_take(source, &node, &holes);
	bytes = node.size;
	for (size_t i = 0; i < holes.count; i++)
		bytes -= MIN(bytes, holes.items[i].length);
	array_clear(&holes);
	node_clear(&node);
	return bytes;
}

/* What cannot be read ends it: then nobody knows. */
static void *count(void *arg)
{
	struct restore_total *total = arg;
	struct restore_source *source = NULL;
	struct archive_source members;
	struct archive_found found;
	uint64_t bytes = 0;
	int r = restore_source_new(&total->options, &source, NULL);

	if (r < 0)
		return NULL;
	members = restore_source_members(source);
	while (!atomic_load(&total->stop) && (r = members.next(members.arg, &found)) == 1)
		bytes += found.member.hardlink || found.member.size == 0 ? 0 : content_of(source);
	if (r == 0)
		atomic_store(total->bytes, bytes);
	restore_source_free(source);
	return NULL;
}

struct restore_total *restore_total_begin(const struct restore_source_options *options, atomic_uint_fast64_t *ret_bytes)
{
	struct restore_total *total = xcalloc(1, sizeof(*total));

	total->options = *options;
	total->options.only_walks = true;
	total->bytes = ret_bytes;
	total->runs = pthread_create(&total->thread, NULL, count, total) == 0;
	return total;
}

void restore_total_end(struct restore_total *total)
{
	if (!total)
		return;
	atomic_store(&total->stop, true);
	if (total->runs)
		pthread_join(total->thread, NULL);
	free(total);
}
