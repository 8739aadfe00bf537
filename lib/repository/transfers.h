/*
 * The door to libcurl: one request that is under way, and beside it a second one that asks for the same. Connections stay open from one use to the next.
 *
 *   transfers = transfers_new()
 *   transfers_begin(transfers, 0, &order), and perhaps transfers_begin(transfers, 1, &order)
 *   transfers_run(transfers), transfers_wait(transfers, ms) ... until one has ended that is good enough
 *   transfers_answer(transfers, number, &answer)
 *   transfers_end(transfers)                             which cuts off what is still under way; then the next one may begin
 *   transfers_free(transfers)
 *
 * What cannot begin, and what the library cannot go on with, has ended, with a result. Whatever fails of one changes nothing of the other.
 * Threads: one at a time.
 */
#ifndef CORPUSFS_REPOSITORY_TRANSFERS_H
#define CORPUSFS_REPOSITORY_TRANSFERS_H

#include "lib/repository/http.h"

#define TRANSFERS 2

struct transfers;

/* How one of them fares. Times are clock_ms(). */
struct transfer {
	uint64_t began_ms; /* 0: it was not begun */
	uint64_t first_ms; /* when the range that was asked for began to come; 0: nothing of it came */
	uint64_t moved_ms; /* when more of it came; as long as nothing did, when it was begun */
	uint64_t ended_ms; /* 0: it has not ended, and the following says nothing */
	int result;        /* as that of http_do(), or -ERANGE: another range came than was asked for */
	long status;       /* of HTTP */
};

struct transfers_order {
	const struct http_options *options;
	const struct http_request *request;
	void *out;         /* where a range comes, in the place of the request's */
	uint64_t until_ms; /* so long who asks is patient (http.h) */
};

struct transfers *transfers_new(void);
void transfers_free(struct transfers *transfers); /* NULL is fine */

/* What the order points to stays until transfers_end(). */
void transfers_begin(struct transfers *transfers, size_t number, const struct transfers_order *order);
const struct transfer *transfers_get(const struct transfers *transfers, size_t number);

/* Does what can be done without waiting. */
void transfers_run(struct transfers *transfers);
/* Waits until there is something to do, about `ms` at most. */
void transfers_wait(struct transfers *transfers, uint64_t ms);

/* What came of one that has ended; the body is the caller's. `tries` is not touched. */
void transfers_answer(struct transfers *transfers, size_t number, struct http_answer *answer);
/* False: the library has failed, and these are of no more use. */
WARN_UNUSED bool transfers_end(struct transfers *transfers);

/* Escapes a part of a path or a query. Ends with free(). */
char *transfers_escape(const char *text);

#endif
