/*
 * The decoded-chunk cache: plain bytes of compressed chunks, least recently used first out, so that small reads one after the other
 * decode a chunk once. Chunks never change and ids are never given out twice, so an entry can be old but not wrong.
 *
 *   entry = cache_find(cache, id)                 a ready entry or NULL
 *   entry = cache_claim(cache, id, &mine)         the entry; if `mine`, the caller now must cache_fill() or cache_fail() it, while
 *                                                 others who claim it wait; if not, it is filled or failed
 *   cache_data(entry), cache_error(entry)
 *   cache_release(cache, entry)                   of every entry found or claimed
 *
 * What is held by the cache never exceeds its budget; an entry that does not fit lives until its readers release it. Any thread.
 */
#ifndef CORPUSFS_CHUNK_CACHE_H
#define CORPUSFS_CHUNK_CACHE_H

#include <stdbool.h>
#include <stdint.h>

struct cache;
struct cache_entry;

struct cache *cache_new(uint64_t budget, uint32_t largest); /* bytes; of the whole, and of the largest chunk */
void cache_free(struct cache *cache);                       /* nothing may be in use; NULL is fine */
uint64_t cache_bytes(struct cache *cache);                  /* held now */
uint64_t cache_budget(const struct cache *cache);

struct cache_entry *cache_find(struct cache *cache, uint64_t id);
struct cache_entry *cache_claim(struct cache *cache, uint64_t id, bool *ret_mine);
void cache_fill(struct cache *cache, struct cache_entry *entry, uint8_t *data, uint32_t len); /* takes `data`, from malloc */
void cache_fail(struct cache *cache, struct cache_entry *entry, int error);
void cache_release(struct cache *cache, struct cache_entry *entry);

const uint8_t *cache_data(const struct cache_entry *entry, uint32_t *ret_len); /* of a filled entry */
int cache_error(const struct cache_entry *entry);                              /* 0 of a filled entry */

#endif
