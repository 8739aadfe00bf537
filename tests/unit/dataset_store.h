/*
 * For the tests of the rooms above lib/tree: a store in a directory of its own, and a remembered tree per view to compare with.
 *
 * The remembered trees have a few directories, made with the dataset, and files of content that is remembered whole.
 */
#ifndef CORPUSFS_TESTS_DATASET_STORE_H
#define CORPUSFS_TESTS_DATASET_STORE_H

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/base/file.h"
#include "lib/reclaim/gc.h"
#include "lib/store/snapshots.h"

#define UNUSED __attribute__((unused))

struct place {
	char dir[64], path[96];
	struct store *store;
};

static const struct store_parameters small_chunks = {.chunk_min = 4096, .chunk_average = 8192, .chunk_max = 16384};
static const struct store_options small_store = {.cache_bytes = 16 << 20, .write_buffer_bytes = 32 << 20, .threads = 2};

static UNUSED void remove_tree(const char *path)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", path, (char *)NULL);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

static UNUSED void place_make(struct place *place)
{
	snprintf(place->dir, sizeof(place->dir), "/tmp/corpusfs-test-XXXXXX");
	assert_non_null(mkdtemp(place->dir));
	snprintf(place->path, sizeof(place->path), "%s/store", place->dir);
	place->store = NULL;
}

static UNUSED void place_open(struct place *place)
{
	struct error err = {0};
	int result = store_open(place->path, &small_store, &place->store, &err);

	if (result < 0)
		print_error("store_open: %s\n", err.text);
	assert_int_equal(result, 0);
}

static UNUSED void place_init(struct place *place)
{
	struct error err = {0};

	place_make(place);
	assert_int_equal(store_init(place->path, &small_chunks, &err), 0);
	place_open(place);
}

static UNUSED void place_reopen(struct place *place)
{
	assert_int_equal(store_close(place->store), 0);
	place_open(place);
}

static UNUSED void place_clear(struct place *place)
{
	if (place->store)
		assert_int_equal(store_close(place->store), 0);
	remove_tree(place->dir);
}

/* For cmocka: a place for each test. */
static UNUSED int place_setup(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));

	place_init(place);
	*state = place;
	return 0;
}

static UNUSED int place_teardown(void **state)
{
	struct place *place = *state;

	place_clear(place);
	free(place);
	return 0;
}

/* Referenced: store_view_put gives it back. */
static UNUSED struct view *open_head(struct store *store, const char *dataset)
{
	struct view *view;

	assert_int_equal(store_head(store, dataset, &view), 0);
	return view;
}

static UNUSED uint64_t count_keys(struct store *store, enum kv_family family)
{
	struct kv_iter *iter = kv_iter_new(store_kv(store), family, NULL, 0, NULL, 0);
	uint64_t count = 0;

	for (kv_iter_first(iter); kv_iter_valid(iter); kv_iter_next(iter))
		count++;
	assert_int_equal(kv_iter_status(iter), 0);
	kv_iter_free(iter);
	return count;
}

/* All versions of all records of all families. */
static UNUSED uint64_t count_records(struct store *store)
{
	return count_keys(store, KV_TREE) + count_keys(store, KV_CONTENT);
}

static UNUSED uint64_t count_chunks(struct store *store)
{
	return count_keys(store, KV_BULK) + count_keys(store, KV_SMALL);
}

static UNUSED struct gc_progress collect(struct store *store, bool prune_only, bool dry_run)
{
	struct gc_options options = {.prune_only = prune_only, .dry_run = dry_run};
	struct gc_progress progress = {0};
	struct error err = {0};
	int result = gc_run(store, &options, &progress, &err);

	if (result < 0)
		print_error("gc_run: %s\n", err.text);
	assert_int_equal(result, 0);
	return progress;
}

/* This program again, with a fault point set; it must die of it. */
static UNUSED void die_at(const char *fault, const char *scenario, const char *path)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("CORPUSFS_FAULT", fault, 1);
		execl("/proc/self/exe", "test", scenario, path, (char *)NULL);
		_exit(2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_msg("%s: did not die at %s (status %x)", scenario, fault, status);
}

/* --- random --- */

static UNUSED uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static UNUSED void fill_random(uint64_t seed, uint8_t *out, size_t len)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;

	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(next_random(&state) >> 32);
}

/* --- remembered trees --- */

#define DIRS 4 /* 0 is the root */
#define NAMES 6
#define FILE_MAX 40000

struct file {
	bool exists;
	uint32_t len;
	uint8_t *data;
};

struct model {
	struct file files[DIRS][NAMES];
};

static UNUSED void file_clear(struct file *file)
{
	free(file->data);
	*file = (struct file){0};
}

static UNUSED void model_clear(struct model *model)
{
	for (size_t i = 0; i < DIRS * NAMES; i++)
		file_clear(&model->files[i / NAMES][i % NAMES]);
}

static UNUSED void model_copy(struct model *to, const struct model *from)
{
	for (size_t i = 0; i < DIRS * NAMES; i++) {
		const struct file *file = &from->files[i / NAMES][i % NAMES];
		struct file *copy = &to->files[i / NAMES][i % NAMES];
		*copy = *file;
		copy->data = xmalloc(file->len + 1UL);
		memcpy(copy->data, file->data ? file->data : (const uint8_t *)"", file->len);
	}
}

static UNUSED uint64_t dir_ino(struct view *view, unsigned dir)
{
	char name[16];
	struct attr attr;

	if (dir == 0)
		return ROOT_INO;
	snprintf(name, sizeof(name), "d%u", dir);
	assert_int_equal(view_lookup(view, ROOT_INO, name, &attr), 0);
	return attr.ino;
}

static UNUSED void make_dirs(struct store *store, const char *dataset)
{
	struct create create = {.mode = S_IFDIR | 0755};
	struct view *view;

	assert_int_equal(store_head(store, dataset, &view), 0);
	for (unsigned dir = 1; dir < DIRS; dir++) {
		char name[16];
		struct attr attr;
		snprintf(name, sizeof(name), "d%u", dir);
		assert_int_equal(view_create(view, ROOT_INO, name, &create, &attr, NULL), 0);
	}
	store_view_put(store, view);
}

/* Creates the file if it is not there. */
static UNUSED void write_file(struct view *view, uint64_t dir, const char *name, uint64_t offset, const void *data, size_t len)
{
	struct create create = {.mode = S_IFREG | 0644};
	struct inode *inode;
	struct attr attr;
	int result = view_lookup(view, dir, name, &attr);

	if (result == -ENOENT) {
		assert_int_equal(view_create(view, dir, name, &create, &attr, &inode), 0);
	} else {
		assert_int_equal(result, 0);
		assert_int_equal(inode_open(view, attr.ino, &inode), 0);
	}
	assert_int_equal(inode_write(inode, offset, data, len, 0), 0);
	inode_close(inode);
}

static UNUSED void model_write(struct view *view, struct model *model, unsigned dir, unsigned name, uint64_t *random)
{
	struct file *file = &model->files[dir][name];
	uint32_t offset = file->len ? (uint32_t)(next_random(random) % (file->len + 1UL)) : 0;
	uint32_t len = 1 + (uint32_t)(next_random(random) % (next_random(random) % 2 ? 1500 : FILE_MAX - offset));
	AUTO_FREE uint8_t *data = xmalloc(len);
	char text[8];

	len = MIN(len, FILE_MAX - offset);
	if (len == 0)
		return;
	fill_random(next_random(random) % 50, data, len); /* few seeds: dedup hits */
	snprintf(text, sizeof(text), "f%u", name);
	write_file(view, dir_ino(view, dir), text, offset, data, len);
	if (offset + len > file->len) {
		file->data = xrealloc(file->data, offset + len);
		file->len = offset + len;
	}
	file->exists = true;
	memcpy(file->data + offset, data, len);
}

static UNUSED void model_truncate(struct view *view, struct model *model, unsigned dir, unsigned name, uint64_t *random)
{
	struct file *file = &model->files[dir][name];
	struct setattr change = {.mask = SET_SIZE};
	struct attr attr;
	char text[8];

	if (!file->exists)
		return;
	change.size = next_random(random) % (file->len + 1UL);
	snprintf(text, sizeof(text), "f%u", name);
	assert_int_equal(view_lookup(view, dir_ino(view, dir), text, &attr), 0);
	assert_int_equal(view_setattr(view, attr.ino, &change, &attr), 0);
	file->len = (uint32_t)change.size;
}

static UNUSED void model_unlink(struct view *view, struct model *model, unsigned dir, unsigned name)
{
	struct file *file = &model->files[dir][name];
	char text[8];

	snprintf(text, sizeof(text), "f%u", name);
	assert_int_equal(view_unlink(view, dir_ino(view, dir), text), file->exists ? 0 : -ENOENT);
	file_clear(file);
}

static UNUSED void model_rename(struct view *view, struct model *model, unsigned dir, unsigned name, unsigned to_dir, unsigned to_name)
{
	struct file *from = &model->files[dir][name], *to = &model->files[to_dir][to_name];
	char text[8], to_text[8];

	if (!from->exists || from == to)
		return;
	snprintf(text, sizeof(text), "f%u", name);
	snprintf(to_text, sizeof(to_text), "f%u", to_name);
	assert_int_equal(view_rename(view, dir_ino(view, dir), text, dir_ino(view, to_dir), to_text, 0), 0);
	file_clear(to);
	*to = *from;
	*from = (struct file){0};
}

static UNUSED void model_change(struct view *view, struct model *model, uint64_t *random)
{
	unsigned dir = (unsigned)(next_random(random) % DIRS), name = (unsigned)(next_random(random) % NAMES);

	switch (next_random(random) % 8) {
	case 0: model_unlink(view, model, dir, name); break;
	case 1: model_truncate(view, model, dir, name, random); break;
	case 2:
		model_rename(view, model, dir, name, (unsigned)(next_random(random) % DIRS), (unsigned)(next_random(random) % NAMES));
		break;
	default: model_write(view, model, dir, name, random); break;
	}
}

static UNUSED int count_entry(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	*(size_t *)arg += type == DT_REG;
	return 0;
}

static UNUSED void check_file(struct view *view, uint64_t dir, const char *name, const struct file *file)
{
	struct attr attr;
	struct inode *inode;
	int result = view_lookup(view, dir, name, &attr);

	assert_int_equal(result, file->exists ? 0 : -ENOENT);
	if (!file->exists)
		return;
	assert_int_equal(attr.size, file->len);
	AUTO_FREE uint8_t *data = xmalloc(file->len + 1UL);
	assert_int_equal(inode_open(view, attr.ino, &inode), 0);
	assert_int_equal(inode_read(inode, 0, file->len + 1UL, data), file->len);
	inode_close(inode);
	if (file->len > 0)
		assert_memory_equal(data, file->data, file->len);
}

static UNUSED void model_check(struct view *view, const struct model *model)
{
	for (unsigned dir = 0; dir < DIRS; dir++) {
		uint64_t ino = dir_ino(view, dir);
		size_t found = 0, wanted = 0;
		for (unsigned name = 0; name < NAMES; name++) {
			char text[8];
			snprintf(text, sizeof(text), "f%u", name);
			check_file(view, ino, text, &model->files[dir][name]);
			wanted += model->files[dir][name].exists;
		}
		assert_int_equal(view_list(view, ino, "", count_entry, &found), 0);
		assert_int_equal(found, wanted);
	}
}

#endif
