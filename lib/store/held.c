#include "lib/store/held.h"

#include <errno.h>

#include "lib/base/shell.h"

/* The commands that end all holds, as one can type them. */
static void add_releases(const struct snapshot *snapshot, struct buf *text)
{
	const struct snapshot_record *record = &snapshot->record;
	AUTO_FREE char *name = xasprintf("%s@%s", snapshot->dataset->name, snapshot->name);

	for (uint32_t i = 0; i < record->hold_count; i++) {
		buf_addf(text, "%scorpusfs snapshot release ", text->len ? " && " : "");
		shell_add(text, name);
		buf_add_u8(text, ' ');
		shell_add(text, record->holds[i]);
	}
}

int held_check(const struct snapshot *snapshot, struct error *err)
{
	const struct snapshot_record *record = &snapshot->record;
	AUTO_BUF tags = BUF_INIT, text = BUF_INIT;

	if (record->hold_count == 0)
		return 0;
	for (uint32_t i = 0; i < record->hold_count; i++)
		buf_addf(&tags, "%s\"%s\"", i ? ", " : "", record->holds[i]);
	error_set(err, -EBUSY, "snapshot \"%s@%s\" is held by %s", snapshot->dataset->name, snapshot->name, (const char *)tags.data);
	add_releases(snapshot, &text);
	error_hint(err, "%s", (const char *)text.data);
	return -EBUSY;
}

int held_check_all(const struct dataset *dataset, struct error *err)
{
	const struct snapshot *held = NULL;
	AUTO_BUF text = BUF_INIT;
	size_t count = 0;

	for (size_t i = 0; i < dataset->order.count; i++) {
		const struct snapshot *snapshot = dataset->order.items[i];

		if (snapshot->record.hold_count == 0)
			continue;
		held = snapshot;
		count++;
		add_releases(snapshot, &text);
	}
	if (count <= 1)
		return held ? held_check(held, err) : 0;
	error_set(err, -EBUSY, "%zu snapshots of dataset \"%s\" are held", count, dataset->name);
	/* Half a command would do something else. */
	if (text.len < ERROR_HINT_MAX)
		error_hint(err, "%s", (const char *)text.data);
	else
		error_hint_shell(err, "corpusfs snapshot release ends a hold; by whom they are held: corpusfs snapshot list %s", dataset->name);
	return -EBUSY;
}
