#include "lib/chunk/sha256_lanes.h"

#include <string.h>

#include "lib/base/clean.h"

#define LANES 16
#define PAIR 2
#define BLOCK 64U
#define STATE 8

size_t sha256_lanes_left_out(struct digest_job *const *jobs, size_t count)
{
	for (size_t first = 0; first + LANES / 2 < count; first++) {
		uint64_t loads[LANES] = {0}, total = 0, most = 0;

		for (size_t i = first; i < count; i++) {
			size_t least = 0;

			for (size_t lane = 1; lane < LANES; lane++)
				if (loads[lane] < loads[least])
					least = lane;
			loads[least] += jobs[i]->len + BLOCK;
			total += jobs[i]->len + BLOCK;
			most = MAX(most, loads[least]);
		}
		/* in the lanes it takes three fifths of the time, if all are full */
		if (most * LANES <= total + total / 2)
			return first;
	}
	return count;
}

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdatomic.h>
#include <immintrin.h>

#define WITH_AVX512 __attribute__((target("avx512f,avx512bw")))
#define WITH_SHA __attribute__((target("sha,sse4.1")))

/* One word of each of 16 messages. */
typedef uint32_t words __attribute__((vector_size(4 * LANES)));

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
	0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
	0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
	0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
	0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
	0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static const uint32_t first_state[STATE] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

struct lanes {
	int width;
	uint32_t state[STATE][LANES] __attribute__((aligned(64)));
	const uint8_t *at[LANES];
	struct lane {
		struct digest_job *job; /* NULL: idle */
		size_t left;            /* blocks */
		bool in_tail;
		uint8_t tail[2 * BLOCK]; /* what is no whole block, and the end that SHA-256 adds */
	} items[LANES];
};

/* Not every compiler knows their name. */
static bool has_sha(void)
{
	unsigned a, b = 0, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) && __builtin_cpu_supports("sse4.1");
}

bool sha256_lanes_has(enum sha256_lanes lanes)
{
	switch (lanes) {
	case SHA256_LANES_WIDE: return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
	case SHA256_LANES_PAIR: return has_sha();
	case SHA256_LANES_NONE: break;
	}
	return true;
}

/* Found out once: on a virtual machine to ask the processor takes as long as hashing 30 KB. */
enum sha256_lanes sha256_lanes_best(void)
{
	static atomic_int found = -1;
	int best = atomic_load_explicit(&found, memory_order_relaxed);

	if (best < 0) {
		best = sha256_lanes_has(SHA256_LANES_WIDE) ? SHA256_LANES_WIDE : sha256_lanes_has(SHA256_LANES_PAIR) ? SHA256_LANES_PAIR : SHA256_LANES_NONE;
		atomic_store_explicit(&found, best, memory_order_relaxed);
	}
	return (enum sha256_lanes)best;
}

/* --- 16 blocks --- */

#define TURN(a, by) ((words)_mm512_ror_epi32((__m512i)(a), (by)))
#define THREE(a, b, c, table) ((words)_mm512_ternarylogic_epi32((__m512i)(a), (__m512i)(b), (__m512i)(c), (table)))
#define XOR(a, b, c) THREE(a, b, c, 0x96)
#define CHOOSE(a, b, c) THREE(a, b, c, 0xca)
#define MAJORITY(a, b, c) THREE(a, b, c, 0xe8)

/* Word i of all messages becomes w[i]: 16 rows are turned into columns, by pairs, fours, eights. */
WITH_AVX512 static inline void load_words(const uint8_t *const at[LANES], words w[16])
{
	const __m512i swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL));
	__m512i r[16], t[16];

	for (int i = 0; i < 16; i++)
		r[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(at[i]), swap);
	for (int i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
	}
	for (int i = 0; i < 16; i += 4) {
		r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
		r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
		r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
		r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	for (int i = 0; i < 4; i++) {
		t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
		t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
		t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
		t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
	}
	for (int i = 0; i < 4; i++) {
		w[i] = (words)_mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
		w[4 + i] = (words)_mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
		w[8 + i] = (words)_mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
		w[12 + i] = (words)_mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
	}
}

/* The words of round i; from the 16th on they are made of earlier ones. */
WITH_AVX512 static inline words next_words(words w[16], int i)
{
	if (i >= 16) {
		const words a = w[(i + 1) % 16], b = w[(i + 14) % 16];

		w[i % 16] += w[(i + 9) % 16] + XOR(TURN(a, 7), TURN(a, 18), a >> 3) + XOR(TURN(b, 17), TURN(b, 19), b >> 10);
	}
	return w[i % 16];
}

/* s: the variables a to h of FIPS 180-4, which change places in each round: a of round i is s[-i mod 8]. */
WITH_AVX512 static void hash_blocks(struct lanes *lanes, size_t count)
{
	words h[STATE], s[STATE], w[16];

	memcpy(h, lanes->state, sizeof(h));
	for (size_t block = 0; block < count; block++) {
		load_words(lanes->at, w);
		for (int lane = 0; lane < LANES; lane++)
			lanes->at[lane] += lanes->items[lane].job ? BLOCK : 0;
		memcpy(s, h, sizeof(s));
#pragma GCC unroll 64
		for (int i = 0; i < 64; i++) {
			const words a = s[-i & 7], b = s[(1 - i) & 7], c = s[(2 - i) & 7];
			const words e = s[(4 - i) & 7], f = s[(5 - i) & 7], g = s[(6 - i) & 7];
			const words sum = s[(7 - i) & 7] + XOR(TURN(e, 6), TURN(e, 11), TURN(e, 25)) + CHOOSE(e, f, g) + next_words(w, i) +
			                  round_constants[i];

			s[(3 - i) & 7] += sum;
			s[(7 - i) & 7] = sum + XOR(TURN(a, 2), TURN(a, 13), TURN(a, 22)) + MAJORITY(a, b, c);
		}
		for (int i = 0; i < STATE; i++)
			h[i] += s[i];
	}
	memcpy(lanes->state, h, sizeof(h));
}

/* --- 2 blocks --- */

/* Of one message, as the instructions for SHA-256 want it: the variables a, b, e, f and c, d, g, h, each from the highest word down. */
struct halves {
	__m128i abef, cdgh;
};

WITH_SHA static inline struct halves load_halves(const struct lanes *lanes, int lane)
{
	const uint32_t(*s)[LANES] = lanes->state;

	return (struct halves){
		_mm_set_epi32((int)s[0][lane], (int)s[1][lane], (int)s[4][lane], (int)s[5][lane]),
		_mm_set_epi32((int)s[2][lane], (int)s[3][lane], (int)s[6][lane], (int)s[7][lane]),
	};
}

WITH_SHA static inline void store_halves(struct lanes *lanes, int lane, const struct halves *halves)
{
	static const int of_abef[4] = {5, 4, 1, 0}, of_cdgh[4] = {7, 6, 3, 2};
	uint32_t abef[4], cdgh[4];

	_mm_storeu_si128((__m128i *)abef, halves->abef);
	_mm_storeu_si128((__m128i *)cdgh, halves->cdgh);
	for (int i = 0; i < 4; i++) {
		lanes->state[of_abef[i]][lane] = abef[i];
		lanes->state[of_cdgh[i]][lane] = cdgh[i];
	}
}

/* Four rounds of both, whose instructions take turns: those of one fill the time that the other's wait. */
WITH_SHA static void hash_pairs(struct lanes *lanes, size_t count)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
	struct halves h[PAIR], s[PAIR];
	__m128i w[PAIR][4];

	for (int lane = 0; lane < PAIR; lane++)
		h[lane] = load_halves(lanes, lane);
	for (size_t block = 0; block < count; block++) {
		for (int lane = 0; lane < PAIR; lane++) {
			s[lane] = h[lane];
			for (int i = 0; i < 4; i++)
				w[lane][i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)lanes->at[lane] + i), swap);
			lanes->at[lane] += lanes->items[lane].job ? BLOCK : 0;
		}
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
#pragma GCC unroll 2
			for (int lane = 0; lane < PAIR; lane++) {
				__m128i *m = w[lane], sum;

				if (i >= 4) {
					sum = _mm_sha256msg1_epu32(m[i % 4], m[(i + 1) % 4]);
					sum = _mm_add_epi32(sum, _mm_alignr_epi8(m[(i + 3) % 4], m[(i + 2) % 4], 4));
					m[i % 4] = _mm_sha256msg2_epu32(sum, m[(i + 3) % 4]);
				}
				sum = _mm_add_epi32(m[i % 4], _mm_load_si128((const __m128i *)round_constants + i));
				s[lane].cdgh = _mm_sha256rnds2_epu32(s[lane].cdgh, s[lane].abef, sum);
				s[lane].abef = _mm_sha256rnds2_epu32(s[lane].abef, s[lane].cdgh, _mm_shuffle_epi32(sum, 0x0e));
			}
		}
		for (int lane = 0; lane < PAIR; lane++) {
			h[lane].abef = _mm_add_epi32(h[lane].abef, s[lane].abef);
			h[lane].cdgh = _mm_add_epi32(h[lane].cdgh, s[lane].cdgh);
		}
	}
	for (int lane = 0; lane < PAIR; lane++)
		store_halves(lanes, lane, &h[lane]);
}

/* --- messages in lanes --- */

static void begin_tail(struct lanes *lanes, int number)
{
	struct lane *lane = &lanes->items[number];
	const struct digest_begun *begun = lane->job->begun;
	const size_t rest = lane->job->len % BLOCK;
	const uint64_t bits = ((begun ? begun->len : 0) + lane->job->len) * 8;

	lane->in_tail = true;
	lane->left = rest + 1 + sizeof(bits) <= BLOCK ? 1 : 2;
	memset(lane->tail, 0, sizeof(lane->tail));
	if (rest)
		memcpy(lane->tail, (const uint8_t *)lane->job->data + (lane->job->len - rest), rest);
	lane->tail[rest] = 0x80;
	for (size_t i = 0; i < sizeof(bits); i++)
		lane->tail[lane->left * BLOCK - 1 - i] = (uint8_t)(bits >> (8 * i));
	lanes->at[number] = lane->tail;
}

static void begin_job(struct lanes *lanes, int number, struct digest_job *job)
{
	struct lane *lane = &lanes->items[number];

	lane->job = job;
	if (!job) {
		lanes->at[number] = lane->tail; /* something to read, whatever it is */
		return;
	}
	for (int i = 0; i < STATE; i++)
		lanes->state[i][number] = job->begun && job->begun->len ? job->begun->state[i] : first_state[i];
	lane->in_tail = false;
	lane->left = job->len / BLOCK;
	lanes->at[number] = job->data;
	if (!lane->left)
		begin_tail(lanes, number);
}

/* The message, or the piece of it that comes now. */
static void end_job(const struct lanes *lanes, int number)
{
	const struct digest_job *job = lanes->items[number].job;
	uint8_t *out = job->sha256;

	for (int i = 0; i < STATE; i++) {
		const uint32_t word = lanes->state[i][number];

		if (!out)
			job->begun->state[i] = word;
		for (int byte = 0; out && byte < 4; byte++)
			*out++ = (uint8_t)(word >> (24 - 8 * byte));
	}
	if (job->begun)
		job->begun->len += job->len;
}

/* So many blocks can be hashed until a lane has none left; 0: all are idle. */
static size_t least_left(const struct lanes *lanes)
{
	size_t least = 0;

	for (int i = 0; i < lanes->width; i++)
		if (lanes->items[i].job && (!least || lanes->items[i].left < least))
			least = lanes->items[i].left;
	return least;
}

void sha256_lanes(enum sha256_lanes kind, struct digest_job *const *jobs, size_t count)
{
	struct lanes lanes = {.width = kind == SHA256_LANES_WIDE ? LANES : PAIR};
	size_t next = 0, blocks;

	for (int i = 0; i < lanes.width; i++)
		begin_job(&lanes, i, next < count ? jobs[next++] : NULL);
	while ((blocks = least_left(&lanes))) {
		if (kind == SHA256_LANES_WIDE)
			hash_blocks(&lanes, blocks);
		else
			hash_pairs(&lanes, blocks);
		for (int i = 0; i < lanes.width; i++) {
			struct lane *lane = &lanes.items[i];

			if (!lane->job)
				continue;
			lane->left -= blocks;
			if (lane->left)
				continue;
			if (!lane->in_tail && lane->job->sha256) {
				begin_tail(&lanes, i);
				continue;
			}
			end_job(&lanes, i);
			begin_job(&lanes, i, next < count ? jobs[next++] : NULL);
		}
	}
}

#else

bool sha256_lanes_has(enum sha256_lanes lanes)
{
	return lanes == SHA256_LANES_NONE;
}

enum sha256_lanes sha256_lanes_best(void)
{
	return SHA256_LANES_NONE;
}

void sha256_lanes(enum sha256_lanes lanes, struct digest_job *const *jobs, size_t count)
{
	(void)lanes;
	(void)jobs;
	(void)count;
}

#endif
