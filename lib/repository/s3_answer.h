/* What S3 answers in XML: pages of a listing, and errors. One thread. */
#ifndef CORPUSFS_REPOSITORY_S3_ANSWER_H
#define CORPUSFS_REPOSITORY_S3_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

#define S3_TEXT_MAX 1100 /* a key has at most 1,024 bytes */

struct s3_page {
	int (*each)(void *arg, const char *key, uint64_t size); /* not 0: it is not called again */
	void *arg;
	char next[S3_TEXT_MAX]; /* where the next page begins; "": this is the last */
};

/* What `each` returned, or -EPROTO: it is no listing, or goes on and does not tell where. */
WARN_UNUSED int s3_read_page(const void *xml, size_t len, struct s3_page *page);

/* The code and message of an error: "NoSuchBucket"; both "" when it is none. */
void s3_read_error(const void *xml, size_t len, char ret_code[S3_TEXT_MAX], char ret_message[S3_TEXT_MAX]);

#endif
