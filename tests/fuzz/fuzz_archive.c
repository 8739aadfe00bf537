/* Reads what it is given as an archive, as an import does: all members, and all their data. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "lib/base/buf.h"
#include "lib/transfer/archive_in.h"
#include "tests/fuzz/target.h"

/* Some bytes may stand for very much content; what comes behind is of no interest here. */
#define MEMBERS 2000
#define DATA (8U << 20)

static bool never(void *arg, uint64_t position, uint64_t size)
{
	return false;
}

static int any_room(void *arg, size_t len)
{
	return len > (256U << 20) ? -ENOSPC : 0;
}

static void read_data(struct archive_in *in, uint64_t *left)
{
	const void *data;
	uint64_t offset, end = 0;
	size_t len;

	while (*left > 0 && archive_in_data(in, &data, &len, &offset) > 0) {
		const volatile uint8_t *bytes = data;
		if (offset < end)
			abort(); /* stretches ascend */
		end = offset + len;
		if (len > 0)
			(void)(bytes[0] + bytes[len - 1]);
		*left -= MIN(*left, len);
	}
}

static void read_all(struct archive_in *in)
{
	struct archive_found found;
	uint64_t left = DATA;

	for (unsigned members = 0; members < MEMBERS && left > 0 && archive_in_next(in, &found) > 0; members++)
		if (members % 3 != 2)
			read_data(in, &left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_CLOSE int fd = memfd_create("archive", MFD_CLOEXEC);
	AUTO_CLOSE int dir = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct archive_in_options options = {.fd = fd, .keep = {.dir = dir, .room = any_room}, .keep_name = "/tmp", .stopped = never};
	struct archive_in *in = NULL;
	struct error err;

	if (fd < 0 || dir < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0)
		return 0;
	if (archive_in_new(&options, &in, &err) == 0) {
		read_all(in);
		archive_in_free(in);
	}
	return 0;
}
