#include "lib/backup/backup_entries.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/base/base64.h"
#include "lib/base/escape.h"
#include "lib/base/utf8.h"
#include "lib/repository/go_text.h"

/* --- writing --- */

void entry_list_init(struct entry_list *list)
{
	pthread_mutex_init(&list->lock, NULL);
	list->json = BUF_INIT;
	buf_add_u8(&list->json, '[');
}

void entry_list_clear(struct entry_list *list)
{
	pthread_mutex_destroy(&list->lock);
	buf_clear(&list->json);
}

void entry_list_add(struct entry_list *list, const void *json, size_t len)
{
	pthread_mutex_lock(&list->lock);
	if (list->json.len > 1)
		buf_add(&list->json, ",\n", 2);
	buf_add(&list->json, json, len);
	pthread_mutex_unlock(&list->lock);
}

void entry_list_copy(struct entry_list *list, const json_t *entry)
{
	AUTO_FREE char *text = json_dumps(entry, JSON_COMPACT | JSON_PRESERVE_ORDER);

	if (text)
		entry_list_add(list, text, strlen(text));
}

void entry_list_write(const struct entry_list *list, struct buf *json)
{
	buf_add(json, list->json.data, list->json.len);
	buf_addf(json, "]");
}

static bool fits(struct timespec time)
{
	return time.tv_sec >= GO_TIME_FIRST && time.tv_sec <= GO_TIME_LAST;
}

static void add_time(struct buf *json, const char *key, struct timespec time)
{
	if (!fits(time))
		buf_addf(json, ",\"%s\":[%lld,%ld]", key, (long long)time.tv_sec, time.tv_nsec);
}

static void begin_entry(struct buf *json, const char *path)
{
	AUTO_FREE char *text = escape_text(path, ESCAPE_BYTES);

	buf_addf(json, "{\"path\":");
	go_json_string(json, text);
}

void entry_list_add_path(struct entry_list *list, const char *path)
{
	AUTO_BUF json = BUF_INIT;

	begin_entry(&json, path);
	buf_add_u8(&json, '}');
	entry_list_add(list, json.data, json.len);
}

static bool has_odd_xattr(const struct node *node)
{
	for (size_t i = 0; i < node->xattrs.count; i++)
		if (!utf8_is_valid(node->xattrs.items[i].name))
			return true;
	return false;
}

static void add_odd_xattrs(struct buf *json, const struct node *node)
{
	const char *before = ",\"xattrs\":[";

	for (size_t i = 0; i < node->xattrs.count; i++) {
		const struct node_xattr *xattr = &node->xattrs.items[i];

		if (utf8_is_valid(xattr->name))
			continue;
		buf_addf(json, "%s[\"", before);
		base64_add(json, xattr->name, strlen(xattr->name));
		buf_addf(json, "\",\"");
		base64_add(json, xattr->value, xattr->len);
		buf_addf(json, "\"]");
		before = ",";
	}
	buf_add_u8(json, ']');
}

void exact_entry_add(struct entry_list *list, const char *path, const struct node *node, const struct holes *holes)
{
	const bool has_odd = has_odd_xattr(node);
	AUTO_BUF json = BUF_INIT;

	if ((!holes || holes->count == 0) && fits(node->mtime) && fits(node->atime) && fits(node->ctime) && !has_odd)
		return;
	begin_entry(&json, path);
	for (size_t i = 0; holes && i < holes->count; i++)
		buf_addf(&json, "%s[%llu,%llu]%s", i == 0 ? ",\"holes\":[" : ",", (unsigned long long)holes->items[i].offset,
		         (unsigned long long)holes->items[i].length, i + 1 == holes->count ? "]" : "");
	if (holes && holes->left_out)
		buf_addf(&json, ",\"zeros\":false");
	add_time(&json, "mtime", node->mtime);
	add_time(&json, "atime", node->atime);
	add_time(&json, "ctime", node->ctime);
	if (has_odd)
		add_odd_xattrs(&json, node);
	buf_addf(&json, "}");
	entry_list_add(list, json.data, json.len);
}

/* --- reading --- */

static int by_path(const void *a, const void *b)
{
	const struct entry_path *one = a, *other = b;

	return strcmp(one->path, other->path);
}

static void sort_by_path(struct entry_paths *paths)
{
	if (paths->entries.count > 0)
		qsort(paths->entries.items, paths->entries.count, sizeof(*paths->entries.items), by_path);
}

void entry_paths_read(struct entry_paths *paths, const json_t *list)
{
	size_t i;

	*paths = (struct entry_paths){0};
	for (i = 0; i < json_array_size(list); i++) {
		json_t *entry = json_array_get(list, i);
		const char *text = json_string_value(json_object_get(entry, "path"));
		struct buf path = BUF_INIT;

		if (!text)
			continue;
		unescape_add(&path, text, strlen(text));
		array_add(&paths->entries, (struct entry_path){.path = (char *)path.data, .entry = json_incref(entry)});
	}
	sort_by_path(paths);
}

void entry_paths_clear(struct entry_paths *paths)
{
	for (size_t i = 0; i < paths->entries.count; i++) {
		free(paths->entries.items[i].path);
		json_decref(paths->entries.items[i].entry);
	}
	array_clear(&paths->entries);
}

static bool has_no_zeros(const json_t *entry)
{
	return json_is_false(json_object_get(entry, "zeros"));
}

void entry_paths_add_without_zeros(struct entry_paths *paths, const struct entry_paths *exact)
{
	for (size_t i = 0; i < exact->entries.count; i++) {
		const struct entry_path *from = &exact->entries.items[i];

		if (has_no_zeros(from->entry))
			array_add(&paths->entries, (struct entry_path){.path = xstrdup(from->path), .entry = json_incref(from->entry)});
	}
	sort_by_path(paths);
}

/* The first entry whose path is not before the given one. */
static size_t lower_bound(const struct entry_paths *paths, const char *path)
{
	size_t low = 0, high = paths->entries.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(paths->entries.items[middle].path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const json_t *entry_paths_find(const struct entry_paths *paths, const char *path)
{
	size_t at = lower_bound(paths, path);

	return at < paths->entries.count && strcmp(paths->entries.items[at].path, path) == 0 ? paths->entries.items[at].entry : NULL;
}

size_t entry_paths_below(const struct entry_paths *paths, const char *path, size_t *ret_first)
{
	AUTO_FREE char *begin = xasprintf("%s/", path);
	const size_t len = strlen(begin);
	size_t count = 0;

	*ret_first = lower_bound(paths, begin);
	while (*ret_first + count < paths->entries.count && strncmp(paths->entries.items[*ret_first + count].path, begin, len) == 0)
		count++;
	return count;
}

void entry_paths_copy(const struct entry_paths *paths, const char *path, bool is_dir, struct entry_list *list)
{
	const json_t *own = entry_paths_find(paths, path);
	size_t first, count = is_dir ? entry_paths_below(paths, path, &first) : 0;

	if (own)
		entry_list_copy(list, own);
	for (size_t i = 0; i < count; i++)
		entry_list_copy(list, paths->entries.items[first + i].entry);
}

static int read_time(const json_t *entry, const char *key, struct timespec *time)
{
	const json_t *value = json_object_get(entry, key);

	if (!value)
		return 0;
	if (json_array_size(value) != 2)
		return -EBADMSG;
	time->tv_sec = json_integer_value(json_array_get(value, 0));
	time->tv_nsec = json_integer_value(json_array_get(value, 1));
	return time->tv_nsec < 0 || time->tv_nsec > 999999999 ? -EBADMSG : 0;
}

static int read_base64(const json_t *value, struct buf *out)
{
	const char *text = json_string_value(value);

	buf_reserve(out, 1);
	return text && base64_decode(text, strlen(text), out) == 0 ? 0 : -EBADMSG;
}

static int read_xattr(const json_t *pair, struct node *node)
{
	AUTO_BUF name = BUF_INIT, value = BUF_INIT;

	if (read_base64(json_array_get(pair, 0), &name) < 0 || read_base64(json_array_get(pair, 1), &value) < 0 || name.len == 0 ||
	    memchr(name.data, 0, name.len))
		return -EBADMSG;
	buf_add_u8(&name, 0);
	array_add(&node->xattrs, (struct node_xattr){.name = (char *)steal_ptr(name.data), .len = value.len, .value = steal_ptr(value.data)});
	return 0;
}

static int read_xattrs(const json_t *entry, struct node *node)
{
	const json_t *pair;
	int r = 0;
	size_t i;

	json_array_foreach(json_object_get(entry, "xattrs"), i, pair) {
		r = read_xattr(pair, node);
		if (r < 0)
			break;
	}
	return r;
}

int exact_entry_apply(const json_t *entry, struct node *node, struct holes *holes)
{
	const json_t *list = json_object_get(entry, "holes"), *range;
	uint64_t last = 0;
	size_t i;

	json_array_foreach(list, i, range) {
		const json_int_t offset = json_integer_value(json_array_get(range, 0)), length = json_integer_value(json_array_get(range, 1));

		if (offset < 0 || length <= 0 || (uint64_t)offset < last || (uint64_t)offset > node->size ||
		    (uint64_t)length > node->size - (uint64_t)offset)
			return -EBADMSG;
		last = (uint64_t)offset + (uint64_t)length;
		array_add(holes, (struct hole){(uint64_t)offset, (uint64_t)length});
	}
	holes->left_out = has_no_zeros(entry);
	if (read_time(entry, "mtime", &node->mtime) < 0 || read_time(entry, "atime", &node->atime) < 0 ||
	    read_time(entry, "ctime", &node->ctime) < 0)
		return -EBADMSG;
	return read_xattrs(entry, node);
}
