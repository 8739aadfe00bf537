#include "lib/identity/node_bytes.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static void add_u32(struct digest *digest, uint32_t value)
{
	const uint8_t bytes[] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};

	digest_update(digest, bytes, sizeof(bytes));
}

static void add_u64(struct digest *digest, uint64_t value)
{
	add_u32(digest, (uint32_t)value);
	add_u32(digest, (uint32_t)(value >> 32));
}

static void begin(struct digest *digest, const char *tag, uint32_t mode)
{
	digest_update(digest, tag, strlen(tag) + 1);
	add_u32(digest, mode & (S_IFMT | 07777));
}

void node_add_regular(struct digest *digest, uint32_t mode, uint64_t size, const uint8_t content[DIGEST_LEN])
{
	begin(digest, "corpusfs-file", mode);
	add_u64(digest, size);
	digest_update(digest, content, DIGEST_LEN);
}

void node_add_symlink(struct digest *digest, const void *target, size_t len)
{
	begin(digest, "corpusfs-symlink", S_IFLNK | 0777);
	add_u64(digest, len);
	digest_update(digest, target, len);
}

void node_add_special(struct digest *digest, uint32_t mode, uint64_t rdev)
{
	begin(digest, "corpusfs-special", mode);
	if (S_ISCHR(mode) || S_ISBLK(mode)) {
		add_u32(digest, major((dev_t)rdev));
		add_u32(digest, minor((dev_t)rdev));
	} else {
		add_u64(digest, 0);
	}
}

void node_begin_directory(struct digest *digest, uint32_t mode)
{
	begin(digest, "corpusfs-dir", mode);
}

void node_add_entry(struct digest *digest, const char *name, size_t len, const uint8_t node[NODE_LEN])
{
	add_u32(digest, (uint32_t)len);
	digest_update(digest, name, len);
	digest_update(digest, node, NODE_LEN);
}
