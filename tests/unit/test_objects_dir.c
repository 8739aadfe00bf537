/* A directory as a store of objects: what is on the disk when an object was put. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/repository_place.h"

#define SYNCS_MAX 16

static ino_t synced[SYNCS_MAX];
static size_t syncs;

int fsync(int fd)
{
	struct stat st;

	if (syncs < SYNCS_MAX && fstat(fd, &st) == 0)
		synced[syncs++] = st.st_ino;
	return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

static bool was_synced(const struct repository_place *place, const char *folder)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", place->path, folder);
	assert_int_equal(stat(path, &st), 0);
	for (size_t i = 0; i < syncs; i++)
		if (synced[i] == st.st_ino)
			return true;
	return false;
}

static void put(const struct repository_place *place, enum object_kind kind)
{
	struct objects *objects = place->repository->objects;
	char name[BLOB_ID_TEXT];

	memset(name, '3', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	syncs = 0;
	assert_int_equal(objects->place->put(objects, kind, name, "x", 1), 0);
}

static void test_the_name_of_a_new_folder_is_on_the_disk(void **state)
{
	struct repository_place place;
	char path[128];

	repository_place_make(&place);
	snprintf(path, sizeof(path), "%s/data/33", place.path);
	assert_int_equal(rmdir(path), 0);
	put(&place, OBJECT_PACK);
	assert_true(was_synced(&place, "data"));
	assert_true(was_synced(&place, "data/33"));
	put(&place, OBJECT_HEAD);
	assert_true(was_synced(&place, "."));
	assert_true(was_synced(&place, "heads"));
	repository_place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_name_of_a_new_folder_is_on_the_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
