#include "lib/repository/etcd_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/base64.h"
#include "lib/base/clock.h"

#define PAGE "500" /* keys in one answer: it ends in time, and 3.4.16 and before cannot give more than 4 MiB */

static json_t *base64_of(const void *data, size_t len)
{
	AUTO_BUF text = BUF_INIT;

	base64_add(&text, data, len);
	return json_stringn(text.data ? (const char *)text.data : "", text.len);
}

static json_t *base64_of_text(const char *text)
{
	return base64_of(text, strlen(text));
}

/* What is missing is empty: so etcd tells it. */
static int decode(const json_t *row, const char *name, struct buf *ret_value)
{
	const char *text = json_string_value(json_object_get(row, name));

	buf_reset(ret_value);
	return text ? base64_decode(text, strlen(text), ret_value) : 0;
}

/* ret_lease may be NULL. */
static int get_key(struct etcd *etcd, const char *key, bool stale_ok, struct buf *ret_value, char *ret_lease, struct error *err)
{
	json_t *question = json_pack("{s:o, s:b}", "key", base64_of_text(key), "serializable", stale_ok), *answer = NULL;
	const json_t *row;
	const char *lease;
	bool lost;
	int r = etcd_ask(etcd, "kv/range", question, &lost, &answer, err);

	row = json_array_get(json_object_get(answer, "kvs"), 0);
	lease = json_string_value(json_object_get(row, "lease"));
	if (r == 0 && !row)
		r = error_set(err, -ENOENT, "etcd has no key %s", key);
	if (r == 0 && (decode(row, "value", ret_value) < 0 || (lease && strlen(lease) >= ETCD_LEASE_TEXT)))
		r = etcd_not_understood(etcd, err);
	if (r == 0 && ret_lease)
		(void)snprintf(ret_lease, ETCD_LEASE_TEXT, "%s", lease ? lease : "");
	json_decref(answer);
	return r;
}

int etcd_get(struct etcd *etcd, const char *key, struct buf *ret_value, struct error *err)
{
	int r = get_key(etcd, key, etcd->stale_ok, ret_value, NULL, err);

	/* A member that is behind does not know it yet. */
	return r == -ENOENT && etcd->stale_ok ? get_key(etcd, key, false, ret_value, NULL, err) : r;
}

int etcd_get_leased(struct etcd *etcd, const char *key, struct buf *ret_value, char *ret_lease, struct error *err)
{
	return get_key(etcd, key, false, ret_value, ret_lease, err);
}

/* `at`: where keys begin that were not given yet. */
static int give_row(const struct etcd *etcd, const json_t *row, const char *prefix, struct buf *at, etcd_each_fn each, void *arg, struct error *err)
{
	AUTO_BUF key = BUF_INIT, value = BUF_INIT;

	if (decode(row, "key", &key) < 0 || decode(row, "value", &value) < 0 || bytes_compare(key.data, key.len, at->data, at->len) < 0)
		return etcd_not_understood(etcd, err);
	buf_add_u8(&key, 0);
	if (strncmp((const char *)key.data, prefix, strlen(prefix)) != 0)
		return etcd_not_understood(etcd, err);
	buf_reset(at);
	buf_add(at, key.data, key.len);
	return each(arg, (const char *)key.data, &value);
}

int etcd_list(struct etcd *etcd, const char *prefix, etcd_each_fn each, void *arg, struct error *err)
{
	AUTO_FREE char *end = xstrdup(prefix);
	AUTO_BUF at = BUF_INIT;
	bool has_more, lost;
	int r;

	buf_add(&at, prefix, strlen(prefix));
	end[strlen(end) - 1]++; /* ASCII: there is a next one */
	do {
		json_t *question = json_pack("{s:o, s:o, s:s, s:b}", "key", base64_of(at.data, at.len), "range_end", base64_of_text(end), "limit", PAGE,
		                             "serializable", etcd->stale_ok), *answer = NULL, *rows;

		r = etcd_ask(etcd, "kv/range", question, &lost, &answer, err);
		has_more = json_is_true(json_object_get(answer, "more"));
		rows = json_object_get(answer, "kvs");
		if (r == 0 && has_more && json_array_size(rows) == 0)
			r = etcd_not_understood(etcd, err);
		for (size_t i = 0; i < json_array_size(rows) && r == 0; i++)
			r = give_row(etcd, json_array_get(rows, i), prefix, &at, each, arg, err);
		json_decref(answer);
	} while (r == 0 && has_more);
	return r;
}

/* A key that is there was made by some revision, which begin with 1; one that is not, by 0. */
static json_t *compare_of(const char *key, const struct buf *was)
{
	json_t *compare = json_pack("{s:o, s:s}", "key", base64_of_text(key), "result", "EQUAL");

	json_object_set_new(compare, "target", json_string(was ? "VALUE" : "CREATE"));
	if (was)
		json_object_set_new(compare, "value", base64_of(was->data, was->len));
	else
		json_object_set_new(compare, "create_revision", json_string("0"));
	return compare;
}

static json_t *put_of(const struct etcd_put *put)
{
	if (!put->value)
		return json_pack("{s:{s:o}}", "request_delete_range", "key", base64_of_text(put->key));
	return json_pack("{s:{s:o, s:o, s:s*}}", "request_put", "key", base64_of_text(put->key), "value", base64_of(put->value->data, put->value->len), "lease",
	                 put->lease);
}

static json_t *range_of(const char *key)
{
	return json_pack("{s:{s:o}}", "request_range", "key", base64_of_text(key));
}

/* Of a question that compares: whether it was so; then nothing else can be told from a broken answer. */
static int said(const struct etcd *etcd, int result, const json_t *answer, bool *lost, struct error *err)
{
	*lost |= result == -EREMOTEIO && answer;
	if (result == 0 && !json_is_true(json_object_get(answer, "succeeded")))
		return error_set(err, -EEXIST, "etcd at %s has other values", etcd->members.items[etcd->at]);
	return result;
}

/* The value that a failed comparison has found. */
static int value_there(const struct etcd *etcd, const json_t *answer, struct buf *ret_there, struct error *err)
{
	const json_t *range = json_object_get(json_array_get(json_object_get(answer, "responses"), 0), "response_range");

	buf_reset(ret_there);
	return range && decode(json_array_get(json_object_get(range, "kvs"), 0), "value", ret_there) == 0 ? -EEXIST : etcd_not_understood(etcd, err);
}

int etcd_replace(struct etcd *etcd, const struct etcd_replacement *what, struct buf *ret_there, bool *ret_lost, struct error *err)
{
	const struct etcd_condition *also = what->also;
	json_t *compare = json_pack("[o, o*]", compare_of(what->key, what->was), also ? compare_of(also->key, also->is) : NULL), *answer = NULL;
	json_t *question = json_pack("{s:o, s:[o], s:[o]}", "compare", compare, "success", put_of(&(struct etcd_put){what->key, what->value, NULL}), "failure",
	                             range_of(what->key));
	int r = etcd_ask(etcd, "kv/txn", question, ret_lost, &answer, err);

	if (r == 0 && said(etcd, r, answer, ret_lost, err) == -EEXIST)
		r = value_there(etcd, answer, ret_there, err);
	*ret_lost |= r == -EREMOTEIO && answer;
	json_decref(answer);
	if (r != -EEXIST)
		return r;
	/* an earlier try was carried out, whose answer was lost */
	if (bytes_compare(ret_there->data, ret_there->len, what->value->data, what->value->len) == 0)
		return 0;
	if (also && bytes_compare(ret_there->data, ret_there->len, what->was ? what->was->data : NULL, what->was ? what->was->len : 0) == 0)
		return error_set(err, -EBUSY, "etcd has another value at %s", also->key);
	return error_set(err, -EEXIST, "etcd has another value at %s", what->key);
}

int etcd_put_if(struct etcd *etcd, const struct etcd_puts *what, bool *ret_lost, struct error *err)
{
	json_t *compare = json_array(), *success = json_array(), *answer = NULL;
	int r;

	for (size_t i = 0; i < what->condition_count; i++)
		json_array_append_new(compare, compare_of(what->conditions[i].key, what->conditions[i].is));
	for (size_t i = 0; i < what->count; i++)
		json_array_append_new(success, put_of(&what->puts[i]));
	r = etcd_ask(etcd, "kv/txn", json_pack("{s:o, s:o}", "compare", compare, "success", success), ret_lost, &answer, err);
	r = said(etcd, r, answer, ret_lost, err);
	json_decref(answer);
	return r;
}

/* --- leases --- */

int etcd_lease(struct etcd *etcd, unsigned seconds, char ret_lease[ETCD_LEASE_TEXT], struct error *err)
{
	json_t *answer = NULL;
	const char *lease;
	bool lost; /* one that nobody knows of ends by itself */
	int r = etcd_ask(etcd, "lease/grant", json_pack("{s:I}", "TTL", (json_int_t)seconds), &lost, &answer, err);

	lease = json_string_value(json_object_get(answer, "ID"));
	if (r == 0 && (!lease || strlen(lease) >= ETCD_LEASE_TEXT))
		r = etcd_not_understood(etcd, err);
	if (r == 0)
		(void)snprintf(ret_lease, ETCD_LEASE_TEXT, "%s", lease);
	json_decref(answer);
	return r;
}

int etcd_lease_renew(struct etcd *etcd, const char *lease, struct error *err)
{
	json_t *answer = NULL;
	bool lost;
	int r = etcd_ask(etcd, "lease/keepalive", json_pack("{s:s}", "ID", lease), &lost, &answer, err);

	/* of one that has ended it says nothing */
	if (r == 0 && !json_object_get(json_object_get(answer, "result"), "TTL"))
		r = error_set(err, -ENOENT, "the lease has ended");
	json_decref(answer);
	return r;
}

/* Of one that has ended it says -1. */
int etcd_lease_left(struct etcd *etcd, const char *lease, int64_t *ret_seconds, struct error *err)
{
	json_t *answer = NULL;
	const char *left;
	bool lost;
	int r = etcd_ask(etcd, "lease/timetolive", json_pack("{s:s}", "ID", lease), &lost, &answer, err);

	left = json_string_value(json_object_get(answer, "TTL"));
	if (r == 0 && left && *left == '-')
		r = error_set(err, -ENOENT, "the lease has ended");
	if (r == 0)
		*ret_seconds = left ? strtoll(left, NULL, 10) : 0;
	json_decref(answer);
	return r;
}

/* What is compared is never so, but etcd looks at rights first. */
int etcd_may_put(struct etcd *etcd, const char *key, struct error *err)
{
	json_t *compare = json_pack("{s:o, s:s, s:s, s:s}", "key", base64_of_text(key), "result", "LESS", "target", "CREATE", "create_revision", "0");
	json_t *question = json_pack("{s:[o], s:[o]}", "compare", compare, "success", put_of(&(struct etcd_put){key, &BUF_INIT, NULL})), *answer = NULL;
	bool lost;
	int r = etcd_ask(etcd, "kv/txn", question, &lost, &answer, err);

	json_decref(answer);
	return r;
}

int etcd_look(struct etcd *etcd, struct etcd_state *ret_state, struct error *err)
{
	struct etcd_state state = {.members = (unsigned)etcd->members.count};
	json_t *question = json_pack("{s:o}", "key", base64_of_text("corpusfs/"));
	AUTO_BUF ignored = BUF_INIT;
	int r = etcd_get(etcd, "corpusfs/", &ignored, err); /* and there is a token */

	for (size_t i = 0; i < etcd->members.count && (r == 0 || r == -ENOENT); i++) {
		const uint64_t began = clock_us();

		if (etcd_ask_member(etcd, i, "kv/range", question)) {
			const double ms = (double)(clock_us() - began) / 1000;

			state.latency_ms = state.answering++ == 0 ? ms : MIN(state.latency_ms, ms);
		}
	}
	json_decref(question);
	if (r < 0 && r != -ENOENT)
		return r;
	*ret_state = state;
	return 0;
}
