#include "lib/browse/browsing.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "lib/backup/heads.h"
#include "lib/base/file.h"
#include "lib/repository/objects_kept.h"
#include "lib/repository/objects_open.h"

static int open_described(const struct browsing_options *options, const struct buf *description, struct objects **ret_objects, struct error *err)
{
	int fd;

	if (description)
		fd = file_in_memory("corpusfs-repository", description->data, description->len);
	else
		fd = open(options->repository, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, description ? fd : -errno, "%s: %s", options->repository, error_text(description ? fd : -errno));
	return objects_open(fd, false, NULL, ret_objects, err);
}

static int open_place(void *arg, struct objects **ret_objects, struct error *err)
{
	const struct browsing_options *options = &((struct browsing *)arg)->options;

	return open_described(options, options->description, ret_objects, err);
}

int browsing_open_place(const struct browsing *browsing, uint64_t limit_ms, struct objects **ret_objects, struct error *err)
{
	const struct browsing_options *options = &browsing->options;
	AUTO_BUF limited = BUF_INIT;
	int r = options->description ? objects_description_limit(options->description, limit_ms, &limited) : 0;

	if (r == 0)
		r = open_described(options, options->description ? &limited : NULL, ret_objects, err);
	if (limited.len > 0)
		explicit_bzero(limited.data, limited.len);
	return error_default(err, r, "%s cannot be opened", options->repository);
}

static int open_place_again(void *arg, struct objects **ret_objects)
{
	return open_place(arg, ret_objects, NULL);
}

/* The copies of the repository's small objects in the cache. */
static int open_copies(const struct browsing *browsing, struct objects **ret_copies, struct error *err)
{
	struct objects_left left;
	int fd, r = cache_dir_place(&browsing->cache_dir, browsing->options.repository, &fd);

	if (r < 0)
		return error_set(err, r, "the cache %s: %s", browsing->options.cache_dir, error_text(r));
	*ret_copies = objects_dir_open(fd);
	/* Nobody else uses it. */
	(void)!objects_clean(*ret_copies, time(NULL) + 1, false, &left);
	return 0;
}

static void tell_away(const struct browsing_options *options, const struct error *why)
{
	AUTO_FREE char *text = xasprintf("what=\"the place cannot be reached, and what is in the cache is shown: %s\"", why->text);

	options->problem(options->arg, text);
}

/* Whether what is in the cache does not say which version is meant. */
static bool needs_etcd(const struct browsing_options *options)
{
	return options->is_published && options->description && objects_etcd_is_asked(options->description);
}

static int open_with_cache(struct browsing *browsing, struct objects **ret_objects, struct error *err)
{
	const struct browsing_options *options = &browsing->options;
	struct objects_kept_options kept = {.open = open_place_again, .arg = browsing, .patience_ms = options->patience_ms};
	struct disk_cache_options disk = {.limit = options->cache_dir_bytes, .problem = options->problem, .arg = options->arg};
	struct error why = {0};
	uint64_t size;
	int r = cache_dir_open(options->cache_dir, &browsing->cache_dir, err);

	if (r == 0)
		r = open_copies(browsing, &kept.copies, err);
	if (r < 0)
		return r;
	r = open_place(browsing, &kept.place, &why);
	if (r < 0 && (!objects_is_away(r) || needs_etcd(options) || kept.copies->place->size(kept.copies, OBJECT_CONFIG, "", &size) < 0)) {
		objects_close(kept.copies);
		*err = why;
		if (objects_is_away(r) && needs_etcd(options))
			error_hint(err, "-o stale_ok shows the newest version that a cache knows");
		return r;
	}
	if (r < 0)
		tell_away(options, &why);
	disk.dir = browsing->cache_dir.dir;
	browsing->disk = disk_cache_new(&disk);
	*ret_objects = objects_kept_open(&kept);
	return 0;
}

/* The version stays what it is, whatever is published meanwhile, but for who follows. */
static int open_published(struct browsing *browsing, struct browse_options *browse, struct error *err)
{
	struct head head;
	int r = head_find(browse->repository, browsing->options.backup, &head, err);

	if (r < 0) {
		repository_close(browse->repository);
		return r;
	}
	browse->backup = head.backup;
	browse->only_dataset = true;
	browse->follows = browsing->options.follows;
	r = browse_open(browse, &browsing->browse, err);
	if (r == 0 && browse->follows)
		browse_note(browsing->browse, &(struct browse_followed){.follows = true, .number = head.number, .newest = head.number,
		                                                        .name = xstrdup(head.name), .asked = time(NULL)});
	head_clear(&head);
	return r;
}

int browsing_open(const struct browsing_options *options, struct browsing *ret_browsing, struct error *err)
{
	struct browse_options browse = {.backup = options->backup, .cache_bytes = options->cache_bytes, .problem = options->problem, .arg = options->arg};
	struct objects *objects;
	int r;

	*ret_browsing = (struct browsing){.options = *options, .cache_dir = {-1, -1}};
	r = options->cache_dir ? open_with_cache(ret_browsing, &objects, err) : open_place(ret_browsing, &objects, err);
	if (r == 0)
		r = repository_open(objects, options->password, &browse.repository, err);
	browse.disk = ret_browsing->disk;
	if (r == 0)
		r = options->is_published ? open_published(ret_browsing, &browse, err) : browse_open(&browse, &ret_browsing->browse, err);
	if (r == 0 && options->cache_dir)
		ret_browsing->with_copies = objects;
	return r;
}

void browsing_leave_cache(struct browsing *browsing)
{
	disk_cache_stop(browsing->disk);
	objects_kept_stop(browsing->with_copies);
	cache_dir_unlock(&browsing->cache_dir);
}

void browsing_close(struct browsing *browsing)
{
	browsing_leave_cache(browsing);
	browse_stop(browsing->browse);
	disk_cache_free(browsing->disk);
	browsing->disk = NULL;
	cache_dir_close(&browsing->cache_dir);
	browse_close(browsing->browse);
	browsing->browse = NULL;
	browsing->with_copies = NULL;
}
