#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>

#include "fs/fuse/group/name_page.h"

#define MANY 100000
#define NAME_LEN 64
#define BUDGET (2U << 20)
#define MOST (1U << 20) /* of a page: a fraction of what MANY names take */

/* A directory: its names, and how often each was shown. */
struct name {
	char text[NAME_LEN];
	uint64_t ino; /* 0: it is gone */
	unsigned shown;
};

struct directory {
	ARRAY(struct name) names;
	uint64_t next_ino;
};

static void add_name(struct directory *directory, uint64_t ino, const char *format, unsigned number)
{
	struct name *name = array_new(&directory->names);

	snprintf(name->text, sizeof(name->text), format, number);
	name->ino = ino ? ino : ++directory->next_ino;
}

static void make(struct directory *directory, unsigned count)
{
	*directory = (struct directory){0};
	for (unsigned i = 0; i < count; i++)
		add_name(directory, 0, "a-name-of-usual-length-%u.jpg", i);
}

static void load(struct name_page *page, const struct directory *directory)
{
	const struct name_entry dots[] = {{.place = 1, .kind = NAME_DOT}, {.place = 2, .kind = NAME_DOT}};

	name_page_add(page, &dots[0], ".");
	name_page_add(page, &dots[1], "..");
	/* from the last on, so that they have to be sorted */
	for (size_t i = directory->names.count; i-- > 0;) {
		const struct name *name = &directory->names.items[i];
		const struct name_entry entry = {.place = name->ino, .kind = NAME_FILE};

		if (name->ino)
			name_page_add(page, &entry, name->text);
	}
	name_page_end(page);
}

/* As a request does: at most `count` items from behind the cookie, of one part; nothing: it is the end. */
static size_t read_some(struct name_page *page, const struct directory *directory, uint64_t cookie, const struct name_item **ret_items, size_t count)
{
	size_t from = 0;

	if (cookie == 0 || !name_page_has(page, cookie)) {
		name_page_begin(page, cookie);
		load(page, directory);
	}
	while ((from = name_page_find(page, cookie)) == page->list.count) {
		if (!name_page_next(page))
			return 0;
		load(page, directory);
		cookie = 0;
	}
	*ret_items = &page->list.items[from];
	return MIN(count, page->list.count - from);
}

static struct name *find(struct directory *directory, const char *text)
{
	unsigned number;

	/* names are made in order, so that theirs is where they stand */
	assert_int_equal(sscanf(text, "a-name-of-usual-length-%u", &number), 1);
	assert_true(number < directory->names.count);
	assert_string_equal(directory->names.items[number].text, text);
	return &directory->names.items[number];
}

/* Lists it in steps; `between` is called after each. Returns how many parts there were. */
static unsigned list_all(struct name_pages *pages, struct directory *directory, size_t step, void (*between)(struct directory *directory))
{
	const struct name_item *items;
	struct name_page page;
	uint64_t cookie = 0;
	unsigned dots = 0, parts = 1;
	size_t got;

	name_page_init(&page, pages);
	while ((got = read_some(&page, directory, cookie, &items, step)) > 0) {
		assert_true(name_pages_bytes(pages) <= pages->budget);
		for (size_t i = 0; i < got; i++) {
			assert_true(i == 0 || items[i].cookie > cookie);
			cookie = items[i].cookie;
			if (items[i].kind == NAME_DOT)
				assert_int_equal(items[i].cookie & 3, ++dots);
			else
				find(directory, name_page_name(&page, &items[i]))->shown++;
		}
		parts = 1U << page.depth;
		if (between)
			between(directory);
	}
	assert_int_equal(dots, 2);
	assert_int_equal(name_pages_bytes(pages), 0); /* who has read all holds nothing */
	name_page_clear(&page);
	return parts;
}

static void check_shown_once(const struct directory *directory)
{
	for (size_t i = 0; i < directory->names.count; i++)
		assert_int_equal(directory->names.items[i].shown, 1);
}

static void test_names_come_in_the_order_of_inodes_behind_the_dots(void **state)
{
	struct name_pages pages;
	struct name_page page;
	struct directory directory;
	const struct name_item *items;

	name_pages_init(&pages, BUDGET, MOST);
	name_page_init(&page, &pages);
	make(&directory, 100);
	assert_int_equal(read_some(&page, &directory, 0, &items, 1000), 102);
	assert_string_equal(name_page_name(&page, &items[0]), ".");
	assert_string_equal(name_page_name(&page, &items[1]), "..");
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(items[2 + i].number, i + 1);
		assert_string_equal(name_page_name(&page, &items[2 + i]), directory.names.items[i].text);
	}
	name_page_clear(&page);
	assert_int_equal(name_pages_bytes(&pages), 0);
	array_clear(&directory.names);
	name_pages_clear(&pages);
}

static void test_more_names_than_a_page_holds_are_shown_once_each(void **state)
{
	struct name_pages pages;
	struct directory directory;

	name_pages_init(&pages, BUDGET, MOST);
	make(&directory, MANY);
	assert_in_range(list_all(&pages, &directory, 1000, NULL), 8, 16);
	check_shown_once(&directory);
	array_clear(&directory.names);
	name_pages_clear(&pages);
}

/* Some get another inode, as when a file is renamed over them; some go; and some come. */
static void change(struct directory *directory)
{
	static unsigned turn;

	turn++;
	for (size_t i = turn % 13; i < MANY; i += 5000)
		directory->names.items[i].ino = i % 2 ? ++directory->next_ino : 0;
	for (unsigned i = 0; i < 20; i++)
		add_name(directory, 0, "a-name-of-usual-length-%u.new", (unsigned)directory->names.count);
}

static void test_names_that_stay_are_shown_once_whatever_happens(void **state)
{
	struct name_pages pages;
	struct directory directory;

	name_pages_init(&pages, BUDGET, MOST);
	make(&directory, MANY);
	list_all(&pages, &directory, 1000, change);
	for (size_t i = 0; i < directory.names.count; i++) {
		const struct name *name = &directory.names.items[i];
		const bool stays = i < MANY && name->ino;

		assert_in_range(name->shown, stays ? 1 : 0, 1);
	}
	array_clear(&directory.names);
	name_pages_clear(&pages);
}

/* Who copies each file that he sees to a new name. */
static void copy_as_many(struct directory *directory)
{
	for (unsigned i = 0; i < 1000; i++)
		add_name(directory, 0, "a-name-of-usual-length-%u.copy", (unsigned)directory->names.count);
}

static void test_who_makes_names_while_listing_comes_to_an_end(void **state)
{
	struct name_pages pages;
	struct directory directory;

	name_pages_init(&pages, 16 * BUDGET, MOST);
	make(&directory, MANY / 2);
	list_all(&pages, &directory, 1000, copy_as_many);
	for (size_t i = 0; i < directory.names.count; i++)
		assert_in_range(directory.names.items[i].shown, i < MANY / 2 ? 1 : 0, 1);
	array_clear(&directory.names);
	name_pages_clear(&pages);
}

static void test_a_cookie_leads_on_in_any_handle(void **state)
{
	struct name_pages pages;
	struct name_page page, other;
	struct directory directory;
	const struct name_item *items, *found;
	uint64_t cookie = 0;
	size_t got;

	name_pages_init(&pages, BUDGET, MOST);
	make(&directory, MANY / 4);
	name_page_init(&page, &pages);
	name_page_init(&other, &pages);
	while ((got = read_some(&page, &directory, cookie, &items, 777)) > 0) {
		assert_true(page.depth > 0);
		name_page_drop(&other);
		if (cookie) {
			assert_true(read_some(&other, &directory, cookie, &found, 1) > 0);
			assert_string_equal(name_page_name(&other, found), name_page_name(&page, items));
		}
		cookie = items[got - 1].cookie;
	}
	name_page_clear(&other);
	name_page_clear(&page);
	array_clear(&directory.names);
	name_pages_clear(&pages);
}

static void test_a_directory_begun_in_small_parts_goes_on_in_large_ones(void **state)
{
	struct name_pages pages;
	struct name_page page, large;
	struct directory directory, other;
	const struct name_item *items;
	uint64_t cookie = 0;
	size_t got, shown = 0;
	unsigned parts = 0, part = UINT_MAX;

	name_pages_init(&pages, BUDGET, BUDGET);
	name_page_init(&large, &pages);
	name_page_init(&page, &pages);
	make(&directory, MANY);
	make(&other, 25000);
	/* somebody has most of the memory when it begins */
	assert_true(read_some(&large, &other, 0, &items, 1) > 0);
	assert_int_equal(large.depth, 0);
	while ((got = read_some(&page, &directory, cookie, &items, 1000)) > 0) {
		if (page.part << (NAME_PAGE_DEPTH_MAX - page.depth) != part)
			parts++;
		part = page.part << (NAME_PAGE_DEPTH_MAX - page.depth);
		shown += got;
		cookie = items[got - 1].cookie;
		name_page_drop(&large);
	}
	assert_int_equal(shown, MANY + 2);
	assert_in_range(parts, 2, 16);
	name_page_clear(&page);
	name_page_clear(&large);
	array_clear(&directory.names);
	array_clear(&other.names);
	name_pages_clear(&pages);
}

#define OPEN 200

static void test_many_open_directories_share_the_budget_and_miss_nothing(void **state)
{
	static struct name_page open[OPEN];
	struct name_pages pages;
	struct directory directory;
	uint64_t cookies[OPEN] = {0};
	size_t shown[OPEN] = {0}, going = OPEN;
	const struct name_item *items;

	name_pages_init(&pages, BUDGET, MOST);
	make(&directory, 3000);
	for (unsigned i = 0; i < OPEN; i++)
		name_page_init(&open[i], &pages);
	while (going > 0) {
		going = 0;
		for (unsigned i = 0; i < OPEN; i++) {
			size_t got = read_some(&open[i], &directory, cookies[i], &items, 500);

			assert_true(name_pages_bytes(&pages) <= BUDGET);
			if (got == 0)
				continue;
			cookies[i] = items[got - 1].cookie;
			shown[i] += got;
			going++;
		}
	}
	for (unsigned i = 0; i < OPEN; i++) {
		assert_int_equal(shown[i], 3002);
		name_page_clear(&open[i]);
	}
	assert_int_equal(name_pages_bytes(&pages), 0);
	array_clear(&directory.names);
	name_pages_clear(&pages);
}

struct lister {
	pthread_t thread;
	struct name_pages *pages;
	const struct directory *directory;
	size_t shown;
};

static void *list_it(void *arg)
{
	struct lister *lister = arg;
	const struct name_item *items;
	struct name_page page;
	uint64_t cookie = 0;
	size_t got;

	name_page_init(&page, lister->pages);
	do {
		pthread_mutex_lock(&page.lock);
		got = read_some(&page, lister->directory, cookie, &items, 100);
		if (got > 0)
			cookie = items[got - 1].cookie;
		lister->shown += got;
		pthread_mutex_unlock(&page.lock);
	} while (got > 0);
	name_page_clear(&page);
	return NULL;
}

static void test_threads_take_pages_from_each_other(void **state)
{
	struct lister listers[4] = {0};
	struct name_pages pages;
	struct directory directory;

	name_pages_init(&pages, NAME_PAGE_LEAST, NAME_PAGE_LEAST);
	make(&directory, 3000);
	for (unsigned i = 0; i < ARRAY_SIZE(listers); i++) {
		listers[i].pages = &pages;
		listers[i].directory = &directory;
		assert_int_equal(pthread_create(&listers[i].thread, NULL, list_it, &listers[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(listers); i++) {
		pthread_join(listers[i].thread, NULL);
		assert_int_equal(listers[i].shown, 3002);
	}
	assert_int_equal(name_pages_bytes(&pages), 0);
	array_clear(&directory.names);
	name_pages_clear(&pages);
}

static void test_many_names_of_one_inode_are_shown_once_each(void **state)
{
	struct name_pages pages;
	struct directory directory = {0};

	name_pages_init(&pages, BUDGET, MOST);
	for (unsigned i = 0; i < MANY / 2; i++)
		add_name(&directory, 7, "a-name-of-usual-length-%u", i);
	list_all(&pages, &directory, 1000, NULL);
	check_shown_once(&directory);
	array_clear(&directory.names);
	name_pages_clear(&pages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_come_in_the_order_of_inodes_behind_the_dots),
		cmocka_unit_test(test_more_names_than_a_page_holds_are_shown_once_each),
		cmocka_unit_test(test_names_that_stay_are_shown_once_whatever_happens),
		cmocka_unit_test(test_who_makes_names_while_listing_comes_to_an_end),
		cmocka_unit_test(test_a_cookie_leads_on_in_any_handle),
		cmocka_unit_test(test_a_directory_begun_in_small_parts_goes_on_in_large_ones),
		cmocka_unit_test(test_many_open_directories_share_the_budget_and_miss_nothing),
		cmocka_unit_test(test_threads_take_pages_from_each_other),
		cmocka_unit_test(test_many_names_of_one_inode_are_shown_once_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
