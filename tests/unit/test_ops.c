/* The table of operations: who may call, arguments and names as bytes, rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/syscall.h>

#include "tests/unit/dataset_store.h"

#include "lib/ops/json.h"
#include "lib/ops/ops.h"

struct call {
	struct op_context context;
	json_t *rows;
	size_t enough; /* so many rows, then the caller has gone */
	struct error err;
};

static int keep_row(void *arg, json_t *row)
{
	struct call *call = arg;

	json_array_append(call->rows, row);
	return json_array_size(call->rows) == call->enough ? -EPIPE : 0;
}

/* Takes over args; the result is borrowed. */
static int run(struct call *call, const char *op, json_t *args, json_t **ret_result)
{
	json_t *result = NULL;
	int code;

	assert_non_null(args);
	json_array_clear(call->rows);
	code = op_run(&call->context, op, args, &result, &call->err);
	json_decref(args);
	if (ret_result)
		*ret_result = result;
	else
		json_decref(result);
	return code;
}

static void call_init(struct call *call, struct place *place)
{
	place_init(place);
	*call = (struct call){.context = {.store = place->store, .role = OP_OWNER, .row = keep_row, .row_arg = call}, .rows = json_array()};
}

static void call_clear(struct call *call, struct place *place)
{
	json_decref(call->rows);
	place_clear(place);
}

static void who_may_only_look_changes_nothing(void **state)
{
	struct place place;
	struct call call;

	(void)state;
	call_init(&call, &place);
	assert_int_equal(run(&call, "dataset.create", json_pack("{s:s}", "name", "d"), NULL), 0);
	call.context.role = OP_READER;
	assert_int_equal(run(&call, "dataset.create", json_pack("{s:s}", "name", "e"), NULL), -EACCES);
	assert_int_equal(run(&call, "dataset.destroy", json_pack("{s:s}", "name", "d"), NULL), -EACCES);
	assert_int_equal(run(&call, "snapshot.create", json_pack("{s:[s]}", "targets", "d@s"), NULL), -EACCES);
	assert_int_equal(run(&call, "import", json_pack("{s:s, s:s}", "source", "/etc", "dataset", "d"), NULL), -EACCES);
	assert_int_equal(run(&call, "gc.run", json_object(), NULL), -EACCES);
	assert_int_equal(run(&call, "dataset.list", json_object(), NULL), 0);
	assert_int_equal(json_array_size(call.rows), 1);
	assert_int_equal(run(&call, "store.status", json_object(), NULL), 0);
	call_clear(&call, &place);
}

static void what_is_not_in_the_table_is_told(void **state)
{
	struct place place;
	struct call call;

	(void)state;
	call_init(&call, &place);
	assert_int_equal(run(&call, "dataset.paint", json_object(), NULL), -EOPNOTSUPP);
	assert_non_null(strstr(call.err.text, "dataset.paint"));
	assert_null(op_find("dataset"));
	assert_string_equal(op_find("snapshot.list")->rows, "snapshots");
	call_clear(&call, &place);
}

static void a_caller_that_has_enough_ends_it(void **state)
{
	struct place place;
	struct call call;
	atomic_bool cancelled = true;

	(void)state;
	call_init(&call, &place);
	for (char name[] = "a"; name[0] < 'f'; name[0]++)
		assert_int_equal(run(&call, "dataset.create", json_pack("{s:s}", "name", name), NULL), 0);
	assert_int_equal(run(&call, "dataset.list", json_object(), NULL), 0);
	assert_int_equal(json_array_size(call.rows), 5);
	call.enough = 2;
	assert_int_equal(run(&call, "dataset.list", json_object(), NULL), -EPIPE);
	assert_int_equal(json_array_size(call.rows), 2);
	call.context.cancelled = &cancelled;
	assert_int_equal(run(&call, "dataset.list", json_object(), NULL), -ECANCELED);
	assert_int_equal(json_array_size(call.rows), 0);
	call_clear(&call, &place);
}

/* What an answer calls a file is taken as an argument; and so are other ways to write the same bytes. */
static void names_go_round(void **state)
{
	static const char *const names[] = {"caf\xe9", "\\xe9", "\\", "a\nb", "caf\xc3\xa9", "\xff\\x5c\xfe"};
	struct place place;
	struct call call;
	struct view *head;

	(void)state;
	call_init(&call, &place);
	assert_int_equal(run(&call, "dataset.create", json_pack("{s:s}", "name", "d"), NULL), 0);
	assert_int_equal(run(&call, "snapshot.create", json_pack("{s:[s], s:o}", "targets", "d@s", "note", json_from_bytes("\xe9")), NULL), 0);
	AUTO_FREE char *note = json_to_bytes(json_object_get(json_array_get(call.rows, 0), "note"));
	assert_string_equal(note, "\xe9");
	assert_int_equal(store_head(place.store, "d", &head), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		write_file(head, ROOT_INO, names[i], 0, "x", 1);
	store_view_put(place.store, head);
	assert_int_equal(run(&call, "diff", json_pack("{s:s}", "a", "d"), NULL), 0);
	size_t found = 0;
	json_t *rows = json_copy(call.rows), *row;
	size_t at;
	json_array_foreach (rows, at, row) {
		json_t *path = json_object_get(row, "path");
		AUTO_FREE char *bytes = json_to_bytes(path);
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			found += strcmp(bytes, names[i]) == 0;
		if (*bytes)
			assert_int_equal(run(&call, "versions", json_pack("{s:s, s:O}", "dataset", "d", "path", path), NULL), 0);
	}
	assert_int_equal(found, ARRAY_SIZE(names));
	json_decref(rows);
	call_clear(&call, &place);
}

static void an_argument_that_is_missing_or_has_a_nul_is_refused(void **state)
{
	struct place place;
	struct call call;

	(void)state;
	call_init(&call, &place);
	assert_int_equal(run(&call, "dataset.create", json_pack("{s:s}", "name", "a\\x00b"), NULL), -EINVAL);
	assert_int_equal(run(&call, "dataset.demote", json_pack("{s:s}", "to", "v"), NULL), -EINVAL);
	assert_null(json_to_bytes(json_null()));
	json_t *text = json_string("a\\x00b");
	assert_null(json_to_bytes(text));
	json_decref(text);
	call_clear(&call, &place);
}

static void errors_go_round(void **state)
{
	struct error err = {0}, back = {0};
	json_t *object;

	(void)state;
	error_set(&err, -ENOENT, "there is no \"caf\xe9\"");
	error_hint(&err, "look for \\xe9");
	object = json_from_error(&err);
	assert_int_equal(json_to_error(object, &back), -ENOENT);
	assert_string_equal(back.text, err.text);
	assert_string_equal(back.hint, err.hint);
	json_decref(object);
	assert_int_equal(json_to_error(NULL, &back), -EIO);
}

static unsigned syncs;

/* In place of the C library's, for the database, too. */
int fdatasync(int fd)
{
	__atomic_add_fetch(&syncs, 1, __ATOMIC_RELAXED);
	return (int)syscall(SYS_fdatasync, fd);
}

/* It is asked once a second by who follows. */
static void the_state_for_a_stream_costs_one_sync(void **state)
{
	struct place place;
	struct call call;
	json_t *result;
	char name[16];

	(void)state;
	call_init(&call, &place);
	assert_int_equal(run(&call, "dataset.create", json_pack("{s:s}", "name", "d"), NULL), 0);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "d@s%u", i);
		assert_int_equal(run(&call, "snapshot.create", json_pack("{s:[s]}", "targets", name), NULL), 0);
	}
	assert_true(syncs >= 200);
	syncs = 0;
	assert_int_equal(run(&call, "stream.state", json_pack("{s:s}", "dataset", "d"), &result), 0);
	/* The store syncs by its clock, too. */
	assert_in_range(syncs, 0, 50);
	assert_int_equal(json_array_size(json_object_get(result, "snapshots")), 200);
	assert_string_equal(json_string_value(json_object_get(result, "at")), "s199");
	json_decref(result);
	call_clear(&call, &place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_may_only_look_changes_nothing),
		cmocka_unit_test(what_is_not_in_the_table_is_told),
		cmocka_unit_test(a_caller_that_has_enough_ends_it),
		cmocka_unit_test(names_go_round),
		cmocka_unit_test(an_argument_that_is_missing_or_has_a_nul_is_refused),
		cmocka_unit_test(errors_go_round),
		cmocka_unit_test(the_state_for_a_stream_costs_one_sync),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
