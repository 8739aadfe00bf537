/*
 * HTTP for stores of objects. One request at a time in each thread; connections are kept and used again.
 *
 *   http = http_new(&options)
 *   http_do(http, &request, &answer) ...
 *   http_free(http)
 *
 * What may pass (a connection that fails, a server that is busy or broken for a moment) is tried again after a pause that grows and is drawn
 * at random (full jitter: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015), until the request's patience ends. A
 * request that seems to have failed may have been carried out: `answer.tries` says how often it was sent.
 *
 * Patience is for who does not answer. An answer that comes may take longer, as it may be long; but what comes slower than HTTP_SLOW bytes a second
 * for half a minute, or for the rest of the patience, has failed. Only with a limit does each request end by its time, whatever is still to come.
 *
 * A range is asked for a second time, beside the first, when its answer is late (hedge.h), and the first good answer counts; the other one is cut off.
 * Nothing else is: it may change something, or its answer has no place beside the first. What fails of the second hides nothing of the first. It counts
 * in no `tries`.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_REPOSITORY_HTTP_H
#define CORPUSFS_REPOSITORY_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "lib/base/buf.h"

#define HTTP_PATIENCE_MS 60000
#define HTTP_PATIENCE_FIRST_MS 3000 /* of who has not had an answer yet, and may have written the name wrong */
#define HTTP_SLOW 1024 /* bytes a second: nobody waits for less */
#define HTTP_PROBLEM_MAX 512

struct http;

struct http_options {
	const char *user, *password; /* NULL: none; or the key for signing */
	const char *sign;            /* "aws:amz:REGION:s3": requests are signed, as AWS signs them (version 4); NULL: basic authentication */
	const char *certificates;    /* of authorities, as PEM text; NULL: the system's */
	const char *client;          /* certificate and key of who asks, as PEM text; NULL: none */
	uint64_t limit_ms;           /* each request ends within it; 0: none, see above */
	_Atomic uint64_t *net_bytes; /* grows by what comes and goes, about each second; NULL: nobody wants to know */
	bool no_proxy;               /* whatever the environment says */
};

struct http_request {
	const char *method; /* "GET", "HEAD", "PUT", "POST", "DELETE" */
	const char *url;
	const char *const *headers; /* "Name: value"; ends with NULL; NULL: none */
	const char *user, *password; /* in the place of those of all requests; NULL: those */
	const void *data;           /* the body of PUT and POST */
	size_t len;
	/* Of GET: exactly `range_len` bytes from `range_offset`, to `out`; range_len 0: all, into answer.body. */
	uint64_t range_offset;
	size_t range_len;
	void *out;
	size_t body_max; /* of an answer without a range: a longer one has failed; 0: 1 GiB */
	uint64_t patience_ms; /* 0: the limit, or HTTP_PATIENCE_MS */
	bool once;            /* who asks tries again himself: it is sent once, on a connection of its own */
};

struct http_answer {
	long status;          /* of HTTP */
	int64_t content_length; /* -1: not told */
	unsigned tries;
	struct buf body; /* without a range, or of a failure; ends with a NUL that is not counted. Ends with buf_clear */
	char content_type[80], server[80]; /* "": not told. server: what it calls itself */
	int64_t date; /* when the server answered, by its clock: seconds since 1970; 0: not told */
	char problem[HTTP_PROBLEM_MAX]; /* why no answer came, in the library's words */
};

struct http *http_new(const struct http_options *options);
void http_free(struct http *http); /* NULL is fine */

/*
 * 0: an answer came, whatever its status. Else none: -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH, -EPROTO (TLS), -EIO. -EIO also when the server
 * gives another range than was asked for.
 */
WARN_UNUSED int http_do(struct http *http, const struct http_request *request, struct http_answer *ret_answer);

/* How long to pause before another try, after so many: longer each time, drawn at random. */
uint64_t http_pause_ms(unsigned tries);

/* What a status means: 0, -ENOENT, -EACCES, -EEXIST, -ENOSPC, -EIO. */
int http_errno(long status);

/* How many requests were sent a second time beside the first. */
uint64_t http_sent_again(struct http *http);

#endif
