// Sorting as C's library does it: a generic quicksort over elements of any size that is given a
// function to compare two. Sorts arrays of `n` (at most 32768) integers, floats and structures,
// with five comparators, which are called through a pointer.
#include "guest.h"

#define MOST 32768

typedef int Compare(const void *, const void *);

static void swap(uint8_t *a, uint8_t *b, uint32_t size) {
    if (a == b) return;
    for (uint32_t i = 0; i < size; i += 4) {
        uint32_t x, y;
        __builtin_memcpy(&x, a + i, 4);
        __builtin_memcpy(&y, b + i, 4);
        __builtin_memcpy(a + i, &y, 4);
        __builtin_memcpy(b + i, &x, 4);
    }
}

// Elements are multiples of four bytes. Another module's, so no comparator is inlined into it.
__attribute__((noinline)) static void sort(void *base, uint32_t count, uint32_t size,
                                           Compare *compare) {
    uint8_t *first = base;
    while (count > 12) {
        uint8_t *last = first + (count - 1) * size, *middle = first + count / 2 * size;
        // The median of three is the pivot, and waits at the front.
        if (compare(middle, first) < 0) swap(middle, first, size);
        if (compare(last, middle) < 0) swap(last, middle, size);
        if (compare(middle, first) < 0) swap(middle, first, size);
        swap(first, middle, size);
        uint8_t *left = first, *right = last + size;
        for (;;) {
            do left += size; while (left < last && compare(left, first) < 0);
            do right -= size; while (compare(first, right) < 0);
            if (left >= right) break;
            swap(left, right, size);
        }
        swap(first, right, size);
        // The shorter side by recursion, the longer one by going on.
        uint32_t below = (uint32_t)(right - first) / size, above = count - below - 1;
        if (below < above) {
            sort(first, below, size, compare);
            first = right + size;
            count = above;
        } else {
            sort(right + size, above, size, compare);
            count = below;
        }
    }
    for (uint32_t i = 1; i < count; i++) {
        for (uint8_t *at = first + i * size; at > first && compare(at, at - size) < 0; at -= size) {
            swap(at, at - size, size);
        }
    }
}

typedef struct {
    int32_t x, y;
    uint32_t id;
} Point;

static int compare_integers(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int compare_integers_down(const void *a, const void *b) { return compare_integers(b, a); }

static int compare_floats(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int compare_distance(const void *a, const void *b) {
    const Point *p = a, *q = b;
    int64_t p_distance = (int64_t)p->x * p->x + (int64_t)p->y * p->y;
    int64_t q_distance = (int64_t)q->x * q->x + (int64_t)q->y * q->y;
    if (p_distance != q_distance) return p_distance < q_distance ? -1 : 1;
    return (p->id > q->id) - (p->id < q->id);
}

static int compare_columns(const void *a, const void *b) {
    const Point *p = a, *q = b;
    if (p->x != q->x) return p->x < q->x ? -1 : 1;
    if (p->y != q->y) return p->y < q->y ? -1 : 1;
    return (p->id > q->id) - (p->id < q->id);
}

static int32_t integers[MOST];
static double floats[MOST];
static Point points[MOST];

static uint64_t checksum_of(const void *base, uint32_t count, uint32_t size, Compare *compare) {
    const uint8_t *bytes = base;
    uint64_t checksum = count;
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && compare(bytes + (i - 1) * size, bytes + i * size) > 0) __builtin_trap();
        checksum = mix_bytes(checksum, bytes + i * size, size);
    }
    return checksum;
}

static uint64_t sort_and_check(void *base, uint32_t count, uint32_t size, Compare *compare) {
    sort(base, count, size, compare);
    return checksum_of(base, count, size, compare);
}

int64_t run(int32_t n) {
    uint32_t count = (uint32_t)n;
    if (count > MOST) __builtin_trap();
    Random random = {73};
    for (uint32_t i = 0; i < count; i++) {
        integers[i] = (int32_t)random_below(&random, count);
        floats[i] = random_unit(&random);
        points[i] = (Point){(int32_t)random_below(&random, 1000) - 500,
                            (int32_t)random_below(&random, 1000) - 500, i};
    }
    uint64_t checksum = sort_and_check(integers, count, sizeof(int32_t), compare_integers);
    checksum ^= sort_and_check(integers, count, sizeof(int32_t), compare_integers_down);
    checksum = mix(checksum, sort_and_check(floats, count, sizeof(double), compare_floats));
    checksum = mix(checksum, sort_and_check(points, count, sizeof(Point), compare_distance));
    return (int64_t)mix(checksum, sort_and_check(points, count, sizeof(Point), compare_columns));
}
