#include "lib/repository/seal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "lib/base/buf.h"

#define SCRYPT_MEMORY_MAX (1ULL << 30)
#define SCRYPT_R_MAX 64 /* with P_MAX: time is n * r * p */
#define SCRYPT_P_MAX 64

struct seal {
	EVP_CIPHER *ctr, *ecb; /* fetched once, as the digest is (lib/chunk/digest.c) */
	EVP_CIPHER_CTX *stream, *block;
	EVP_MAC *poly1305;
	EVP_MAC_CTX *mac;
	struct seal_key key;
};

static void need(int ok)
{
	if (ok == 1)
		return;
	fputs("corpusfs: AES-256, Poly1305 or scrypt is not available from OpenSSL\n", stderr);
	abort();
}

struct seal *seal_new(const struct seal_key *key)
{
	struct seal *seal = xcalloc(1, sizeof(*seal));

	seal->key = *key;
	seal->ctr = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
	seal->ecb = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
	seal->poly1305 = EVP_MAC_fetch(NULL, "POLY1305", NULL);
	need(seal->ctr && seal->ecb && seal->poly1305);
	seal->stream = EVP_CIPHER_CTX_new();
	seal->block = EVP_CIPHER_CTX_new();
	seal->mac = EVP_MAC_CTX_new(seal->poly1305);
	need(seal->stream && seal->block && seal->mac);
	need(EVP_EncryptInit_ex2(seal->stream, seal->ctr, key->encrypt, NULL, NULL));
	need(EVP_EncryptInit_ex2(seal->block, seal->ecb, key->mac_k, NULL, NULL));
	need(EVP_CIPHER_CTX_set_padding(seal->block, 0));
	return seal;
}

void seal_free(struct seal *seal)
{
	if (!seal)
		return;
	EVP_MAC_CTX_free(seal->mac);
	EVP_MAC_free(seal->poly1305);
	EVP_CIPHER_CTX_free(seal->block);
	EVP_CIPHER_CTX_free(seal->stream);
	EVP_CIPHER_free(seal->ecb);
	EVP_CIPHER_free(seal->ctr);
	seal_wipe(&seal->key, sizeof(seal->key));
	free(seal);
}

/* Lengths of OpenSSL's ciphers are ints. */
#define STEP (1U << 30)

static void apply_stream(struct seal *seal, const uint8_t *iv, const uint8_t *from, size_t len, uint8_t *out)
{
	need(EVP_EncryptInit_ex2(seal->stream, NULL, NULL, iv, NULL));
	while (len > 0) {
		int step = (int)MIN(len, STEP), got = 0;

		need(EVP_EncryptUpdate(seal->stream, out, &got, from, step));
		need(got == step);
		from += step;
		out += step;
		len -= (size_t)step;
	}
}

static void authenticate(struct seal *seal, const uint8_t *nonce, const uint8_t *data, size_t len, uint8_t mac[SEAL_MAC])
{
	uint8_t one_time[32]; /* r, then AES of the nonce */
	size_t mac_len = 0;
	int got = 0;

	memcpy(one_time, seal->key.mac_r, 16);
	need(EVP_EncryptUpdate(seal->block, one_time + 16, &got, nonce, SEAL_IV));
	need(got == 16);
	need(EVP_MAC_init(seal->mac, one_time, sizeof(one_time), NULL));
	need(EVP_MAC_update(seal->mac, data, len));
	need(EVP_MAC_final(seal->mac, mac, &mac_len, SEAL_MAC));
	need(mac_len == SEAL_MAC);
}

void seal_close(struct seal *seal, const void *plain, size_t len, uint8_t *out)
{
	seal_random(out, SEAL_IV);
	apply_stream(seal, out, plain, len, out + SEAL_IV);
	authenticate(seal, out, out + SEAL_IV, len, out + SEAL_IV + len);
}

int seal_open(struct seal *seal, const uint8_t *sealed, size_t len, uint8_t *out)
{
	uint8_t mac[SEAL_MAC];

	if (len < SEAL_EXTRA)
		return -EBADMSG;
	authenticate(seal, sealed, sealed + SEAL_IV, len - SEAL_EXTRA, mac);
	if (CRYPTO_memcmp(mac, sealed + len - SEAL_MAC, SEAL_MAC) != 0)
		return -EBADMSG;
	apply_stream(seal, sealed, sealed + SEAL_IV, len - SEAL_EXTRA, out);
	return 0;
}

void seal_random(void *out, size_t len)
{
	/* OpenSSL's generator has memory of each thread, which stays when the process ends just before the thread does */
	if (getentropy(out, len) == 0)
		return;
	fputs("corpusfs: the kernel gives no random numbers\n", stderr);
	abort();
}

void seal_wipe(void *data, size_t len)
{
	OPENSSL_cleanse(data, len);
}

int seal_key_from_password(const char *password, const struct seal_costs *costs, const uint8_t *salt, size_t salt_len,
			   struct seal_key *ret_key)
{
	uint8_t derived[64];
	uint64_t n = costs->n, memory_max = SCRYPT_MEMORY_MAX + (64U << 20);
	uint32_t r = costs->r, p = costs->p;
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)password, strlen(password)),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, salt_len),
		OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
		OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
		OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
		OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory_max),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf;
	EVP_KDF_CTX *context;
	int made;

	if (n < 2 || (n & (n - 1)) != 0 || r == 0 || p == 0 || r > SCRYPT_R_MAX || p > SCRYPT_P_MAX || n > SCRYPT_MEMORY_MAX / 128 / r)
		return -EINVAL;
	kdf = EVP_KDF_fetch(NULL, "SCRYPT", NULL);
	need(kdf != NULL);
	context = EVP_KDF_CTX_new(kdf);
	need(context != NULL);
	made = EVP_KDF_derive(context, derived, sizeof(derived), params);
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	if (made != 1) /* costs that scrypt itself does not allow, or no memory */
		return -EINVAL;
	memcpy(ret_key->encrypt, derived, 32);
	memcpy(ret_key->mac_k, derived + 32, 16);
	memcpy(ret_key->mac_r, derived + 48, 16);
	seal_wipe(derived, sizeof(derived));
	return 0;
}
