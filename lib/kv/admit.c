#include "lib/kv/admit.h"

#include <errno.h>
#include <inttypes.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/kv/database_dir.h"
#include "lib/kv/examine.h"
#include "lib/kv/internal.h"

static void tell_log(const struct examined *examined, const char *shown, struct buf *text)
{
	char when[32];

	buf_addf(text, "%s/%06" PRIu64 ".log", shown, examined->log_number);
	if (examined->log_missing)
		buf_addf(text, " is missing");
	else if (examined->log_at < examined->log_bytes)
		buf_addf(text, " is damaged at byte %" PRIu64 " of %" PRIu64, examined->log_at, examined->log_bytes);
	else
		buf_addf(text, " ends at byte %" PRIu64 ", too early", examined->log_at);
	buf_addf(text, ": ");
	if (examined->changes_lost > 0)
		buf_addf(text, "%" PRIu64 " ", examined->changes_lost);
	buf_addf(text, "changes that were on disk come after it");
	clock_format(examined->synced_time, when);
	if (examined->synced_time)
		buf_addf(text, ", the last of %s", when);
}

static void tell_synced(const struct examined *examined, const char *shown, struct buf *text)
{
	buf_addf(text, "%s/" SYNCED_NAME " %s, so it cannot be told whether changes that were on disk are missing", shown, examined->synced_lost);
}

const char *kv_family_holds(enum kv_family family)
{
	switch (family) {
	case KV_CONTENT:
		return "content of small files";
	case KV_BULK:
	case KV_SMALL:
		return "content of files";
	case KV_DEDUP:
		return "where equal content is stored";
	case KV_CATALOG:
		return "the list of datasets and snapshots";
	case KV_TOUCHED:
		return "what changed when";
	default:
		return "names, attributes and layout of files";
	}
}

static void tell_tables(const struct examined *examined, const char *shown, struct buf *text)
{
	const struct examined_table *table = examined->tables.items;

	buf_addf(text, "%s/%06" PRIu64 ".sst (%s) ", shown, table->number, kv_family_holds(table->family));
	if (table->found < 0)
		buf_addf(text, "is missing");
	else
		buf_addf(text, "has %" PRId64 " bytes and should have %" PRIu64, table->found, table->bytes);
	if (examined->tables.count > 1)
		buf_addf(text, ", and so on for %zu files in all", examined->tables.count);
}

/* Nothing that is read depends on the index of equal content. */
static unsigned needed_for(enum kv_family family)
{
	switch (family) {
	case KV_CONTENT:
	case KV_DEDUP:
	case KV_BULK:
	case KV_SMALL:
		return KV_ACCEPT_CHUNKS;
	default:
		return KV_ACCEPT_METADATA;
	}
}

/* What has to be accepted; the table that weighs most comes first. */
static unsigned weigh(struct examined *examined)
{
	unsigned needed = examined->log_number || examined->synced_lost ? KV_ACCEPT_LOG : 0;

	for (size_t i = 0; i < examined->tables.count; i++) {
		struct examined_table *first = &examined->tables.items[0], *table = &examined->tables.items[i], other = *table;
		if (needed_for(other.family) == KV_ACCEPT_METADATA && needed_for(first->family) != KV_ACCEPT_METADATA) {
			*table = *first;
			*first = other;
		}
		needed |= needed_for(other.family);
	}
	return needed;
}

static int refuse(unsigned needed, bool is_unsure, const char *text, struct error *err)
{
	error_set(err, -EBADMSG, "%s", text);
	if (needed & KV_ACCEPT_METADATA)
		error_hint(err, "nothing was changed; corpusfs mount -o salvage shows what is left, where files may be missing or old; corpusfs repair says "
				"what can be mended, and with --apply keeps just that; or " DATABASE_HINT_ELSEWHERE);
	else if (is_unsure)
		error_hint(err, "nothing was changed; corpusfs mount -o ro shows what is there, and corpusfs repair --apply takes the write-ahead log as it is");
	else
		error_hint(err, "nothing was changed; corpusfs mount -o ro shows what is left, corpusfs repair says what can be mended, and with --apply gives up the rest");
	return -EBADMSG;
}

int admit_database(const char *path, const char *shown, unsigned accept, char **ret_lost, bool *ret_tables, struct error *err)
{
	struct examined examined = {0};
	int result = examine_database(path, shown, &examined, err);

	if (result < 0) {
		if (result == -EBADMSG)
			error_hint(err, DATABASE_HINT_MEND);
		return result;
	}
	AUTO_BUF text = BUF_INIT;
	const unsigned needed = weigh(&examined);
	const bool is_unsure = examined.synced_lost && examined.tables.count == 0;
	if (examined.log_number)
		tell_log(&examined, shown, &text);
	if (examined.synced_lost)
		tell_synced(&examined, shown, &text);
	if (examined.tables.count > 0) {
		buf_addf(&text, "%s", text.len > 0 ? "; " : "");
		tell_tables(&examined, shown, &text);
	}
	*ret_tables = examined.tables.count > 0;
	examined_clear(&examined);
	if (needed & ~accept)
		return refuse(needed, is_unsure, (const char *)text.data, err);
	*ret_lost = needed ? xstrdup((const char *)text.data) : NULL;
	return 0;
}
