// `n` (at most 4000) decimal digits of π by Machin's formula, 16 atan(1/5) - 4 atan(1/239), on
// numbers with a fixed point that are arrays of 32-bit words: long addition, subtraction, division
// by and multiplication with a word. Answers a checksum of the digits.
#include "guest.h"

// 32 bits are 9.6 decimal digits; two words more than enough keep rounding away from the digits.
#define MOST 512

// Word 0 is the integer part; each further one is worth 2^-32 of the one before it.
typedef struct {
    uint32_t words[MOST];
} Fixed;

static uint32_t length;
static Fixed result, term, quotient;

static void set(Fixed *a, uint32_t value) {
    for (uint32_t i = 0; i < length; i++) a->words[i] = 0;
    a->words[0] = value;
}

static void add(Fixed *a, const Fixed *b) {
    uint64_t carry = 0;
    for (uint32_t i = length; i-- > 0;) {
        carry += (uint64_t)a->words[i] + b->words[i];
        a->words[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

static void subtract(Fixed *a, const Fixed *b) {
    uint64_t borrow = 0;
    for (uint32_t i = length; i-- > 0;) {
        uint64_t difference = (uint64_t)a->words[i] - b->words[i] - borrow;
        a->words[i] = (uint32_t)difference;
        borrow = difference >> 63;
    }
}

// Answers whether the quotient is zero.
static bool divide(const Fixed *a, uint32_t divisor, Fixed *to) {
    uint64_t remainder = 0;
    uint32_t any = 0;
    for (uint32_t i = 0; i < length; i++) {
        remainder = remainder << 32 | a->words[i];
        to->words[i] = (uint32_t)(remainder / divisor);
        remainder %= divisor;
        any |= to->words[i];
    }
    return any == 0;
}

// What overflows the number.
static uint32_t multiply(Fixed *a, uint32_t factor) {
    uint64_t carry = 0;
    for (uint32_t i = length; i-- > 0;) {
        carry += (uint64_t)a->words[i] * factor;
        a->words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return (uint32_t)carry;
}

// Adds (or takes away) factor × atan(1 / x), by its power series.
static void add_arctangent(uint32_t factor, uint32_t x, bool negative) {
    set(&term, factor);
    divide(&term, x, &term);
    for (uint32_t k = 1;; k += 2) {
        if (divide(&term, k, &quotient)) break;
        if (negative) {
            subtract(&result, &quotient);
        } else {
            add(&result, &quotient);
        }
        negative = !negative;
        divide(&term, x * x, &term);
    }
}

int64_t run(int32_t n) {
    length = (uint32_t)n * 10 / 96 + 3;
    if (length > MOST) __builtin_trap();
    set(&result, 0);
    add_arctangent(16, 5, false);
    add_arctangent(4, 239, true);

    uint64_t checksum = result.words[0];
    for (int32_t digits = 0; digits < n; digits += 8) {
        result.words[0] = 0;
        multiply(&result, 100000000);
        checksum = mix(checksum, result.words[0]);
    }
    return (int64_t)checksum;
}
