#include "lib/store/held.h"

#include <errno.h>

#include "lib/base/shell.h"

/* The commands that end all holds, as one can type them. */
static void hint_release(const struct snapshot *snapshot, struct error *err)
{
	const struct snapshot_record *record = &snapshot->record;
	AUTO_FREE char *name = xasprintf("%s@%s", snapshot->dataset->name, snapshot->name);
	AUTO_BUF text = BUF_INIT;

	for (uint32_t i = 0; i < record->hold_count; i++) {
		buf_addf(&text, "%scorpusfs snapshot release ", i ? " && " : "");
		shell_add(&text, name);
		buf_add_u8(&text, ' ');
		shell_add(&text, record->holds[i]);
	}
	error_hint(err, "%s", (const char *)text.data);
}

int held_check(const struct snapshot *snapshot, struct error *err)
{
	const struct snapshot_record *record = &snapshot->record;
	AUTO_BUF tags = BUF_INIT;

	if (record->hold_count == 0)
		return 0;
	for (uint32_t i = 0; i < record->hold_count; i++)
		buf_addf(&tags, "%s\"%s\"", i ? ", " : "", record->holds[i]);
	error_set(err, -EBUSY, "snapshot \"%s@%s\" is held by %s", snapshot->dataset->name, snapshot->name, (const char *)tags.data);
	hint_release(snapshot, err);
	return -EBUSY;
}
