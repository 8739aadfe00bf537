#include "lib/base/lock_order.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clean.h"

/* Freezing takes as many epoch locks as there are datasets, and a commit as many inodes as go into a batch; so many are remembered. */
#define HELD_MAX 4096

#define LOCK_ORDER_NAME(rank, name) [rank] = name,
static const char *const names[] = {LOCK_ORDER(LOCK_ORDER_NAME)};

/* What this thread holds, in the order in which it took it. */
static _Thread_local struct {
	const struct lock_mark *mark;
	const char *where;
} held[HELD_MAX];
static _Thread_local size_t held_count;

static bool comes_before(const struct lock_mark *a, const struct lock_mark *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank;
	return a->major != b->major ? a->major < b->major : a->minor < b->minor;
}

static void print(const struct lock_mark *mark, const char *what, const char *where)
{
	fprintf(stderr, "lock order: %s %s (%llu:%llu) %s\n", what, names[mark->rank], (unsigned long long)mark->major,
		(unsigned long long)mark->minor, where);
}

static _Noreturn void fail(const struct lock_mark *mark, const char *what, const char *where)
{
	print(mark, what, where);
	for (size_t i = held_count; i-- > 0;)
		print(held[i].mark, "  held:", held[i].where);
	abort();
}

void lock_order_check(const struct lock_mark *mark, const char *where)
{
	for (size_t i = 0; i < held_count; i++)
		if (!comes_before(held[i].mark, mark))
			fail(mark, "out of order, wanted:", where);
}

void lock_order_taken(const struct lock_mark *mark, const char *where)
{
	if (held_count == HELD_MAX)
		fail(mark, "too many locks, taken:", where);
	held[held_count].mark = mark;
	held[held_count++].where = where;
}

void lock_order_given(const struct lock_mark *mark)
{
	size_t at = held_count;

	while (at > 0 && held[at - 1].mark != mark)
		at--;
	if (at == 0)
		fail(mark, "given up but not held:", "");
	for (held_count--; at <= held_count; at++)
		held[at - 1] = held[at];
}

void lock_order_check_wait(const struct lock_mark *mark, const char *where)
{
	for (size_t i = 0; i < held_count; i++)
		if (held[i].mark != mark && !comes_before(held[i].mark, mark))
			fail(mark, "a wait that takes it again out of order:", where);
}
