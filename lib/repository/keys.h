/*
 * Passwords: each has a key file, in which the repository's one key stands, sealed by a key that scrypt makes of the password.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_REPOSITORY_KEYS_H
#define CORPUSFS_REPOSITORY_KEYS_H

#include "lib/repository/objects.h"
#include "lib/repository/seal.h"

#define KEY_FILE_MAX (64U << 10)
#define KEY_ID_TEXT 65

/* Makes a key file for the password. ret_name has KEY_ID_TEXT bytes. */
WARN_UNUSED int keys_add(struct objects *objects, const struct seal_key *key, const char *password, char *ret_name, struct error *err);

/* Whether a key that a password opens is the one. A file may be left of who made a repository there at the same moment as somebody else. */
struct key_choice {
	bool (*fits)(void *arg, const struct seal_key *key);
	void *arg;
};
/*
 * Tries all key files: gives the one that fits, or else the last one that the password opens. -EACCES: it opens none of them; -ENOENT: there are none;
 * -EBADMSG: all are damaged.
 */
WARN_UNUSED int keys_open(struct objects *objects, const char *password, const struct key_choice *choice, struct seal_key *ret_key, char *ret_name,
			  struct error *err);

struct key_info {
	const char *name; /* of the file */
	const char *user, *host, *created;
};
WARN_UNUSED int keys_each(struct objects *objects, int (*each)(void *arg, const struct key_info *info), void *arg, struct error *err);

#endif
