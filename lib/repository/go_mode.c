#include "lib/repository/go_mode.h"

#include <string.h>
#include <sys/stat.h>

#include "lib/base/clean.h"

static const struct {
	uint32_t st, go;
	const char *type;
} types[] = {
	{S_IFREG, 0, "file"},
	{S_IFDIR, 1U << 31, "dir"},
	{S_IFLNK, 1U << 27, "symlink"},
	{S_IFBLK, 1U << 26, "dev"},
	{S_IFCHR, 1U << 26 | 1U << 21, "chardev"},
	{S_IFIFO, 1U << 25, "fifo"},
	{S_IFSOCK, 1U << 24, "socket"},
};

static const struct {
	uint32_t st, go;
} bits[] = {{S_ISUID, 1U << 23}, {S_ISGID, 1U << 22}, {S_ISVTX, 1U << 20}};

uint32_t go_mode_of(uint32_t st_mode)
{
	uint32_t mode = st_mode & 0777;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((st_mode & S_IFMT) == types[i].st)
			mode |= types[i].go;
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (st_mode & bits[i].st)
			mode |= bits[i].go;
	return mode;
}

uint32_t go_mode_to_st(uint32_t go_mode, const char *type)
{
	uint32_t mode = go_mode & 0777;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(type, types[i].type) == 0)
			mode |= types[i].st;
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (go_mode & bits[i].go)
			mode |= bits[i].st;
	return mode;
}

const char *go_type_of(uint32_t st_mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((st_mode & S_IFMT) == types[i].st)
			return types[i].type;
	return "irregular";
}
