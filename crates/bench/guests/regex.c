// A backtracking matcher of regular expressions (characters, `.`, classes, `*`, `+`, `?`, groups
// with alternatives): five patterns, each compiled to a graph of nodes, looked for in `n` generated
// lines of a log. Answers a checksum of where the matches are.
#include "guest.h"

typedef enum { CHARACTER, ANY, CLASS, SPLIT, ACCEPT } NodeKind;

typedef struct Node {
    NodeKind kind;
    uint8_t character;
    // Which characters a class has.
    uint32_t members[8];
    // Where to go on; a split tries `next` first, then `other`.
    struct Node *next, *other;
} Node;

// A piece of a program: its start, and the places that are to name what follows it.
typedef struct {
    Node *start;
    Node **exits[16];
    uint32_t exit_count;
} Piece;

static uint64_t memory[8192];
static Arena arena;
static const char *pattern;

static Node *new_node(NodeKind kind) {
    Node *node = arena_allocate(&arena, sizeof(Node));
    *node = (Node){.kind = kind};
    return node;
}

static void connect(Piece *piece, Node *to) {
    for (uint32_t i = 0; i < piece->exit_count; i++) *piece->exits[i] = to;
    piece->exit_count = 0;
}

static Piece alternatives(void);

static Piece character_class(void) {
    Node *node = new_node(CLASS);
    while (*pattern != ']') {
        uint8_t first = (uint8_t)*pattern++, last = first;
        if (*pattern == '-') {
            last = (uint8_t)pattern[1];
            pattern += 2;
        }
        for (uint32_t c = first; c <= last; c++) node->members[c / 32] |= 1u << c % 32;
    }
    pattern++;
    return (Piece){node, {&node->next}, 1};
}

static Piece atom(void) {
    char c = *pattern++;
    if (c == '(') {
        Piece piece = alternatives();
        pattern++;
        return piece;
    }
    if (c == '[') return character_class();
    Node *node = new_node(c == '.' ? ANY : CHARACTER);
    node->character = (uint8_t)(c == '\\' ? *pattern++ : c);
    return (Piece){node, {&node->next}, 1};
}

static Piece repeated(void) {
    Piece piece = atom();
    char c = *pattern;
    if (c != '*' && c != '+' && c != '?') return piece;
    pattern++;
    Node *split = new_node(SPLIT);
    split->next = piece.start;
    if (c == '?') {
        piece.start = split;
        piece.exits[piece.exit_count++] = &split->other;
        return piece;
    }
    connect(&piece, split);
    return (Piece){c == '*' ? split : piece.start, {&split->other}, 1};
}

static Piece sequence(void) {
    Piece piece = repeated();
    while (*pattern && *pattern != '|' && *pattern != ')') {
        Piece following = repeated();
        connect(&piece, following.start);
        following.start = piece.start;
        piece = following;
    }
    return piece;
}

static Piece alternatives(void) {
    Piece piece = sequence();
    while (*pattern == '|') {
        pattern++;
        Piece other = sequence();
        Node *split = new_node(SPLIT);
        split->next = piece.start;
        split->other = other.start;
        piece.start = split;
        for (uint32_t i = 0; i < other.exit_count; i++) {
            piece.exits[piece.exit_count++] = other.exits[i];
        }
    }
    return piece;
}

static const Node *compile(const char *text) {
    pattern = text;
    Piece piece = alternatives();
    connect(&piece, new_node(ACCEPT));
    return piece.start;
}

// Where the match that starts here ends, or NULL.
static const uint8_t *match(const Node *node, const uint8_t *at, const uint8_t *end) {
    for (;;) {
        switch (node->kind) {
        case ACCEPT:
            return at;
        case SPLIT: {
            const uint8_t *found = match(node->next, at, end);
            if (found) return found;
            node = node->other;
            continue;
        }
        case CHARACTER:
            if (at == end || *at != node->character) return NULL;
            break;
        case ANY:
            if (at == end) return NULL;
            break;
        case CLASS:
            if (at == end || !(node->members[*at / 32] >> *at % 32 & 1)) return NULL;
            break;
        }
        at++;
        node = node->next;
    }
}

static const char *const PATTERNS[] = {
    "[0-9]+-[0-9]+-[0-9]+",
    "(error|warning): .*timeout",
    "[a-z]+@[a-z]+\\.(org|net|com)",
    "user(name)?=[a-z0-9]*7",
    "(ab|a)(bc|c)?d*x",
};

static uint32_t put(uint8_t *line, uint32_t at, const char *word) {
    while (*word) line[at++] = (uint8_t)*word++;
    return at;
}

static uint32_t write_line(Random *random, uint8_t *line) {
    static const char *const WORDS[] = {"error: ", "warning: ", "timeout ", "connection ", "ada",
                                        "@example", ".org ", "user=", "username=", "abcd",
                                        "abcddx ", "2026-", "11-", "21 ", "17 ", "of the ", "server "};
    uint32_t at = 0;
    for (uint32_t words = 8 + random_below(random, 8); words > 0; words--) {
        at = put(line, at, WORDS[random_below(random, LENGTH(WORDS))]);
    }
    return at;
}

int64_t run(int32_t n) {
    const Node *programs[LENGTH(PATTERNS)];
    uint8_t line[256];
    Random random = {31};
    arena = (Arena){(uint8_t *)memory, sizeof memory, 0};
    for (uint32_t i = 0; i < LENGTH(PATTERNS); i++) programs[i] = compile(PATTERNS[i]);

    uint64_t checksum = arena.used > 0;
    for (int32_t i = 0; i < n; i++) {
        uint32_t length = write_line(&random, line);
        for (uint32_t p = 0; p < LENGTH(PATTERNS); p++) {
            for (uint32_t start = 0; start < length; start++) {
                const uint8_t *end = match(programs[p], line + start, line + length);
                if (end) {
                    checksum = mix(checksum, p << 16 | start << 8 | (uint32_t)(end - line));
                    break;
                }
            }
        }
    }
    return (int64_t)checksum;
}
