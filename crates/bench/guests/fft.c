// A fast Fourier transform of 4096 complex numbers (radix 2, in place) and its inverse, `n` times
// over, with a filter between the two. Answers the bits of a sum over the signal.
#include "guest.h"

#define BITS 12
#define SIZE (1 << BITS)

typedef struct {
    double re, im;
} Complex;

static Complex signal[SIZE];
// e^(-2πik / SIZE) for the first half of the circle.
static Complex roots[SIZE / 2];

// By halving angles, from a quarter of the circle: all further roots are products of two.
static void find_roots(void) {
    double cosine = 0, sine = 1;
    roots[0] = (Complex){1, 0};
    for (uint32_t step = SIZE / 4; step > 0; step /= 2) {
        for (uint32_t k = step; k < SIZE / 2; k += 2 * step) {
            Complex before = roots[k - step];
            roots[k].re = before.re * cosine + before.im * sine;
            roots[k].im = before.im * cosine - before.re * sine;
        }
        cosine = __builtin_sqrt((1 + cosine) / 2);
        sine /= 2 * cosine;
    }
}

static void reverse_bits(Complex *values) {
    for (uint32_t i = 1, j = 0; i < SIZE; i++) {
        uint32_t bit = SIZE / 2;
        for (; j & bit; bit /= 2) j ^= bit;
        j |= bit;
        if (i < j) {
            Complex value = values[i];
            values[i] = values[j];
            values[j] = value;
        }
    }
}

static void transform(Complex *values) {
    reverse_bits(values);
    for (uint32_t half = 1; half < SIZE; half *= 2) {
        uint32_t stride = SIZE / 2 / half;
        for (uint32_t start = 0; start < SIZE; start += 2 * half) {
            for (uint32_t k = 0; k < half; k++) {
                Complex root = roots[k * stride];
                Complex *a = &values[start + k], *b = a + half;
                Complex turned = {b->re * root.re - b->im * root.im,
                                  b->re * root.im + b->im * root.re};
                *b = (Complex){a->re - turned.re, a->im - turned.im};
                *a = (Complex){a->re + turned.re, a->im + turned.im};
            }
        }
    }
}

// The inverse is the transform with real and imaginary parts exchanged, before and after.
static void exchange(Complex *values, double scale) {
    for (uint32_t i = 0; i < SIZE; i++) {
        values[i] = (Complex){values[i].im * scale, values[i].re * scale};
    }
}

int64_t run(int32_t n) {
    Random random = {13};
    find_roots();
    for (uint32_t i = 0; i < SIZE; i++) {
        signal[i] = (Complex){random_unit(&random) - 0.5, random_unit(&random) - 0.5};
    }
    for (int32_t round = 0; round < n; round++) {
        transform(signal);
        // Frequencies in the middle are the high ones.
        for (uint32_t i = SIZE / 2 - 64; i < SIZE / 2 + 64; i++) {
            signal[i].re *= 0.9;
            signal[i].im *= 0.9;
        }
        exchange(signal, 1);
        transform(signal);
        exchange(signal, 1.0 / SIZE);
    }
    double sum = 0;
    for (uint32_t i = 0; i < SIZE; i++) {
        sum += signal[i].re * signal[i].re + signal[i].im * signal[i].im;
    }
    return (int64_t)mix(bits_of(sum), bits_of(signal[1].re));
}
