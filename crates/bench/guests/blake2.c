// BLAKE2b (RFC 7693) of `n` messages of up to 4 KiB. Answers a checksum of the digests; a wrong
// digest of "abc" answers -1.
#include "guest.h"

typedef struct {
    uint64_t state[8];
    uint64_t counted;
    uint8_t block[128];
    uint32_t filled;
} Blake2;

static const uint64_t INITIAL[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static const uint8_t ORDER[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint64_t rotate_right(uint64_t x, uint32_t by) { return x >> by | x << (64 - by); }

static uint64_t load_little(const uint8_t *bytes) {
    uint64_t word = 0;
    for (uint32_t i = 0; i < 8; i++) word |= (uint64_t)bytes[i] << 8 * i;
    return word;
}

static void quarter(uint64_t *v, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint64_t x,
                    uint64_t y) {
    v[a] += v[b] + x;
    v[d] = rotate_right(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = rotate_right(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotate_right(v[b] ^ v[c], 63);
}

static void compress(Blake2 *hash, bool last) {
    uint64_t v[16], words[16];
    for (uint32_t i = 0; i < 16; i++) words[i] = load_little(hash->block + 8 * i);
    for (uint32_t i = 0; i < 8; i++) {
        v[i] = hash->state[i];
        v[i + 8] = INITIAL[i];
    }
    v[12] ^= hash->counted;
    if (last) v[14] = ~v[14];
    for (uint32_t round = 0; round < 12; round++) {
        const uint8_t *order = ORDER[round % 10];
        for (uint32_t i = 0; i < 4; i++) {
            quarter(v, i, i + 4, i + 8, i + 12, words[order[2 * i]], words[order[2 * i + 1]]);
        }
        for (uint32_t i = 0; i < 4; i++) {
            quarter(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4,
                    words[order[8 + 2 * i]], words[order[9 + 2 * i]]);
        }
    }
    for (uint32_t i = 0; i < 8; i++) hash->state[i] ^= v[i] ^ v[i + 8];
}

static void start(Blake2 *hash, uint32_t digest_length) {
    *hash = (Blake2){.counted = 0};
    for (uint32_t i = 0; i < 8; i++) hash->state[i] = INITIAL[i];
    hash->state[0] ^= 0x01010000 ^ digest_length;
}

// The last block, full or not, waits for `finish`.
static void update(Blake2 *hash, const uint8_t *bytes, uint32_t length) {
    for (uint32_t i = 0; i < length; i++) {
        if (hash->filled == sizeof hash->block) {
            hash->counted += sizeof hash->block;
            compress(hash, false);
            hash->filled = 0;
        }
        hash->block[hash->filled++] = bytes[i];
    }
}

static void finish(Blake2 *hash) {
    hash->counted += hash->filled;
    while (hash->filled < sizeof hash->block) hash->block[hash->filled++] = 0;
    compress(hash, true);
}

static uint8_t message[4096];

int64_t run(int32_t n) {
    Blake2 hash;
    Random random = {61};
    start(&hash, 64);
    update(&hash, (const uint8_t *)"abc", 3);
    finish(&hash);
    if (hash.state[0] != 0x0d4d1c983fa580ba) return -1;

    for (uint32_t i = 0; i < sizeof message; i++) message[i] = (uint8_t)random_next(&random);
    uint64_t checksum = 0;
    for (int32_t i = 0; i < n; i++) {
        start(&hash, 32);
        update(&hash, message, 1 + random_below(&random, sizeof message));
        finish(&hash);
        for (uint32_t word = 0; word < 4; word++) checksum = mix(checksum, hash.state[word]);
        message[(uint32_t)i % sizeof message] ^= (uint8_t)checksum;
    }
    return (int64_t)checksum;
}
