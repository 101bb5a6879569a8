// SIMD on bytes: blurs a grey picture of 512 × 256 points `n` times with the binomial 5 × 5 kernel,
// as a horizontal and a vertical pass of 16 points at a time, sums in 16 bits.
#include "guest.h"

#define WIDTH 512
#define HEIGHT 256
// The kernel reaches two points beyond each edge; rows keep room for a vector there.
#define MARGIN 16

typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef uint8_t HalfBytes __attribute__((vector_size(8)));
typedef uint16_t Words __attribute__((vector_size(16)));

typedef uint8_t Row[MARGIN + WIDTH + MARGIN];

static Row picture[HEIGHT], between[HEIGHT];

static Bytes load(const uint8_t *at) {
    Bytes bytes;
    __builtin_memcpy(&bytes, at, sizeof bytes);
    return bytes;
}

static void store(uint8_t *at, Bytes bytes) { __builtin_memcpy(at, &bytes, sizeof bytes); }

static Words low(Bytes bytes) {
    HalfBytes half = __builtin_shufflevector(bytes, bytes, 0, 1, 2, 3, 4, 5, 6, 7);
    return __builtin_convertvector(half, Words);
}

static Words high(Bytes bytes) {
    HalfBytes half = __builtin_shufflevector(bytes, bytes, 8, 9, 10, 11, 12, 13, 14, 15);
    return __builtin_convertvector(half, Words);
}

// (a + 4b + 6c + 4d + e + 8) / 16
static Words weigh(Words a, Words b, Words c, Words d, Words e) {
    return (a + e + ((b + d) << 2) + (c << 2) + (c << 1) + 8) >> 4;
}

static Bytes kernel(Bytes a, Bytes b, Bytes c, Bytes d, Bytes e) {
    HalfBytes first =
        __builtin_convertvector(weigh(low(a), low(b), low(c), low(d), low(e)), HalfBytes);
    HalfBytes second =
        __builtin_convertvector(weigh(high(a), high(b), high(c), high(d), high(e)), HalfBytes);
    return __builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
                                   15);
}

// Points beyond an edge are as the last one within.
static void extend(Row *rows) {
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = 0; x < MARGIN; x++) {
            rows[y][x] = rows[y][MARGIN];
            rows[y][MARGIN + WIDTH + x] = rows[y][MARGIN + WIDTH - 1];
        }
    }
}

static void blur_rows(Row *from, Row *to) {
    extend(from);
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = MARGIN; x < MARGIN + WIDTH; x += 16) {
            const uint8_t *at = from[y] + x;
            store(to[y] + x,
                  kernel(load(at - 2), load(at - 1), load(at), load(at + 1), load(at + 2)));
        }
    }
}

static void blur_columns(Row *from, Row *to) {
    for (uint32_t y = 0; y < HEIGHT; y++) {
        const uint8_t *rows[5];
        for (uint32_t i = 0; i < 5; i++) {
            uint32_t row = y + i < 2 ? 0 : y + i - 2;
            rows[i] = from[row < HEIGHT ? row : HEIGHT - 1];
        }
        for (uint32_t x = MARGIN; x < MARGIN + WIDTH; x += 16) {
            store(to[y] + x, kernel(load(rows[0] + x), load(rows[1] + x), load(rows[2] + x),
                                    load(rows[3] + x), load(rows[4] + x)));
        }
    }
}

int64_t run(int32_t n) {
    Random random = {37};
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = 0; x < WIDTH; x++) {
            uint32_t square = (x / 32 + y / 32) % 2;
            picture[y][MARGIN + x] = (uint8_t)(square * 128 + random_below(&random, 100));
        }
    }
    for (int32_t i = 0; i < n; i++) {
        blur_rows(picture, between);
        blur_columns(between, picture);
    }
    uint64_t checksum = 0;
    for (uint32_t y = 0; y < HEIGHT; y++) {
        checksum = mix_bytes(checksum, picture[y] + MARGIN, WIDTH);
    }
    return (int64_t)checksum;
}
