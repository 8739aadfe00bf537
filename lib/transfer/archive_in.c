#include "lib/transfer/archive_in.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/transfer/big_names.h"
#include "lib/transfer/tar_header.h"
#include "lib/transfer/tar_in.h"
#include "lib/transfer/unpack.h"
#include "lib/transfer/zip_in.h"

#define HEADER_STEP (16U << 10)

struct archive_in {
	struct stream_in *stream;
	struct unpack *unpack; /* of a tar */
	struct tar_in *tar;    /* one of the three */
	struct zip_in *zip;
	struct archive_source source; /* with `next` */
	struct archive_in_options options;
	bool is_pipe, is_packed;
	bool has_more; /* something follows the end */
	struct big_names *big_names; /* NULL: not looked for yet, or it cannot be known */
	bool looked_for_names;
	bool has_first; /* was looked at already, and is still to be given out */
	int first_result;
	struct archive_found first;
	char problem[ERROR_TEXT_MAX];
};

static int failed(struct archive_in *in, int code, const char *text)
{
	snprintf(in->problem, sizeof(in->problem), "%s", code == -EBADMSG ? text : error_text(code));
	return code;
}

/* --- opening --- */

static int keep(struct archive_in *in, struct error *err)
{
	int r = stream_in_can_rewind(in->stream) ? 0 : stream_in_keep(in->stream, &in->options.keep);

	return r < 0 ? error_set(err, r, "it cannot be kept in %s while it is checked: %s", in->options.keep_name, error_text(r)) : 0;
}

static int read_failed(struct archive_in *in, int code, const char *text, struct error *err)
{
	if (code == -ENOSPC) {
		error_set(err, code, "there is no room in %s to keep it while it is checked", in->options.keep_name);
		error_hint(err, "save it to a file elsewhere and import that");
		return code;
	}
	return error_set(err, code, "%s", code == -EBADMSG ? text : error_text(code));
}

static int is_none(struct error *err)
{
	return error_set(err, -EBADMSG, "it cannot be read as an archive: it is neither a tar nor a zip");
}

static int list_names(struct tar_in *tar, struct big_names *names)
{
	struct archive_found found;
	int r;

	while ((r = tar_in_next(tar, &found)) == 1)
		big_names_add(names, &found);
	big_names_end(names);
	return r;
}

/* To the end of the stream: of the members first, then of what follows them. */
static int read_through(struct archive_in *in, struct error *err)
{
	int r = list_names(in->tar, in->big_names);

	if (r < 0)
		return read_failed(in, r, tar_in_problem(in->tar), err);
	r = unpack_drain(in->unpack, NULL);
	return r < 0 ? read_failed(in, r, unpack_problem(in->unpack), err) : 0;
}

/* A compressed stream is read once, and is then at its beginning again. */
static int open_packed(struct archive_in *in, struct error *err)
{
	const uint8_t *data;
	size_t len;
	int r = keep(in, err);

	if (r < 0)
		return r;
	in->is_packed = in->looked_for_names = true;
	in->big_names = big_names_new();
	in->unpack = unpack_new(in->stream, UNPACK_KNOWN);
	in->tar = tar_in_new(in->unpack);
	r = unpack_peek(in->unpack, &data, &len);
	if (r < 0)
		return read_failed(in, r, unpack_problem(in->unpack), err);
	if (r == 0)
		return is_none(err);
	if (zip_in_begins_with(data, len))
		return error_set(err, -EBADMSG, "it is a zip that was compressed once more: decompress it first");
	r = read_through(in, err);
	if (r < 0)
		return r;
	tar_in_free(in->tar);
	unpack_free(in->unpack);
	stream_in_rewind(in->stream);
	in->unpack = unpack_new(in->stream, UNPACK_KNOWN);
	in->tar = tar_in_new(in->unpack);
	return 0;
}

static int open_zip(struct archive_in *in, struct error *err)
{
	const uint8_t *data;
	size_t len;
	int r = keep(in, err);

	if (r < 0)
		return r;
	if (in->is_pipe) {
		while ((r = stream_in_next(in->stream, &data, &len)) == 1)
			stream_in_take(in->stream, len);
		if (r < 0)
			return read_failed(in, r, NULL, err);
		stream_in_rewind(in->stream);
	}
	in->zip = zip_in_new(in->stream);
	return 0;
}

static int open_any(struct archive_in *in, struct error *err)
{
	const uint8_t *data;
	size_t len;
	int r = stream_in_peek(in->stream, TAR_BLOCK, &data, &len);

	in->is_pipe = !stream_in_can_rewind(in->stream);
	if (r < 0)
		return error_set(err, r, "%s", error_text(r));
	if (zip_in_begins_with(data, len))
		return open_zip(in, err);
	if (len >= TAR_BLOCK && (tar_is_header(data) || tar_is_zeros(data))) {
		in->unpack = unpack_new(in->stream, UNPACK_PLAIN);
		in->tar = tar_in_new(in->unpack);
		return 0;
	}
	if (unpack_begins_with(data, len))
		return open_packed(in, err);
	/* A zip may have something in front of it: a program that unpacks it. */
	if (!in->is_pipe && len > 1 && memcmp(data, "MZ", 2) == 0)
		return open_zip(in, err);
	return len == 0 ? error_set(err, -EBADMSG, "it is empty") : is_none(err);
}

int archive_in_new(const struct archive_in_options *options, struct archive_in **ret_in, struct error *err)
{
	struct archive_in *in = xcalloc(1, sizeof(*in));
	int r;

	in->options = *options;
	in->stream = stream_in_new(options->fd, options->stopped, options->arg);
	r = in->stream ? open_any(in, err) : error_set(err, -ENOMEM, "%s", error_text(-ENOMEM));
	if (r == 0) {
		in->first_result = archive_in_next(in, &in->first);
		in->has_first = true;
		r = MIN(in->first_result, 0);
		if (r < 0)
			error_set(err, r, "it cannot be read as an archive: %s", in->problem);
	}
	if (r < 0) {
		archive_in_free(in);
		return r;
	}
	*ret_in = in;
	return 0;
}

struct archive_in *archive_in_over(const struct archive_source *source)
{
	struct archive_in *in = xcalloc(1, sizeof(*in));

	in->source = *source;
	return in;
}

void archive_in_free(struct archive_in *in)
{
	if (!in)
		return;
	tar_in_free(in->tar);
	zip_in_free(in->zip);
	unpack_free(in->unpack);
	stream_in_free(in->stream);
	big_names_free(in->big_names);
	free(in);
}

/* --- names --- */

/* The headers of a plain tar, beside its reading. */
static struct big_names *look_for_names(struct archive_in *in)
{
	struct stream_in *stream = stream_in_new(in->options.fd, in->options.stopped, in->options.arg);
	struct big_names *names;
	struct unpack *unpack;
	struct tar_in *tar;

	if (!stream)
		return NULL;
	unpack = unpack_new(stream, UNPACK_PLAIN);
	tar = tar_in_new(unpack);
	names = big_names_new();
	stream_in_set_step(stream, HEADER_STEP);
	if (list_names(tar, names) < 0) {
		big_names_free(names);
		names = NULL;
	}
	tar_in_free(tar);
	unpack_free(unpack);
	stream_in_free(stream);
	return names;
}

bool archive_in_is_single(struct archive_in *in, const char *plain_path)
{
	if (in->source.next)
		return in->source.is_single;
	if (!in->looked_for_names && in->tar && !in->is_pipe)
		in->big_names = look_for_names(in);
	in->looked_for_names = true;
	return in->big_names && big_names_is_single(in->big_names, plain_path);
}

/* --- members --- */

/* What is behind the last member: checksums, what a writer into a pipe still wants to get rid of, and perhaps another archive. */
static int take_end(struct archive_in *in)
{
	int r = unpack_drain(in->unpack, &in->has_more);

	return r < 0 ? failed(in, r, unpack_problem(in->unpack)) : 0;
}

int archive_in_next(struct archive_in *in, struct archive_found *ret_found)
{
	int r;

	if (in->has_first) {
		in->has_first = false;
		*ret_found = in->first;
		return in->first_result;
	}
	if (in->source.next) {
		r = in->source.next(in->source.arg, ret_found);
		return r < 0 ? failed(in, r, in->source.problem(in->source.arg)) : r;
	}
	r = in->tar ? tar_in_next(in->tar, ret_found) : zip_in_next(in->zip, ret_found);
	if (r < 0)
		return failed(in, r, in->tar ? tar_in_problem(in->tar) : zip_in_problem(in->zip));
	return r == 0 && in->tar ? take_end(in) : r;
}

int archive_in_data(struct archive_in *in, const void **ret_data, size_t *ret_len, uint64_t *ret_offset)
{
	int r;

	if (in->source.next) {
		r = in->source.data(in->source.arg, ret_data, ret_len, ret_offset);
		return r < 0 ? failed(in, r, in->source.problem(in->source.arg)) : r;
	}
	r = in->tar ? tar_in_data(in->tar, ret_data, ret_len, ret_offset) : zip_in_data(in->zip, ret_data, ret_len, ret_offset);

	return r < 0 ? failed(in, r, in->tar ? tar_in_problem(in->tar) : zip_in_problem(in->zip)) : r;
}

int archive_in_is_wrong(struct archive_in *in, const char *text)
{
	return failed(in, -EBADMSG, text);
}

const char *archive_in_problem(const struct archive_in *in)
{
	return in->problem;
}

bool archive_in_has_end(const struct archive_in *in)
{
	return !in->tar || tar_in_has_end(in->tar);
}

bool archive_in_has_more(const struct archive_in *in)
{
	return in->has_more;
}

uint64_t archive_in_position(const struct archive_in *in)
{
	if (in->source.next)
		return 0;
	return in->zip ? zip_in_position(in->zip) : stream_in_position(in->stream);
}

uint64_t archive_in_total(const struct archive_in *in)
{
	return in->source.total ? in->source.total(in->source.arg) : 0;
}

uint64_t archive_in_size(const struct archive_in *in)
{
	return in->stream ? stream_in_size(in->stream) : 0;
}
