/* A repository is made, or one that is there is opened: its config, sealed by its key, which each password opens. */
#include <errno.h>
#include <stdio.h>

#include <jansson.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/repository/repository.h"

#define VERSION 2
/* The polynomial by which restic cuts files. We cut by other rules; who makes a repository chooses one for restic's clients. */
#define POLYNOMIAL "3da3358b4dc173"
#define CONFIG_MAX (64U << 10)
/* So often, and so far apart, it is looked whether somebody who makes one at the same moment puts a config in place of ours. */
#define RIVAL_TRIES 80
#define RIVAL_US 50000

/* --- the config --- */

static int put_config(struct repository *repository, struct error *err)
{
	AUTO_BUF config = BUF_INIT, sealed = BUF_INIT;
	int r = fault_point("repository-before-config");

	buf_addf(&config, "{\"version\":%d,\"id\":\"%s\",\"chunker_polynomial\":\"%s\"}", VERSION, repository->id, POLYNOMIAL);
	repository_seal(repository, &config, &sealed);
	if (r == 0)
		r = repository->objects->place->put(repository->objects, OBJECT_CONFIG, "", sealed.data, sealed.len);
	return r < 0 ? objects_put_failed(OBJECT_CONFIG, r, err) : 0;
}

static int get_config(struct objects *objects, struct buf *ret_config, struct error *err)
{
	int r = objects_get_whole(objects, OBJECT_CONFIG, "", CONFIG_MAX, ret_config);

	return r < 0 ? error_set(err, r, "the repository's config cannot be read: %s", error_text(r)) : 0;
}

/* What is sealed with another key looks as what is damaged. */
static bool fits_config(const struct buf *config, const struct seal_key *key)
{
	AUTO_BUF plain = BUF_INIT;
	struct seal *seal = seal_new(key);
	bool fits;

	buf_reserve(&plain, config->len);
	fits = seal_open(seal, config->data, config->len, plain.data) == 0;
	seal_free(seal);
	return fits;
}

static bool key_fits(void *arg, const struct seal_key *key)
{
	return fits_config(arg, key);
}

static int read_config(struct repository *repository, struct buf *config, struct error *err)
{
	const char *id;
	json_t *object;
	int r = repository_unseal(repository, config);

	if (r < 0) {
		(void)error_set(err, r, "the repository's config is damaged, or sealed with another key than the one that the password opens");
		error_hint(err, "bring the config back from a copy of the repository; if somebody else made one there at the same moment: it is his password that "
		                "opens it");
		return r;
	}
	object = json_loadb((char *)config->data, config->len, 0, NULL);
	id = json_string_value(json_object_get(object, "id"));
	repository->version = (unsigned)json_integer_value(json_object_get(object, "version"));
	(void)snprintf(repository->id, sizeof(repository->id), "%s", id ? id : "");
	json_decref(object);
	if (repository->version == 0 || !id)
		return error_set(err, -EBADMSG, "the repository's config is damaged");
	if (repository->version > VERSION)
		(void)error_set(err, -EPROTONOSUPPORT, "the repository has format version %u, and this program knows up to %d", repository->version, VERSION);
	if (repository->version > VERSION)
		error_hint(err, "a newer corpusfs, or the restic that made it, reads it");
	return repository->version > VERSION ? -EPROTONOSUPPORT : 0;
}

/* --- beginning and end --- */

/* -ENOENT, without a text: there is no repository. */
static int find_config(struct objects *objects, struct error *err)
{
	uint64_t size;
	int r = objects->place->size(objects, OBJECT_CONFIG, "", &size);

	return r == 0 || r == -ENOENT ? r : error_set(err, r, "the repository's config cannot be read: %s", error_text(r));
}

static struct repository *repository_new(struct objects *objects)
{
	struct repository *repository = xcalloc(1, sizeof(*repository));

	repository->objects = objects;
	repository->index = blob_index_new();
	return repository;
}

struct repository *repository_by(const struct repository *repository, struct objects *objects)
{
	struct repository *same = repository_new(objects);

	same->key = repository->key;
	memcpy(same->key_name, repository->key_name, sizeof(same->key_name));
	memcpy(same->id, repository->id, sizeof(same->id));
	same->version = repository->version;
	return same;
}

static int stop_at_first(void *arg, const char *name, uint64_t size)
{
	(void)arg;
	(void)name;
	(void)size;
	return -EEXIST;
}

/* A repository that has lost its config still has keys. With another one beside them nobody would read what is in it any more. */
static int check_no_keys(struct objects *objects, struct error *err)
{
	int r = objects->place->list(objects, OBJECT_KEY, stop_at_first, NULL);

	if (r == 0 || r == -ENOENT)
		return 0;
	if (r != -EEXIST)
		return error_set(err, r, "the keys of the repository cannot be listed: %s", strerror(-r));
	(void)error_set(err, r, "there are keys of a repository already, and its config is missing");
	error_hint(err, "if it was being made and nothing is in it, remove the directory and begin anew; else bring its config back");
	return r;
}

/*
 * restic looks whether there is a config, makes its key, which takes it some seconds, and then puts its config over one that came meanwhile: then it is
 * its repository, and our key would open nothing.
 */
static int look_who_made_it(struct repository *repository, struct error *err)
{
	bool is_ours = true;
	int r = fault_point("repository-after-config");

	if (r < 0)
		return error_set(err, r, "the repository's config cannot be read: %s", strerror(-r));
	for (unsigned tries = fault_quick_keys() ? 1 : RIVAL_TRIES; is_ours && tries > 0; tries--) {
		AUTO_BUF config = BUF_INIT;

		r = get_config(repository->objects, &config, err);
		if (r < 0)
			return r;
		is_ours = fits_config(&config, &repository->key);
		if (is_ours && tries > 1)
			clock_pause_us(RIVAL_US);
	}
	if (is_ours)
		return 0;
	(void)error_set(err, -EEXIST, "somebody else made a repository there at the same moment");
	error_hint(err, "use that one, with the password that it was made with");
	return -EEXIST;
}

/* What failed may have put it all the same, or not be able to look: without its key a config that is ours would be opened by nobody. */
static bool has_no_config_of_ours(struct objects *objects, int failure)
{
	uint64_t size;

	return failure == -EEXIST || objects->place->size(objects, OBJECT_CONFIG, "", &size) == -ENOENT;
}

static int make(struct repository *repository, const char *password, struct error *err)
{
	uint8_t random[BLOB_ID_LEN];
	struct blob_id id;
	int r;

	seal_random(&repository->key, sizeof(repository->key));
	/* Poly1305 ignores these bits of r; restic refuses a key that has them. */
	for (unsigned i = 3; i < 16; i += 4)
		repository->key.mac_r[i] &= 15;
	for (unsigned i = 4; i < 16; i += 4)
		repository->key.mac_r[i] &= 252;
	seal_random(random, sizeof(random));
	memcpy(id.bytes, random, sizeof(random));
	blob_id_text(&id, repository->id);
	repository->version = VERSION;
	r = repository->objects->place->create(repository->objects);
	if (r < 0)
		return error_set(err, r, "the repository's folders cannot be made: %s", strerror(-r));
	r = keys_add(repository->objects, &repository->key, password, repository->key_name, err);
	if (r < 0)
		return r;
	r = put_config(repository, err);
	if (r == 0 || r == -EEXIST)
		r = look_who_made_it(repository, err);
	if (r < 0 && has_no_config_of_ours(repository->objects, r))
		(void)!repository->objects->place->remove(repository->objects, OBJECT_KEY, repository->key_name);
	return r;
}

int repository_init(struct objects *objects, const char *password, struct repository **ret_repository, struct error *err)
{
	struct repository *repository = repository_new(objects);
	int r = find_config(objects, err);

	if (r == 0)
		r = error_set(err, -EEXIST, "there is a repository already");
	else if (r == -ENOENT)
		r = check_no_keys(objects, err);
	if (r == 0)
		r = make(repository, password, err);
	if (r < 0) {
		repository_close(repository);
		return r;
	}
	*ret_repository = repository;
	return 0;
}

static int no_repository(struct objects *objects, struct error *err)
{
	if (objects->place->list(objects, OBJECT_KEY, stop_at_first, NULL) == -EEXIST) {
		(void)error_set(err, -EBADMSG, "the config of the repository is missing, and its keys are there");
		error_hint(err, "bring its config back, from a copy of the repository");
		return -EBADMSG;
	}
	(void)error_set(err, -ENOENT, "there is no repository");
	error_hint(err, "corpusfs backup init REPOSITORY makes one");
	return -ENOENT;
}

int repository_open(struct objects *objects, const char *password, struct repository **ret_repository, struct error *err)
{
	struct repository *repository = repository_new(objects);
	AUTO_BUF config = BUF_INIT;
	int r = find_config(objects, err);

	if (r == -ENOENT)
		r = no_repository(objects, err);
	if (r == 0)
		r = get_config(objects, &config, err);
	if (r == 0)
		r = keys_open(objects, password, &(struct key_choice){key_fits, &config}, &repository->key, repository->key_name, err);
	if (r == 0)
		r = read_config(repository, &config, err);
	if (r < 0) {
		repository_close(repository);
		return r;
	}
	*ret_repository = repository;
	return 0;
}

void repository_close(struct repository *repository)
{
	if (!repository)
		return;
	blob_index_free(repository->index);
	array_clear(&repository->index_files);
	array_clear(&repository->bad_index_files);
	objects_close(repository->objects);
	seal_wipe(&repository->key, sizeof(repository->key));
	free(repository);
}
