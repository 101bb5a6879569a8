// What the guests share: the export, pseudo-random numbers, a checksum and an arena. There is no C
// library: guests are freestanding, and allocate from a static array.
//
// `run` may be called many times in one instance and answers the same for the same parameter: it
// sets up whatever it keeps in static memory. Answers depend neither on the size of a pointer nor
// on the order of bytes.
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __wasm__
__attribute__((export_name("run")))
#endif
int64_t run(int32_t n);

#define LENGTH(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))

// ---- Pseudo-random numbers: splitmix64 ----

typedef struct {
    uint64_t state;
} Random;

static inline uint64_t random_next(Random *random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// A number below `bound`.
static inline uint32_t random_below(Random *random, uint32_t bound) {
    return (uint32_t)(((random_next(random) >> 32) * bound) >> 32);
}

// A number of [0, 1).
static inline double random_unit(Random *random) {
    return (double)(random_next(random) >> 11) * 0x1p-53;
}

// ---- The checksum that answers fold their results into ----

static inline uint64_t mix(uint64_t sum, uint64_t value) {
    sum = (sum ^ value) * 0xff51afd7ed558ccdu;
    return sum ^ (sum >> 32);
}

static inline uint64_t mix_bytes(uint64_t sum, const uint8_t *bytes, uint32_t length) {
    for (uint32_t i = 0; i < length; i++) sum = (sum ^ bytes[i]) * 0x100000001b3u;
    return mix(sum, length);
}

static inline uint64_t bits_of(double value) {
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

// ---- The arena ----

typedef struct {
    uint8_t *start;
    uint32_t size;
    uint32_t used;
} Arena;

// `size` bytes, aligned to 8; nothing is given back but the whole. Traps where the arena is full.
static inline void *arena_allocate(Arena *arena, uint32_t size) {
    uint32_t rounded = (size + 7) & ~7u;
    if (rounded > arena->size - arena->used) __builtin_trap();
    void *at = arena->start + arena->used;
    arena->used += rounded;
    return at;
}

#endif
