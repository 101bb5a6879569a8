// JSON: generates a document of some 100 kB, and `n` times parses it into a tree and walks that.
// Strings have escapes, numbers fractions and exponents.
#include "guest.h"

typedef enum { NIL, FALSE, TRUE, NUMBER, STRING, LIST, OBJECT } Kind;

typedef struct Value {
    Kind kind;
    // A string's length, or how many elements there are.
    uint32_t count;
    double number;
    const uint8_t *string;
    // Elements are a list; those of objects have keys, which are values too.
    struct Value *first, *next, *key;
} Value;

typedef struct {
    const char *at;
    Arena arena;
    bool failed;
} Parser;

static uint64_t memory[(4 << 20) / sizeof(uint64_t)];

// ---- Parsing ----

static Value *parse_value(Parser *parser);

static void skip_space(Parser *parser) {
    while (*parser->at == ' ' || *parser->at == '\n' || *parser->at == '\t') parser->at++;
}

static bool accept(Parser *parser, char c) {
    skip_space(parser);
    if (*parser->at != c) return false;
    parser->at++;
    return true;
}

static void expect(Parser *parser, char c) {
    if (!accept(parser, c)) parser->failed = true;
}

static Value *new_value(Parser *parser, Kind kind) {
    Value *value = arena_allocate(&parser->arena, sizeof(Value));
    *value = (Value){.kind = kind};
    return value;
}

static uint32_t hexadecimal(Parser *parser) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < 4; i++) {
        char c = *parser->at++;
        uint32_t digit = c >= 'a' ? (uint32_t)(c - 'a' + 10) : (uint32_t)(c - '0');
        if (digit > 15) parser->failed = true;
        value = value << 4 | (digit & 15);
    }
    return value;
}

static uint8_t *put_utf8(uint8_t *to, uint32_t c) {
    if (c < 0x80) {
        *to++ = (uint8_t)c;
    } else if (c < 0x800) {
        *to++ = (uint8_t)(0xc0 | c >> 6);
        *to++ = (uint8_t)(0x80 | (c & 63));
    } else {
        *to++ = (uint8_t)(0xe0 | c >> 12);
        *to++ = (uint8_t)(0x80 | (c >> 6 & 63));
        *to++ = (uint8_t)(0x80 | (c & 63));
    }
    return to;
}

static Value *parse_string(Parser *parser) {
    Value *value = new_value(parser, STRING);
    // Unescaped, a string is no longer than it is written.
    const char *end = ++parser->at;
    while (*end != '"' && *end != 0) end += *end == '\\' ? 2 : 1;
    uint8_t *bytes = arena_allocate(&parser->arena, (uint32_t)(end - parser->at)), *to = bytes;
    while (parser->at < end) {
        char c = *parser->at++;
        if (c != '\\') {
            *to++ = (uint8_t)c;
            continue;
        }
        switch (c = *parser->at++) {
        case 'n': *to++ = '\n'; break;
        case 't': *to++ = '\t'; break;
        case 'u': to = put_utf8(to, hexadecimal(parser)); break;
        default: *to++ = (uint8_t)c;
        }
    }
    expect(parser, '"');
    value->string = bytes;
    value->count = (uint32_t)(to - bytes);
    return value;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static Value *parse_number(Parser *parser) {
    Value *value = new_value(parser, NUMBER);
    bool negative = *parser->at == '-';
    int32_t exponent = 0, written = 0;
    int64_t digits = 0;
    if (negative) parser->at++;
    while (is_digit(*parser->at)) digits = digits * 10 + (*parser->at++ - '0');
    if (*parser->at == '.') {
        parser->at++;
        for (; is_digit(*parser->at); exponent--) digits = digits * 10 + (*parser->at++ - '0');
    }
    if (*parser->at == 'e') {
        bool down = *++parser->at == '-';
        if (down || *parser->at == '+') parser->at++;
        while (is_digit(*parser->at)) written = written * 10 + (*parser->at++ - '0');
        exponent += down ? -written : written;
    }
    double number = (double)digits;
    for (; exponent > 0; exponent--) number *= 10;
    for (; exponent < 0; exponent++) number /= 10;
    value->number = negative ? -number : number;
    return value;
}

static Value *parse_elements(Parser *parser, Kind kind, char end) {
    Value *value = new_value(parser, kind), **last = &value->first;
    parser->at++;
    if (accept(parser, end)) return value;
    do {
        Value *key = NULL;
        skip_space(parser);
        if (kind == OBJECT) {
            key = parse_string(parser);
            expect(parser, ':');
        }
        *last = parse_value(parser);
        (*last)->key = key;
        last = &(*last)->next;
        value->count++;
    } while (!parser->failed && accept(parser, ','));
    expect(parser, end);
    return value;
}

static Value *parse_word(Parser *parser, const char *word, Kind kind) {
    while (*word) {
        if (*parser->at++ != *word++) parser->failed = true;
    }
    return new_value(parser, kind);
}

static Value *parse_value(Parser *parser) {
    skip_space(parser);
    switch (*parser->at) {
    case '{': return parse_elements(parser, OBJECT, '}');
    case '[': return parse_elements(parser, LIST, ']');
    case '"': return parse_string(parser);
    case 'n': return parse_word(parser, "null", NIL);
    case 't': return parse_word(parser, "true", TRUE);
    case 'f': return parse_word(parser, "false", FALSE);
    default: return parse_number(parser);
    }
}

static uint64_t walk(const Value *value, uint64_t checksum) {
    checksum = mix(checksum, (uint64_t)value->kind << 32 | value->count);
    if (value->key) checksum = mix_bytes(checksum, value->key->string, value->key->count);
    if (value->kind == STRING) checksum = mix_bytes(checksum, value->string, value->count);
    if (value->kind == NUMBER) checksum = mix(checksum, bits_of(value->number));
    for (const Value *child = value->first; child; child = child->next) {
        checksum = walk(child, checksum);
    }
    return checksum;
}

// ---- The document ----

static char document[160 * 1024];
static uint32_t length;

static void put(const char *text) {
    while (*text) document[length++] = *text++;
}

static void put_number(uint64_t number) {
    char digits[20];
    uint32_t count = 0;
    do digits[count++] = (char)('0' + number % 10); while (number /= 10);
    while (count > 0) document[length++] = digits[--count];
}

static void put_string(Random *random) {
    static const char *const PIECES[] = {"alpha", "beta ", "\\n",    "\\u00e9", "gamma", " delta",
                                         "\\\"",  "omega", "\\u20ac", "x",       "y z",   "kappa"};
    put("\"");
    for (uint32_t i = 1 + random_below(random, 6); i > 0; i--) {
        put(PIECES[random_below(random, LENGTH(PIECES))]);
    }
    put("\"");
}

static void put_value(Random *random, uint32_t depth) {
    switch (random_below(random, depth == 0 ? 5 : 8)) {
    case 0: put_string(random); break;
    case 1: put_number(random_below(random, 100000)); break;
    case 2:
        put("-");
        put_number(random_below(random, 1000)), put("."), put_number(random_below(random, 10000));
        put(random_below(random, 2) ? "e-3" : "e+5");
        break;
    case 3: put(random_below(random, 2) ? "true" : "false"); break;
    case 4: put("null"); break;
    case 5:
        put("[");
        for (uint32_t i = random_below(random, 8); i > 0; i--) {
            put_value(random, depth - 1);
            if (i > 1) put(", ");
        }
        put("]");
        break;
    default:
        put("{\n");
        for (uint32_t i = random_below(random, 8); i > 0; i--) {
            put("  ");
            put_string(random);
            put(": ");
            put_value(random, depth - 1);
            if (i > 1) put(",\n");
        }
        put("}");
    }
}

int64_t run(int32_t n) {
    Random random = {53};
    length = 0;
    put("[");
    while (length < 100 * 1024) {
        put_value(&random, 5);
        put(",\n");
    }
    put("0]");
    document[length] = 0;

    uint64_t checksum = length;
    for (int32_t i = 0; i < n; i++) {
        Parser parser = {document, {(uint8_t *)memory, sizeof memory, 0}, false};
        Value *value = parse_value(&parser);
        if (parser.failed) return -1;
        checksum = walk(value, checksum);
    }
    return (int64_t)checksum;
}
