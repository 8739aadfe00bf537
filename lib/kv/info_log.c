#include "lib/kv/info_log.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"

#define LEVEL_HEADER 5 /* what is written when a database is opened, and nothing afterwards */
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

	rocksdb_options_set_info_log_level(options, LEVEL_HEADER);
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

char *info_log_end(char *directory)
{
	if (directory && (file_empty_dir(directory) < 0 || rmdir(directory) < 0))
		return directory;
	free(directory);
	return NULL;
}
