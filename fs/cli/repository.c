#include "fs/cli/repository.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int repository_open_place(const char *path, bool make, int *ret_fd, struct error *err)
{
	if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_fd >= 0)
		return 0;
	(void)error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (errno == ENOENT)
		error_hint(err, "corpusfs backup init %s makes a repository", path);
	return err->code;
}

const char *repository_split(char *text)
{
	char *name = strrchr(text, '/');
	char *at = strchr(name ? name : text, '@');

	if (!at)
		return NULL;
	*at = '\0';
	return at + 1;
}

void repository_add_short(json_t *row)
{
	const char *backup = json_string_value(json_object_get(row, "backup"));

	if (backup)
		json_object_set_new(row, "short", json_stringn(backup, strlen(backup) < 8 ? strlen(backup) : 8));
}
