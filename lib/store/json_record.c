#include "lib/store/json_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/store/catalog_records.h"

int json_record_read(struct store *store, const char *name, json_t **ret_object)
{
	struct small_key key = catalog_key_name('J', name);
	AUTO_BUF value = BUF_INIT;
	int r = catalog_record_get(store_kv(store), &key, &value);
	json_t *object;

	if (r < 0 && r != -ENOENT)
		return r;
	object = r == 0 ? json_loadb((char *)value.data, value.len, JSON_ALLOW_NUL, NULL) : json_object();
	if (!json_is_object(object)) {
		json_decref(object);
		return -EBADMSG;
	}
	*ret_object = object;
	return 0;
}

int json_record_write(struct store *store, const char *name, const json_t *object)
{
	struct small_key key = catalog_key_name('J', name);
	struct kv_batch *batch = kv_batch_new();
	AUTO_FREE char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
	int r = text ? 0 : -EINVAL;

	if (r == 0) {
		catalog_record_put(batch, &key, text, strlen(text));
		r = catalog_write(store_kv(store), batch);
	}
	kv_batch_free(batch);
	return r;
}
