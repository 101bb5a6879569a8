// Three checksums of 64 KiB, `n` times over: CRC-32 by a table, Adler-32 and XXH64. Wrong ones of
// known texts answer negative numbers.
#include "guest.h"

static uint32_t crc_table[256];

static void make_crc_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (uint32_t bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
        crc_table[i] = crc;
    }
}

static uint32_t crc32(const uint8_t *bytes, uint32_t length) {
    uint32_t crc = ~0u;
    for (uint32_t i = 0; i < length; i++) crc = crc >> 8 ^ crc_table[(crc ^ bytes[i]) & 255];
    return ~crc;
}

static uint32_t adler32(const uint8_t *bytes, uint32_t length) {
    uint32_t a = 1, b = 0;
    while (length > 0) {
        // So many additions cannot overflow.
        uint32_t some = length < 5552 ? length : 5552;
        length -= some;
        for (; some > 0; some--) {
            a += *bytes++;
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    return b << 16 | a;
}

static const uint64_t P1 = 0x9e3779b185ebca87, P2 = 0xc2b2ae3d27d4eb4f, P3 = 0x165667b19e3779f9,
                      P4 = 0x85ebca77c2b2ae63, P5 = 0x27d4eb2f165667c5;

static uint64_t rotate_left(uint64_t x, uint32_t by) { return x << by | x >> (64 - by); }

// Little-endian, as both wasm and the machines that check answers are.
static uint64_t load64(const uint8_t *bytes) {
    uint64_t word;
    __builtin_memcpy(&word, bytes, sizeof word);
    return word;
}

static uint32_t load32(const uint8_t *bytes) {
    uint32_t word;
    __builtin_memcpy(&word, bytes, sizeof word);
    return word;
}

static uint64_t xxh_round(uint64_t lane, uint64_t word) {
    return rotate_left(lane + word * P2, 31) * P1;
}

static uint64_t xxh_merge(uint64_t hash, uint64_t lane) {
    return (hash ^ xxh_round(0, lane)) * P1 + P4;
}

static uint64_t xxh64(const uint8_t *bytes, uint32_t length, uint64_t seed) {
    const uint8_t *end = bytes + length;
    uint64_t hash = seed + P5;
    if (length >= 32) {
        uint64_t lanes[4] = {seed + P1 + P2, seed + P2, seed, seed - P1};
        for (; end - bytes >= 32; bytes += 32) {
            for (uint32_t i = 0; i < 4; i++) lanes[i] = xxh_round(lanes[i], load64(bytes + 8 * i));
        }
        hash = rotate_left(lanes[0], 1) + rotate_left(lanes[1], 7) + rotate_left(lanes[2], 12) +
               rotate_left(lanes[3], 18);
        for (uint32_t i = 0; i < 4; i++) hash = xxh_merge(hash, lanes[i]);
    }
    hash += length;
    for (; end - bytes >= 8; bytes += 8) {
        hash = rotate_left(hash ^ xxh_round(0, load64(bytes)), 27) * P1 + P4;
    }
    if (end - bytes >= 4) {
        hash = rotate_left(hash ^ load32(bytes) * P1, 23) * P2 + P3;
        bytes += 4;
    }
    for (; bytes < end; bytes++) hash = rotate_left(hash ^ *bytes * P5, 11) * P1;
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}

static uint8_t data[64 * 1024];

int64_t run(int32_t n) {
    static const uint8_t KNOWN[] = "123456789";
    make_crc_table();
    if (crc32(KNOWN, 9) != 0xcbf43926) return -1;
    if (adler32(KNOWN, 9) != 0x091e01de) return -2;
    if (xxh64(KNOWN, 0, 0) != 0xef46db3751d8e999) return -3;

    Random random = {67};
    for (uint32_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)random_next(&random);
    uint64_t checksum = 0;
    for (int32_t i = 0; i < n; i++) {
        uint32_t length = (uint32_t)sizeof data - random_below(&random, 64);
        checksum = mix(checksum, crc32(data, length));
        checksum = mix(checksum, adler32(data, length));
        checksum = mix(checksum, xxh64(data, length, checksum));
        data[(uint32_t)i % sizeof data]++;
    }
    return (int64_t)checksum;
}
