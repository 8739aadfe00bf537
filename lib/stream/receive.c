#include "lib/stream/receive.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/base/shell.h"
#include "lib/identity/identity.h"
#include "lib/stream/applying.h"

struct receiving {
	struct store *store;
	const struct receive_options *options;
	struct receive_result *result;
	struct frames_in frames;
	struct buf head; /* the header's body */
	struct stream_header header;
	char hidden[NAME_LEN_MAX + 1];
	char base[NAME_LEN_MAX + 1]; /* what it is called here; "" without one */
	struct applying applying;
	struct error *err;
};

static bool stopped(void *arg)
{
	const struct receive_options *options = arg;

	return options->stopped(options->arg);
}

static bool stream_stopped(void *arg, uint64_t position, uint64_t size)
{
	return stopped(arg);
}

/* --- where it can go on --- */

struct checkpoint {
	struct stream_position position;
	uint64_t open_label, open_size;
	int is_complete;
	char name[NAME_LEN_MAX + 1];
	uint64_t number;
};

static int look_at(void *arg, const struct snapshot_info *info)
{
	struct checkpoint *checkpoint = arg;
	char token[STREAM_TOKEN_MAX];
	struct stream_position position;
	uint64_t label, size;
	int is_complete;

	if (!(info->flags & SNAPSHOT_CHECKPOINT) || info->number < checkpoint->number)
		return 0;
	if (sscanf(info->note, "%255s %" SCNu64 " %" SCNu64 " %d", token, &label, &size, &is_complete) != 4 ||
	    position_from_token(token, &position) < 0)
		return -EBADMSG;
	*checkpoint = (struct checkpoint){.position = position, .open_label = label, .open_size = size, .is_complete = is_complete,
	                                  .number = info->number};
	(void)snprintf(checkpoint->name, sizeof(checkpoint->name), "%s", info->name);
	return 0;
}

/* What was built on a base belongs to the base's dataset, and the name may mean another one by now. */
static bool is_foreign(struct store *store, const char *dataset, const char *hidden, const struct stream_position *position)
{
	static const uint8_t none[STREAM_ID_LEN];
	struct dataset_info built, now;

	if (dataset_get(store, dataset, &now) < 0)
		return memcmp(position->base, none, sizeof(none)) != 0;
	return dataset_get(store, hidden, &built) == 0 && built.family != now.family;
}

/* -ENOENT: there is none; -ESTALE: it is of another dataset that was called so. */
static int find_checkpoint(struct store *store, const char *dataset, struct checkpoint *ret_checkpoint)
{
	struct checkpoint checkpoint = {0};
	char hidden[NAME_LEN_MAX + 1];
	int r = receiving_name(dataset, hidden, NULL);

	if (r == 0)
		r = snapshot_list(store, hidden, look_at, &checkpoint);
	if (r == 0 && checkpoint.number == 0)
		r = -ENOENT;
	if (r == 0 && is_foreign(store, dataset, hidden, &checkpoint.position))
		r = -ESTALE;
	if (r == 0)
		*ret_checkpoint = checkpoint;
	return r;
}

int receive_position(struct store *store, const char *dataset, struct stream_position *ret_position)
{
	struct checkpoint checkpoint;
	int r = find_checkpoint(store, dataset, &checkpoint);

	if (r == 0)
		*ret_position = checkpoint.position;
	return r == -ESTALE ? -ENOENT : r;
}

int receive_drop(struct store *store, const char *dataset, struct error *err)
{
	int r = receiving_claim(store, dataset, err);

	if (r < 0)
		return r;
	r = receiving_drop(store, dataset, err);
	receiving_release(store, dataset);
	return r;
}

/* --- the beginning --- */

static int read_failed(struct receiving *receiving, int r)
{
	struct error *err = receiving->err;

	if (r == -ENODATA)
		return error_set(err, r, "the stream ends before it is complete");
	if (r == -EBADMSG && receiving->frames.is_damaged)
		return error_set(err, r, "the stream is damaged, or no stream of corpusfs");
	if (r == -EBADMSG && !err->code) {
		error_set(err, r, "what this store has of dataset \"%s\" is damaged, not the stream", receiving->options->dataset);
		error_hint(err, "corpusfs check tells what; what came in is kept");
	}
	return error_default(err, r, "the stream could not be received");
}

static int read_header(struct receiving *receiving)
{
	struct frames_in *frames = &receiving->frames;
	enum stream_kind kind;
	int r = frames_in_magic(frames);

	if (r == -ENODATA)
		return error_set(receiving->err, -ENOMSG, "there is no stream to receive");
	if (r == 0)
		r = frames_in_next(frames, &kind);
	if (r == 0 && kind != STREAM_HEADER)
		r = frames_in_bad(frames);
	if (r < 0)
		return read_failed(receiving, r);
	receiving->head = frames->body;
	frames->body = BUF_INIT;
	r = stream_header_decode(receiving->head.data, receiving->head.len, &receiving->header);
	if (r == -EBADMSG)
		r = frames_in_bad(frames);
	if (r == -EPROTONOSUPPORT)
		return error_set(receiving->err, r, "the stream was made by a newer version of corpusfs, which this one does not understand");
	return r < 0 ? read_failed(receiving, r) : dataset_name_check("snapshot", receiving->header.snapshot_name, receiving->err);
}

static int check_identity(struct receiving *receiving, const char *dataset, const char *snapshot, const uint8_t wanted[IDENTITY_LEN], const char *what)
{
	struct store *store = receiving->store;
	uint8_t identity[IDENTITY_LEN];
	struct view *view;
	int r = store_snapshot(store, dataset, snapshot, &view);

	if (r < 0)
		return error_set(receiving->err, r, "snapshot \"%s\" could not be read: %s", snapshot, error_text(r));
	r = identity_compute(store, view, stopped, (void *)receiving->options, identity);
	store_view_put(store, view);
	if (r < 0)
		return error_set(receiving->err, r, "the identity of \"%s\" could not be computed: %s", snapshot, error_text(r));
	return memcmp(identity, wanted, IDENTITY_LEN) == 0
	               ? 0
	               : error_set(receiving->err, -EILSEQ, "the identity of %s is another one than the stream says", what);
}

/* The base, as it is called here; it must be what the sender's is. */
static int find_base(struct receiving *receiving)
{
	const char *dataset = receiving->options->dataset;
	const struct stream_header *header = &receiving->header;
	struct snapshot_info info = {0};
	int r;

	if (!header->has_base)
		return 0;
	r = snapshot_find_id(receiving->store, dataset, header->base, &info);
	if (r == -ENOENT) {
		error_set(receiving->err, r, "dataset \"%s\" does not have the snapshot that the stream begins at, which is %s@%s where it comes from", dataset,
		          header->dataset_name, header->base_name);
		error_hint_shell(receiving->err, "corpusfs snapshot list %s shows those that it has; send --from one that both have", dataset);
		return r;
	}
	if (r < 0)
		return error_set(receiving->err, r, "the snapshots of \"%s\" could not be read: %s", dataset, error_text(r));
	(void)snprintf(receiving->base, sizeof(receiving->base), "%s", info.name);
	(void)snprintf(receiving->result->base, sizeof(receiving->result->base), "%s", info.name);
	snapshot_info_clear(&info);
	return check_identity(receiving, dataset, receiving->base, header->base_identity, "the base");
}

static const char *base_of(const struct receiving *receiving)
{
	return receiving->header.has_base ? receiving->base : NULL;
}

/* What is kept is of no use to anybody. */
static int drop_foreign(struct receiving *receiving)
{
	const char *dataset = receiving->options->dataset;
	int r = receiving_drop(receiving->store, dataset, receiving->err);

	if (r < 0)
		return r;
	error_set(receiving->err, -ESTALE, "the stream goes on with one into another dataset, which was called \"%s\" before; what came of it was dropped",
	          dataset);
	error_hint(receiving->err, "send it from its beginning, without --resume");
	return -ESTALE;
}

/* What the last receiver built behind its last checkpoint goes. */
static int go_on(struct receiving *receiving)
{
	struct applying *applying = &receiving->applying;
	struct store *store = receiving->store;
	const char *dataset = receiving->options->dataset;
	struct checkpoint checkpoint = {0};
	struct snapshot_info built = {0};
	int r = find_checkpoint(store, dataset, &checkpoint);

	if (r == -ENOENT)
		return error_set(receiving->err, r, "the stream goes on with one of which \"%s\" has nothing", dataset);
	if (r == -ESTALE)
		return drop_foreign(receiving);
	if (r == 0 && memcmp(&checkpoint.position, &applying->position, sizeof(checkpoint.position)) != 0) {
		error_set(receiving->err, -EINVAL, "the stream goes on at another place than where dataset \"%s\" stands", dataset);
		error_hint(receiving->err, "corpusfs receive --token tells the place");
		return -EINVAL;
	}
	if (r == 0 && snapshot_get(store, receiving->hidden, RECEIVED_SNAPSHOT, &built) == 0)
		r = snapshot_destroy(store, receiving->hidden, RECEIVED_SNAPSHOT, receiving->err);
	snapshot_info_clear(&built);
	if (r == 0)
		r = dataset_rollback(store, receiving->hidden, checkpoint.name, false, NULL, receiving->err);
	if (r < 0)
		return error_default(receiving->err, r, "the stream cannot go on");
	applying->open_label = checkpoint.open_label;
	applying->open_size = checkpoint.open_size;
	applying->is_complete = checkpoint.is_complete;
	applying->saves = strcmp(checkpoint.name, "checkpoint-a") == 0;
	applying->saved_step = checkpoint.position.step;
	return 0;
}

static int open_hidden(struct receiving *receiving)
{
	struct applying *applying = &receiving->applying;
	struct dataset_info info;
	struct attr attr;
	uint64_t ino;
	int r = dataset_get(receiving->store, receiving->hidden, &info);

	if (r == 0)
		r = store_head(receiving->store, receiving->hidden, &applying->view);
	if (r < 0)
		return error_set(receiving->err, r, "what was received before could not be opened: %s", error_text(r));
	applying->hidden = info.id;
	if (applying->open_label == 0)
		return 0;
	r = applying_ino(applying, applying->open_label, &ino);
	if (r == 0)
		r = view_getattr(applying->view, ino, &attr);
	return r < 0 ? r : applying_open(applying, applying->open_label, ino, applying->open_size);
}

static int begin(struct receiving *receiving)
{
	const struct stream_header *header = &receiving->header;
	struct applying *applying = &receiving->applying;
	const char *dataset = receiving->options->dataset;
	uint8_t stream[STREAM_ID_LEN];
	int r = receiving_name(dataset, receiving->hidden, receiving->err);

	position_stream(header->snapshot, header->base, stream);
	if (r == 0 && memcmp(stream, header->stream, STREAM_ID_LEN) != 0)
		r = applying_bad(applying, "its number is wrong");
	if (r == 0)
		r = find_base(receiving);
	if (r == 0)
		r = receiving_check(receiving->store, dataset, base_of(receiving), header->snapshot_name, receiving->err);
	if (r < 0)
		return r;
	memcpy(applying->position.snapshot, header->snapshot, STREAM_ID_LEN);
	memcpy(applying->position.base, header->base, STREAM_ID_LEN);
	applying->position.step = header->step;
	applying->position.offset = header->offset;
	if (header->step == 0 && header->offset == 0)
		r = receiving_begin(receiving->store, dataset, base_of(receiving), header->level, receiving->err);
	else
		r = go_on(receiving);
	return r < 0 ? r : open_hidden(receiving);
}

/* --- the end --- */

static void applying_clear(struct applying *applying)
{
	applying_content_clear(applying);
	if (applying->view)
		store_view_put(applying->store, applying->view);
	applying->view = NULL;
	codec_free(applying->codec);
	digest_free(applying->digest);
	buf_clear(&applying->plain);
	applying->codec = NULL;
	applying->digest = NULL;
}

static int finish(struct receiving *receiving)
{
	const struct stream_header *header = &receiving->header;
	const struct snapshot_name built = {receiving->hidden, RECEIVED_SNAPSHOT};
	const struct received received = {.dataset = receiving->options->dataset, .base = base_of(receiving), .snapshot = header->snapshot_name,
	                                  .note = header->note, .taken = header->taken, .id = header->snapshot};
	int r = snapshot_create(receiving->store, &built, 1, "", 0, receiving->err);

	if (r == 0)
		r = fault_point("receive-built");
	if (r == 0)
		r = check_identity(receiving, receiving->hidden, RECEIVED_SNAPSHOT, header->identity, "what was received");
	if (r == 0)
		r = receiving_finish(receiving->store, &received, receiving->err);
	if (r < 0)
		return r;
	identity_to_text(header->identity, receiving->result->identity);
	/* It is there. What is left of the hidden one goes now or with the next stream. */
	int ignored = receiving_drop(receiving->store, receiving->options->dataset, NULL);
	(void)ignored;
	return 0;
}

/* Whether the stream itself is wrong: then nothing of it is worth keeping. */
static bool is_wrong(const struct receiving *receiving, int r)
{
	return r == -EPERM || r == -EILSEQ || (r == -EBADMSG && receiving->applying.is_wrong);
}

/* What was applied since the last checkpoint is one, too, unless a frame is half applied. */
static void keep_or_drop(struct receiving *receiving, int r)
{
	struct applying *applying = &receiving->applying;
	const char *dataset = receiving->options->dataset;
	struct stream_position position;
	struct error kept = *receiving->err;
	int ignored = 0;

	if (applying->view && applying->is_between && !is_wrong(receiving, r))
		ignored = applying_save(applying);
	applying_clear(applying);
	if (!is_wrong(receiving, r) && receive_position(receiving->store, dataset, &position) == 0)
		position_to_token(&position, receiving->result->token);
	else
		ignored = receiving_drop(receiving->store, dataset, NULL);
	(void)ignored;
	*receiving->err = kept;
}

static int receive(struct receiving *receiving)
{
	int r = read_header(receiving);

	if (r < 0)
		return r;
	(void)snprintf(receiving->result->snapshot, sizeof(receiving->result->snapshot), "%s", receiving->header.snapshot_name);
	r = begin(receiving);
	if (r < 0)
		return read_failed(receiving, r);
	r = applying_frames(&receiving->applying, &receiving->frames);
	if (r == 0) {
		applying_content_clear(&receiving->applying);
		store_view_put(receiving->store, receiving->applying.view);
		receiving->applying.view = NULL;
		r = finish(receiving);
		receiving->result->has_more = frames_in_has_more(&receiving->frames);
	}
	if (r < 0)
		keep_or_drop(receiving, r);
	return r < 0 ? read_failed(receiving, r) : 0;
}

int receive_run(struct store *store, const struct receive_options *options, struct receive_result *result, struct error *err)
{
	struct error inner = {0};
	struct receiving receiving = {.store = store, .options = options, .result = result, .err = &inner,
	                              .applying = {.store = store, .options = options, .result = result, .err = &inner}};
	int r = dataset_name_check("dataset", options->dataset, &inner);

	*result = (struct receive_result){0};
	if (r == 0)
		r = store_check_writable(store, &inner);
	if (r == 0)
		r = receiving_claim(store, options->dataset, &inner);
	if (r == 0) {
		receiving.applying.codec = codec_new();
		receiving.applying.digest = digest_new();
		frames_in_begin(&receiving.frames, options->fd, stream_stopped, (void *)options);
		r = receive(&receiving);
		frames_in_clear(&receiving.frames);
		applying_clear(&receiving.applying);
		buf_clear(&receiving.head);
		receiving_release(store, options->dataset);
	}
	if (r < 0 && err)
		*err = inner;
	return r;
}
