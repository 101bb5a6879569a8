// SIMD on floats: `n` products of matrices of 128 × 128 32-bit floats, computed in tiles of 4 × 8
// that stay in vectors. Each product is scaled and is the next one's left side.
#include "guest.h"

#define SIZE 128

typedef float Floats __attribute__((vector_size(16)));

typedef float Matrix[SIZE][SIZE] __attribute__((aligned(16)));

static Matrix a, b, c;

static Floats load(const float *at) { return *(const Floats *)at; }

static void store(float *at, Floats floats) { *(Floats *)at = floats; }

static Floats splat(float x) { return (Floats){x, x, x, x}; }

// Four rows and eight columns of the product.
static void tile(const Matrix left, const Matrix right, Matrix product, uint32_t row,
                 uint32_t column) {
    Floats sums[4][2] = {0};
    for (uint32_t k = 0; k < SIZE; k++) {
        Floats first = load(&right[k][column]), second = load(&right[k][column + 4]);
        for (uint32_t i = 0; i < 4; i++) {
            Floats factor = splat(left[row + i][k]);
            sums[i][0] += factor * first;
            sums[i][1] += factor * second;
        }
    }
    for (uint32_t i = 0; i < 4; i++) {
        store(&product[row + i][column], sums[i][0]);
        store(&product[row + i][column + 4], sums[i][1]);
    }
}

static void multiply(const Matrix left, const Matrix right, Matrix product) {
    for (uint32_t row = 0; row < SIZE; row += 4) {
        for (uint32_t column = 0; column < SIZE; column += 8) {
            tile(left, right, product, row, column);
        }
    }
}

static float largest(const Matrix matrix) {
    float most = 0;
    for (uint32_t i = 0; i < SIZE; i++) {
        for (uint32_t j = 0; j < SIZE; j++) {
            float size = __builtin_fabsf(matrix[i][j]);
            if (size > most) most = size;
        }
    }
    return most;
}

int64_t run(int32_t n) {
    Random random = {41};
    for (uint32_t i = 0; i < SIZE; i++) {
        for (uint32_t j = 0; j < SIZE; j++) {
            a[i][j] = (float)random_unit(&random) - 0.5f;
            b[i][j] = (float)random_unit(&random) - 0.5f;
        }
    }
    for (int32_t round = 0; round < n; round++) {
        multiply(a, b, c);
        Floats scale = splat(1 / largest(c));
        for (uint32_t i = 0; i < SIZE; i++) {
            for (uint32_t j = 0; j < SIZE; j += 4) store(&a[i][j], load(&c[i][j]) * scale);
        }
    }
    uint64_t checksum = 0;
    for (uint32_t i = 0; i < SIZE; i++) {
        for (uint32_t j = 0; j < SIZE; j++) checksum = mix(checksum, bits_of(a[i][j]));
    }
    return (int64_t)checksum;
}
