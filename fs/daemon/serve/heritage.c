#include "fs/daemon/serve/heritage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"

/* FUSE_NOTIFY_RESEND came with Linux 6.9: before, what a daemon had read is never sent again, and who waits for it waits for ever. */
bool heritage_possible(void)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	if (fault_point("supervise-kernel") < 0 || uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major > 6 || (major == 6 && minor >= 9);
}

int heritage_write(struct supervisor_page *page, const char *store, const struct store_options *options, const json_t *mount)
{
	json_t *all = json_pack("{s:s, s:I, s:I, s:b, s:b, s:O}", "store", store, "cache", (json_int_t)options->cache_bytes, "write_buffer",
	                        (json_int_t)options->write_buffer_bytes, "damaged", options->damaged, "salvage", options->salvage, "mount",
	                        mount);
	AUTO_FREE char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
	const size_t len = text ? strlen(text) : SIZE_MAX;

	json_decref(all);
	if (len >= sizeof(page->options))
		return -E2BIG;
	memcpy(page->options, text, len + 1);
	return 0;
}

int heritage_read(const struct supervisor_page *page, json_t **ret_all, struct store_options *ret_options)
{
	json_t *all = json_loads(page->options, 0, NULL);

	if (!json_is_string(json_object_get(all, "store"))) {
		json_decref(all);
		return -EBADMSG;
	}
	*ret_options = (struct store_options){
		.cache_bytes = (uint64_t)json_integer_value(json_object_get(all, "cache")),
		.write_buffer_bytes = (uint64_t)json_integer_value(json_object_get(all, "write_buffer")),
		.damaged = json_is_true(json_object_get(all, "damaged")),
		.salvage = json_is_true(json_object_get(all, "salvage")),
	};
	store_choose_budgets(ret_options); /* an older program has left that to this one */
	*ret_all = all;
	return 0;
}

static int make_journal(const struct store_options *options)
{
	int fd = memfd_create("corpusfs-journal", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)store_journal_bytes(options)) < 0) {
		close(fd);
		return -ENOMEM;
	}
	return fd;
}

int heritage_try(const struct store_options *options)
{
	AUTO_CLOSE int journal = -1, session = -1;
	void *memory;
	int result = fault_point("supervise-memory");

	if (faccessat(AT_FDCWD, "/proc/self/exe", X_OK, AT_EACCESS) < 0)
		return -EACCES;
	if (result == 0)
		result = journal = make_journal(options);
	if (result < 0)
		return result;
	const size_t size = store_journal_bytes(options);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, journal, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	result = madvise(memory, (size_t)sysconf(_SC_PAGESIZE), MADV_POPULATE_WRITE) < 0 && errno != EINVAL ? -ENOMEM : 0;
	munmap(memory, size);
	return result < 0 ? result : kept_create(&session);
}

int heritage_take(struct keeper *keeper, struct store_options *options, int *ret_journal_fd, struct error *err)
{
	const struct supervisor_page *page = keeper_page(keeper);
	int fd = page->journal_fd >= 0 ? page->journal_fd : make_journal(options);
	struct stat st;
	void *memory;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(err, fd < 0 ? fd : -errno, "no memory for what is not committed yet");
	memory = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return error_set(err, -ENOMEM, "no memory for what is not committed yet");
	options->heritage = (struct store_heritage){
		.journal = memory, .journal_bytes = (size_t)st.st_size, .lock_fd = page->lock_fd, .dead = page->dead[0] ? page->dead : NULL};
	*ret_journal_fd = fd;
	return 0;
}

void heritage_memory(int journal_fd, struct memory_part *ret_part)
{
	struct stat st;

	*ret_part = (struct memory_part){.name = "journal"};
	if (journal_fd < 0 || fstat(journal_fd, &st) < 0)
		return;
	ret_part->bytes = (uint64_t)st.st_blocks * 512;
	ret_part->budget = (uint64_t)st.st_size;
}

int heritage_leave(struct keeper *keeper, struct store *store, int journal_fd, struct error *err)
{
	const bool is_first = keeper_page(keeper)->journal_fd < 0;
	int result = 0;

	keeper_keep_log(keeper, STDERR_FILENO);
	if (is_first && store_lock_fd(store) >= 0)
		result = keeper_keep_store(keeper, store_lock_fd(store), journal_fd);
	return result < 0 ? error_set(err, result, "the supervisor does not answer: %s", error_text(result)) : 0;
}
