/* For the tests that read blobs from a repository: some that it has. */
#ifndef CORPUSFS_TESTS_BLOB_CONTENTS_H
#define CORPUSFS_TESTS_BLOB_CONTENTS_H

#include "tests/unit/repository_place.h"

#define LEN 9000U /* of each blob */

struct content {
	uint8_t bytes[LEN];
	struct blob_id id;
};

/* Every other one is such that zstd shrinks it. */
static __attribute__((unused)) void content_make(struct content *content, uint32_t number)
{
	uint32_t state = number * 2654435761U + 1;

	for (size_t i = 0; i < LEN; i++) {
		state = state * 1664525U + 1013904223U;
		content->bytes[i] = number % 2 ? (uint8_t)(number + i / 1000) : (uint8_t)(state >> 24);
	}
	content->id = blob_id_of(content->bytes, LEN);
}

static __attribute__((unused)) void contents_write(struct repository *repository, const struct content *contents, size_t count)
{
	struct blob_index *nothing = blob_index_new();
	struct repository_writer *writer = repository_writer_new(repository, nothing);
	struct repository_hand *hand = repository_hand_new(writer);
	struct writer_counts counts;
	struct error err = {0};

	for (size_t i = 0; i < count; i++) {
		const struct new_blob blob = {.id = contents[i].id, .plain = contents[i].bytes, .len = LEN, .level = 3};

		assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	}
	assert_int_equal(repository_hand_end(hand, &err), 0);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	repository_writer_free(writer);
	blob_index_free(nothing);
	assert_int_equal(repository_load_index(repository, false, &err), 0);
}

#endif
