#include "lib/stream/send.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/identity/identity.h"
#include "lib/store/replica.h"
#include "lib/store/unknown.h"
#include "lib/stream/sending.h"
#include "lib/tree/records/paths.h"

/* --- changed attributes --- */

static int tell_meta(struct sending *sending, const struct scan_inode *a, const struct scan_inode *b)
{
	struct stream_entry entry = {.kind = STREAM_META, .label = b->ino};
	const bool has_content = S_ISREG(b->record.mode) && b->ino != ROOT_INO;
	int r = sending_attributes(sending, b, &entry.attributes);

	entry.flags = has_content ? STREAM_MORE : 0;
	if (r == 0)
		r = sending_entry(sending, &entry);
	return r == 0 && has_content ? sending_content(sending, b, a) : r;
}

static int change(void *arg, const struct spill_item *item)
{
	struct sending *sending = arg;
	const uint64_t ino = spill_number(item->key);
	struct scan_inode a, b;
	int r = ino == ROOT_INO ? -ENOENT : scan_named_inode(&sending->a, ino, &a);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = scan_named_inode(&sending->b, ino, &b);
	if (r == 0) {
		r = tell_meta(sending, &a, &b);
		scan_inode_clear(&b);
	}
	scan_inode_clear(&a);
	return r == -ENOENT ? 0 : r;
}

/* The root comes last: then nothing changes in it any more. */
static int tell_root(struct sending *sending)
{
	struct scan_inode root;
	int r = scan_inode(&sending->b, ROOT_INO, &root);

	if (r < 0)
		return r;
	r = tell_meta(sending, NULL, &root);
	scan_inode_clear(&root);
	return r;
}

static int tell_all(struct sending *sending)
{
	int r = sending->has_base ? sending_find_changes(sending) : 0;

	if (r == 0 && sending->has_base)
		r = sending_old_names(sending);
	if (r == 0)
		r = sending_new_names(sending);
	if (r == 0)
		r = spill_each(sending->dirs, change, sending);
	if (r == 0)
		r = spill_each(sending->files, change, sending);
	if (r == 0)
		r = tell_root(sending);
	/* Else it is not the stream whose receiver wants to go on. */
	if (r == 0 && sending->step < sending->options->step)
		r = error_set(sending->err, -EINVAL, "the receiver has more of the stream than there is");
	return r == 0 ? frames_out_end(&sending->frames) : r;
}

/* --- the header --- */

struct end {
	struct snapshot_info info;
	struct view *view;
	uint8_t id[SNAPSHOT_ID_LEN], identity[IDENTITY_LEN];
};

static void end_clear(struct store *store, struct end *end)
{
	if (end->view)
		store_view_put(store, end->view);
	snapshot_info_clear(&end->info);
}

static bool stopped(void *arg)
{
	const struct send_options *options = arg;

	return options->stopped(options->arg);
}

static int open_end(struct store *store, const struct send_options *options, const char *name, struct end *end, struct error *err)
{
	int r = store_snapshot(store, options->dataset, name, &end->view);

	if (r == 0)
		r = snapshot_get(store, options->dataset, name, &end->info);
	if (r < 0)
		return unknown_or_failed(store, options->dataset, name, r, err);
	r = snapshot_id(store, &end->info, end->id);
	if (r == 0)
		r = identity_compute(store, end->view, stopped, (void *)options, end->identity);
	return r < 0 ? error_set(err, r, "the identity of %s@%s cannot be computed: %s", options->dataset, name, error_text(r)) : 0;
}

static int tell_header(struct sending *sending, const struct end *end, const struct end *base)
{
	const struct send_options *options = sending->options;
	struct stream_header header = {.has_base = sending->has_base, .taken = end->info.taken, .step = options->step, .offset = options->offset,
	                               .dataset_name = options->dataset, .snapshot_name = options->snapshot,
	                               .base_name = options->from ? options->from : "", .note = end->info.note};
	struct dataset_info info;
	int r = dataset_get(sending->store, options->dataset, &info);

	if (r < 0)
		return r;
	header.level = info.level;
	memcpy(header.snapshot, end->id, STREAM_ID_LEN);
	memcpy(header.identity, end->identity, STREAM_ID_LEN);
	memcpy(header.base, base->id, STREAM_ID_LEN);
	memcpy(header.base_identity, base->identity, STREAM_ID_LEN);
	position_stream(header.snapshot, header.base, header.stream);
	stream_header_encode(&header, &sending->frames.body);
	return frames_out_put(&sending->frames, STREAM_HEADER, NULL, 0);
}

/* --- all --- */

static void sending_clear(struct sending *sending)
{
	scan_clear(&sending->a);
	scan_clear(&sending->b);
	spill_free(sending->dirs);
	spill_free(sending->files);
	spill_free(sending->way);
	spill_free(sending->bound);
	spill_free(sending->linked);
	buf_clear(&sending->packed);
	buf_clear(&sending->xattrs);
	buf_clear(&sending->plain);
	frames_out_clear(&sending->frames);
}

static void sending_init(struct sending *sending, const struct end *end, const struct end *base)
{
	struct line line = view_line(end->view);

	scan_of_line(&sending->b, store_tree(sending->store), view_family(end->view), &line);
	line_clear(&line);
	line = view_line(base->view ? base->view : end->view);
	scan_of_line(&sending->a, store_tree(sending->store), view_family(end->view), &line);
	line_clear(&line);
	sending->dirs = spill_new(SENDING_MEMORY);
	sending->files = spill_new(SENDING_MEMORY);
	sending->way = spill_new(SENDING_MEMORY);
	sending->bound = spill_new(SENDING_MEMORY);
	sending->linked = spill_new(SENDING_MEMORY);
}

static int send_ends(struct sending *sending, const struct end *end, const struct end *base)
{
	const struct send_options *options = sending->options;
	int r;

	sending_init(sending, end, base);
	r = frames_out_begin(&sending->frames, options->fd, options->stopped, options->arg);
	if (r == 0)
		r = tell_header(sending, end, base);
	if (r == 0)
		r = tell_all(sending);
	sending->result->frames = sending->frames.frames;
	sending_clear(sending);
	return r;
}

int send_run(struct store *store, const struct send_options *options, struct send_result *result, struct error *err)
{
	struct error inner = {0};
	struct sending sending = {.store = store, .options = options, .result = result, .has_base = options->from != NULL, .err = &inner};
	struct end end = {0}, base = {0};
	int r = open_end(store, options, options->snapshot, &end, err);

	*result = (struct send_result){0};
	if (r == 0 && options->from)
		r = open_end(store, options, options->from, &base, err);
	if (r == 0 && options->from && end.info.number <= base.info.number)
		r = error_set(err, -EINVAL, "snapshot \"%s\" is not older than \"%s\"", options->from, options->snapshot);
	if (r == 0) {
		r = send_ends(&sending, &end, &base);
		if (r < 0 && inner.code < 0)
			error_set(err, inner.code, "%s", inner.text);
		else if (r < 0)
			error_set(err, r, "%s@%s could not be sent: %s", options->dataset, options->snapshot,
			          r == -EPIPE ? "the receiver has gone" : error_text(r));
	}
	end_clear(store, &end);
	end_clear(store, &base);
	return r;
}

/* --- what a receiver wants --- */

struct wanted {
	struct store *store;
	const struct stream_position *position;
	char *dataset, *snapshot;
};

static int look_at(void *arg, const struct snapshot_info *info)
{
	struct wanted *wanted = arg;
	uint8_t id[SNAPSHOT_ID_LEN];
	int r = snapshot_id(wanted->store, info, id);

	if (r < 0 || memcmp(id, wanted->position->snapshot, sizeof(id)) != 0)
		return r;
	wanted->dataset = xstrdup(info->dataset);
	wanted->snapshot = xstrdup(info->name);
	return 1;
}

int send_find(struct store *store, const char *token, struct stream_position *ret_position, char **ret_dataset, char **ret_snapshot,
	      char **ret_from, struct error *err)
{
	static const uint8_t nothing[STREAM_ID_LEN];
	struct wanted wanted = {.store = store, .position = ret_position};
	struct snapshot_info base = {0};
	int r = position_from_token(token, ret_position);

	if (r < 0)
		return error_set(err, r, "that is no token; corpusfs receive --token tells one");
	r = snapshot_list(store, NULL, look_at, &wanted);
	if (r == 0)
		return error_set(err, -ENOENT, "the snapshot that is to be sent on is not in this store (any more)");
	if (r == 1 && memcmp(ret_position->base, nothing, sizeof(nothing)) != 0) {
		r = snapshot_find_id(store, wanted.dataset, ret_position->base, &base);
		if (r == -ENOENT)
			error_set(err, r, "the base of the stream is not a snapshot of %s (any more)", wanted.dataset);
	}
	if (r < 0) {
		free(wanted.dataset);
		free(wanted.snapshot);
		return r == -ENOENT ? r : error_default(err, r, "the list of snapshots could not be read");
	}
	*ret_dataset = wanted.dataset;
	*ret_snapshot = wanted.snapshot;
	*ret_from = base.dataset_id ? xstrdup(base.name) : NULL;
	snapshot_info_clear(&base);
	return 0;
}
