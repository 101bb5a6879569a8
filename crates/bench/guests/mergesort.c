// Sorting of `n` (at most 65536) records by name, then by age: a merge sort, bottom up from runs
// that insertion sorted. Comparisons go through strings in memory.
#include "guest.h"

#define MOST 65536
#define RUN 8

typedef struct {
    char name[12];
    uint32_t age;
} Record;

static Record records[MOST], scratch[MOST];

static bool before(const Record *a, const Record *b) {
    for (uint32_t i = 0; i < sizeof a->name; i++) {
        if (a->name[i] != b->name[i]) return a->name[i] < b->name[i];
        if (a->name[i] == 0) break;
    }
    return a->age < b->age;
}

static void insertion_sort(Record *from, uint32_t count) {
    for (uint32_t i = 1; i < count; i++) {
        Record record = from[i];
        uint32_t at = i;
        for (; at > 0 && before(&record, &from[at - 1]); at--) from[at] = from[at - 1];
        from[at] = record;
    }
}

// Merges two neighbouring runs; where records are equal, the left one goes first.
static void merge(const Record *left, const Record *middle, const Record *end, Record *to) {
    const Record *right = middle;
    while (left < middle && right < end) *to++ = before(right, left) ? *right++ : *left++;
    while (left < middle) *to++ = *left++;
    while (right < end) *to++ = *right++;
}

static uint32_t minimum(uint32_t a, uint32_t b) { return a < b ? a : b; }

// The sorted records are in either of the two arrays.
static const Record *sort(uint32_t count) {
    Record *from = records, *to = scratch;
    for (uint32_t start = 0; start < count; start += RUN) {
        insertion_sort(from + start, minimum(RUN, count - start));
    }
    for (uint32_t width = RUN; width < count; width *= 2) {
        for (uint32_t start = 0; start < count; start += 2 * width) {
            uint32_t middle = minimum(start + width, count);
            uint32_t end = minimum(start + 2 * width, count);
            merge(from + start, from + middle, from + end, to + start);
        }
        Record *sorted = to;
        to = from;
        from = sorted;
    }
    return from;
}

int64_t run(int32_t n) {
    uint32_t count = (uint32_t)n;
    if (count > MOST) __builtin_trap();
    Random random = {71};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t letters = 2 + random_below(&random, 9);
        for (uint32_t j = 0; j < sizeof records[i].name; j++) {
            records[i].name[j] = (char)(j < letters ? "aeioun"[random_below(&random, 6)] : 0);
        }
        records[i].age = random_below(&random, 100);
    }
    const Record *sorted = sort(count);
    uint64_t checksum = count;
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0 && before(&sorted[i], &sorted[i - 1])) return -1;
        checksum = mix_bytes(checksum, (const uint8_t *)sorted[i].name, sizeof sorted[i].name);
        checksum = mix(checksum, sorted[i].age);
    }
    return (int64_t)checksum;
}
