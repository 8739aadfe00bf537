#include "fs/fuse/session/head_views.h"

#include <stdatomic.h>

#include "lib/base/buf.h"

#define PAGE_NUMBERS (1U << 16)

struct page {
	_Atomic uint32_t numbers[PAGE_NUMBERS];
};

/* From one number to another. A page is there from its first number on, and stays. */
struct numbers {
	struct page *_Atomic pages[PAGE_NUMBERS];
};

struct head_views {
	struct numbers views;    /* by dataset */
	struct numbers datasets; /* by view */
};

struct head_views *head_views_new(void)
{
	return xcalloc(1, sizeof(struct head_views));
}

static void clear(struct numbers *numbers)
{
	for (unsigned i = 0; i < PAGE_NUMBERS; i++)
		free(atomic_load(&numbers->pages[i]));
}

void head_views_free(struct head_views *heads)
{
	if (!heads)
		return;
	clear(&heads->views);
	clear(&heads->datasets);
	free(heads);
}

static _Atomic uint32_t *place_of(struct numbers *numbers, uint32_t number)
{
	struct page *_Atomic *pages = &numbers->pages[number / PAGE_NUMBERS];
	struct page *page = atomic_load(pages), *made;

	if (!page) {
		made = xcalloc(1, sizeof(*made));
		if (atomic_compare_exchange_strong(pages, &page, made))
			page = made;
		else
			free(made);
	}
	return &page->numbers[number % PAGE_NUMBERS];
}

static uint32_t get(const struct numbers *numbers, uint32_t number)
{
	const struct page *page = atomic_load(&numbers->pages[number / PAGE_NUMBERS]);

	return page ? atomic_load(&page->numbers[number % PAGE_NUMBERS]) : 0;
}

void head_views_note(struct head_views *heads, uint32_t dataset, uint32_t view)
{
	_Atomic uint32_t *head = place_of(&heads->views, dataset);
	uint32_t was = atomic_load(head);

	atomic_store(place_of(&heads->datasets, view), dataset);
	while (was < view && !atomic_compare_exchange_weak(head, &was, view))
		;
}

uint32_t head_views_get(const struct head_views *heads, uint32_t dataset)
{
	return get(&heads->views, dataset);
}

uint32_t head_views_dataset(const struct head_views *heads, uint32_t view)
{
	return get(&heads->datasets, view);
}
