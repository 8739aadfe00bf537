#include "lib/kv/manifest_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/crc32c.h"
#include "lib/base/file.h"
#include "lib/kv/manifest.h"

#define COPY_VERSION 1
#define COPY_HEAD 16
#define WORK_NAME MANIFEST_COPY_NAME ".tmp"
#define PIECE (16U << 10)

struct manifest_copy {
	int dir;
	pthread_mutex_t lock; /* guards all below; a leaf */
	int from, to;         /* the manifest and the copy; -1: there is none */
	uint64_t number, bytes; /* of the manifest, and how much of it was copied */
	bool changed;           /* since it was last synced */
};

static void encode_head(uint64_t number, struct buf *head)
{
	AUTO_BUF checked = BUF_INIT;

	buf_add_le32(&checked, COPY_VERSION);
	buf_add_le64(&checked, number);
	buf_add_le32(head, crc32c_add(0, checked.data, checked.len));
	buf_add(head, checked.data, checked.len);
}

int manifest_copy_read(int dir, uint64_t *ret_number, struct buf *ret_bytes)
{
	AUTO_BUF file = BUF_INIT;
	AUTO_BUF head = BUF_INIT;
	int result = file_read_inside(dir, MANIFEST_COPY_NAME, MANIFEST_BYTES_MAX, &file);

	if (result < 0)
		return result == -ENOENT ? result : -EBADMSG;
	if (file.len < COPY_HEAD)
		return -EBADMSG;
	struct reader reader = reader_over(file.data + sizeof(uint64_t), sizeof(uint64_t));
	const uint64_t number = read_le64(&reader);
	encode_head(number, &head);
	if (memcmp(head.data, file.data, COPY_HEAD) != 0)
		return -EBADMSG;
	*ret_number = number;
	buf_add(ret_bytes, file.data + COPY_HEAD, file.len - COPY_HEAD);
	return 0;
}

/* Caller holds the lock. What is being written there meanwhile is copied as far as it goes. */
static bool copy_on(struct manifest_copy *copy)
{
	struct stat st;

	if (fstat(copy->from, &st) < 0 || ((uint64_t)st.st_size > copy->bytes && fdatasync(copy->from) < 0))
		return false;
	while (copy->bytes < (uint64_t)st.st_size) {
		uint8_t piece[PIECE];
		const ssize_t got = pread(copy->from, piece, MIN((uint64_t)st.st_size - copy->bytes, sizeof(piece)), (off_t)copy->bytes);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || file_write_at(copy->to, piece, (size_t)got, COPY_HEAD + copy->bytes) < 0)
			return false;
		copy->bytes += (uint64_t)got;
		copy->changed = true;
	}
	return true;
}

static void let_go(struct manifest_copy *copy)
{
	if (copy->from >= 0)
		close(copy->from);
	if (copy->to >= 0)
		close(copy->to);
	copy->from = copy->to = -1;
	copy->number = copy->bytes = 0;
}

/* Another file: the one that is there stays until this one is whole, and a former owner of the database who wakes up late changes neither. */
static bool make(struct manifest_copy *copy, const char *name, uint64_t number)
{
	AUTO_BUF head = BUF_INIT;

	encode_head(number, &head);
	copy->from = file_open_inside(copy->dir, name, O_RDONLY, 0);
	(void)unlinkat(copy->dir, WORK_NAME, 0);
	copy->to = file_open_inside(copy->dir, WORK_NAME, O_RDWR | O_CREAT | O_EXCL, 0644);
	copy->number = number;
	if (copy->from >= 0 && copy->to >= 0 && file_write_at(copy->to, head.data, head.len, 0) == 0 && copy_on(copy) && fsync(copy->to) == 0 &&
	    renameat(copy->dir, WORK_NAME, copy->dir, MANIFEST_COPY_NAME) == 0) {
		copy->changed = false;
		return fsync(copy->dir) == 0;
	}
	/* on a full disk, what there is of it would take room */
	if (copy->to >= 0)
		(void)unlinkat(copy->dir, WORK_NAME, 0);
	return false;
}

static bool is_there(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink > 0;
}

/* Caller holds the lock. */
static void find_manifest(struct manifest_copy *copy)
{
	char name[MANIFEST_NAME_MAX];
	uint64_t number;

	if (manifest_current(copy->dir, name, &number) < 0 || (number == copy->number && is_there(copy->to)))
		return;
	let_go(copy);
	if (!make(copy, name, number))
		let_go(copy);
}

void manifest_copy_follow(struct manifest_copy *copy, bool sync)
{
	if (!copy)
		return;
	pthread_mutex_lock(&copy->lock);
	if (sync)
		find_manifest(copy);
	if (copy->to >= 0)
		(void)copy_on(copy);
	if (sync && copy->changed && fdatasync(copy->to) == 0)
		copy->changed = false;
	pthread_mutex_unlock(&copy->lock);
}

struct manifest_copy *manifest_copy_open(const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return NULL;
	struct manifest_copy *copy = xcalloc(1, sizeof(*copy));
	copy->dir = dir;
	copy->from = copy->to = -1;
	pthread_mutex_init(&copy->lock, NULL);
	manifest_copy_follow(copy, true);
	return copy;
}

void manifest_copy_close(struct manifest_copy *copy)
{
	if (!copy)
		return;
	let_go(copy);
	close(copy->dir);
	pthread_mutex_destroy(&copy->lock);
	free(copy);
}
