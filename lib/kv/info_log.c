#include "lib/kv/info_log.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"

#define LEVEL_WARN 2
#define DB_PATH_MAX 200 /* RocksDB makes the log's name of the whole path, and names are short */

/* A symbolic link of that name leads to what is not ours to empty. */
static bool is_directory(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *info_log_begin(const char *db, rocksdb_options_t *options)
{
	AUTO_FREE char *directory = xasprintf("%s.opening", db);

	rocksdb_options_set_info_log_level(options, LEVEL_WARN);
	rocksdb_options_set_keep_log_file_num(options, 2);
	if (strlen(db) > DB_PATH_MAX || (mkdir(directory, 0700) < 0 && errno != EEXIST) || !is_directory(directory))
		return NULL;
	rocksdb_options_set_db_log_dir(options, directory);
	return steal_ptr(directory);
}

void info_log_none(rocksdb_options_t *options)
{
	/* RocksDB goes on without a log when it cannot make one, and there is no other way to tell it. */
	rocksdb_options_set_db_log_dir(options, "/dev/null");
}

static void move_in(const char *directory, const char *db)
{
	DIR *dir = opendir(directory);

	if (!dir)
		return;
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		const size_t len = strlen(entry->d_name);
		if (len < 4 || strcmp(entry->d_name + len - 4, "_LOG") != 0)
			continue;
		AUTO_FREE char *begun = xasprintf("%s/%s", directory, entry->d_name);
		AUTO_FREE char *log = xasprintf("%s/LOG", db);
		AUTO_FREE char *last = xasprintf("%s/LOG.old", db);
		/* Nothing depends on it: what cannot be renamed is removed with the directory. */
		(void)!rename(log, last);
		(void)!rename(begun, log);
	}
	closedir(dir);
}

void info_log_end(char *directory, const char *db, bool opened)
{
	if (!directory)
		return;
	if (opened)
		move_in(directory, db);
	if (file_empty_dir(directory) == 0)
		rmdir(directory);
	free(directory);
}
