#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dataset_store.h"

#include "lib/reclaim/chunk_references.h"
#include "lib/tree/records/extent.h"

#define DEPTH 20000

struct reasons {
	struct buf text;
};

static int add_reason(void *arg, const struct chunk_reference *reference)
{
	struct reasons *reasons = arg;

	buf_addf(&reasons->text, "%s@%s:%s+%llu ", reference->dataset, reference->snapshot, reference->path,
		 (unsigned long long)reference->offset);
	return 0;
}

static int first_chunk(void *arg, const struct extent *extent)
{
	*(uint64_t *)arg = extent->record.chunk;
	return 1;
}

static void who_keeps_a_chunk_is_named(void **state)
{
	struct place place;
	struct view *view;
	struct create create = {.mode = S_IFDIR | 0755};
	struct attr attr;
	uint64_t chunk = 0;
	struct reasons reasons = {0};
	struct error err = {0};
	AUTO_FREE uint8_t *data = xmalloc(4096);

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 1, &err), 0);
	assert_int_equal(store_head(place.store, "a", &view), 0);
	fill_random(5, data, 4096);
	assert_int_equal(view_create(view, ROOT_INO, "dir", &create, &attr, NULL), 0);
	write_file(view, attr.ino, "file", 0, data, 4096);
	assert_int_equal(view_resolve(view, "dir/file", &attr), 0);
	assert_int_equal(snapshot_create(place.store, &(struct snapshot_name){"a", "one"}, 1, "", 0, &err), 0);
	assert_int_equal(view_extents(view, attr.ino, first_chunk, &chunk), 1);
	assert_int_equal(chunk_references_find(place.store, &chunk, 1, 10, add_reason, &reasons, NULL, &err), 0);
	assert_string_equal((const char *)reasons.text.data, "a@:dir/file+0 a@one:dir/file+0 ");
	assert_int_equal(view_resolve(view, "dir", &attr), 0);
	assert_int_equal(view_rename(view, ROOT_INO, "dir", ROOT_INO, "new", 0), 0);
	assert_int_equal(view_unlink(view, attr.ino, "file"), 0);
	store_view_put(place.store, view);
	buf_clear(&reasons.text);
	assert_int_equal(chunk_references_find(place.store, &chunk, 1, 10, add_reason, &reasons, NULL, &err), 0);
	assert_string_equal((const char *)reasons.text.data, "a@one:dir/file+0 ");
	buf_clear(&reasons.text);
	buf_clear(&reasons.text);
	chunk += 1000;
	assert_int_equal(chunk_references_find(place.store, &chunk, 1, 10, add_reason, &reasons, NULL, &err), 0);
	assert_int_equal(reasons.text.len, 0);
	place_clear(&place);
}

/* However deep it is: its path is as long, and made in one piece. */
static void a_file_deep_down_is_named(void **state)
{
	struct place place;
	struct view *view;
	struct create create = {.mode = S_IFDIR | 0755};
	struct attr attr = {.ino = ROOT_INO};
	uint64_t chunk = 0;
	struct reasons reasons = {0};
	struct error err = {0};
	AUTO_FREE uint8_t *data = xmalloc(4096);

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 1, &err), 0);
	assert_int_equal(store_head(place.store, "a", &view), 0);
	for (unsigned i = 0; i < DEPTH; i++)
		assert_int_equal(view_create(view, attr.ino, "d", &create, &attr, NULL), 0);
	fill_random(5, data, 4096);
	write_file(view, attr.ino, "f", 0, data, 4096);
	assert_int_equal(view_sync(view), 0);
	assert_int_equal(view_lookup(view, attr.ino, "f", &attr), 0);
	assert_int_equal(view_extents(view, attr.ino, first_chunk, &chunk), 1);
	assert_int_equal(chunk_references_find(place.store, &chunk, 1, 10, add_reason, &reasons, NULL, &err), 0);
	assert_int_equal(reasons.text.len, strlen("a@:") + 2 * DEPTH + strlen("f+0 "));
	buf_clear(&reasons.text);
	store_view_put(place.store, view);
	place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_keeps_a_chunk_is_named),
		cmocka_unit_test(a_file_deep_down_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
