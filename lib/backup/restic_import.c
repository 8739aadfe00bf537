#include "lib/backup/restic_import.h"

#include <errno.h>

#include "lib/backup/restore_source.h"

static void tell_place(const struct restore *restore)
{
	const struct transfer_options *options = &restore->options->transfer;
	const char *place = restore_source_place(restore->source);
	AUTO_FREE char *text = NULL;

	if (!*place || !options->note)
		return;
	text = xasprintf("what is in %s of backup %.8s comes in without the names that lead there", place, restore->snapshot.name);
	options->note(options->arg, text);
}

int restic_import_run(struct store *store, const struct restore_options *options, const struct import_options *import,
		      struct restore_result *ret_result, struct error *err)
{
	atomic_uint_fast64_t total = 0;
	struct restore restore = {.options = options, .store = store, .result = ret_result, .total_bytes = &total};
	struct import_options members = *import;
	struct archive_source source;
	int r = store_check_writable(store, err);

	*ret_result = (struct restore_result){0};
	if (r == 0)
		r = restore_begin(&restore, err);
	if (r == 0) {
		tell_place(&restore);
		source = restore_source_members(restore.source);
		members.archive = archive_in_over(&source);
		members.source_fd = -1;
		members.exact = true;
		r = import_run(store, &members, &ret_result->transfer, err);
	}
	if (r == -EBADMSG && err)
		error_hint(err, "corpusfs backup verify REPOSITORY --data says what is damaged; corpusfs restore REPOSITORY TARGET --keep-going brings the rest");
	restore_end(&restore);
	return r;
}
