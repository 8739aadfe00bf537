/* The tree of epochs against lines that are kept whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "lib/store/lineage.h"

#define VIEWS 24

struct one {
	struct lineage_view place;
	struct line line;
	bool lives, head;
};

struct world {
	struct lineage *lineage;
	struct one views[VIEWS];
	uint64_t next_epoch, random;
};

static uint64_t chance(struct world *world, uint64_t below)
{
	world->random ^= world->random << 13;
	world->random ^= world->random >> 7;
	world->random ^= world->random << 17;
	return world->random % below;
}

static uint64_t end_of(const struct line *line)
{
	return line->items[line->count - 1].last;
}

static struct one *any_view(struct world *world, bool lives)
{
	for (unsigned tries = 0; tries < 200; tries++) {
		struct one *one = &world->views[chance(world, VIEWS)];
		if (one->lives == lives)
			return one;
	}
	return NULL;
}

static void begin(struct world *world, uint64_t seed)
{
	*world = (struct world){.lineage = lineage_new(), .next_epoch = 2, .random = seed * 0x9e3779b97f4a7c15ULL + 1};
	struct one *first = &world->views[0];
	first->lives = first->head = true;
	line_add(&first->line, 1, 1);
	lineage_branch(world->lineage, &first->place, NULL, 1);
}

static void end(struct world *world)
{
	lineage_free(world->lineage);
	for (size_t i = 0; i < VIEWS; i++)
		line_clear(&world->views[i].line);
}

/* A snapshot of a head, a clone of a snapshot, or an end. */
static void change(struct world *world)
{
	struct one *old = any_view(world, true), *new = any_view(world, false);

	switch (chance(world, 3)) {
	case 0:
		if (!old || !new || !old->head)
			return;
		new->lives = true;
		new->head = false;
		new->line = line_copy(&old->line);
		lineage_join(world->lineage, &new->place, &old->place);
		line_add(&old->line, world->next_epoch, world->next_epoch);
		lineage_advance(world->lineage, &old->place, world->next_epoch++);
		return;
	case 1:
		if (!old || !new || old->head)
			return;
		new->lives = new->head = true;
		new->line = line_copy(&old->line);
		line_add(&new->line, world->next_epoch, world->next_epoch);
		lineage_branch(world->lineage, &new->place, &old->place, world->next_epoch++);
		return;
	default:
		if (!old || (old == &world->views[0]))
			return;
		lineage_leave(world->lineage, &old->place);
		line_clear(&old->line);
		old->lives = false;
	}
}

static uint64_t shared_of(const struct world *world, const struct one *one)
{
	uint64_t last = 0;

	for (size_t i = 0; i < VIEWS; i++) {
		const struct one *other = &world->views[i];
		if (!other->lives || other == one)
			continue;
		for (uint64_t epoch = 1; epoch <= end_of(&one->line); epoch++)
			if (line_has(&one->line, epoch) && line_has(&other->line, epoch) && epoch > last)
				last = epoch;
	}
	return last;
}

/* What the tree says the node's line is. */
static struct line line_at(const struct lineage_node *node)
{
	struct line line = {0};

	for (; node; node = node->parent)
		line_unite(&line, &node->own);
	return line;
}

static void check(const struct world *world, const struct lineage *lineage, const struct lineage_view *(*place)(const struct one *one))
{
	size_t nodes = 0, views = 0;

	for (size_t i = 0; i < VIEWS; i++) {
		const struct one *one = &world->views[i];
		if (!one->lives)
			continue;
		const struct lineage_view *view = place(one);
		struct line line = line_at(view->node);
		views++;
		assert_true(line_equal(&line, &one->line));
		assert_int_equal(lineage_shared(view), shared_of(world, one));
		assert_ptr_equal(lineage_find(lineage, end_of(&one->line)), view->node);
		line_clear(&line);
	}
	for (const struct lineage_node *node = lineage_root(lineage); node; node = lineage_next(node)) {
		nodes++;
		if (node->parent && !node->views)
			assert_true(node->children && node->children->next);
	}
	assert_true(nodes <= 2 * views + 1);
}

static const struct lineage_view *own_place(const struct one *one)
{
	return &one->place;
}

static void it_knows_the_lines_of_all_views_after_any_changes(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct world world;
		begin(&world, seed);
		for (unsigned step = 0; step < 150; step++) {
			uint64_t before = lineage_generation(world.lineage);
			uint64_t epochs = world.next_epoch;
			change(&world);
			if (world.next_epoch != epochs)
				assert_true(lineage_generation(world.lineage) != before);
			check(&world, world.lineage, own_place);
		}
		end(&world);
	}
}

static struct lineage_view loaded[VIEWS];
static const struct world *loaded_world;

static const struct lineage_view *loaded_place(const struct one *one)
{
	return &loaded[one - loaded_world->views];
}

static void loading_gives_the_same_tree(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct lineage_start starts[VIEWS];
		struct lineage *lineage = lineage_new();
		struct world world;
		size_t count = 0, nodes = 0, loaded_nodes = 0;
		begin(&world, seed);
		for (unsigned step = 0; step < 100; step++)
			change(&world);
		for (size_t i = 0; i < VIEWS; i++) {
			loaded[i] = (struct lineage_view){0};
			if (world.views[i].lives)
				starts[count++] = (struct lineage_start){.view = &loaded[i], .line = &world.views[i].line};
		}
		lineage_load(lineage, starts, count);
		loaded_world = &world;
		check(&world, lineage, loaded_place);
		for (const struct lineage_node *node = lineage_root(world.lineage); node; node = lineage_next(node))
			nodes++;
		for (const struct lineage_node *node = lineage_root(lineage); node; node = lineage_next(node))
			loaded_nodes++;
		assert_int_equal(loaded_nodes, nodes);
		lineage_free(lineage);
		end(&world);
	}
}

static void it_is_empty_when_the_last_view_has_left(void **state)
{
	struct lineage *lineage = lineage_new();
	struct lineage_view head = {0}, snapshot = {0};

	assert_true(lineage_is_empty(lineage));
	lineage_branch(lineage, &head, NULL, 1);
	lineage_join(lineage, &snapshot, &head);
	lineage_advance(lineage, &head, 2);
	assert_int_equal(lineage_shared(&head), 1);
	lineage_leave(lineage, &snapshot);
	assert_int_equal(lineage_shared(&head), 0);
	lineage_leave(lineage, &snapshot);
	assert_false(lineage_is_empty(lineage));
	lineage_leave(lineage, &head);
	assert_true(lineage_is_empty(lineage));
	lineage_free(lineage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_knows_the_lines_of_all_views_after_any_changes),
		cmocka_unit_test(loading_gives_the_same_tree),
		cmocka_unit_test(it_is_empty_when_the_last_view_has_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
