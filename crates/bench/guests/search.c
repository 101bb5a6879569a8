// String search: counts `n` words in a text of 32 KiB, each by three algorithms: byte by byte,
// Horspool's and Knuth, Morris and Pratt's, which must agree.
#include "guest.h"

#define TEXT (32 * 1024)
#define LONGEST 24

static uint8_t text[TEXT];

static uint32_t count_naive(const uint8_t *pattern, uint32_t length) {
    uint32_t count = 0;
    for (uint32_t at = 0; at + length <= TEXT; at++) {
        uint32_t i = 0;
        while (i < length && text[at + i] == pattern[i]) i++;
        if (i == length) count++;
    }
    return count;
}

static uint32_t count_horspool(const uint8_t *pattern, uint32_t length) {
    uint32_t shifts[256], count = 0;
    for (uint32_t i = 0; i < 256; i++) shifts[i] = length;
    for (uint32_t i = 0; i + 1 < length; i++) shifts[pattern[i]] = length - 1 - i;
    for (uint32_t at = 0; at + length <= TEXT;) {
        uint32_t i = length;
        while (i > 0 && text[at + i - 1] == pattern[i - 1]) i--;
        if (i == 0) count++;
        at += shifts[text[at + length - 1]];
    }
    return count;
}

static uint32_t count_kmp(const uint8_t *pattern, uint32_t length) {
    // The longest proper prefix that is also a suffix of the first i bytes.
    uint32_t borders[LONGEST + 1] = {0}, count = 0;
    for (uint32_t i = 1, border = 0; i < length; i++) {
        while (border > 0 && pattern[i] != pattern[border]) border = borders[border];
        if (pattern[i] == pattern[border]) border++;
        borders[i + 1] = border;
    }
    for (uint32_t at = 0, matched = 0; at < TEXT; at++) {
        while (matched > 0 && (matched == length || text[at] != pattern[matched])) {
            matched = borders[matched];
        }
        if (text[at] == pattern[matched]) matched++;
        if (matched == length) count++;
    }
    return count;
}

// Words of few syllables, so that patterns occur often and match in part oftener.
static void write_text(Random *random) {
    static const char SYLLABLES[][4] = {"na", "ba", "ri", "to", "an", "tor", "el", "is"};
    for (uint32_t at = 0; at < TEXT;) {
        for (uint32_t syllables = 1 + random_below(random, 4); syllables > 0; syllables--) {
            const char *syllable = SYLLABLES[random_below(random, LENGTH(SYLLABLES))];
            while (*syllable && at < TEXT) text[at++] = (uint8_t)*syllable++;
        }
        if (at < TEXT) text[at++] = ' ';
    }
}

int64_t run(int32_t n) {
    Random random = {21};
    write_text(&random);
    uint64_t checksum = 0;
    for (int32_t i = 0; i < n; i++) {
        uint32_t length = 3 + random_below(&random, LONGEST - 2);
        const uint8_t *pattern = text + random_below(&random, TEXT - LONGEST);
        uint32_t count = count_naive(pattern, length);
        if (count_horspool(pattern, length) != count) return -1;
        if (count_kmp(pattern, length) != count) return -2;
        checksum = mix(checksum, count);
    }
    return (int64_t)checksum;
}
