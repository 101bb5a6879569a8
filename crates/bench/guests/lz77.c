// Compression by LZ77: `n` texts of 64 KiB are written as literals and (distance, length) pairs,
// found through chains of positions that have the same hash, and read back. What comes back must be
// what went in.
#include "guest.h"

#define TEXT (64 * 1024)
#define HASHES 8192
#define NONE UINT32_MAX
#define SHORTEST 4
#define LONGEST 273
#define CHAIN 16

static uint8_t text[TEXT], compressed[TEXT + TEXT / 8], unpacked[TEXT];
// The last position of a hash, and the one before each position.
static uint32_t heads[HASHES], previous[TEXT];

static uint32_t hash_at(uint32_t at) {
    uint32_t word;
    __builtin_memcpy(&word, text + at, sizeof word);
    return word * 2654435761u >> 19;
}

static void remember(uint32_t at) {
    if (at + SHORTEST > TEXT) return;
    uint32_t hash = hash_at(at);
    previous[at] = heads[hash];
    heads[hash] = at;
}

static uint32_t common(uint32_t a, uint32_t b) {
    uint32_t length = 0, most = TEXT - b < LONGEST ? TEXT - b : LONGEST;
    while (length < most && text[a + length] == text[b + length]) length++;
    return length;
}

static uint32_t longest_match(uint32_t at, uint32_t *distance) {
    uint32_t best = 0;
    if (at + SHORTEST > TEXT) return 0;
    uint32_t candidate = heads[hash_at(at)];
    for (uint32_t tries = CHAIN; tries > 0 && candidate != NONE; tries--) {
        if (at - candidate > 65535) break;
        uint32_t length = common(candidate, at);
        if (length > best) {
            best = length;
            *distance = at - candidate;
        }
        candidate = previous[candidate];
    }
    return best;
}

// Eight items each have a byte of flags before them: a literal is one byte, a pair is three.
static uint32_t compress(void) {
    uint32_t at = 0, out = 0, flags = 0, items = 8;
    for (uint32_t i = 0; i < HASHES; i++) heads[i] = NONE;
    while (at < TEXT) {
        if (items == 8) {
            flags = out++;
            compressed[flags] = 0;
            items = 0;
        }
        uint32_t distance = 0, length = longest_match(at, &distance);
        if (length >= SHORTEST) {
            // Better a literal if the next position has a longer match.
            uint32_t next_distance;
            if (length < 32 && longest_match(at + 1, &next_distance) > length + 1) length = 0;
        }
        if (length >= SHORTEST) {
            uint32_t coded = length - SHORTEST < 255 ? length - SHORTEST : 255;
            length = coded + SHORTEST;
            compressed[flags] |= (uint8_t)(1u << items);
            compressed[out++] = (uint8_t)distance;
            compressed[out++] = (uint8_t)(distance >> 8);
            compressed[out++] = (uint8_t)coded;
        } else {
            length = 1;
            compressed[out++] = text[at];
        }
        for (; length > 0; length--) remember(at++);
        items++;
    }
    return out;
}

static uint32_t decompress(uint32_t length) {
    uint32_t at = 0, out = 0;
    while (at < length) {
        uint32_t flags = compressed[at++];
        for (uint32_t item = 0; item < 8 && at < length; item++) {
            if (flags >> item & 1) {
                uint32_t distance = compressed[at] | (uint32_t)compressed[at + 1] << 8;
                uint32_t count = compressed[at + 2] + SHORTEST;
                at += 3;
                // The two may overlap: byte by byte.
                for (; count > 0; count--, out++) unpacked[out] = unpacked[out - distance];
            } else {
                unpacked[out++] = compressed[at++];
            }
        }
    }
    return out;
}

// Words of a random vocabulary, the frequent ones oftener.
static void write_text(Random *random) {
    char words[256][10];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t letters = 2 + random_below(random, 7);
        for (uint32_t j = 0; j < letters; j++) words[i][j] = (char)('a' + random_below(random, 26));
        words[i][letters] = 0;
    }
    for (uint32_t at = 0; at < TEXT;) {
        uint32_t most = 1 + random_below(random, 256);
        const char *word = words[random_below(random, most)];
        while (*word && at < TEXT) text[at++] = (uint8_t)*word++;
        if (at < TEXT) text[at++] = random_below(random, 10) ? ' ' : '\n';
    }
}

int64_t run(int32_t n) {
    Random random = {79};
    uint64_t checksum = 0;
    for (int32_t i = 0; i < n; i++) {
        write_text(&random);
        uint32_t length = compress();
        if (decompress(length) != TEXT) return -1;
        for (uint32_t at = 0; at < TEXT; at++) {
            if (unpacked[at] != text[at]) return -2;
        }
        checksum = mix_bytes(checksum, compressed, length);
    }
    return (int64_t)checksum;
}
