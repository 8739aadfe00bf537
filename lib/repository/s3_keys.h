/*
 * Keys of S3 that a service beside this machine gives, each for some hours: the metadata service of an instance in Amazon's cloud (its second version),
 * or that of a container (ECS and EKS). They are asked for when the first one is needed, and again before they run out; where the service does not
 * answer then, the old ones are used until they have.
 *
 * The service is not asked through a proxy, and has three seconds for an answer. Keys stand in memory only.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_REPOSITORY_S3_KEYS_H
#define CORPUSFS_REPOSITORY_S3_KEYS_H

#include <stdbool.h>

#include "lib/base/clean.h"
#include "lib/base/error.h"

struct s3_keys;

struct s3_keys_service {
	bool is_instance;          /* else of a container */
	const char *url;           /* of an instance where the service is; of a container what gives the keys */
	const char *authorization; /* of a container: who asks; NULL: that is not wanted */
};

struct s3_key {
	char *user, *password;
	char *token; /* NULL: none */
};
void s3_key_clear(struct s3_key *key);

struct s3_keys *s3_keys_new(const struct s3_keys_service *service);
void s3_keys_free(struct s3_keys *keys); /* NULL is fine */

/* A copy of what is good now. */
WARN_UNUSED int s3_keys_get(struct s3_keys *keys, struct s3_key *ret_key, struct error *err);

#endif
