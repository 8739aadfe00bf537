#include "lib/backup/backup_find.h"

#include <errno.h>
#include <stdio.h>

#define DIGITS_MIN 4

const char *backup_dataset(const struct snapshot_file *snapshot)
{
	const char *path = snapshot->paths.count > 0 ? snapshot->paths.items[0] : "";

	return path[0] == '/' && path[1] && !strchr(path + 1, '/') ? path + 1 : path;
}

static bool is_of(const struct snapshot_file *snapshot, const char *text)
{
	const char *dataset = backup_dataset(snapshot), *of = snapshot_file_tag_value(snapshot, "snapshot");
	const size_t len = strlen(dataset);

	if (strncmp(text, dataset, len) != 0)
		return false;
	return text[len] == '\0' || (text[len] == '@' && of && strcmp(text + len + 1, of) == 0);
}

bool backup_is_complete(const struct snapshot_file *snapshot)
{
	return !snapshot_file_has_tag(snapshot, "incomplete");
}

uint32_t backup_view(const struct snapshot_file *snapshot)
{
	const char *text = snapshot_file_tag_value(snapshot, "view");
	unsigned long number;
	char *end;

	if (!text)
		return 0;
	number = strtoul(text, &end, 10);
	return *end || number > UINT32_MAX ? 0 : (uint32_t)number;
}

/* Of those that the text names (NULL: all) the newest complete one, or else the newest. */
static struct snapshot_file *newest(const struct snapshot_files *snapshots, const char *text, struct snapshot_file **ret_passed_over)
{
	struct snapshot_file *first = NULL;

	*ret_passed_over = NULL;
	for (size_t i = snapshots->count; i-- > 0;) {
		struct snapshot_file *snapshot = &snapshots->items[i];

		if (text && !is_of(snapshot, text))
			continue;
		if (backup_is_complete(snapshot)) {
			*ret_passed_over = first;
			return snapshot;
		}
		first = first ? first : snapshot;
	}
	return first;
}

/* What the text names; NULL: none, or (ret_many) several by their digits. */
static struct snapshot_file *choose(const struct snapshot_files *snapshots, const char *text, struct snapshot_file **ret_passed_over, bool *ret_many)
{
	struct snapshot_file *by_digits = NULL, *of_dataset;

	*ret_many = false;
	if (strcmp(text, "latest") == 0)
		return snapshots->count > 0 ? array_last(snapshots) : NULL;
	of_dataset = newest(snapshots, text, ret_passed_over);
	if (of_dataset)
		return of_dataset;
	for (size_t i = 0; i < snapshots->count && strlen(text) >= DIGITS_MIN; i++) {
		if (strncmp(snapshots->items[i].name, text, strlen(text)) != 0)
			continue;
		*ret_many = by_digits != NULL;
		by_digits = &snapshots->items[i];
	}
	return *ret_many ? NULL : by_digits;
}

static int choose_only(const struct snapshot_files *snapshots, struct snapshot_file **ret_found, struct snapshot_file **ret_passed_over, struct error *err)
{
	for (size_t i = 1; i < snapshots->count; i++) {
		if (strcmp(backup_dataset(&snapshots->items[i]), backup_dataset(&snapshots->items[0])) == 0)
			continue;
		(void)error_set(err, -EINVAL, "the repository has backups of several datasets, of %s and %s for example", backup_dataset(&snapshots->items[0]),
		                backup_dataset(&snapshots->items[i]));
		error_hint(err, "name one: REPOSITORY@DATASET, or REPOSITORY@BACKUP as corpusfs backup list shows it");
		return -EINVAL;
	}
	*ret_found = newest(snapshots, NULL, ret_passed_over);
	return 0;
}

static bool is_among(const struct backup_filter *filter, const struct snapshot_file *snapshot)
{
	return (!filter->host || (snapshot->host && strcmp(snapshot->host, filter->host) == 0)) &&
	       (!filter->tag || snapshot_file_has_tag(snapshot, filter->tag));
}

static void keep_those_among(const struct backup_filter *filter, struct snapshot_files *snapshots)
{
	size_t kept = 0;

	for (size_t i = 0; i < snapshots->count; i++) {
		if (is_among(filter, &snapshots->items[i]))
			snapshots->items[kept++] = snapshots->items[i];
		else
			snapshot_file_clear(&snapshots->items[i]);
	}
	snapshots->count = kept;
}

static int not_found(const char *text, const struct backup_filter *filter, struct error *err)
{
	AUTO_FREE char *name = text ? xasprintf(" \"%s\"", text) : xstrdup("s");
	AUTO_FREE char *host = filter->host ? xasprintf(" of host \"%s\"", filter->host) : xstrdup("");
	AUTO_FREE char *tag = filter->tag ? xasprintf(" with tag \"%s\"", filter->tag) : xstrdup("");

	(void)error_set(err, -ENOENT, "the repository has no backup%s%s%s", name, host, tag);
	error_hint(err, "corpusfs backup list REPOSITORY shows those there are");
	return -ENOENT;
}

static bool is_named(const struct snapshot_file *snapshot, const char *text)
{
	return text && (strchr(text, '@') || (strlen(text) >= DIGITS_MIN && strncmp(snapshot->name, text, strlen(text)) == 0));
}

static bool has_digits(const struct blob_id *id, const char *text, char ret_name[BLOB_ID_TEXT])
{
	blob_id_text(id, ret_name);
	return text && strlen(text) >= DIGITS_MIN && strncmp(ret_name, text, strlen(text)) == 0;
}

bool backup_find_damaged(struct repository *repository, const char *text, char ret_name[BLOB_ID_TEXT])
{
	struct snapshot_files snapshots = {0};
	char name[BLOB_ID_TEXT];
	size_t found = 0;

	if (snapshot_files_read(repository, true, &snapshots, NULL) < 0)
		return false;
	for (size_t i = 0; i < snapshots.damaged.count; i++) {
		if (!has_digits(&snapshots.damaged.items[i], text, name))
			continue;
		memcpy(ret_name, name, BLOB_ID_TEXT);
		found++;
	}
	for (size_t i = 0; i < snapshots.count; i++)
		found += strncmp(snapshots.items[i].name, text, strlen(text)) == 0;
	snapshot_files_clear(&snapshots);
	return found == 1;
}

/* Nobody knows of what a damaged one is, and of when. */
static int check_damaged(const struct snapshot_files *snapshots, const char *text, const struct snapshot_file *found, struct error *err)
{
	char name[BLOB_ID_TEXT];

	if (snapshots->damaged.count == 0 || (found && is_named(found, text)))
		return 0;
	for (size_t i = 0; i < snapshots->damaged.count; i++) {
		if (!has_digits(&snapshots->damaged.items[i], text, name))
			continue;
		(void)error_set(err, -EBADMSG, "the snapshot file of backup %.8s is damaged: its backup is lost", name);
		error_hint(err, "corpusfs backup forget REPOSITORY %.8s removes it; corpusfs backup list REPOSITORY shows the others", name);
		return -EBADMSG;
	}
	(void)error_set(err, -EBADMSG, "snapshot file %.8s of the repository is damaged: it may be of the backup that is wanted", name);
	error_hint(err, "name one that corpusfs backup list REPOSITORY shows; corpusfs backup forget REPOSITORY %.8s removes the damaged one", name);
	return -EBADMSG;
}

/* NULL: none. */
static const struct snapshot_file *find_later(const struct snapshot_files *snapshots, const struct snapshot_file *found)
{
	const char *of = snapshot_file_tag_value(found, "dataset-id");
	const struct snapshot_file *later = NULL;

	for (size_t i = 0; of && &snapshots->items[i] < found; i++) {
		const struct snapshot_file *snapshot = &snapshots->items[i];
		const char *other = snapshot_file_tag_value(snapshot, "dataset-id");

		if (other && strcmp(of, other) == 0 && backup_is_complete(snapshot) && backup_view(snapshot) > backup_view(later ? later : found))
			later = snapshot;
	}
	return later;
}

int backup_find(struct repository *repository, const char *text, struct snapshot_file *ret_snapshot, struct backup_others *ret_others, struct error *err)
{
	const struct backup_filter all = {0};

	return backup_find_among(repository, text, &all, ret_snapshot, ret_others, err);
}

/* Of a whole name nothing else has to be read. False: all are to be looked at, also to say what is wrong. */
static bool find_whole(struct repository *repository, const char *text, const struct backup_filter *filter, struct snapshot_file *ret_snapshot)
{
	struct snapshot_file snapshot;
	struct blob_id id;

	if (!text || blob_id_parse(text, &id) < 0 || snapshot_file_read(repository, text, &snapshot, NULL) < 0)
		return false;
	if (is_among(filter, &snapshot)) {
		*ret_snapshot = snapshot;
		return true;
	}
	snapshot_file_clear(&snapshot);
	return false;
}

int backup_find_among(struct repository *repository, const char *text, const struct backup_filter *filter, struct snapshot_file *ret_snapshot,
		      struct backup_others *ret_others, struct error *err)
{
	const struct snapshot_file *later;
	struct snapshot_files snapshots = {0};
	struct snapshot_file *found = NULL, *passed_over = NULL;
	bool many = false;
	int r;

	if (find_whole(repository, text, filter, ret_snapshot)) {
		if (ret_others)
			*ret_others = (struct backup_others){0};
		return 0;
	}
	r = snapshot_files_read(repository, true, &snapshots, err);
	if (r == 0)
		keep_those_among(filter, &snapshots);
	if (r == 0 && text)
		found = choose(&snapshots, text, &passed_over, &many);
	else if (r == 0)
		r = choose_only(&snapshots, &found, &passed_over, err);
	if (r == 0 && many)
		r = error_set(err, -EINVAL, "several backups begin with %s: give more digits", text);
	if (r == 0)
		r = check_damaged(&snapshots, text, found, err);
	if (r == 0 && !found)
		r = not_found(text, filter, err);
	if (r == 0) {
		later = is_named(found, text) ? NULL : find_later(&snapshots, found);
		if (ret_others)
			(void)snprintf(ret_others->incomplete, BLOB_ID_TEXT, "%s", passed_over ? passed_over->name : "");
		if (ret_others)
			(void)snprintf(ret_others->later, BLOB_ID_TEXT, "%s", later ? later->name : "");
		*ret_snapshot = *found;
		*found = (struct snapshot_file){0};
	}
	snapshot_files_clear(&snapshots);
	return r;
}
