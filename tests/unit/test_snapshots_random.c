/* Snapshots, rollbacks, clones and ends in random order, against remembered trees. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dataset_store.h"
#include "lib/verify/check.h"

static void take(struct store *store, const char *dataset, const char *name)
{
	struct snapshot_name wanted = {.dataset = dataset, .name = name};
	struct error err = {0};
	int result = snapshot_create(store, &wanted, 1, NULL, 0, &err);

	if (result < 0)
		print_error("%s\n", err.text);
	assert_int_equal(result, 0);
}

static struct view *view_of(struct store *store, const char *name)
{
	struct view *view;
	struct error err = {0};

	assert_int_equal(store_view_by_name(store, name, &view, &err), 0);
	return view;
}

static void make(struct place *place, const char *name)
{
	struct error err = {0};

	assert_int_equal(dataset_create(place->store, name, 0755, 0, 0, 0, &err), 0);
}

#define VIEWS_MAX 24
#define CHECK_STEPS 5

struct remembered {
	bool used, head;
	char dataset[16], name[64]; /* name: of a snapshot */
	struct model model;
};

#define READERS_MAX 6

/* A view that is kept in use, with what it shows. A head shows its dataset's state until it is rolled back. */
struct using {
	struct view *view; /* NULL: free */
	bool follows;      /* the head of `dataset` */
	char dataset[16], name[64];
	struct model model;
};

struct world {
	struct place place;
	struct using readers[READERS_MAX];
	struct remembered views[VIEWS_MAX];
	uint64_t random;
	unsigned serial;
};

static struct remembered *free_slot(struct world *world)
{
	for (size_t i = 0; i < VIEWS_MAX; i++)
		if (!world->views[i].used)
			return &world->views[i];
	return NULL;
}

static struct remembered *pick(struct world *world, bool head)
{
	for (unsigned i = 0; i < 100; i++) {
		struct remembered *view = &world->views[next_random(&world->random) % VIEWS_MAX];
		if (view->used && view->head == head)
			return view;
	}
	return NULL;
}

static struct remembered *head_of(struct world *world, const struct remembered *snapshot)
{
	for (size_t i = 0; i < VIEWS_MAX; i++)
		if (world->views[i].used && world->views[i].head && strcmp(world->views[i].dataset, snapshot->dataset) == 0)
			return &world->views[i];
	fail();
	return NULL;
}

static struct remembered *remember(struct world *world, const char *dataset, const char *name, const struct model *model)
{
	struct remembered *view = free_slot(world);

	assert_non_null(view);
	*view = (struct remembered){.used = true, .head = name == NULL};
	snprintf(view->dataset, sizeof(view->dataset), "%s", dataset);
	snprintf(view->name, sizeof(view->name), "%s", name ? name : "");
	if (model)
		model_copy(&view->model, model);
	return view;
}

static void forget(struct remembered *view)
{
	model_clear(&view->model);
	view->used = false;
}

/* --- readers --- */

static void read_some(struct world *world)
{
	struct remembered *remembered = pick(world, next_random(&world->random) % 3 > 0);
	struct using *reader = &world->readers[next_random(&world->random) % READERS_MAX];

	if (!remembered || reader->view)
		return;
	AUTO_FREE char *name = remembered->head ? xstrdup(remembered->dataset) : xasprintf("%s@%s", remembered->dataset, remembered->name);
	reader->view = view_of(world->place.store, name);
	reader->follows = remembered->head;
	snprintf(reader->dataset, sizeof(reader->dataset), "%s", remembered->dataset);
	snprintf(reader->name, sizeof(reader->name), "%s", remembered->name);
	if (!reader->follows)
		model_copy(&reader->model, &remembered->model);
}

static void stop_reading(struct world *world, struct using *reader)
{
	if (!reader->view)
		return;
	store_view_put(world->place.store, reader->view);
	model_clear(&reader->model);
	*reader = (struct using){0};
}

/* What would keep a snapshot, or (name NULL) a dataset with all its snapshots, from being destroyed. */
static void let_go(struct world *world, const char *dataset, const char *name)
{
	for (size_t i = 0; i < READERS_MAX; i++) {
		struct using *reader = &world->readers[i];
		bool is_snapshot = reader->view && reader->name[0];
		if (reader->view && strcmp(reader->dataset, dataset) == 0 &&
		    ((is_snapshot && (!name || strcmp(reader->name, name) == 0)) || (!name && reader->follows)))
			stop_reading(world, reader);
	}
}

static void retire(struct world *world, const struct remembered *head)
{
	for (size_t i = 0; i < READERS_MAX; i++) {
		struct using *reader = &world->readers[i];
		if (!reader->view || !reader->follows || strcmp(reader->dataset, head->dataset) != 0)
			continue;
		model_copy(&reader->model, &head->model);
		reader->follows = false;
	}
}

static void check_readers(struct world *world)
{
	for (size_t i = 0; i < READERS_MAX; i++)
		if (world->readers[i].view && !world->readers[i].follows)
			model_check(world->readers[i].view, &world->readers[i].model);
}

static void stop_all_reading(struct world *world)
{
	for (size_t i = 0; i < READERS_MAX; i++)
		stop_reading(world, &world->readers[i]);
}

/* --- steps --- */

static void make_dataset(struct world *world)
{
	char name[16];

	snprintf(name, sizeof(name), "set%u", world->serial++);
	make(&world->place, name);
	make_dirs(world->place.store, name);
	remember(world, name, NULL, NULL);
}

static void change_some(struct world *world)
{
	struct remembered *head = pick(world, true);

	if (!head)
		return;
	struct view *view = view_of(world->place.store, head->dataset);
	for (unsigned i = 0; i < 6; i++)
		model_change(view, &head->model, &world->random);
	store_view_put(world->place.store, view);
}

static void take_some(struct world *world)
{
	struct remembered *head = pick(world, true);
	char name[64];

	if (!head || !free_slot(world))
		return;
	snprintf(name, sizeof(name), "snap%u", world->serial++);
	take(world->place.store, head->dataset, name);
	remember(world, head->dataset, name, &head->model);
}

static void roll_some(struct world *world)
{
	struct remembered *snapshot = pick(world, false);
	bool guard = next_random(&world->random) % 2 && free_slot(world);
	char name[NAME_LEN_MAX + 1];
	struct error err = {0};

	if (!snapshot)
		return;
	struct remembered *head = head_of(world, snapshot);
	assert_int_equal(dataset_rollback(world->place.store, head->dataset, snapshot->name, guard, name, &err), 0);
	if (guard)
		remember(world, head->dataset, name, &head->model);
	retire(world, head);
	model_clear(&head->model);
	model_copy(&head->model, &snapshot->model);
}

static void clone_some(struct world *world)
{
	struct remembered *snapshot = pick(world, false);
	char name[16];
	struct error err = {0};

	if (!snapshot || !free_slot(world))
		return;
	snprintf(name, sizeof(name), "set%u", world->serial++);
	assert_int_equal(dataset_clone(world->place.store, snapshot->dataset, snapshot->name, name, &err), 0);
	remember(world, name, NULL, &snapshot->model);
}

static void destroy_some(struct world *world)
{
	struct remembered *snapshot = pick(world, false);
	struct error err = {0};

	if (!snapshot)
		return;
	let_go(world, snapshot->dataset, snapshot->name);
	assert_int_equal(snapshot_destroy(world->place.store, snapshot->dataset, snapshot->name, &err), 0);
	forget(snapshot);
}

static void destroy_dataset(struct world *world)
{
	struct remembered *head = pick(world, true);
	struct error err = {0};
	char name[16];

	if (!head)
		return;
	snprintf(name, sizeof(name), "%s", head->dataset);
	let_go(world, name, NULL);
	assert_int_equal(dataset_destroy(world->place.store, name, DATASET_DESTROY_SNAPSHOTS, &err), 0);
	for (size_t i = 0; i < VIEWS_MAX; i++)
		if (world->views[i].used && strcmp(world->views[i].dataset, name) == 0)
			forget(&world->views[i]);
}

static void check_world(struct world *world)
{
	for (size_t i = 0; i < VIEWS_MAX; i++) {
		struct remembered *remembered = &world->views[i];
		if (!remembered->used)
			continue;
		AUTO_FREE char *name = remembered->head ? xstrdup(remembered->dataset)
							: xasprintf("%s@%s", remembered->dataset, remembered->name);
		struct view *view = view_of(world->place.store, name);
		model_check(view, &remembered->model);
		store_view_put(world->place.store, view);
	}
	check_readers(world);
}

static int no_problem(void *arg, const struct check_problem *problem)
{
	fail_msg("%s %s@%s inode %llu: %s", problem->rule, problem->dataset, problem->snapshot, (unsigned long long)problem->ino, problem->text);
	return 0;
}

/* The check raises no false alarm, whatever was done. */
static void check_metadata(struct world *world)
{
	const struct check_options options = {.problem = no_problem};
	struct check_counts counts;
	struct error err = {0};

	if (check_run(world->place.store, &options, &counts, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(counts.views > 0 || !pick(world, true));
}

static void reopen(struct world *world)
{
	stop_all_reading(world);
	place_reopen(&world->place);
}

static void one_step(struct world *world)
{
	uint64_t choice = next_random(&world->random) % 46;

	if (choice < 16)
		change_some(world);
	else if (choice < 22)
		take_some(world);
	else if (choice < 25)
		roll_some(world);
	else if (choice < 27)
		clone_some(world);
	else if (choice < 32)
		destroy_some(world);
	else if (choice == 32)
		destroy_dataset(world);
	else if (choice < 36)
		collect(world->place.store, true, false);
	else if (choice < 38)
		collect(world->place.store, false, false);
	else if (choice == 38)
		reopen(world);
	else if (choice > 42)
		read_some(world);
	else if (choice > 40)
		stop_reading(world, &world->readers[next_random(&world->random) % READERS_MAX]);
	else if (free_slot(world))
		make_dataset(world);
}

static void play(uint64_t seed, unsigned steps)
{
	struct world *world = xcalloc(1, sizeof(*world));

	world->random = seed;
	place_init(&world->place);
	make_dataset(world);
	for (unsigned i = 0; i < steps; i++) {
		one_step(world);
		check_world(world);
		if (i % CHECK_STEPS == 0)
			check_metadata(world);
	}
	reopen(world);
	check_world(world);
	while (pick(world, true))
		destroy_dataset(world);
	collect(world->place.store, false, false);
	assert_int_equal(count_records(world->place.store), 0);
	assert_int_equal(count_keys(world->place.store, KV_TOUCHED), 0);
	assert_int_equal(count_chunks(world->place.store), 0);
	assert_int_equal(count_keys(world->place.store, KV_DEDUP), 0);
	place_clear(&world->place);
	free(world);
}

static void every_view_is_as_remembered(void **state)
{
	for (uint64_t seed = 1; seed <= 4; seed++)
		play(seed * 7919, 150);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_view_is_as_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
