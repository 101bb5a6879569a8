// SIMD on bytes with table look-ups: validates a UTF-8 text of 64 KiB `n` times, 16 bytes at a time
// (Keiser and Lemire: which pairs of bytes are wrong is the intersection of three tables' answers,
// that of the first byte's high and low half and of the second byte's high half), and counts its
// lines. Every other time a byte is broken first.
#include "guest.h"

#define TEXT (64 * 1024)

typedef uint8_t Bytes __attribute__((vector_size(16)));

static uint8_t text[TEXT];

static Bytes load(const uint8_t *at) {
    Bytes bytes;
    __builtin_memcpy(&bytes, at, sizeof bytes);
    return bytes;
}

static Bytes splat(uint8_t x) {
    return (Bytes){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

// What the table has at each of the indices, all of which are below 16.
static Bytes look_up(Bytes table, Bytes indices) {
#ifdef __wasm_simd128__
    typedef int8_t Signed __attribute__((vector_size(16)));
    return (Bytes)__builtin_wasm_swizzle_i8x16((Signed)table, (Signed)indices);
#else
    Bytes found;
    for (uint32_t i = 0; i < 16; i++) found[i] = table[indices[i]];
    return found;
#endif
}

static bool any(Bytes bytes) {
    typedef uint64_t Halves __attribute__((vector_size(16)));
    Halves halves = (Halves)bytes;
    return (halves[0] | halves[1]) != 0;
}

static Bytes saturating_subtract(Bytes a, Bytes b) { return (a - b) & (Bytes)(a > b); }

// The bytes that came `COUNT` before these, some of them in the block before.
#define BEFORE(previous, block, COUNT)                                                             \
    __builtin_shufflevector(previous, block, 16 - COUNT, 17 - COUNT, 18 - COUNT, 19 - COUNT,       \
                            20 - COUNT, 21 - COUNT, 22 - COUNT, 23 - COUNT, 24 - COUNT,            \
                            25 - COUNT, 26 - COUNT, 27 - COUNT, 28 - COUNT, 29 - COUNT,            \
                            30 - COUNT, 31 - COUNT)

enum {
    TOO_SHORT = 1 << 0,   // 11______ 0_______, 11______ 11______
    TOO_LONG = 1 << 1,    // 0_______ 10______
    OVERLONG_3 = 1 << 2,  // 11100000 100_____
    TOO_LARGE = 1 << 3,   // 11110100 101_____ and more
    SURROGATE = 1 << 4,   // 11101101 101_____
    OVERLONG_2 = 1 << 5,  // 1100000_ 10______
    OVERLONG_4 = 1 << 6,  // 11110000 1000____, and what is too large by far
    TWO_CONTINUATIONS = 1 << 7,
    CARRY = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS,
};

static Bytes wrong_pairs(Bytes first, Bytes second) {
    static const Bytes FIRST_HIGH = {
        TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
        TWO_CONTINUATIONS, TWO_CONTINUATIONS, TWO_CONTINUATIONS, TWO_CONTINUATIONS,
        TOO_SHORT | OVERLONG_2, TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE,
        TOO_SHORT | TOO_LARGE | OVERLONG_4};
    static const Bytes FIRST_LOW = {
        CARRY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4, CARRY | OVERLONG_2, CARRY, CARRY,
        CARRY | TOO_LARGE, CARRY | TOO_LARGE | OVERLONG_4, CARRY | TOO_LARGE | OVERLONG_4,
        CARRY | TOO_LARGE | OVERLONG_4, CARRY | TOO_LARGE | OVERLONG_4,
        CARRY | TOO_LARGE | OVERLONG_4, CARRY | TOO_LARGE | OVERLONG_4,
        CARRY | TOO_LARGE | OVERLONG_4, CARRY | TOO_LARGE | OVERLONG_4,
        CARRY | TOO_LARGE | OVERLONG_4 | SURROGATE, CARRY | TOO_LARGE | OVERLONG_4,
        CARRY | TOO_LARGE | OVERLONG_4};
    static const Bytes SECOND_HIGH = {
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
        TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | OVERLONG_3 | OVERLONG_4,
        TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | OVERLONG_3 | TOO_LARGE,
        TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | SURROGATE | TOO_LARGE,
        TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | SURROGATE | TOO_LARGE,
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT};
    return look_up(FIRST_HIGH, first >> 4) & look_up(FIRST_LOW, first & 15) &
           look_up(SECOND_HIGH, second >> 4);
}

// Two continuations in a row are right exactly where a lead byte of three or four came before.
static Bytes wrong(Bytes previous, Bytes block) {
    Bytes pairs = wrong_pairs(BEFORE(previous, block, 1), block);
    Bytes third = saturating_subtract(BEFORE(previous, block, 2), splat(0xe0 - 0x80));
    Bytes fourth = saturating_subtract(BEFORE(previous, block, 3), splat(0xf0 - 0x80));
    return pairs ^ ((third | fourth) & splat(0x80));
}

// Whether the text is UTF-8, which it is not if it ends within a character.
static bool validate(uint32_t *lines) {
    Bytes previous = splat(0), errors = splat(0);
    uint32_t count = 0;
    for (uint32_t at = 0; at < TEXT; at += 16) {
        Bytes block = load(text + at);
        if (any((previous | block) & splat(0x80))) errors |= wrong(previous, block);
        Bytes newlines = (Bytes)(block == splat('\n')) & splat(1);
        if (any(newlines)) {
            for (uint32_t i = 0; i < 16; i++) count += newlines[i];
        }
        previous = block;
    }
    *lines = count;
    return !any(errors) && text[TEXT - 1] < 0x80;
}

// Runs of ASCII, and runs of characters of two to four bytes.
static void write_text(Random *random) {
    uint32_t at = 0;
    while (at < TEXT - 256) {
        bool ascii = random_below(random, 4) != 0;
        for (uint32_t characters = random_below(random, 60); characters > 0; characters--) {
            uint32_t c = 32 + random_below(random, 95);
            uint32_t bytes = ascii ? 1 : 1 + random_below(random, 4);
            if (bytes == 1) {
                text[at++] = (uint8_t)c;
            } else if (bytes == 2) {
                text[at++] = (uint8_t)(0xc2 + random_below(random, 30));
            } else if (bytes == 3) {
                text[at++] = (uint8_t)(0xe1 + random_below(random, 12));
            } else {
                text[at++] = (uint8_t)(0xf1 + random_below(random, 3));
            }
            while (--bytes > 0) text[at++] = (uint8_t)(0x80 + random_below(random, 64));
        }
        text[at++] = '\n';
    }
    while (at < TEXT) text[at++] = '.';
}

int64_t run(int32_t n) {
    Random random = {43};
    write_text(&random);
    uint64_t checksum = 0;
    for (int32_t i = 0; i < n; i++) {
        uint32_t lines, place = random_below(&random, TEXT);
        uint8_t kept = text[place];
        if (i & 1) text[place] = (uint8_t)random_next(&random);
        checksum = mix(checksum, validate(&lines));
        checksum = mix(checksum, lines);
        text[place] = kept;
    }
    return (int64_t)checksum;
}
