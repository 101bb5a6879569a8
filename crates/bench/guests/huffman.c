// Huffman's coding: `n` times, 64 KiB of bytes of uneven frequency are counted, get canonical codes
// of at most 15 bits, are written bit by bit and read back through a table of the codes' first 10
// bits.
#include "guest.h"

#define TEXT (64 * 1024)
#define SYMBOLS 256
#define LONGEST 15
#define FAST 10

static uint8_t text[TEXT], unpacked[TEXT];
static uint8_t coded[TEXT * 2 + 8];

typedef struct {
    uint8_t lengths[SYMBOLS];
    uint16_t codes[SYMBOLS];
    // For reading: of each length the first code, and symbols by length and value.
    uint32_t first[LONGEST + 2], offset[LONGEST + 2], counts[LONGEST + 1];
    uint8_t sorted[SYMBOLS];
    // Of each start of 10 bits the symbol and its length, or length 0 where the code is longer.
    struct {
        uint8_t symbol, length;
    } fast[1 << FAST];
} Code;

static Code code;

// ---- Making the code ----

typedef struct {
    uint32_t weight;
    // Nodes below SYMBOLS are leaves.
    uint16_t left, right;
} Node;

static Node nodes[SYMBOLS * 2];

static uint32_t take_lightest(uint16_t *live, uint32_t *count) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < *count; i++) {
        if (nodes[live[i]].weight < nodes[live[best]].weight) best = i;
    }
    uint32_t node = live[best];
    live[best] = live[--*count];
    return node;
}

static uint32_t measure(uint32_t node, uint32_t depth) {
    if (node < SYMBOLS) {
        code.lengths[node] = (uint8_t)depth;
        return depth;
    }
    uint32_t left = measure(nodes[node].left, depth + 1);
    uint32_t right = measure(nodes[node].right, depth + 1);
    return left > right ? left : right;
}

// The longest code's length. Every symbol gets one, also where the text does not have it.
static uint32_t build_tree(void) {
    uint16_t live[SYMBOLS];
    uint32_t count = SYMBOLS, next = SYMBOLS;
    for (uint32_t i = 0; i < SYMBOLS; i++) live[i] = (uint16_t)i;
    while (count > 1) {
        uint32_t left = take_lightest(live, &count), right = take_lightest(live, &count);
        nodes[next] = (Node){nodes[left].weight + nodes[right].weight, (uint16_t)left,
                             (uint16_t)right};
        live[count++] = (uint16_t)next++;
    }
    return measure(live[0], 0);
}

static void assign_codes(void) {
    for (uint32_t length = 0; length <= LONGEST; length++) code.counts[length] = 0;
    for (uint32_t i = 0; i < SYMBOLS; i++) code.counts[code.lengths[i]]++;
    uint32_t next = 0, sorted = 0;
    for (uint32_t length = 1; length <= LONGEST; length++) {
        code.first[length] = next;
        code.offset[length] = sorted;
        for (uint32_t i = 0; i < SYMBOLS; i++) {
            if (code.lengths[i] != length) continue;
            code.codes[i] = (uint16_t)next++;
            code.sorted[sorted++] = (uint8_t)i;
        }
        next <<= 1;
    }
    for (uint32_t start = 0; start < 1 << FAST; start++) {
        code.fast[start].length = 0;
        for (uint32_t length = 1; length <= FAST; length++) {
            uint32_t index = (start >> (FAST - length)) - code.first[length];
            if (index < code.counts[length]) {
                code.fast[start].symbol = code.sorted[code.offset[length] + index];
                code.fast[start].length = (uint8_t)length;
                break;
            }
        }
    }
}

static void make_code(void) {
    for (uint32_t i = 0; i < SYMBOLS; i++) nodes[i].weight = 1;
    for (uint32_t i = 0; i < TEXT; i++) nodes[text[i]].weight++;
    // Flatter weights until no code is too long.
    while (build_tree() > LONGEST) {
        for (uint32_t i = 0; i < SYMBOLS; i++) nodes[i].weight = nodes[i].weight / 2 + 1;
    }
    assign_codes();
}

// ---- Writing and reading ----

static uint32_t encode(void) {
    uint64_t bits = 0;
    uint32_t count = 0, out = 0;
    for (uint32_t i = 0; i < TEXT; i++) {
        uint8_t symbol = text[i];
        bits = bits << code.lengths[symbol] | code.codes[symbol];
        count += code.lengths[symbol];
        for (; count >= 8; count -= 8) coded[out++] = (uint8_t)(bits >> (count - 8));
    }
    // Zeros to the end of the byte, and as many as the decoder may look at.
    coded[out++] = (uint8_t)(bits << (8 - count));
    for (uint32_t i = 0; i < 4; i++) coded[out + i] = 0;
    return out;
}

static void decode(void) {
    uint64_t bits = 0;
    uint32_t count = 0, in = 0;
    for (uint32_t out = 0; out < TEXT; out++) {
        for (; count < LONGEST; count += 8) bits = bits << 8 | coded[in++];
        uint32_t start = (uint32_t)(bits >> (count - FAST)) & ((1 << FAST) - 1);
        uint32_t length = code.fast[start].length;
        unpacked[out] = code.fast[start].symbol;
        if (length == 0) {
            for (length = FAST + 1; length <= LONGEST; length++) {
                uint32_t value = (uint32_t)(bits >> (count - length)) & ((1u << length) - 1);
                uint32_t index = value - code.first[length];
                if (index < code.counts[length]) {
                    unpacked[out] = code.sorted[code.offset[length] + index];
                    break;
                }
            }
        }
        count -= length;
    }
}

int64_t run(int32_t n) {
    Random random = {83};
    uint64_t checksum = 0;
    for (int32_t i = 0; i < n; i++) {
        for (uint32_t at = 0; at < TEXT; at++) {
            uint32_t below = 1 + random_below(&random, 1 + random_below(&random, SYMBOLS));
            text[at] = (uint8_t)random_below(&random, below);
        }
        make_code();
        uint32_t length = encode();
        decode();
        for (uint32_t at = 0; at < TEXT; at++) {
            if (unpacked[at] != text[at]) return -1;
        }
        checksum = mix_bytes(checksum, coded, length);
    }
    return (int64_t)checksum;
}
