// Edit distances (Levenshtein's): of `n` pairs of random strings over four letters, 160 to 255
// long, each the other with changes. Two rows of the table at a time, in two nested loops.
#include "guest.h"

#define LONGEST 256

static uint32_t minimum(uint32_t a, uint32_t b) { return a < b ? a : b; }

static uint32_t distance(const uint8_t *a, uint32_t a_length, const uint8_t *b, uint32_t b_length) {
    uint32_t row[LONGEST + 1];
    for (uint32_t j = 0; j <= b_length; j++) row[j] = j;
    for (uint32_t i = 1; i <= a_length; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= b_length; j++) {
            uint32_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = minimum(replaced, minimum(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_length];
}

static uint32_t write_string(Random *random, uint8_t *string) {
    uint32_t length = 160 + random_below(random, 96);
    for (uint32_t i = 0; i < length; i++) string[i] = "acgt"[random_below(random, 4)];
    return length;
}

// A copy in which each tenth letter or so is replaced, left out or doubled.
static uint32_t write_changed(Random *random, const uint8_t *string, uint32_t length,
                              uint8_t *changed) {
    uint32_t written = 0;
    for (uint32_t i = 0; i < length && written < LONGEST - 1; i++) {
        uint32_t change = random_below(random, 30);
        if (change == 0) continue;
        changed[written++] = change == 1 ? "acgt"[random_below(random, 4)] : string[i];
        if (change == 2) changed[written++] = string[i];
    }
    return written;
}

int64_t run(int32_t n) {
    uint8_t a[LONGEST], b[LONGEST];
    Random random = {23};
    uint64_t checksum = 0;
    for (int32_t i = 0; i < n; i++) {
        uint32_t a_length = write_string(&random, a);
        uint32_t b_length = write_changed(&random, a, a_length, b);
        checksum = mix(checksum, distance(a, a_length, b, b_length));
    }
    return (int64_t)checksum;
}
