/*
 * Sealing: what is stored can be read and made only by who has the key. AES-256 in counter mode, then Poly1305-AES over the cipher text
 * (D. J. Bernstein, "The Poly1305-AES message-authentication code", FSE 2005); keys come from passwords by scrypt (RFC 7914).
 *
 *   sealed = IV (16 bytes, random) | cipher text | MAC (16 bytes); the MAC's nonce is the IV
 *
 * A seal holds the contexts of one thread at a time. Sealing fails only if OpenSSL lacks memory or one of these algorithms. Then the process
 * ends: it could keep no promise.
 */
#ifndef CORPUSFS_REPOSITORY_SEAL_H
#define CORPUSFS_REPOSITORY_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"

#define SEAL_IV 16
#define SEAL_MAC 16
#define SEAL_EXTRA (SEAL_IV + SEAL_MAC) /* bytes that sealing adds */

struct seal_key {
	uint8_t encrypt[32];
	uint8_t mac_k[16], mac_r[16];
};

struct seal;

struct seal *seal_new(const struct seal_key *key);
void seal_free(struct seal *seal); /* wipes the key; NULL is fine */

/* `out` has len + SEAL_EXTRA bytes and does not overlap. */
void seal_close(struct seal *seal, const void *plain, size_t len, uint8_t *out);
/* `out` has len - SEAL_EXTRA bytes, or is where the cipher text stands. -EBADMSG: another key, or not what was sealed. */
WARN_UNUSED int seal_open(struct seal *seal, const uint8_t *sealed, size_t len, uint8_t *out);

void seal_random(void *out, size_t len); /* at most 256 bytes */
void seal_wipe(void *data, size_t len); /* for keys and passwords that are no longer needed */

/*
 * The costs of scrypt: memory is 128 * n * r bytes. They come from a key file, which anybody may have written: -EINVAL if they are none that scrypt
 * allows, if it is more than 1 GiB, if r or p is above 64, or if there is no such memory now.
 */
struct seal_costs {
	uint64_t n;
	uint32_t r, p;
};
WARN_UNUSED int seal_key_from_password(const char *password, const struct seal_costs *costs, const uint8_t *salt, size_t salt_len,
				       struct seal_key *ret_key);

#endif
