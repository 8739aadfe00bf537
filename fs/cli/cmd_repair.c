#include <errno.h>
#include <stdio.h>

#include "fs/cli/cmd_repair_content.h"
#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/password.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "lib/ops/json.h"
#include "lib/store/mend_manifest.h"
#include "lib/store/mend_superblock.h"
#include "lib/verify/mend_heads.h"
#include "lib/verify/repair_tables.h"

static const struct column repair_columns[] = {
	{"superblock", "superblock", COLUMN_TEXT},
	{"manifest", "list of tables", COLUMN_TEXT},
	{"lost", "lost", COLUMN_TEXT},
	{"kept", "kept", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct column head_columns[] = {
	{"dataset", "DATASET", COLUMN_TEXT}, {"inode", "INODE", COLUMN_NUMBER}, {"text", "WHAT", COLUMN_TEXT}, {NULL, NULL, COLUMN_TEXT},
};

static const struct column table_columns[] = {
	{"table", "TABLE", COLUMN_TEXT},     {"holds", "HOLDS", COLUMN_TEXT}, {"state", "STATE", COLUMN_TEXT},
	{"blocks", "BLOCKS", COLUMN_NUMBER}, {"lost", "LOST", COLUMN_NUMBER}, {NULL, NULL, COLUMN_TEXT},
};

static int note_table(void *arg, const struct kv_damaged_table *table)
{
	json_t *row = json_pack("{s:s, s:s, s:s, s:b, s:b}", "table", table->name, "holds", kv_family_holds(table->family), "state",
				kv_table_state(table->missing, table->all_known), "missing", table->missing, "all_known", table->all_known);

	/* of one that is missing nobody knows how many it had */
	json_object_set_new(row, "blocks", table->missing ? json_null() : json_integer((json_int_t)table->blocks));
	json_object_set_new(row, "lost", table->missing ? json_null() : json_integer((json_int_t)table->lost));
	json_array_append_new(arg, row);
	return 0;
}

/* Datasets that were made of what nobody lists any more. */
static json_t *recovered_to_json(const struct rebuilt *rebuilt)
{
	json_t *names = json_array();

	for (size_t i = 0; i < rebuilt->datasets.count; i++)
		json_array_append_new(names, json_string(rebuilt->datasets.items[i]));
	return names;
}

static int note_head(void *arg, const struct head_mend *mend)
{
	json_array_append_new(arg, json_pack("{s:o, s:I, s:s}", "dataset", json_from_bytes(mend->dataset), "inode", (json_int_t)mend->ino, "text",
					     mend->text));
	return 0;
}

static void print_heads(struct cli *cli, const json_t *value, bool apply)
{
	const json_t *heads = json_object_get(value, "heads");
	const char *undo = json_string_value(json_object_get(value, "undo"));

	if (json_array_size(heads) == 0)
		return;
	table_print(cli, head_columns, heads);
	if (apply)
		say("names and links were mended; to undo, roll back to the snapshot %s\n", undo);
	else
		say("nothing was changed; with --apply names and links are mended, and what has no name gets one in lost+found\n");
}

static bool is_said(const json_t *value, const char *name)
{
	return *json_string_value(json_object_get(value, name)) != '\0';
}

/* False: nothing else is done before that is. */
static bool print_superblock(const json_t *value, bool apply)
{
	if (!is_said(value, "superblock"))
		return true;
	say("%s\n", json_string_value(json_object_get(value, "superblock")));
	if (apply)
		say("the superblock was made anew of its copy%s\n", is_said(value, "superblock_kept") ? "; what was there is kept in corpusfs.damaged" : "");
	else
		say("nothing was changed; with --apply the superblock is made anew of its copy, and everything else is looked at\n");
	return apply;
}

/* The same. It is only shown when a superblock had to be made anew first. */
static bool print_manifest(const json_t *value, bool apply)
{
	const char *text = json_string_value(json_object_get(value, "manifest"));
	const bool again = apply && !is_said(value, "kept");

	if (!*text)
		return true;
	say("%s\n", text);
	apply = apply && !again;
	if (apply)
		say("the list of tables was mended; the database as it was is kept in %s\n",
		    json_string_value(json_object_get(value, "kept")));
	else
		say("nothing %swas changed; with --apply%s the list of tables is mended, and tables, write-ahead logs and names are looked at\n",
		    again ? "else " : "", again ? " once more" : "");
	return apply;
}

/* Of what is damaged: whether the store is refused for it. It is for a log, and for a table that is missing, not for rotten blocks. */
static bool is_refused(const json_t *tables)
{
	const json_t *row;
	size_t i;

	json_array_foreach (tables, i, row)
		if (json_is_true(json_object_get(row, "missing")))
			return true;
	return json_array_size(tables) == 0;
}

static void print_repair(struct cli *cli, const json_t *value, bool apply)
{
	const bool again = cli_option(cli, "apply") && !apply;
	const json_t *tables = json_object_get(value, "tables");
	const char *lost = json_string_value(json_object_get(value, "lost")), *kept = json_string_value(json_object_get(value, "kept"));
	const bool any = json_array_size(tables) > 0, unsure = json_is_true(json_object_get(value, "unsure"));
	const json_t *name;
	size_t i;

	if (cli_option(cli, "json")) {
		table_print_object(cli, repair_columns, value);
		return;
	}
	if (json_is_true(json_object_get(value, "unfinished")))
		say("a repair was interrupted; the copies that it left, which nobody needs, %s\n",
		    cli_option(cli, "apply") ? "were removed" : "are removed with --apply");
	if (!print_superblock(value, cli_option(cli, "apply") != NULL) || !print_manifest(value, cli_option(cli, "apply") != NULL))
		return;
	if (any)
		table_print(cli, table_columns, tables);
	if (*lost)
		say("%s\n", lost);
	if (!any && !*lost && json_array_size(json_object_get(value, "heads")) == 0)
		say("%s is to be repaired: no write-ahead log and no table is damaged, and names and links are as they must be\n",
		    is_said(value, "superblock") || is_said(value, "manifest") ? "nothing else" : "nothing");
	if (!any && !*lost)
		return print_heads(cli, value, apply);
	/* content that was healed before is in no block that is given up */
	const bool nothing_lost = any && !*lost && json_is_false(json_object_get(value, "content_lost")) && json_is_false(json_object_get(value, "records_lost"));

	if (!apply)
		say("nothing %swas changed; with --apply%s %s%s\n", again ? "else " : "", again ? " once more" : "",
		    any      ? "all blocks that can be read are kept, the others given up"
		    : unsure ? "the write-ahead log is taken as it is"
		             : "these changes are given up",
		    is_refused(tables) ? ", and the store can be written again" : "");
	else if (nothing_lost)
		say("nothing is lost: what cannot be read was made anew, or no file needs it; the database as it was is kept in %s\n", kept);
	else
		say("%s; the database as it was is kept in %s\n",
		    any      ? "blocks that cannot be read were given up"
		    : unsure ? "the write-ahead log was taken as it is"
		             : "these changes were given up",
		    kept);
	json_array_foreach (json_object_get(value, "recovered"), i, name)
		say("what no dataset listed any more is in the dataset %s\n", json_string_value(name));
	print_heads(cli, value, apply);
	if (apply && json_is_true(json_object_get(value, "content_lost")))
		say("corpusfs damage names the files whose content was given up; where there are copies, corpusfs repair --from heals them\n");
	if (any && apply && !json_is_false(json_object_get(value, "records_lost")))
		say("corpusfs check says what is missing of what something still names; what only lost blocks named is gone without a trace:\n"
		    "compare with a backup (corpusfs backup diff), or with the dates and counts that you know\n");
}

struct repair {
	bool apply; /* false as well for what comes after a list of tables that was mended: it was not shown before */
	json_t *tables, *heads;
	struct store_mended superblock, manifest, log;
	struct repaired_tables repaired;
	struct head_mends mends;
};

static int repair_all(struct repair *repair, const char *store, struct error *err)
{
	int result = store_mend_superblock(store, repair->apply, &repair->superblock, err);

	if (result < 0 || (repair->superblock.lost && !repair->apply))
		return result;
	repair->apply = repair->apply && !repair->superblock.lost;
	result = store_mend_manifest(store, repair->apply, &repair->manifest, err);
	if (result < 0 || (repair->manifest.lost && !repair->apply))
		return result;
	repair->apply = repair->apply && !repair->manifest.lost;
	result = repair_tables(store, repair->apply, note_table, repair->tables, &repair->repaired, err);
	/* a log is looked at when all tables can be read */
	if (result == 0 && json_array_size(repair->tables) == 0)
		result = store_mend(store, repair->apply, &repair->log, err);
	/* and names when nothing else is in the way */
	if (result == 0 && (repair->apply || (json_array_size(repair->tables) == 0 && !repair->log.lost)))
		result = mend_heads(store, repair->apply, note_head, repair->heads, &repair->mends, err);
	return result;
}

static json_t *text_or_empty(const char *one, const char *other)
{
	return json_from_bytes(one ? one : other ? other : "");
}

static json_t *repair_to_json(const struct repair *repair)
{
	const char *kept = repair->log.kept ? repair->log.kept : repair->repaired.kept;

	return json_pack("{s:b, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "unfinished", repair->manifest.unfinished, "unsure",
			 repair->log.is_unsure, "content_lost",
			 repair->repaired.content_lost, "records_lost", repair->repaired.records_lost, "superblock",
			 text_or_empty(repair->superblock.lost, NULL), "superblock_kept", text_or_empty(repair->superblock.kept, NULL),
			 "manifest", text_or_empty(repair->manifest.lost, NULL), "lost",
			 text_or_empty(repair->log.lost, repair->repaired.lost), "kept",
			 text_or_empty(repair->manifest.kept, kept), "tables", repair->tables, "recovered",
			 recovered_to_json(&repair->repaired.rebuilt), "heads", repair->heads, "undo", repair->mends.undo);
}

static int two_at_once(void)
{
	struct error err = {0};

	(void)error_set(&err, -EINVAL, "--from heals, and --undo undoes that: one of the two");
	return exit_with(&err);
}

static int run_repair(struct cli *cli)
{
	if (cli_option(cli, "from") && cli_option(cli, "undo"))
		return two_at_once();
	if (cli_option(cli, "from"))
		return repair_content(cli);
	if (cli_option(cli, "undo"))
		return repair_undo_content(cli);
	struct repair repair = {.apply = cli_option(cli, "apply") != NULL, .tables = json_array(), .heads = json_array()};
	AUTO_FREE char *store = NULL;
	struct error err = {0};
	int result = run_find_store(cli, &store, &err);

	if (result == 0)
		result = repair_all(&repair, store, &err);
	json_t *value = repair_to_json(&repair);
	if (result == 0)
		print_repair(cli, value, repair.apply);
	else if (cli_option(cli, "apply") && print_superblock(value, true) && repair.manifest.kept)
		(void)print_manifest(value, true);
	json_decref(value);
	repaired_tables_clear(&repair.repaired);
	store_mended_clear(&repair.superblock);
	store_mended_clear(&repair.manifest);
	store_mended_clear(&repair.log);
	return result < 0 ? exit_with(&err) : EXIT_OK;
}

static const struct option repair_options[] = {
	{'\0', "from", "SOURCE", "heal content from there; may be given several times"},
	{'\0', "undo", "FILE", "undo the healing that left this file"},
	{'\0', "apply", NULL, "do it; without this, only say what would be done"},
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};

const struct command repair_commands[] = {
	{.name = "repair",
         .operands = "",
         .summary = "mend damaged tables, logs, names or content",
         .details = "Where the superblock or the list of tables is damaged (corpusfs; CURRENT,\n"
                    "MANIFEST), its copy stands for it.\n"
                    "Of a damaged, short or missing table everything that can be read is kept. Where\n"
                    "a write-ahead log is damaged, the store becomes what it was before that. The\n"
                    "database as it is now is kept in the store's directory before-repair-TIME, and\n"
                    "nothing is removed; to undo, put that directory in the place of db. Then link\n"
                    "counts of each dataset are mended, and what has lost its name gets one in\n"
                    "lost+found; to undo, roll the dataset back to its snapshot before-repair-TIME.\n"
                    "The store must not be mounted.\n"
                    "With --from, damaged content (`corpusfs damage`) is looked for elsewhere, under\n"
                    "any name, in the order given: in another store, a directory, a file, an archive\n"
                    "(also - for standard input) or a repository of backups, REPO[@BACKUP]. What has\n"
                    "the same SHA-256 is stored and read instead, in all snapshots, mounted or not.\n"
                    "What that replaces is first written to a file undo-repair-TIME in the store's\n"
                    "directory, for --undo. Exit code 7: some was not found.\n",
         .options = repair_options,
         .run = run_repair},
	{NULL},
};
