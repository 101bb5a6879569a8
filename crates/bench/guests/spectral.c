// The spectral norm of the infinite matrix a(i, j) = 1 / ((i + j) (i + j + 1) / 2 + i + 1), cut to
// `n` (at most 512) rows, by the power method. Answers the norm's bits.
#include "guest.h"

static double u[512], v[512], between[512];

static double element(uint32_t i, uint32_t j) {
    return 1.0 / (double)((i + j) * (i + j + 1) / 2 + i + 1);
}

static void multiply(uint32_t n, const double *x, double *result) {
    for (uint32_t i = 0; i < n; i++) {
        double sum = 0;
        for (uint32_t j = 0; j < n; j++) sum += element(i, j) * x[j];
        result[i] = sum;
    }
}

static void multiply_transposed(uint32_t n, const double *x, double *result) {
    for (uint32_t i = 0; i < n; i++) {
        double sum = 0;
        for (uint32_t j = 0; j < n; j++) sum += element(j, i) * x[j];
        result[i] = sum;
    }
}

static void multiply_both(uint32_t n, const double *x, double *result) {
    multiply(n, x, between);
    multiply_transposed(n, between, result);
}

int64_t run(int32_t n) {
    uint32_t size = (uint32_t)n;
    if (size > LENGTH(u)) __builtin_trap();
    for (uint32_t i = 0; i < size; i++) u[i] = 1;
    for (uint32_t round = 0; round < 10; round++) {
        multiply_both(size, u, v);
        multiply_both(size, v, u);
    }
    double product = 0, square = 0;
    for (uint32_t i = 0; i < size; i++) {
        product += u[i] * v[i];
        square += v[i] * v[i];
    }
    return (int64_t)bits_of(__builtin_sqrt(product / square));
}
