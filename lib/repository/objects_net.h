/* What stores of objects on the network share: objects_rest.c, objects_s3.c. */
#ifndef CORPUSFS_REPOSITORY_OBJECTS_NET_H
#define CORPUSFS_REPOSITORY_OBJECTS_NET_H

#include "lib/repository/http.h"
#include "lib/repository/objects.h"
#include "lib/repository/s3_keys.h"

struct objects_access {
	const char *url;             /* see objects_open.h */
	const char *user, *password; /* of S3: key and secret. NULL: none */
	const char *token;           /* of S3: of a session; NULL: none */
	struct s3_keys_service service; /* of S3, where no key is given: what gives some; its url NULL: nothing does */
	const char *region;          /* of S3; NULL: what the host's name says, or us-east-1 */
	const char *certificates;    /* of authorities, as PEM text; NULL: the system's */
	_Atomic uint64_t *net_bytes; /* http.h */
	uint64_t limit_ms;           /* each request ends within it; 0: none (http.h) */
};

/* What http_do said, and the status, as a result. */
int objects_net_result(int result, const struct http_answer *answer);
/* The same of a question for an object's size, which the answer tells; takes what the answer holds. */
int objects_net_size(int result, struct http_answer *answer, uint64_t *ret_size);
/* The server's time, from any answer of it. -ENODATA: it does not tell. */
int objects_net_clock(int result, struct http_answer *answer, struct timespec *ret_now);
/* Why a place cannot be used. `what`: the server's own words, or NULL. */
int objects_net_problem(const char *url, int result, const struct http_answer *answer, const char *what, struct error *err);

#endif
