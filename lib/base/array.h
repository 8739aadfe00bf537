/*
 * Growing arrays. An array is any struct that starts with the three members of ARRAY_FIELDS:
 *
 *   struct names { ARRAY_FIELDS(char *); };        a named type; more members may follow
 *   ARRAY(struct piece) pieces;                    a variable or a member without a type name
 *
 * All zero is an empty array. `items` may move whenever something is added: pointers into it are good until then.
 *
 *   array_add(&a, value)          appends the value
 *   array_new(&a)                 appends an item of zeros and returns its address
 *   array_append(&a, from, n)     appends n items, copied from elsewhere
 *   array_insert(&a, at, value)   inserts the value before item `at`
 *   array_remove(&a, at, n)       removes n items from item `at` on
 *   array_pop(&a)                 removes the last item and returns its value; the array may not be empty
 *   array_last(&a)                the address of the last item; the array may not be empty
 *   array_reserve(&a, n)          makes room for n more items, so that adding them does not move `items`
 *   array_reset(&a)               forgets the items and keeps the memory
 *   array_fit(&a)                 gives back the memory that no item needs
 *   array_clear(&a)               frees the memory; what the items own is the caller's to free before
 *
 * AUTO_ARRAY before a declaration frees the memory at the end of the scope. Memory exhaustion ends the process, as for buffers
 * (lib/base/buf.h), and so does a size that does not fit into size_t. An array belongs to one thread at a time.
 */
#ifndef CORPUSFS_BASE_ARRAY_H
#define CORPUSFS_BASE_ARRAY_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clean.h"

#define ARRAY_FIELDS(type)  \
	type *items;        \
	size_t count, cap

#define ARRAY(type)                 \
	struct {                    \
		ARRAY_FIELDS(type); \
	}

#define AUTO_ARRAY CLEANUP(clean_free)

/* Returns the items with room for `extra` more than `count`; grows by half at least. */
void *array_room(void *items, size_t count, size_t *cap, size_t extra, size_t item_size);

/* Returns the items with no more room than they need; NULL for none. */
void *array_fitted(void *items, size_t count, size_t item_size);

#define array_reserve(array, extra)                                                                                        \
	({                                                                                                                 \
		__auto_type reserve_ = (array);                                                                            \
		reserve_->items =                                                                                          \
			array_room(reserve_->items, reserve_->count, &reserve_->cap, (extra), sizeof(*reserve_->items)); \
	})

#define array_add(array, ...)                              \
	({                                                 \
		__auto_type add_ = (array);                \
		array_reserve(add_, 1);                    \
		add_->items[add_->count++] = (__VA_ARGS__); \
	})

#define array_new(array)                                                               \
	({                                                                             \
		__auto_type new_ = (array);                                            \
		array_reserve(new_, 1);                                                \
		memset(&new_->items[new_->count], 0, sizeof(*new_->items));            \
		&new_->items[new_->count++];                                           \
	})

#define array_append(array, from, number)                                                               \
	({                                                                                              \
		__auto_type append_ = (array);                                                          \
		const __typeof__(*append_->items) *from_ = (from);                                      \
		size_t number_ = (number);                                                              \
		array_reserve(append_, number_);                                                        \
		if (number_ > 0)                                                                        \
			memcpy(append_->items + append_->count, from_, number_ * sizeof(*from_));       \
		append_->count += number_;                                                              \
	})

#define array_insert(array, at, ...)                                                                                        \
	({                                                                                                                  \
		__auto_type insert_ = (array);                                                                              \
		size_t at_ = (at);                                                                                          \
		array_reserve(insert_, 1);                                                                                  \
		memmove(insert_->items + at_ + 1, insert_->items + at_, (insert_->count - at_) * sizeof(*insert_->items)); \
		insert_->items[at_] = (__VA_ARGS__);                                                                        \
		insert_->count++;                                                                                           \
	})

#define array_remove(array, at, number)                                                                        \
	({                                                                                                     \
		__auto_type remove_ = (array);                                                                 \
		size_t at_ = (at), number_ = (number), rest_ = remove_->count - at_ - number_;                 \
		if (rest_ > 0)                                                                                 \
			memmove(remove_->items + at_, remove_->items + at_ + number_, rest_ * sizeof(*remove_->items)); \
		remove_->count -= number_;                                                                     \
	})

#define array_pop(array)                        \
	({                                      \
		__auto_type pop_ = (array);     \
		pop_->items[--pop_->count];     \
	})

#define array_last(array)                            \
	({                                           \
		__auto_type last_ = (array);         \
		&last_->items[last_->count - 1];     \
	})

#define array_reset(array) ((void)((array)->count = 0))

#define array_fit(array)                                                                    \
	({                                                                                  \
		__auto_type fit_ = (array);                                                 \
		fit_->items = array_fitted(fit_->items, fit_->count, sizeof(*fit_->items)); \
		fit_->cap = fit_->count;                                                    \
	})

#define array_clear(array)                             \
	({                                             \
		__auto_type clear_ = (array);          \
		free(clear_->items);                   \
		clear_->items = NULL;                  \
		clear_->count = clear_->cap = 0;       \
	})

#endif
