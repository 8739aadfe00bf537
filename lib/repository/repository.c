#include "lib/repository/repository.h"

#include <errno.h>
#include <stdio.h>

#include "lib/chunk/zstd_stream.h"
#include "lib/repository/read_several.h"

#define PACKED_JSON 2 /* the first byte of a compressed file; of a plain one it is '{' or '[' */

/* --- sealed files --- */

int repository_unseal(const struct repository *repository, struct buf *content)
{
	struct seal *seal = seal_new(&repository->key);
	int r = seal_open(seal, content->data, content->len, content->data + SEAL_IV);

	seal_free(seal);
	if (r < 0)
		return r;
	content->len -= SEAL_EXTRA;
	memmove(content->data, content->data + SEAL_IV, content->len);
	content->data[content->len] = '\0';
	return 0;
}

static int unpack_json(struct buf *content)
{
	AUTO_BUF plain = BUF_INIT;
	int r;

	if (content->len == 0 || content->data[0] != PACKED_JSON)
		return 0;
	r = zstd_unpack_whole(content->data + 1, content->len - 1, SEALED_FILE_MAX, &plain);
	if (r < 0)
		return r;
	buf_add_u8(&plain, 0);
	plain.len--;
	buf_clear(content);
	*content = plain;
	plain = BUF_INIT;
	return 0;
}

int repository_get_file(struct repository *repository, enum object_kind kind, const char *name, struct buf *ret_json, struct error *err)
{
	int r = objects_get_named(repository->objects, kind, name, SEALED_FILE_MAX, ret_json);

	if (r < 0 && r != -EBADMSG)
		return error_set(err, r, "%s %.8s of the repository cannot be read: %s", object_kind_text(kind), name, strerror(-r));
	if (r < 0 || repository_unseal(repository, ret_json) < 0 || unpack_json(ret_json) < 0)
		return error_set(err, -EBADMSG, "%s %.8s of the repository is damaged", object_kind_text(kind), name);
	return 0;
}

void repository_seal(const struct repository *repository, const struct buf *plain, struct buf *sealed)
{
	struct seal *seal = seal_new(&repository->key);

	buf_reserve(sealed, plain->len + SEAL_EXTRA);
	seal_close(seal, plain->data, plain->len, sealed->data);
	sealed->len = plain->len + SEAL_EXTRA;
	seal_free(seal);
}

int repository_put_file(struct repository *repository, enum object_kind kind, const struct buf *json, char *ret_name, struct error *err)
{
	AUTO_BUF plain = BUF_INIT, sealed = BUF_INIT;
	struct codec *codec = codec_new();
	uint8_t *packed = NULL;
	size_t packed_len = 0;
	struct blob_id id;
	int r = repository->version >= 2 ? codec_pack(codec, json->data, json->len, 3, &packed, &packed_len) : 0;

	codec_free(codec);
	if (r == 1) {
		buf_add_u8(&plain, PACKED_JSON);
		buf_add(&plain, packed, packed_len);
		free(packed);
	}
	repository_seal(repository, r == 1 ? &plain : json, &sealed);
	id = blob_id_of(sealed.data, sealed.len);
	blob_id_text(&id, ret_name);
	r = repository->objects->place->put(repository->objects, kind, ret_name, sealed.data, sealed.len);
	return r < 0 ? objects_put_failed(kind, r, err) : 0;
}

static int add_name(void *arg, const char *name, uint64_t size)
{
	struct object_names *names = arg;
	struct blob_id id;

	(void)size;
	if (blob_id_parse(name, &id) == 0)
		array_add(names, id);
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	return blob_id_compare(a, b);
}

void object_names_sort(struct object_names *names)
{
	if (names->count > 0)
		qsort(names->items, names->count, sizeof(*names->items), compare_ids);
}

static int folder_is_missing(enum object_kind kind, struct error *err)
{
	(void)error_set(err, -ENOENT, "the repository's folder %s is missing", object_folder(kind));
	if (kind == OBJECT_INDEX)
		error_hint(err, "mount the disk that it is on; if it is lost: corpusfs backup rebuild-index REPOSITORY makes it anew");
	else if (kind == OBJECT_LOCK)
		error_hint(err, "mount the disk that it is on; if it is lost: mkdir REPOSITORY/%s", object_folder(kind));
	else
		error_hint(err, "mount the disk that it is on, or bring it back from a copy of the repository");
	return -ENOENT;
}

int repository_list(struct repository *repository, enum object_kind kind, struct object_names *ret_names, struct error *err)
{
	int r = repository->objects->place->list(repository->objects, kind, add_name, ret_names);

	if (r == -ENOENT)
		return folder_is_missing(kind, err);
	if (r < 0)
		return error_set(err, r, "the repository's %ss cannot be listed: %s", object_kind_text(kind), strerror(-r));
	object_names_sort(ret_names);
	return 0;
}

/* --- the index --- */

static int read_index_file(struct repository *repository, const struct blob_id *id, struct buf *ret_json, struct error *err)
{
	char name[BLOB_ID_TEXT];

	blob_id_text(id, name);
	return repository_get_file(repository, OBJECT_INDEX, name, ret_json, err);
}

static int add_index_file(struct blob_index *index, const struct blob_id *id, const struct buf *json, struct error *err)
{
	char name[BLOB_ID_TEXT];

	if (blob_index_read(index, (char *)json->data, json->len) == 0)
		return 0;
	blob_id_text(id, name);
	return error_set(err, -EBADMSG, "index file %.8s of the repository is damaged", name);
}

int repository_read_index_file(struct repository *repository, const struct blob_id *id, struct blob_index *index, struct error *err)
{
	AUTO_BUF json = BUF_INIT;
	int r = read_index_file(repository, id, &json, err);

	return r < 0 ? r : add_index_file(index, id, &json, err);
}

#define INDEX_FILES 4 /* at once: each takes some megabytes, and what it says ten times that */

struct index_reading {
	struct repository *repository;
	bool lenient;
	struct blob_id ids[INDEX_FILES];
	struct buf json[INDEX_FILES];
	struct error *err;
};

static int read_one_index_file(void *arg, size_t slot, const char *name, struct error *err)
{
	struct index_reading *reading = arg;

	buf_reset(&reading->json[slot]);
	(void)!blob_id_parse(name, &reading->ids[slot]); /* it was made of one */
	return read_index_file(reading->repository, &reading->ids[slot], &reading->json[slot], err);
}

static int take_one_index_file(void *arg, size_t slot, int result, bool is_over)
{
	struct index_reading *reading = arg;

	if (is_over)
		return 0;
	if (result == 0)
		result = add_index_file(reading->repository->index, &reading->ids[slot], &reading->json[slot], reading->err);
	if (reading->lenient && result == -EBADMSG) {
		array_add(&reading->repository->bad_index_files, reading->ids[slot]);
		return 0;
	}
	/* Somebody may have replaced it by another one meanwhile, which was put before it went. */
	return result == -ENOENT ? 0 : result;
}

static int load_index_files(struct repository *repository, bool lenient, struct error *err)
{
	struct index_reading reading = {.repository = repository, .lenient = lenient, .err = err};
	const struct read_several how = {read_one_index_file, take_one_index_file, &reading, INDEX_FILES};
	const int r = read_several(&repository->index_files, &how, err);

	for (size_t i = 0; i < INDEX_FILES; i++)
		buf_clear(&reading.json[i]);
	return r;
}

int repository_load_index(struct repository *repository, bool lenient, struct error *err)
{
	struct object_names *names = &repository->index_files;
	int r;

	repository->index_is_whole = false;
	array_clear(names);
	array_clear(&repository->bad_index_files);
	r = repository_list(repository, OBJECT_INDEX, names, err);
	blob_index_free(repository->index);
	repository->index = blob_index_new();
	if (r == 0)
		r = load_index_files(repository, lenient, err);
	if (r == -EBADMSG && err)
		error_hint(err, "corpusfs backup rebuild-index REPOSITORY makes the index anew: the packs say what is in them");
	repository->index_is_whole = r == 0 && !lenient;
	return r;
}

int repository_load_changed_index(struct repository *repository, struct error *err)
{
	const struct object_names *known = &repository->index_files;
	struct object_names names = {0};
	int r = repository_list(repository, OBJECT_INDEX, &names, err);
	const bool same = repository->index_is_whole && names.count == known->count &&
			  (names.count == 0 || memcmp(names.items, known->items, names.count * sizeof(*names.items)) == 0);

	array_clear(&names);
	return r < 0 || same ? r : repository_load_index(repository, false, err);
}

bool object_names_have_id(const struct object_names *names, const struct blob_id *id)
{
	size_t low = 0, high = names->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const int order = blob_id_compare(&names->items[middle], id);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

bool object_names_have(const struct object_names *names, const char *name)
{
	struct blob_id id;

	return blob_id_parse(name, &id) == 0 && object_names_have_id(names, &id);
}

int repository_load_new_index(struct repository *repository, void (*exclusive)(void *arg, bool begin), void *arg, struct error *err)
{
	struct object_names names = {0};
	int r = repository_list(repository, OBJECT_INDEX, &names, err);

	repository->index_is_whole = false;
	for (size_t i = 0; i < names.count && r == 0; i++) {
		AUTO_BUF json = BUF_INIT;

		if (object_names_have_id(&repository->index_files, &names.items[i]))
			continue;
		r = read_index_file(repository, &names.items[i], &json, err);
		if (r == 0) {
			exclusive(arg, true);
			r = add_index_file(repository->index, &names.items[i], &json, err);
			exclusive(arg, false);
		}
		/* As in repository_load_index; what a damaged one names is missing. */
		if (r == -ENOENT || r == -EBADMSG)
			r = 0;
	}
	if (r == 0) {
		array_clear(&repository->index_files);
		repository->index_files = names;
	} else {
		array_clear(&names);
	}
	return r;
}
