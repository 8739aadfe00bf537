#include "lib/repository/keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "lib/base/array.h"
#include "lib/base/base64.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/repository/blob_id.h"
#include "lib/repository/go_text.h"
#include "lib/repository/origin.h"

#define SALT_LEN 64

/* 128 * N * r = 64 MiB, about a quarter of a second. Restic measures; these are what it comes to. */
static struct seal_costs costs_of_new(void)
{
	return (struct seal_costs){.n = fault_quick_keys() ? 1U << 10 : 1U << 16, .r = 8, .p = 1};
}

/* --- the sealed key: {"mac": {"k", "r"}, "encrypt"}, in base64 --- */

static void add_part(struct buf *out, const char *text, const void *data, size_t len)
{
	buf_addf(out, "%s", text);
	base64_add(out, data, len);
}

static void write_master(const struct seal_key *key, struct buf *out)
{
	add_part(out, "{\"mac\":{\"k\":\"", key->mac_k, sizeof(key->mac_k));
	add_part(out, "\",\"r\":\"", key->mac_r, sizeof(key->mac_r));
	add_part(out, "\"},\"encrypt\":\"", key->encrypt, sizeof(key->encrypt));
	buf_addf(out, "\"}");
}

static int read_part(const json_t *object, const char *key, uint8_t *out, size_t len)
{
	const char *text = json_string_value(json_object_get(object, key));
	AUTO_BUF value = BUF_INIT;

	if (!text || base64_decode(text, strlen(text), &value) < 0 || value.len != len)
		return -EBADMSG;
	memcpy(out, value.data, len);
	seal_wipe(value.data, len);
	return 0;
}

static int read_master(const char *json, size_t len, struct seal_key *key)
{
	json_t *object = json_loadb(json, len, 0, NULL), *mac = json_object_get(object, "mac");
	int r = read_part(object, "encrypt", key->encrypt, sizeof(key->encrypt));

	if (r == 0)
		r = read_part(mac, "k", key->mac_k, sizeof(key->mac_k));
	if (r == 0)
		r = read_part(mac, "r", key->mac_r, sizeof(key->mac_r));
	json_decref(object);
	return r;
}

/* --- key files --- */

static void write_key_file(const struct seal_key *key, const struct seal_key *by_password, const struct seal_costs *costs, const uint8_t *salt,
			   struct buf *out)
{
	AUTO_BUF master = BUF_INIT, sealed = BUF_INIT;
	const struct origin origin = origin_of_process();
	struct seal *seal = seal_new(by_password);
	char now[GO_TIME_TEXT];

	go_time_text(clock_now(), now);
	write_master(key, &master);
	buf_reserve(&sealed, master.len + SEAL_EXTRA);
	seal_close(seal, master.data, master.len, sealed.data);
	sealed.len = master.len + SEAL_EXTRA;
	seal_wipe(master.data, master.len);
	seal_free(seal);
	buf_addf(out, "{\"created\":\"%s\",\"username\":", now);
	go_json_string(out, origin.user);
	buf_addf(out, ",\"hostname\":");
	go_json_string(out, origin.host);
	buf_addf(out, ",\"kdf\":\"scrypt\",\"N\":%llu,\"r\":%u,\"p\":%u", (unsigned long long)costs->n, costs->r, costs->p);
	add_part(out, ",\"salt\":\"", salt, SALT_LEN);
	add_part(out, "\",\"data\":\"", sealed.data, sealed.len);
	buf_addf(out, "\"}");
}

int keys_add(struct objects *objects, const struct seal_key *key, const char *password, char *ret_name, struct error *err)
{
	const struct seal_costs costs = costs_of_new();
	AUTO_BUF file = BUF_INIT;
	struct seal_key by_password;
	uint8_t salt[SALT_LEN];
	struct blob_id id;
	int r;

	seal_random(salt, sizeof(salt));
	r = seal_key_from_password(password, &costs, salt, sizeof(salt), &by_password);
	if (r < 0)
		return error_set(err, r, "no key can be made of the password");
	write_key_file(key, &by_password, &costs, salt, &file);
	seal_wipe(&by_password, sizeof(by_password));
	id = blob_id_of(file.data, file.len);
	blob_id_text(&id, ret_name);
	r = objects->place->put(objects, OBJECT_KEY, ret_name, file.data, file.len);
	return r < 0 ? objects_put_failed(OBJECT_KEY, r, err) : 0;
}

/* 1: the password fits. 0: it does not. -EBADMSG: the file is none that we can read. */
static int try_key(const json_t *file, const char *password, struct seal_key *ret_key)
{
	const struct seal_costs costs = {
		.n = (uint64_t)json_integer_value(json_object_get(file, "N")),
		.r = (uint32_t)json_integer_value(json_object_get(file, "r")),
		.p = (uint32_t)json_integer_value(json_object_get(file, "p")),
	};
	const char *kdf = json_string_value(json_object_get(file, "kdf")), *salt_text = json_string_value(json_object_get(file, "salt"));
	const char *data_text = json_string_value(json_object_get(file, "data"));
	AUTO_BUF salt = BUF_INIT, data = BUF_INIT;
	struct seal_key by_password;
	struct seal *seal;
	int r;

	if (!kdf || strcmp(kdf, "scrypt") != 0 || !salt_text || !data_text || base64_decode(salt_text, strlen(salt_text), &salt) < 0 ||
	    base64_decode(data_text, strlen(data_text), &data) < 0 || data.len < SEAL_EXTRA ||
	    seal_key_from_password(password, &costs, salt.data, salt.len, &by_password) < 0)
		return -EBADMSG;
	seal = seal_new(&by_password);
	r = seal_open(seal, data.data, data.len, data.data + SEAL_IV);
	seal_free(seal);
	seal_wipe(&by_password, sizeof(by_password));
	if (r < 0) /* it does not fit, or a bit of the file has changed */
		return 0;
	r = read_master((char *)data.data + SEAL_IV, data.len - SEAL_EXTRA, ret_key);
	seal_wipe(data.data, data.len);
	return r < 0 ? r : 1;
}

struct key_names {
	ARRAY_FIELDS(struct blob_id);
};

static int add_name(void *arg, const char *name, uint64_t size)
{
	struct key_names *names = arg;
	struct blob_id id;

	(void)size;
	if (blob_id_parse(name, &id) == 0)
		array_add(names, id);
	return 0;
}

/* A file is called by its SHA-256. NULL: it is no JSON. */
struct key_file {
	const char *name;
	const json_t *json;
	bool is_damaged;
};

static int each_file(struct objects *objects, int (*each)(void *arg, const struct key_file *file), void *arg, struct error *err)
{
	struct key_names names = {0};
	int r = objects->place->list(objects, OBJECT_KEY, add_name, &names);

	if (r < 0)
		(void)error_set(err, r, "the keys of the repository cannot be listed: %s", error_text(r));
	for (size_t i = 0; i < names.count && r == 0; i++) {
		AUTO_BUF content = BUF_INIT;
		char name[BLOB_ID_TEXT];
		struct blob_id id;
		json_t *json;

		blob_id_text(&names.items[i], name);
		r = objects_get_whole(objects, OBJECT_KEY, name, KEY_FILE_MAX, &content);
		if (r < 0) {
			(void)error_set(err, r, "key file %.8s cannot be read: %s", name, error_text(r));
			break;
		}
		json = json_loadb((char *)content.data, content.len, 0, NULL);
		id = blob_id_of(content.data, content.len);
		r = each(arg, &(struct key_file){.name = name, .json = json, .is_damaged = !json || !blob_id_equal(&id, &names.items[i])});
		json_decref(json);
	}
	array_clear(&names);
	return r;
}

struct opening {
	const char *password;
	const struct key_choice *choice;
	struct seal_key *key;
	char *name;
	size_t tried, damaged, opened;
};

static int try_file(void *arg, const struct key_file *file)
{
	struct opening *opening = arg;
	struct seal_key key;
	int r = file->json ? try_key(file->json, opening->password, &key) : -EBADMSG;

	opening->tried++;
	if (r < 0 || (r == 0 && file->is_damaged))
		opening->damaged++;
	if (r <= 0)
		return 0;
	opening->opened++;
	*opening->key = key;
	seal_wipe(&key, sizeof(key));
	(void)snprintf(opening->name, KEY_ID_TEXT, "%s", file->name);
	return opening->choice->fits(opening->choice->arg, opening->key);
}

int keys_open(struct objects *objects, const char *password, const struct key_choice *choice, struct seal_key *ret_key, char *ret_name,
	      struct error *err)
{
	struct opening opening = {.password = password, .choice = choice, .key = ret_key, .name = ret_name};
	int r = each_file(objects, try_file, &opening, err);

	if (r != 0 || opening.opened > 0)
		return MIN(r, 0);
	if (opening.tried == 0)
		return error_set(err, -ENOENT, "the repository has no key files");
	if (opening.damaged == opening.tried)
		return error_set(err, -EBADMSG, "the repository's key file%s damaged", opening.tried == 1 ? " is" : "s are");
	(void)error_set(err, -EACCES, "the password is wrong: it opens none of the repository's %zu key%s", opening.tried, opening.tried == 1 ? "" : "s");
	if (opening.damaged > 0)
		error_hint(err, "%zu of the key files could not be tried, for they are damaged", opening.damaged);
	return -EACCES;
}

struct listing {
	int (*each)(void *arg, const struct key_info *info);
	void *arg;
};

static const char *text_of(const json_t *file, const char *key)
{
	const char *text = json_string_value(json_object_get(file, key));

	return text ? text : "";
}

/* What is no JSON says nothing of itself. */
static int list_file(void *arg, const struct key_file *file)
{
	const struct listing *listing = arg;
	const json_t *json = file->json;
	const struct key_info info = {
		.name = file->name, .user = text_of(json, "username"), .host = text_of(json, "hostname"), .created = text_of(json, "created")};

	return json ? listing->each(listing->arg, &info) : 0;
}

int keys_each(struct objects *objects, int (*each)(void *arg, const struct key_info *info), void *arg, struct error *err)
{
	struct listing listing = {each, arg};

	return each_file(objects, list_file, &listing, err);
}
